//! The desired state: addresses, routes, rules and link settings that the leases ask for.
//!
//! An SF alone in its subnet gets a plain address and the kernel's own route to the subnet. SFs that share a subnet (or ask for
//! it) are isolated by source: each has a table of its own, with the subnet and all else by the gateway, that a rule chooses by
//! source address, and answers ARP only for its own address. Where several routes of one table have the same destination their
//! metrics follow the order of the configuration, so that unbound traffic takes the first binding, never a random one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    Inputs,
    assignment::Assignment,
    attach::Match,
    lease::{Grant, LeaseBook, Trouble},
    want::WantError,
};
use crate::model::{Binding, Ipv4Key, Isolation, Route, RoutingNumbers, Rule, Slice, TABLE_MAIN};

/// What the kernel should have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Per interface index; only interfaces of bindings.
    pub links: BTreeMap<u32, DesiredLink>,
    /// Rules.
    pub rules: Vec<Rule>,
    /// Addresses of leases that have no interface at present: whatever stands for them in the kernel stays.
    pub unplaced: BTreeSet<IpAddr>,
    /// Grants whose lease is not put on its interface, with the reason.
    pub refused: BTreeMap<usize, Refusal>,
}

/// What one interface should have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredLink {
    /// Addresses.
    pub addresses: Vec<DesiredAddress>,
    /// Routes, all with this interface as output.
    pub routes: Vec<Route>,
    /// IPv4 settings.
    pub settings: BTreeMap<Ipv4Key, u32>,
    /// Too little is known to tell what should be here: nothing is removed.
    pub hold: bool,
}

/// An address that an interface should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredAddress {
    /// The address with its length.
    pub address: IpNet,
    /// The kernel makes the plain route to the subnet together with the address; this one, of ours, stands in for it where it
    /// is missing. `None`: the kernel must not make one (isolation), or there is none to make (/32, /128).
    pub subnet_route: Option<Route>,
}

/// Why a lease is not put on its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another interface, or a foreign hand on another interface, has the address.
    Elsewhere {
        /// The address.
        address: IpAddr,
        /// Index of that interface.
        ifindex: u32,
        /// Its name.
        netdev: String,
    },
    /// The slice is not known (any more), so neither are mask and routes.
    NoSlice,
}

/// Settings of an isolated interface: answer ARP for the own address only, and ask with it.
const ISOLATED: [(Ipv4Key, u32); 2] = [(Ipv4Key::ArpIgnore, 1), (Ipv4Key::ArpAnnounce, 2)];

/// A lease with all that is known about it.
struct Placed<'a> {
    grant: usize,
    binding: &'a Binding,
    address: IpAddr,
    slice: &'a Slice,
    default_route: bool,
    table: u32,
    isolated: bool,
}

/// The state that `grants` ask for.
#[must_use]
pub fn desired(inputs: &Inputs<'_>, book: &LeaseBook, grants: &[Grant]) -> Desired {
    let Inputs { bindings, numbers, assignment, owned, matches, observed, .. } = *inputs;
    let mut desired = Desired::default();
    let foreign = observed.addresses.iter().filter(|a| !owned.has(a, numbers));
    let mut foreign: Vec<(IpAddr, u32)> = foreign.map(|a| (a.address.addr(), a.ifindex)).collect();
    foreign.sort_unstable();
    let mut metrics = Metrics::new(numbers.metric);
    for placed in place(bindings, grants, book, assignment, numbers, &mut desired) {
        // Metrics are counted for absent SFs as well: one that comes late changes nothing for the others.
        let (link, rule) = placed.wants(numbers, &mut metrics);
        let Some(Match::Found(sf)) = matches.get(&placed.binding.name) else {
            desired.unplaced.insert(placed.address);
            continue;
        };
        let from = foreign.partition_point(|(address, _)| *address < placed.address);
        let holders = foreign[from..].iter().take_while(|(address, _)| *address == placed.address);
        match holders.map(|(_, ifindex)| ifindex).find(|ifindex| **ifindex != sf.ifindex) {
            Some(ifindex) => {
                let netdev = observed.links.get(ifindex).map_or_else(String::new, |l| l.name.to_string());
                let refusal = Refusal::Elsewhere { address: placed.address, ifindex: *ifindex, netdev };
                desired.refused.insert(placed.grant, refusal);
                desired.unplaced.insert(placed.address);
                desired.links.entry(sf.ifindex).or_default().hold = true;
            }
            None => {
                desired.links.entry(sf.ifindex).or_default().join(link, sf.ifindex);
                desired.rules.extend(rule);
            }
        }
    }
    for grant in grants.iter().filter(|g| g.lease.is_none()) {
        // Nothing is known of what this binding should have (a store that was lost, say): leave what it has.
        let unknown = matches!(
            grant.trouble,
            Some(Trouble::Want(
                WantError::NoPool { .. } | WantError::NoPort { .. } | WantError::NoSlice { .. }
            ))
        );
        if let (true, Some(Match::Found(sf))) = (unknown, matches.get(&bindings[grant.binding].name)) {
            desired.links.entry(sf.ifindex).or_default().hold = true;
        }
    }
    desired
}

