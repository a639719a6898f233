//! A convergence simulator: several nodes with the real engine, a model of the kernel, and a fate that breaks things.
//!
//! The model kernel keeps to what the real one does with addresses and routes (a primary address takes its secondaries along,
//! the last address takes the routes along, link down drops routes), so that plans have to cope with it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use dpu_ipam::{
    engine::{
        self, Inputs, Pass,
        assignment::{AssignedPool, Assignment, Standing},
        attach::Match,
        lease::{LeaseBook, PodHeld},
        plan::Owned,
    },
    model::{
        Address, Attachment, Binding, Ipv4Conf, Isolation, Labels, Link, Observed, PoolChoice, PoolKind,
        PoolRef, PoolSelector, Route, RoutingNumbers, Rule, SfMatch, Step, TABLE_MAIN, Timestamp,
    },
    pool::{self, Allocation, CidrPoolSpec, IpPoolSpec, Node, PoolSpec},
};
use proptest::prelude::*;

const NUMBERS: fn() -> RoutingNumbers = RoutingNumbers::default;
const QUARANTINE: Duration = Duration::from_secs(300);

// ---------------------------------------------------------------- the model kernel

#[derive(Debug, Clone, Default)]
struct Kernel {
    state: Observed,
    /// Before 5.18 the kernel does not keep who set an address.
    forgets: bool,
}

impl Kernel {
    fn add_link(&mut self, ifindex: u32, name: &str) {
        let link = Link {
            ifindex,
            name: name.parse().unwrap(),
            mac: None,
            up: false,
            carrier: true,
            mtu: 1500,
            kind: None,
            phys_port_name: None,
            parent_dev: None,
            ipv4: Ipv4Conf::default(),
        };
        self.state.links.insert(ifindex, link);
    }

    fn remove_link(&mut self, ifindex: u32) {
        self.state.links.remove(&ifindex);
        self.state.addresses.retain(|a| a.ifindex != ifindex);
        self.state.routes.retain(|r| r.oif != ifindex);
    }

    fn subnet_route(address: &Address) -> Route {
        Route {
            table: TABLE_MAIN,
            dst: address.address.trunc(),
            metric: 0,
            gateway: None,
            oif: address.ifindex,
            source: Some(address.address.addr()),
            onlink: false,
            protocol: 2,
        }
    }

    fn add_subnet_route(&mut self, address: &Address) {
        let route = Self::subnet_route(address);
        let has_one =
            self.state.routes.iter().any(|r| r.oif == route.oif && r.dst == route.dst && r.protocol == 2);
        let host = address.address.prefix_len() == address.address.max_prefix_len();
        if !address.noprefixroute && !host && !has_one && self.state.links[&address.ifindex].up {
            self.state.routes.push(route);
        }
    }

    fn del_address(&mut self, ifindex: u32, address: ipnet::IpNet) -> bool {
        let on_link = |a: &Address| a.ifindex == ifindex;
        let Some(at) = self.state.addresses.iter().position(|a| on_link(a) && a.address == address) else {
            return false;
        };
        let gone = self.state.addresses.remove(at);
        let same_subnet = |a: &Address| on_link(a) && a.address.trunc() == address.trunc();
        let was_primary = !self.state.addresses[..at].iter().any(same_subnet);
        if was_primary && self.state.links[&ifindex].ipv4.promote_secondaries == 0 {
            self.state.addresses.retain(|a| !same_subnet(a));
        }
        // Routes that name a vanished source go; so does the kernel's own route with the last address of its subnet.
        let left: Vec<Address> = self.state.addresses.iter().filter(|a| on_link(a)).cloned().collect();
        let has_source = |ip: IpAddr| left.iter().any(|a| a.address.addr() == ip);
        self.state.routes.retain(|r| r.oif != ifindex || r.source.is_none_or(&has_source));
        if let Some(next) = left.iter().find(|a| a.address.trunc() == gone.address.trunc()) {
            self.add_subnet_route(&next.clone());
        }
        if left.is_empty() {
            self.state.routes.retain(|r| r.oif != ifindex);
        }
        true
    }

