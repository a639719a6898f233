//! Several nodes with the same pools, and everything that must hold after they looked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use dpu_ipam::{
    engine::assignment::{AssignedPool, Assignment, Standing},
    model::{Isolation, Labels, PoolKind, PoolRef, Timestamp},
    pool::{self, Allocation, CidrPoolSpec, IpPoolSpec, Node, PoolSpec},
};

use super::node::{NodeSim, binding, labels};

#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) pools: BTreeMap<PoolKind, (PoolSpec, Vec<Allocation>)>,
    pub(crate) nodes: Vec<NodeSim>,
    pub(crate) now: Timestamp,
}

pub(crate) fn ip_pool() -> PoolSpec {
    PoolSpec::IpPool(IpPoolSpec {
        subnet: "192.168.0.0/20".into(),
        per_node_block_size: 8,
        gateway: "192.168.0.1".into(),
        default_gateway: true,
        ..IpPoolSpec::default()
    })
}

pub(crate) fn cidr_pool() -> PoolSpec {
    PoolSpec::CidrPool(CidrPoolSpec {
        cidr: "10.9.0.0/20".into(),
        per_node_network_prefix: 28,
        gateway_index: Some(1),
        routes: vec!["10.77.0.0/16".into()],
        ..CidrPoolSpec::default()
    })
}

impl Cluster {
    pub(crate) fn new(nodes: usize, isolation: Isolation) -> Self {
        let nodes = (0..nodes)
            .map(|n| NodeSim::new(&format!("n{n}"), (0..3).map(|b| binding(b, isolation, None)).collect()))
            .collect();
        Self { pools: BTreeMap::new(), nodes, now: Timestamp(1_000_000) }
    }

    pub(crate) fn add_pool(&mut self, spec: PoolSpec) {
        let nodes: Vec<Node> =
            self.nodes.iter().map(|n| Node { name: n.name.clone(), labels: Labels::new() }).collect();
        let split = pool::split("p", &spec, None, &nodes);
        self.pools.insert(spec.kind(), (spec, split.allocations));
    }

    pub(crate) fn assignment(&self, node: &str) -> Assignment {
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

    pub(crate) fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            let assignment = self.assignment(&self.nodes[at].name);
            let now = self.now;
            self.nodes[at].pass(&assignment, now, usize::MAX);
        }
    }

    /// After `settle`: every invariant that can be seen from outside.
    pub(crate) fn check(&self) {
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

    pub(crate) fn addresses(&self) -> Vec<BTreeMap<String, IpAddr>> {
        let of =
            |n: &NodeSim| n.store.book.leases.iter().map(|l| (l.binding.to_string(), l.address)).collect();
        self.nodes.iter().map(of).collect()
    }
}