/// Every lease with its slice, table and whether it is isolated. All of it follows from the leases and the
/// configuration, not from which SFs are present, so that an SF that comes late changes nothing for the others.
fn place<'a>(
    bindings: &'a [Binding],
    grants: &[Grant],
    book: &LeaseBook,
    assignment: &'a Assignment,
    numbers: &RoutingNumbers,
    desired: &mut Desired,
) -> Vec<Placed<'a>> {
    let mut all = Vec::with_capacity(grants.len());
    let mut sharing: HashMap<IpNet, u32> = HashMap::new();
    for (index, grant) in grants.iter().enumerate() {
        let Some(lease) = &grant.lease else { continue };
        let Some(slice) = assignment.pool(&lease.pool).and_then(|p| p.slice.as_ref()) else {
            desired.refused.insert(index, Refusal::NoSlice);
            desired.unplaced.insert(lease.address);
            continue;
        };
        let binding = &bindings[grant.binding];
        *sharing.entry(slice.network).or_default() += 1;
        let slot = book.slots.get(&binding.name).copied().unwrap_or_default();
        all.push(Placed {
            grant: index,
            binding,
            address: lease.address,
            slice,
            default_route: grant.default_route,
            table: numbers.table_base + u32::from(slot),
            isolated: false,
        });
    }
    for placed in &mut all {
        placed.isolated = match placed.binding.isolation {
            Isolation::None => false,
            Isolation::Source => true,
            Isolation::Auto => sharing[&placed.slice.network] > 1,
        };
    }
    all
}

/// Gives each further route to the same destination in the same table a higher metric.
struct Metrics {
    base: u32,
    used: HashMap<(u32, IpNet), u32>,
}

impl Metrics {
    fn new(base: u32) -> Self {
        Self { base, used: HashMap::new() }
    }

    fn next(&mut self, table: u32, dst: IpNet) -> u32 {
        let count = self.used.entry((table, dst)).or_default();
        *count += 1;
        self.base + *count - 1
    }
}

impl DesiredLink {
    fn join(&mut self, other: Self, oif: u32) {
        let on_link = |route| Route { oif, ..route };
        self.addresses.extend(
            other
                .addresses
                .into_iter()
                .map(|a| DesiredAddress { subnet_route: a.subnet_route.map(on_link), ..a }),
        );
        self.routes.extend(other.routes.into_iter().map(on_link));
        self.settings.extend(other.settings);
    }
}

impl Placed<'_> {
    /// What the lease asks of its interface (routes still without one), and its rule.
    fn wants(&self, numbers: &RoutingNumbers, metrics: &mut Metrics) -> (DesiredLink, Option<Rule>) {
        let network = self.slice.network;
        let host_only = network.prefix_len() == network.max_prefix_len();
        let mut route = |table, dst, gateway: Option<IpAddr>| Route {
            table,
            dst,
            metric: metrics.next(table, dst),
            gateway,
            oif: 0,
            // IPv6 prefers the addresses of the outgoing interface anyway (RFC 6724, rule 5), and refuses a source that is
            // still under duplicate address detection.
            source: (self.isolated && self.address.is_ipv4()).then_some(self.address),
            onlink: gateway.is_some_and(|g| host_only || !network.contains(&g)),
            protocol: numbers.protocol,
        };
        let mut link = DesiredLink::default();
        let subnet_route = (!host_only).then(|| route(TABLE_MAIN, network, None));
        if let (true, Some(main)) = (self.isolated, &subnet_route) {
            link.routes.extend([main.clone(), route(self.table, network, None)]);
        }
        // A binding that *is* the gateway has no way via itself.
        let gateway = self.slice.gateway.filter(|g| *g != self.address);
        let default = default_route(self.address);
        if gateway.is_some() {
            let extra = (self.default_route && !self.slice.routes.contains(&default)).then_some(default);
            for dst in self.slice.routes.iter().copied().chain(extra) {
                link.routes.push(route(TABLE_MAIN, dst, gateway));
            }
            if self.isolated {
                // Answers to whoever reached this address by its gateway go back by it.
                link.routes.push(route(self.table, default, gateway));
            }
        }
        let address = with_length_of(self.address, network);
        link.addresses
            .push(DesiredAddress { address, subnet_route: subnet_route.filter(|_| !self.isolated) });
        if self.isolated && self.address.is_ipv4() {
            link.settings.extend(ISOLATED);
        }
        let rule = self.isolated.then(|| Rule {
            priority: numbers.rule_priority,
            from: Some(self.address.into()),
            table: self.table,
            ipv6: self.address.is_ipv6(),
            complex: false,
            protocol: numbers.protocol,
        });
        (link, rule)
    }
}

fn with_length_of(address: IpAddr, network: IpNet) -> IpNet {
    IpNet::new(address, network.prefix_len()).unwrap_or_else(|_| address.into())
}

fn default_route(like: IpAddr) -> IpNet {
    match like {
        IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}
