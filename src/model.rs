//! The nouns that the rooms share. Texts become these types at the door (`api`, `config`, `kernel`) and stay them.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::pool::{AddrRange, PoolKind, Slice};

/// Labels of an object, or the `matchLabels` that ask for them.
pub type Labels = BTreeMap<String, String>;

/// A text that cannot be the noun it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct ParseError {
    /// The text as it came.
    pub value: String,
    /// What it should have been, with its article.
    pub expected: &'static str,
}

impl ParseError {
    fn new(value: &str, expected: &'static str) -> Self {
        Self { value: value.to_owned(), expected }
    }
}

/// Serialized as text, read through `FromStr`.
macro_rules! text_serde {
    ($($ty:ty),+) => {$(
        impl Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
text_serde!(IfName, MacAddr, PciAddr, NodeName, BindingName);

/// A netdev name as the kernel takes it: 1 to 15 bytes, no `/`, `:` or white space, not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName(String);

impl FromStr for IfName {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        // dev_valid_name() in the kernel's net/core/dev.c.
        let ok = (1..16).contains(&s.len())
            && s != "."
            && s != ".."
            && !s.bytes().any(|b| b == b'/' || b == b':' || b.is_ascii_whitespace() || b == 0);
        ok.then(|| Self(s.to_owned())).ok_or_else(|| {
            ParseError::new(s, "an interface name (1 to 15 bytes, without '/', ':' and white space)")
        })
    }
}

impl IfName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A Kubernetes node name: a lower-case DNS subdomain of at most 253 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(String);

impl FromStr for NodeName {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        dns_subdomain(s).then(|| Self(s.to_owned())).ok_or_else(|| {
            ParseError::new(s, "a node name (lower-case letters, digits, '-' and '.', at most 253 bytes)")
        })
    }
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a binding, shown in status: a DNS label of at most 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingName(String);

impl FromStr for BindingName {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        (s.len() <= 63 && dns_subdomain(s)).then(|| Self(s.to_owned())).ok_or_else(|| {
            ParseError::new(s, "a name (lower-case letters, digits, '-' and '.', at most 63 bytes)")
        })
    }
}

impl BindingName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// RFC 1123 subdomain, as Kubernetes checks object names.
fn dns_subdomain(s: &str) -> bool {
    s.len() <= 253
        && s.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl FromStr for MacAddr {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(s, "a MAC address (six pairs of hex digits with ':')");
        let mut mac = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(mac)) }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The address of a PCI function, `domain:bus:device.function`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddr {
    /// PCI domain.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl FromStr for PciAddr {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (rest, function) = s.split_once('.')?;
            let mut parts = rest.rsplit(':');
            let device = u8::from_str_radix(parts.next()?, 16).ok().filter(|d| *d < 32)?;
            let bus = u8::from_str_radix(parts.next()?, 16).ok()?;
            // Without a domain it is 0, as lspci writes it.
            let domain = parts.next().map_or(Some(0), |d| u32::from_str_radix(d, 16).ok())?;
            let function = function.parse().ok().filter(|f| *f < 8)?;
            parts.next().is_none().then_some(Self { domain, bus, device, function })
        };
        parse().ok_or_else(|| ParseError::new(s, "a PCI address (like 0000:03:00.0)"))
    }
}

impl fmt::Display for PciAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.domain, self.bus, self.device, self.function)
    }
}

/// Seconds since the Unix epoch. Only an argument: the pure rooms have no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A pool's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolRef {
    /// IPPool or CIDRPool; IPPools sort first, as the look-up by labels wants it.
    pub kind: PoolKind,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for PoolRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// "This SF gets an address from that pool."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub name: BindingName,
    /// Which SF.
    pub sf: SfMatch,
    /// Which pool.
    pub pool: PoolChoice,
    /// This index of the slice and no other.
    pub index: Option<u32>,
    /// What is done when SFs share a subnet.
    pub isolation: Isolation,
}

/// What an SF must show to be the one that is meant; all given must match, at least one is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SfMatch {
    /// PCI parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciAddr>,
    /// The SF's number under its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sfnum: Option<u32>,
    /// The netdev's present name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netdev: Option<IfName>,
    /// The netdev's present MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

impl fmt::Display for SfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.pci.map(|v| format!("pci {v}")),
            self.sfnum.map(|v| format!("sfnum {v}")),
            self.netdev.as_ref().map(|v| format!("netdev {v}")),
            self.mac.map(|v| format!("mac {v}")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Where a binding's pool comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolChoice {
    /// The port of a ServiceChain that this service's interface is.
    ServiceInterface {
        /// `service.serviceID`.
        service_id: String,
        /// `service.interfaceName`.
        interface_name: String,
    },
    /// Named here; one address from each (two for dual stack).
    Pools(Vec<PoolSelector>),
}

