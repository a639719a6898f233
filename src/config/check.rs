//! The meaning of the file's texts: makes the checked [`Config`], or names every problem at once.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use super::{
    Config, DEFAULT_MANIFESTS, DEFAULT_NV_IPAM_STORE, DEFAULT_RUNTIME_DIR, DEFAULT_STATE_DIR, Flags, Problem,
    SourceConfig, Surroundings, duration,
    file::{File, Interface, Match, OneOrMany, Pool, ServiceInterface, Source},
    position::Positions,
};
use crate::model::{
    Binding, BindingName, IfName, Isolation, NodeName, ParseError, PoolChoice, PoolSelector, RoutingNumbers,
    SfMatch,
};

/// Route protocols with an owner, from iproute2's `rt_protos` and FRR; 0 to 4 are the kernel's and the administrator's.
const TAKEN_PROTOCOLS: [(u8, &str); 22] = [
    (8, "gated"),
    (9, "router advertisements"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (13, "dnrouted"),
    (14, "xorp"),
    (15, "ntk"),
    (16, "DHCP"),
    (17, "mrouted"),
    (18, "keepalived"),
    (42, "babel"),
    (84, "OVN"),
    (99, "openr"),
    (186, "BGP"),
    (187, "IS-IS"),
    (188, "OSPF"),
    (189, "RIP"),
    (190, "RIPng"),
    (191, "NHRP"),
    (192, "EIGRP"),
    (196, "FRR's static routes"),
];

/// Collects problems; what has one becomes `None`, so that the rest is still looked at.
struct Checker<'a> {
    origin: &'a str,
    text: &'a str,
    /// Worked out with the first problem: it takes longer than all the rest.
    positions: Option<Positions>,
    problems: Vec<Problem>,
}

pub(super) fn check(
    origin: &str,
    text: &str,
    file: File,
    flags: &Flags,
    around: &Surroundings<'_>,
) -> Result<Config, Vec<Problem>> {
    let mut c = Checker { origin, text, positions: None, problems: Vec::new() };
    let node = c.node(flags, around, file.node);
    let source = c.source(file.source);
    let bindings = c.bindings(file.interfaces.unwrap_or_default());
    let variables = ["DPU_IPAM_STATE_DIR", "STATE_DIRECTORY"];
    let state_dir = c.dir(
        around,
        flags.state_dir.as_deref(),
        "--state-dir",
        variables,
        ("stateDir", file.state_dir),
        DEFAULT_STATE_DIR,
    );
    let variables = ["DPU_IPAM_RUNTIME_DIR", "RUNTIME_DIRECTORY"];
    let runtime_dir = c.dir(
        around,
        flags.runtime_dir.as_deref(),
        "--runtime-dir",
        variables,
        ("runtimeDir", file.runtime_dir),
        DEFAULT_RUNTIME_DIR,
    );
    let quarantine = c.duration("quarantine", file.quarantine, Duration::from_secs(300));
    let resync = c.duration("resync", file.resync, Duration::from_secs(60));
    if resync.is_some_and(|r| r < Duration::from_secs(1)) {
        c.problem("resync", "is shorter than 1s; changes are seen at once anyway");
    }
    let numbers = file.routing.unwrap_or_default();
    c.numbers(&numbers);
    let nv_ipam_store = match file.nv_ipam_store.as_deref() {
        Some("none") => None,
        Some(text) => c.absolute("nvIpamStore", text),
        None => Some(DEFAULT_NV_IPAM_STORE.into()),
    };
    match (node, source, state_dir, runtime_dir, quarantine, resync) {
        (Some(node), Some(source), Some(state_dir), Some(runtime_dir), Some(quarantine), Some(resync))
            if c.problems.is_empty() =>
        {
            Ok(Config {
                node,
                source,
                bindings,
                state_dir,
                runtime_dir,
                numbers,
                quarantine,
                resync,
                nv_ipam_store,
            })
        }
        _ => {
            c.problems.sort_by_key(|p| p.line);
            Err(c.problems)
        }
    }
}