    fn link_down(&mut self, ifindex: u32) {
        if let Some(link) = self.state.links.get_mut(&ifindex) {
            link.up = false;
            self.state.routes.retain(|r| r.oif != ifindex);
        }
    }

    fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::SetIpv4 { ifindex, key, value } => {
                self.state.links.get_mut(ifindex).ok_or("no such device")?.ipv4.set(*key, *value);
            }
            Step::LinkUp { ifindex } => {
                self.state.links.get_mut(ifindex).ok_or("no such device")?.up = true;
                for address in self.state.addresses.clone().iter().filter(|a| a.ifindex == *ifindex) {
                    self.add_subnet_route(address);
                }
            }
            Step::AddAddress(address) => {
                if !self.state.links.contains_key(&address.ifindex) {
                    return Err("no such device".into());
                }
                let same = |a: &Address| (a.ifindex, a.address) == (address.ifindex, address.address);
                if self.state.addresses.iter().any(same) {
                    return Err("exists".into());
                }
                let protocol = if self.forgets { 0 } else { address.protocol };
                self.state.addresses.push(Address { protocol, ..address.clone() });
                self.add_subnet_route(address);
            }
            Step::AddRoute(route) | Step::ReplaceRoute(route) => {
                let link = self.state.links.get(&route.oif).ok_or("no such device")?;
                if !link.up {
                    return Err("network is down".into());
                }
                let mine = |a: &&Address| a.ifindex == route.oif;
                let addresses: Vec<&Address> = self.state.addresses.iter().filter(mine).collect();
                if route.source.is_some_and(|s| !addresses.iter().any(|a| a.address.addr() == s)) {
                    return Err("invalid source".into());
                }
                let key = |r: &Route| (r.table, r.dst, r.metric);
                let taken = self.state.routes.iter().position(|r| key(r) == key(route));
                match (step, taken) {
                    (Step::AddRoute(_), Some(_)) => return Err("exists".into()),
                    (_, Some(at)) => self.state.routes[at] = route.clone(),
                    (_, None) => self.state.routes.push(route.clone()),
                }
            }
            Step::AddRule(rule) => self.state.rules.push(rule.clone()),
            Step::DelRule(rule) => {
                let at = self.state.rules.iter().position(|r| r == rule).ok_or("not found")?;
                self.state.rules.remove(at);
            }
            Step::DelRoute(route) | Step::DelSubnetRoute(route) => self.state.routes.retain(|r| r != route),
            Step::DelAddress(address) => {
                self.del_address(address.ifindex, address.address);
            }
        }
        Ok(())
    }
}

// ---------------------------------------------------------------- a node

const FOREIGN_LINK: u32 = 1;

#[derive(Debug, Clone, Default)]
struct Stored {
    book: LeaseBook,
    owned: Owned,
    assignment: Option<Assignment>,
}

#[derive(Debug, Clone)]
struct NodeSim {
    name: String,
    kernel: Kernel,
    store: Stored,
    bindings: Vec<Binding>,
    next_ifindex: u32,
    /// Who held an address last, and when; for the quarantine.
    holders: HashMap<IpAddr, (String, u64)>,
}

/// What the agent did not put into the kernel; it must never change by a pass.
#[derive(Debug, Clone, Default, PartialEq)]
struct Foreign {
    addresses: Vec<Address>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
}

fn binding(number: usize, isolation: Isolation, index: Option<u32>) -> Binding {
    Binding {
        name: format!("sf{number}").parse().unwrap(),
        sf: SfMatch { netdev: Some(format!("sf{number}").parse().unwrap()), ..SfMatch::default() },
        pool: PoolChoice::Pools(vec![PoolSelector::Labels(labels())]),
        index,
        isolation,
    }
}

fn labels() -> Labels {
    Labels::from([("svc.dpu.nvidia.com/pool".to_owned(), "p".to_owned())])
}