/// How a pool is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolSelector {
    /// By its name; an IPPool before a CIDRPool.
    Name(String),
    /// By labels that it must carry; IPPools first, then by name. Never empty.
    Labels(Labels),
}

impl PoolSelector {
    /// Whether it means the pool `name` with `labels`.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Labels(wanted) => wanted.iter().all(|(k, v)| labels.get(k) == Some(v)),
        }
    }
}

impl fmt::Display for PoolSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "name {name}"),
            Self::Labels(labels) => {
                let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "labels {}", pairs.join(","))
            }
        }
    }
}

/// How the traffic of SFs that share a subnet is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// `source` where several SFs of this node are in one subnet, else `none`.
    #[default]
    Auto,
    /// Plain address and routes.
    None,
    /// A table of its own per SF, chosen by source address.
    Source,
}

/// An SF netdev found on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Present name.
    pub netdev: IfName,
    /// Present index.
    pub ifindex: u32,
    /// Present MAC address, where the device has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// PCI parent, where sysfs tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciAddr>,
    /// SF number, where sysfs tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sfnum: Option<u32>,
}

/// Numbers in the kernel's name spaces that the agent uses; none of those that DPF takes (table 60, rule priorities
/// 31000 and 32000, metric 10000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoutingNumbers {
    /// Route, rule and (from kernel 5.18) address protocol that marks what is ours.
    pub protocol: u8,
    /// Metric of our routes in the main table.
    pub metric: u32,
    /// First of the tables for isolated SFs; a binding's table is this plus its slot.
    pub table_base: u32,
    /// Priority of our rules.
    pub rule_priority: u32,
}

impl Default for RoutingNumbers {
    /// Protocol 133 is free in iproute2's rt_protos. Metric 2000 loses against a management default route of DHCP
    /// (100 to 1024) and wins against DPF's 10000.
    fn default() -> Self {
        Self { protocol: 133, metric: 2000, table_base: 20_000, rule_priority: 20_000 }
    }
}

/// A link as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// Name.
    pub name: IfName,
    /// Hardware address, if it is an Ethernet one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// Carrier present (IFF_LOWER_UP).
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Kind (IFLA_INFO_KIND), as in `veth`; absent for hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the port in the switch (IFLA_PHYS_PORT_NAME), as in `pf0sf10` of a representor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phys_port_name: Option<String>,
    /// Bus name of the parent device (IFLA_PARENT_DEV_NAME), as in `mlx5_core.sf.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_dev: Option<String>,
    /// Per-interface IPv4 settings.
    #[serde(default)]
    pub ipv4: Ipv4Conf,
}

/// Per-interface IPv4 settings (`/proc/sys/net/ipv4/conf/<if>/`), as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv4Conf {
    /// `arp_ignore`
    pub arp_ignore: u32,
    /// `arp_announce`
    pub arp_announce: u32,
    /// `rp_filter`
    pub rp_filter: u32,
    /// `promote_secondaries`
    pub promote_secondaries: u32,
}

impl Ipv4Conf {
    /// The value of one setting.
    #[must_use]
    pub fn get(&self, key: Ipv4Key) -> u32 {
        match key {
            Ipv4Key::ArpIgnore => self.arp_ignore,
            Ipv4Key::ArpAnnounce => self.arp_announce,
            Ipv4Key::PromoteSecondaries => self.promote_secondaries,
        }
    }

    /// Changes one setting.
    pub fn set(&mut self, key: Ipv4Key, value: u32) {
        match key {
            Ipv4Key::ArpIgnore => self.arp_ignore = value,
            Ipv4Key::ArpAnnounce => self.arp_announce = value,
            Ipv4Key::PromoteSecondaries => self.promote_secondaries = value,
        }
    }
}

/// The IPv4 settings that the agent may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ipv4Key {
    /// Which ARP requests are answered.
    ArpIgnore,
    /// Which source address ARP requests carry.
    ArpAnnounce,
    /// Whether a secondary address outlives its primary.
    PromoteSecondaries,
}

impl fmt::Display for Ipv4Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
            Self::PromoteSecondaries => "promote_secondaries",
        })
    }
}

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Interface index.
    pub ifindex: u32,
    /// Address with its prefix length (host bits kept).
    pub address: IpNet,
    /// IFA_F_NOPREFIXROUTE: the kernel makes no route to the subnet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noprefixroute: bool,
    /// IPv6 duplicate address detection failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dad_failed: bool,
    /// Who set it (IFA_PROTO, kernel 5.18+); 0 = not said.
    #[serde(default)]
    pub protocol: u8,
}