impl Checker<'_> {
    /// A problem with a field of the file.
    fn problem(&mut self, field: &str, message: impl Into<String>) {
        let positions = self.positions.get_or_insert_with(|| Positions::of(self.text));
        let line = positions.line_of(field);
        let (origin, field) = (self.origin.to_owned(), field.to_owned());
        self.problems.push(Problem { origin, line, field, message: message.into() });
    }

    /// A problem with what a flag or a variable says.
    fn outside(&mut self, origin: &str, message: impl Into<String>) {
        let (origin, field) = (origin.to_owned(), String::new());
        self.problems.push(Problem { origin, line: None, field, message: message.into() });
    }

    fn parse<T: FromStr<Err = ParseError>>(&mut self, field: &str, text: &str) -> Option<T> {
        text.parse().map_err(|e: ParseError| self.problem(field, e.to_string())).ok()
    }

    fn absolute(&mut self, field: &str, text: &str) -> Option<PathBuf> {
        let path = PathBuf::from(text);
        if path.is_absolute() {
            return Some(path);
        }
        self.problem(field, format!("{text:?} is not an absolute path"));
        None
    }

    fn node(&mut self, flags: &Flags, around: &Surroundings<'_>, file: Option<String>) -> Option<NodeName> {
        let (origin, text) = if let Some(text) = flags.node.clone() {
            ("--node", text)
        } else if let Some(text) = (around.variable)("DPU_IPAM_NODE") {
            ("DPU_IPAM_NODE", text)
        } else if let Some(text) = file {
            return self.parse("node", &text);
        } else {
            // The kubelet names its node so, too: the host name in lower case.
            match (around.hostname)() {
                Ok(name) => ("host name", name.to_lowercase()),
                Err(e) => {
                    self.problem("node", format!("not given, and the host name cannot be read: {e}"));
                    return None;
                }
            }
        };
        text.parse().map_err(|e: ParseError| self.outside(origin, e.to_string())).ok()
    }

    fn dir(
        &mut self,
        around: &Surroundings<'_>,
        flag: Option<&Path>,
        flag_name: &str,
        variables: [&str; 2],
        (field, file): (&str, Option<String>),
        default: &str,
    ) -> Option<PathBuf> {
        // systemd joins several directories with ':'; the first is the unit's main one.
        let first = |text: String| text.split(':').next().unwrap_or_default().to_owned();
        let named =
            variables.iter().find_map(|v| (around.variable)(v).map(|text| (*v, PathBuf::from(first(text)))));
        let (origin, path) = match (flag, named, file) {
            // A flag is typed in a shell: relative to where the user stands is what is meant.
            (Some(path), ..) => (flag_name, std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
            (None, Some(named), _) => named,
            (None, None, Some(text)) => return self.absolute(field, &text),
            (None, None, None) => return Some(default.into()),
        };
        if path.is_absolute() {
            return Some(path);
        }
        self.outside(origin, format!("{path:?} is not an absolute path"));
        None
    }

    fn duration(&mut self, field: &str, text: Option<String>, default: Duration) -> Option<Duration> {
        let Some(text) = text else { return Some(default) };
        let duration = duration::parse(&text);
        if duration.is_none() {
            self.problem(field, format!("{text:?} is not a duration (a whole number with ms, s, m, h or d)"));
        }
        duration
    }

    fn source(&mut self, source: Option<Source>) -> Option<SourceConfig> {
        let files = match source.unwrap_or_default() {
            Source { kubernetes: Some(_), .. } => {
                self.problem("source.kubernetes", "not available in this version yet; use `files`");
                return None;
            }
            Source { files: Some(files), .. } => files.path.0,
            Source { files: None, kubernetes: None } => vec![DEFAULT_MANIFESTS.to_owned()],
        };
        if files.is_empty() {
            self.problem("source.files.path", "names no path");
            return None;
        }
        let paths: Option<_> = files.iter().map(|text| self.absolute("source.files.path", text)).collect();
        Some(SourceConfig::Files { paths: paths? })
    }

    fn bindings(&mut self, interfaces: Vec<Interface>) -> Vec<Binding> {
        let mut bindings: Vec<Binding> = Vec::new();
        for (i, interface) in interfaces.into_iter().enumerate() {
            let at = format!("interfaces[{i}]");
            let Some(binding) = self.binding(&at, interface) else { continue };
            if bindings.iter().any(|b| b.name == binding.name) {
                self.problem(&format!("{at}.name"), format!("{} is there twice", binding.name));
            }
            if let Some(other) = bindings.iter().find(|b| b.sf == binding.sf) {
                let message = format!("matches the same SF as {}: {}", other.name, binding.sf);
                self.problem(&format!("{at}.match"), message);
            }
            bindings.push(binding);
        }
        bindings
    }

    fn binding(&mut self, at: &str, interface: Interface) -> Option<Binding> {
        let name = self.parse::<BindingName>(&format!("{at}.name"), &interface.name);
        let sf = self.sf_match(&format!("{at}.match"), &interface.r#match);
        let pool = self.pool_choice(at, interface.service_interface, interface.pool);
        let isolation = self.isolation(&format!("{at}.isolation"), interface.isolation.as_deref());
        if interface.netns.is_some() {
            self.problem(&format!("{at}.netns"), "other network namespaces are not supported yet");
        }
        Some(Binding { name: name?, sf: sf?, pool: pool?, index: interface.index, isolation: isolation? })
    }

    fn sf_match(&mut self, at: &str, given: &Match) -> Option<SfMatch> {
        let before = self.problems.len();
        let sf = SfMatch {
            pci: given.pci.as_deref().and_then(|text| self.parse(&format!("{at}.pci"), text)),
            sfnum: given.sfnum,
            netdev: given.netdev.as_deref().and_then(|text| self.parse(&format!("{at}.netdev"), text)),
            mac: given.mac.as_deref().and_then(|text| self.parse(&format!("{at}.mac"), text)),
        };
        if self.problems.len() > before {
            return None;
        }
        if sf == SfMatch::default() {
            self.problem(at, "is empty; give at least one of pci, sfnum, netdev, mac");
            return None;
        }
        if sf.pci.is_some() && sf.sfnum.is_none() && sf.netdev.is_none() && sf.mac.is_none() {
            self.problem(at, "a PCI function has many SFs; add sfnum, netdev or mac");
            return None;
        }
        Some(sf)
    }

    fn pool_choice(
        &mut self,
        at: &str,
        service: Option<ServiceInterface>,
        pools: Option<OneOrMany<Pool>>,
    ) -> Option<PoolChoice> {
        match (service, pools) {
            (Some(_), Some(_)) => {
                self.problem(at, "has both `serviceInterface` and `pool`; give one");
                None
            }
            (None, None) => {
                self.problem(at, "has neither `serviceInterface` nor `pool`; give one");
                None
            }
            (Some(ServiceInterface { service_id, interface_name }), None) => {
                let at = format!("{at}.serviceInterface");
                if service_id.is_empty() {
                    self.problem(&format!("{at}.serviceID"), "is empty");
                }
                self.parse::<IfName>(&format!("{at}.interfaceName"), &interface_name)?;
                (!service_id.is_empty())
                    .then_some(PoolChoice::ServiceInterface { service_id, interface_name })
            }
            (None, Some(OneOrMany(pools))) => {
                let at = format!("{at}.pool");
                if pools.is_empty() {
                    self.problem(&at, "is an empty list");
                }
                let many = pools.len() > 1;
                let mut selectors: Vec<PoolSelector> = Vec::new();
                for (i, pool) in pools.into_iter().enumerate() {
                    let at = if many { format!("{at}[{i}]") } else { at.clone() };
                    let Some(selector) = self.pool(&at, pool) else { continue };
                    if selectors.contains(&selector) {
                        self.problem(&at, format!("{selector} is there twice"));
                    }
                    selectors.push(selector);
                }
                (!selectors.is_empty()).then_some(PoolChoice::Pools(selectors))
            }
        }
    }

    fn pool(&mut self, at: &str, pool: Pool) -> Option<PoolSelector> {
        match (pool.name, pool.match_labels) {
            (Some(name), None) if !name.is_empty() => return Some(PoolSelector::Name(name)),
            (None, Some(labels)) if !labels.is_empty() => return Some(PoolSelector::Labels(labels)),
            (Some(_), Some(_)) => self.problem(at, "has both `name` and `matchLabels`; give one"),
            (Some(_), None) => self.problem(&format!("{at}.name"), "is empty"),
            (None, Some(_)) => {
                self.problem(&format!("{at}.matchLabels"), "is empty; it would match every pool");
            }
            (None, None) => self.problem(at, "has neither `name` nor `matchLabels`; give one"),
        }
        None
    }

    fn isolation(&mut self, field: &str, text: Option<&str>) -> Option<Isolation> {
        match text {
            None | Some("auto") => return Some(Isolation::Auto),
            Some("none") => return Some(Isolation::None),
            Some("source") => return Some(Isolation::Source),
            Some("vrf") => self.problem(field, "`vrf` is not supported yet; use auto, none or source"),
            Some(other) => self.problem(field, format!("`{other}` is not one of auto, none, source")),
        }
        None
    }

    /// None of the numbers may be one that the kernel, DPF or a routing daemon uses.
    fn numbers(&mut self, numbers: &RoutingNumbers) {
        let RoutingNumbers { protocol, metric, table_base, rule_priority } = *numbers;
        if protocol <= 4 {
            let message = format!("{protocol} is the kernel's or the administrator's; take one above 4");
            self.problem("routing.protocol", message);
        } else if let Some((_, owner)) = TAKEN_PROTOCOLS.iter().find(|(taken, _)| *taken == protocol) {
            self.problem("routing.protocol", format!("{protocol} belongs to {owner}"));
        }
        match metric {
            0 => self.problem(
                "routing.metric",
                "0 means something else for IPv6 than for IPv4; take one above it",
            ),
            10_000 => self.problem("routing.metric", "10000 is DPF's"),
            _ => {}
        }
        // A binding's slot is a u16, so 65536 tables follow the base.
        if table_base <= 255 || table_base.checked_add(u32::from(u16::MAX)).is_none() {
            let message = format!(
                "65536 tables from {table_base} on would take the kernel's (253 to 255), DPF's (60) or none that \
                 exist; take a number from 256 to {}",
                u32::MAX - u32::from(u16::MAX)
            );
            self.problem("routing.tableBase", message);
        }
        match rule_priority {
            31_000 | 32_000 => self.problem("routing.rulePriority", format!("{rule_priority} is DPF's")),
            0 => self.problem("routing.rulePriority", "0 is the kernel's rule for local addresses"),
            32_766.. => self.problem(
                "routing.rulePriority",
                format!("{rule_priority} comes after the main table (32766), where it has no effect"),
            ),
            _ => {}
        }
    }
}

/// As the file says it.
pub(super) fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Auto => "auto",
        Isolation::None => "none",
        Isolation::Source => "source",
    }
}