impl NodeSim {
    fn new(name: &str, bindings: Vec<Binding>) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            kernel: Kernel::default(),
            store: Stored::default(),
            bindings,
            next_ifindex: 10,
            holders: HashMap::new(),
        };
        node.kernel.add_link(FOREIGN_LINK, "oob_net0");
        node.kernel.state.links.get_mut(&FOREIGN_LINK).unwrap().up = true;
        for number in 0..4 {
            node.create_sf(number);
        }
        node.disturb_foreign();
        node
    }

    fn create_sf(&mut self, number: usize) {
        let name = format!("sf{number}");
        if self.kernel.state.links.values().all(|l| l.name.as_str() != name) {
            self.kernel.add_link(self.next_ifindex, &name);
            self.next_ifindex += 1;
        }
    }

    fn sf(&self, number: usize) -> Option<u32> {
        let name = format!("sf{number}");
        self.kernel.state.links.values().find(|l| l.name.as_str() == name).map(|l| l.ifindex)
    }

    /// Puts foreign things where the agent has nothing to do.
    fn disturb_foreign(&mut self) {
        self.foreign_address(FOREIGN_LINK, "172.16.0.5/24");
        let route = Route {
            table: TABLE_MAIN,
            dst: "0.0.0.0/0".parse().unwrap(),
            metric: 0,
            gateway: Some("172.16.0.1".parse().unwrap()),
            oif: FOREIGN_LINK,
            source: None,
            onlink: false,
            protocol: 16,
        };
        self.kernel.state.routes.push(route);
        self.kernel.state.rules.push(Rule {
            priority: 31_000,
            from: Some("172.16.0.5/32".parse().unwrap()),
            table: 60,
            ipv6: false,
            complex: false,
            protocol: 4,
        });
    }

    /// An administrator's address.
    fn foreign_address(&mut self, ifindex: u32, address: &str) {
        let address = Address {
            ifindex,
            address: address.parse().unwrap(),
            noprefixroute: false,
            dad_failed: false,
            protocol: 0,
        };
        let _ = self.kernel.apply(&Step::AddAddress(address));
    }

    fn is_ours(&self, address: &Address) -> bool {
        self.store.owned.has(address, &NUMBERS())
    }

    fn foreign(&self) -> Foreign {
        let state = &self.kernel.state;
        let addresses: Vec<_> = state.addresses.iter().filter(|a| !self.is_ours(a)).cloned().collect();
        // A kernel's route belongs to whoever set the address that it is for.
        let of_foreign = |r: &Route| {
            r.source.is_some_and(|s| addresses.iter().any(|a| (a.ifindex, a.address.addr()) == (r.oif, s)))
        };
        let ours = |r: &&Route| r.protocol == NUMBERS().protocol || (r.protocol == 2 && !of_foreign(r));
        let routes = state.routes.iter().filter(|r| !ours(r)).cloned().collect();
        let rules = state.rules.iter().filter(|r| r.protocol != NUMBERS().protocol).cloned().collect();
        Foreign { addresses, routes, rules }
    }

    fn matches(&self) -> BTreeMap<dpu_ipam::model::BindingName, Match> {
        let links = &self.kernel.state.links;
        self.bindings
            .iter()
            .map(|b| {
                let found = links.values().find(|l| Some(&l.name) == b.sf.netdev.as_ref());
                let found = found.map_or(Match::Absent { why: "not there".into() }, |l| {
                    Match::Found(Attachment {
                        netdev: l.name.clone(),
                        ifindex: l.ifindex,
                        mac: None,
                        pci: None,
                        sfnum: None,
                    })
                });
                (b.name.clone(), found)
            })
            .collect()
    }

    fn compute(&self, fresh: &Assignment, now: Timestamp) -> (Pass, Assignment) {
        let empty = Assignment::empty(fresh.node.clone());
        let matches = self.matches();
        let book = self.store.book.clone();
        let in_use = book.pools();
        let assignment = fresh.clone().succeed(self.store.assignment.as_ref().unwrap_or(&empty), &in_use);
        let pass = engine::pass(&Inputs {
            bindings: &self.bindings,
            numbers: &NUMBERS(),
            quarantine: QUARANTINE,
            assignment: &assignment,
            book: &book,
            owned: &self.store.owned,
            matches: &matches,
            observed: &self.kernel.state,
            pods: &PodHeld::new(),
            now,
        });
        (pass, assignment)
    }

    /// One pass as the agent makes it, cut off after `steps` steps.
    fn pass(&mut self, fresh: &Assignment, now: Timestamp, steps: usize) {
        let foreign = self.foreign();
        self.steps(fresh, now, steps);
        self.assert_foreign_untouched(&foreign);
        self.assert_quarantine(now.0);
    }

    fn steps(&mut self, fresh: &Assignment, now: Timestamp, steps: usize) {
        let mut left = steps;
        for _ in 0..4 {
            let (pass, assignment) = self.compute(fresh, now);
            let owned = pass.plan.owned.unwrap_or_else(|| self.store.owned.clone());
            self.store = Stored { book: pass.book, owned, assignment: Some(assignment) };
            if pass.plan.steps.is_empty() {
                return;
            }
            for step in &pass.plan.steps {
                if left == 0 {
                    return;
                }
                left -= 1;
                let _ = self.kernel.apply(step);
            }
        }
    }

    fn assert_foreign_untouched(&self, before: &Foreign) {
        let after = self.foreign();
        for address in &before.addresses {
            assert!(after.addresses.contains(address), "{}: foreign address {address:?} is gone", self.name);
        }
        for route in &before.routes {
            assert!(after.routes.contains(route), "{}: foreign route {route:?} is gone", self.name);
        }
        for rule in &before.rules {
            assert!(after.rules.contains(rule), "{}: foreign rule {rule:?} is gone", self.name);
        }
    }

    /// No address goes from one binding to another before it has rested.
    fn assert_quarantine(&mut self, now: u64) {
        for lease in &self.store.book.leases {
            let holder = lease.binding.to_string();
            if let Some((before, when)) = self.holders.insert(lease.address, (holder.clone(), now)) {
                let rested = before == holder || now >= when + QUARANTINE.as_secs();
                assert!(rested, "{}: {} went from {before} to {holder} at once", self.name, lease.address);
            }
        }
    }
}