/// A unicast route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Table.
    pub table: u32,
    /// Destination; a length of 0 is the default route.
    pub dst: IpNet,
    /// Metric; for IPv4 part of the route's identity together with table and destination.
    #[serde(default)]
    pub metric: u32,
    /// Gateway; none = on link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Output interface; 0 when it has none or several (multipath).
    pub oif: u32,
    /// Preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// RTNH_F_ONLINK: the gateway is reached directly although no route says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// Who set it (`/etc/iproute2/rt_protos`).
    pub protocol: u8,
}

/// A policy rule of the shape that the agent uses. Others are kept only as far as they can be told apart from ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Lower is asked first.
    pub priority: u32,
    /// Source selector (`from`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNet>,
    /// The table that is asked; 0 when the rule does something else.
    pub table: u32,
    /// IPv6, for rules without a source selector.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
    /// Has selectors or an action beyond `from X lookup T`; never ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub complex: bool,
    /// Who set it (FRA_PROTOCOL).
    pub protocol: u8,
}

/// The main routing table.
pub const TABLE_MAIN: u32 = 254;

/// What the kernel has, from complete dumps. All of one network namespace, or exactly the links in `links` with their
/// addresses and routes when only these were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Links by index.
    pub links: BTreeMap<u32, Link>,
    /// Addresses, the kernel's order.
    pub addresses: Vec<Address>,
    /// Unicast routes of all tables but `local`.
    pub routes: Vec<Route>,
    /// Rules.
    pub rules: Vec<Rule>,
}

/// One change of the kernel's state: all that connects the planner with the kernel room.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Change a per-interface IPv4 setting.
    SetIpv4 {
        /// Interface index.
        ifindex: u32,
        /// Which.
        key: Ipv4Key,
        /// New value.
        value: u32,
    },
    /// Add an address, marked with our protocol.
    AddAddress(Address),
    /// Set the link administratively up.
    LinkUp {
        /// Interface index.
        ifindex: u32,
    },
    /// Add a route; never replaces another one.
    AddRoute(Route),
    /// Replace our own route that has the same table, destination and metric.
    ReplaceRoute(Route),
    /// Add a rule.
    AddRule(Rule),
    /// Remove one of our rules.
    DelRule(Rule),
    /// Remove one of our routes.
    DelRoute(Route),
    /// Remove one of our addresses.
    DelAddress(Address),
}

impl Step {
    /// The interface that it concerns; none for rules.
    #[must_use]
    pub fn ifindex(&self) -> Option<u32> {
        match self {
            Self::SetIpv4 { ifindex, .. } | Self::LinkUp { ifindex } => Some(*ifindex),
            Self::AddAddress(address) | Self::DelAddress(address) => Some(address.ifindex),
            Self::AddRoute(route) | Self::ReplaceRoute(route) | Self::DelRoute(route) => Some(route.oif),
            Self::AddRule(_) | Self::DelRule(_) => None,
        }
    }

    /// Whether it takes something away.
    #[must_use]
    pub fn removes(&self) -> bool {
        matches!(self, Self::DelAddress(_) | Self::DelRoute(_) | Self::DelRule(_))
    }
}

impl Step {
    /// The step in words; `name` gives an interface's name by its index.
    #[must_use]
    pub fn words(&self, name: impl Fn(u32) -> String) -> String {
        let via = |route: &Route| {
            let via = route.gateway.map_or_else(String::new, |g| format!(" via {g}"));
            let onlink = if route.onlink { " onlink" } else { "" };
            let source = route.source.map_or_else(String::new, |s| format!(" src {s}"));
            let table =
                if route.table == TABLE_MAIN { String::new() } else { format!(" table {}", route.table) };
            let dst = if route.dst.prefix_len() == 0 { "default".to_owned() } else { route.dst.to_string() };
            format!("{dst}{via} dev {}{onlink}{source} metric {}{table}", name(route.oif), route.metric)
        };
        let rule = |rule: &Rule| {
            let from = rule.from.map_or_else(|| "all".to_owned(), |f| f.to_string());
            format!("from {from} lookup {} priority {}", rule.table, rule.priority)
        };
        match self {
            Self::SetIpv4 { ifindex, key, value } => format!("set {key}={value} on {}", name(*ifindex)),
            Self::AddAddress(a) => {
                let flag = if a.noprefixroute { " noprefixroute" } else { "" };
                format!("add address {} dev {}{flag}", a.address, name(a.ifindex))
            }
            Self::LinkUp { ifindex } => format!("set {} up", name(*ifindex)),
            Self::AddRoute(r) => format!("add route {}", via(r)),
            Self::ReplaceRoute(r) => format!("replace route {}", via(r)),
            Self::AddRule(r) => format!("add rule {}", rule(r)),
            Self::DelRule(r) => format!("remove rule {}", rule(r)),
            Self::DelRoute(r) => format!("remove route {}", via(r)),
            Self::DelAddress(a) => format!("remove address {} dev {}", a.address, name(a.ifindex)),
        }
    }
}
