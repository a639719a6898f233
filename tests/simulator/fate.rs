//! What can happen to a cluster.

use dpu_ipam::model::{Address, Isolation};
use proptest::prelude::*;

use super::{
    NUMBERS,
    cluster::{Cluster, cidr_pool, ip_pool},
    node::{FOREIGN_LINK, Stored, binding},
};

#[derive(Debug, Clone)]
pub(crate) enum Fate {
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

pub(crate) fn fates() -> impl Strategy<Value = Fate> {
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
pub(crate) fn removable(protocol: u8) -> bool {
    protocol == NUMBERS().protocol || protocol == 2
}

impl Cluster {
    pub(crate) fn suffer(&mut self, fate: &Fate, isolation: Isolation) {
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