// ---------------------------------------------------------------- the cluster

#[derive(Debug, Clone)]
struct Cluster {
    pools: BTreeMap<PoolKind, (PoolSpec, Vec<Allocation>)>,
    nodes: Vec<NodeSim>,
    now: Timestamp,
}

fn ip_pool() -> PoolSpec {
    PoolSpec::IpPool(IpPoolSpec {
        subnet: "192.168.0.0/20".into(),
        per_node_block_size: 8,
        gateway: "192.168.0.1".into(),
        default_gateway: true,
        ..IpPoolSpec::default()
    })
}

fn cidr_pool() -> PoolSpec {
    PoolSpec::CidrPool(CidrPoolSpec {
        cidr: "10.9.0.0/20".into(),
        per_node_network_prefix: 28,
        gateway_index: Some(1),
        routes: vec!["10.77.0.0/16".into()],
        ..CidrPoolSpec::default()
    })
}

impl Cluster {
    fn new(nodes: usize, isolation: Isolation) -> Self {
        let nodes = (0..nodes)
            .map(|n| NodeSim::new(&format!("n{n}"), (0..3).map(|b| binding(b, isolation, None)).collect()))
            .collect();
        Self { pools: BTreeMap::new(), nodes, now: Timestamp(1_000_000) }
    }

    fn add_pool(&mut self, spec: PoolSpec) {
        let nodes: Vec<Node> =
            self.nodes.iter().map(|n| Node { name: n.name.clone(), labels: Labels::new() }).collect();
        let split = pool::split("p", &spec, None, &nodes);
        self.pools.insert(spec.kind(), (spec, split.allocations));
    }

    fn assignment(&self, node: &str) -> Assignment {
        let mut pools: Vec<AssignedPool> = self
            .pools
            .iter()
            .map(|(kind, (spec, allocations))| AssignedPool {
                pool: PoolRef { kind: *kind, namespace: "dpf-operator-system".into(), name: "p".into() },
                labels: labels(),
                slice: allocations
                    .iter()
                    .find(|a| a.node_name() == node)
                    .map(|a| pool::slice(spec, a).expect("the split gives slices")),
                standing: Standing::Current,
            })
            .collect();
        pools.sort_by(|a, b| a.pool.cmp(&b.pool));
        Assignment { pools, ..Assignment::empty(node.parse().unwrap()) }
    }

    fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            let assignment = self.assignment(&self.nodes[at].name);
            let now = self.now;
            self.nodes[at].pass(&assignment, now, usize::MAX);
        }
    }

    /// After `settle`: every invariant that can be seen from outside.
    fn check(&self) {
        let mut owners: HashMap<IpAddr, String> = HashMap::new();
        for node in &self.nodes {
            let (pass, _) = node.compute(&self.assignment(&node.name), self.now);
            assert!(pass.plan.steps.is_empty(), "{} does not converge: {:#?}", node.name, pass.plan.steps);
            assert_eq!(pass.book, node.store.book, "{}: leases change although nothing did", node.name);
            for lease in &node.store.book.leases {
                let owner = format!("{}/{}", node.name, lease.binding);
                if let Some(other) = owners.insert(lease.address, owner.clone()) {
                    panic!("{} is held by {other} and {owner}", lease.address);
                }
            }
            // What stands on the SFs is exactly what is leased, where the SF is there.
            let leased: BTreeSet<IpAddr> = node.store.book.leases.iter().map(|l| l.address).collect();
            let ours = node.kernel.state.addresses.iter().filter(|a| node.is_ours(a));
            let standing: BTreeSet<IpAddr> = ours.map(|a| a.address.addr()).collect();
            assert!(standing.is_subset(&leased), "{}: {standing:?} stands, {leased:?} is leased", node.name);
            for (binding, lease) in node.store.book.leases.iter().map(|l| (&l.binding, l)) {
                let sf = node.bindings.iter().find(|b| b.name == *binding).and_then(|b| b.sf.netdev.as_ref());
                let present = node.kernel.state.links.values().any(|l| Some(&l.name) == sf);
                assert_eq!(present, standing.contains(&lease.address), "{}: {lease:?}", node.name);
            }
        }
    }

    fn addresses(&self) -> Vec<BTreeMap<String, IpAddr>> {
        let of =
            |n: &NodeSim| n.store.book.leases.iter().map(|l| (l.binding.to_string(), l.address)).collect();
        self.nodes.iter().map(of).collect()
    }
}

// ---------------------------------------------------------------- fate

#[derive(Debug, Clone)]
enum Fate {
    DeleteAddress(usize, usize),
    DeleteRoute(usize, usize),
    DeleteRule(usize, usize),
    FlushTables(usize),
    LinkDown(usize, usize),
    RemoveSf(usize, usize),
    CreateSf(usize, usize),
    RemoveBinding(usize, usize),
    RestoreBindings(usize),
    RemovePool,
    Subnet,
    Network,
    LoseStore(usize),
    CrashAfter(usize, usize),
    Later(u64),
    ForeignAddress(usize, usize, bool),
    NewBinding(usize, usize),
}

fn fates() -> impl Strategy<Value = Fate> {
    let n = 0..3usize;
    prop_oneof![
        (n.clone(), 0..8usize).prop_map(|(a, b)| Fate::DeleteAddress(a, b)),
        (n.clone(), 0..12usize).prop_map(|(a, b)| Fate::DeleteRoute(a, b)),
        (n.clone(), 0..4usize).prop_map(|(a, b)| Fate::DeleteRule(a, b)),
        n.clone().prop_map(Fate::FlushTables),
        (n.clone(), 0..4usize).prop_map(|(a, b)| Fate::LinkDown(a, b)),
        (n.clone(), 0..4usize).prop_map(|(a, b)| Fate::RemoveSf(a, b)),
        (n.clone(), 0..4usize).prop_map(|(a, b)| Fate::CreateSf(a, b)),
        (n.clone(), 0..3usize).prop_map(|(a, b)| Fate::RemoveBinding(a, b)),
        n.clone().prop_map(Fate::RestoreBindings),
        Just(Fate::RemovePool),
        Just(Fate::Subnet),
        Just(Fate::Network),
        n.clone().prop_map(Fate::LoseStore),
        (n, 0..12usize).prop_map(|(a, b)| Fate::CrashAfter(a, b)),
        (1..600u64).prop_map(Fate::Later),
        (0..3usize, 0..4usize, any::<bool>()).prop_map(|(a, b, c)| Fate::ForeignAddress(a, b, c)),
        (0..3usize, 0..3usize).prop_map(|(a, b)| Fate::NewBinding(a, b)),
    ]
}

/// Does not count as foreign: what the agent or the kernel itself put there.
fn removable(protocol: u8) -> bool {
    protocol == NUMBERS().protocol || protocol == 2
}

impl Cluster {
    fn suffer(&mut self, fate: &Fate, isolation: Isolation) {
        match fate {
            Fate::DeleteAddress(n, which) => {
                let kernel = &mut self.nodes[*n].kernel;
                let ours: Vec<Address> = kernel
                    .state
                    .addresses
                    .iter()
                    .filter(|a| a.protocol == NUMBERS().protocol)
                    .cloned()
                    .collect();
                if let Some(a) = ours.get(*which) {
                    kernel.del_address(a.ifindex, a.address);
                }
            }
            Fate::DeleteRoute(n, which) => {
                let routes = &mut self.nodes[*n].kernel.state.routes;
                let ours: Vec<usize> = (0..routes.len())
                    .filter(|i| removable(routes[*i].protocol) && routes[*i].oif != FOREIGN_LINK)
                    .collect();
                if let Some(at) = ours.get(*which) {
                    routes.remove(*at);
                }
            }
            Fate::DeleteRule(n, which) => {
                let rules = &mut self.nodes[*n].kernel.state.rules;
                let ours: Vec<usize> = (0..rules.len()).filter(|i| removable(rules[*i].protocol)).collect();
                if let Some(at) = ours.get(*which) {
                    rules.remove(*at);
                }
            }
            Fate::FlushTables(n) => {
                let base = NUMBERS().table_base;
                self.nodes[*n].kernel.state.routes.retain(|r| r.table < base);
            }
            Fate::LinkDown(n, sf) => {
                if let Some(ifindex) = self.nodes[*n].sf(*sf) {
                    self.nodes[*n].kernel.link_down(ifindex);
                }
            }
            Fate::RemoveSf(n, sf) => {
                if let Some(ifindex) = self.nodes[*n].sf(*sf) {
                    self.nodes[*n].kernel.remove_link(ifindex);
                }
            }
            Fate::CreateSf(n, sf) => self.nodes[*n].create_sf(*sf),
            Fate::RemoveBinding(n, which) => {
                let bindings = &mut self.nodes[*n].bindings;
                if *which < bindings.len() {
                    bindings.remove(*which);
                }
            }
            Fate::RestoreBindings(n) => {
                self.nodes[*n].bindings = (0..3).map(|b| binding(b, isolation, None)).collect();
            }
            Fate::RemovePool => self.pools.clear(),
            Fate::Subnet => {
                self.pools.clear();
                self.add_pool(ip_pool());
            }
            Fate::Network => {
                self.pools.clear();
                self.add_pool(cidr_pool());
            }
            Fate::LoseStore(n) => {
                // A store is lost while the agent is away. (With the pool away as well, it could only leave all as it is.)
                if !self.pools.is_empty() && !self.nodes[*n].kernel.forgets {
                    self.nodes[*n].store = Stored::default();
                    self.nodes[*n].holders.clear();
                    let assignment = self.assignment(&self.nodes[*n].name);
                    let now = self.now;
                    self.nodes[*n].pass(&assignment, now, usize::MAX);
                }
            }
            Fate::CrashAfter(n, steps) => {
                let assignment = self.assignment(&self.nodes[*n].name);
                let now = self.now;
                self.nodes[*n].pass(&assignment, now, *steps);
            }
            Fate::Later(seconds) => self.now.0 += seconds,
            Fate::ForeignAddress(n, sf, subnet) => {
                // In the subnets of the pools, and of no node's slice.
                let address = if *subnet { "192.168.15.250/20" } else { "10.9.15.250/28" };
                if let Some(ifindex) = self.nodes[*n].sf(*sf) {
                    self.nodes[*n].foreign_address(ifindex, address);
                }
            }
            Fate::NewBinding(n, which) => {
                // Another binding in the place of one that goes with it.
                let node = &mut self.nodes[*n];
                if let Some(old) = node.bindings.get_mut(*which) {
                    let sf = old.sf.netdev.as_ref().unwrap();
                    old.name = format!("new-{sf}").parse().unwrap();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Whatever happens: apply converges, is idempotent, never doubles an address, never touches what is foreign.
    #[test]
    fn converges_and_keeps_the_invariants(
        isolation in prop_oneof![Just(Isolation::Auto), Just(Isolation::None), Just(Isolation::Source)],
        forgets in any::<bool>(),
        fate in prop::collection::vec((fates(), any::<bool>()), 1..25),
    ) {
        let mut cluster = Cluster::new(3, isolation);
        for node in &mut cluster.nodes {
            node.kernel.forgets = forgets;
        }
        cluster.add_pool(ip_pool());
        cluster.settle();
        cluster.check();
        for (fate, settle) in &fate {
            cluster.suffer(fate, isolation);
            // Sometimes several blows fall before the agent looks.
            if *settle {
                cluster.settle();
                cluster.check();
            }
        }
        cluster.settle();
        cluster.check();
    }

    /// The same pool added again gives every binding the address that it had, whatever happened to SFs in between.
    #[test]
    fn a_pool_added_again_gives_the_same_addresses(
        blows in prop::collection::vec((0..3usize, 0..4usize, any::<bool>()), 0..6),
    ) {
        let mut cluster = Cluster::new(3, Isolation::Auto);
        cluster.add_pool(ip_pool());
        cluster.settle();
        let before = cluster.addresses();
        cluster.pools.clear();
        cluster.settle();
        cluster.check();
        prop_assert_eq!(&cluster.addresses(), &before, "removing the pool disturbed somebody");
        for (node, sf, gone) in blows {
            let fate = if gone { Fate::RemoveSf(node, sf) } else { Fate::CreateSf(node, sf) };
            cluster.suffer(&fate, Isolation::Auto);
            cluster.settle();
            cluster.check();
        }
        cluster.add_pool(ip_pool());
        cluster.settle();
        cluster.check();
        prop_assert_eq!(&cluster.addresses(), &before);
    }
}

#[test]
fn a_change_of_mode_moves_every_binding_once_and_back() {
    let mut cluster = Cluster::new(3, Isolation::Auto);
    cluster.add_pool(ip_pool());
    cluster.settle();
    let subnet = cluster.addresses();
    cluster.suffer(&Fate::Network, Isolation::Auto);
    cluster.settle();
    cluster.check();
    let network = cluster.addresses();
    assert!(network.iter().flat_map(BTreeMap::values).all(|a| a.to_string().starts_with("10.9.")));
    cluster.suffer(&Fate::Subnet, Isolation::Auto);
    cluster.settle();
    cluster.check();
    assert_eq!(cluster.addresses(), subnet, "every binding has its old address back");
}

#[test]
fn an_empty_store_gives_the_same_answer_again() {
    let mut cluster = Cluster::new(2, Isolation::Auto);
    cluster.add_pool(ip_pool());
    cluster.settle();
    let before = cluster.addresses();
    for node in &mut cluster.nodes {
        // A reflash: the store is empty and so is the kernel.
        *node = NodeSim::new(&node.name.clone(), node.bindings.clone());
    }
    cluster.settle();
    cluster.check();
    assert_eq!(cluster.addresses(), before);
}
