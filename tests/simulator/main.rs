//! A convergence simulator: several nodes with the real engine, a model of the kernel, and a fate that breaks things.
//!
//! The model kernel keeps to what the real one does with addresses and routes (a primary address takes its secondaries along,
//! the last address takes the routes along, link down drops routes), so that plans have to cope with it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod fate;
mod kernel;
mod node;

use std::{collections::BTreeMap, time::Duration};

use dpu_ipam::model::{Isolation, RoutingNumbers};
use proptest::prelude::*;

use cluster::{Cluster, ip_pool};
use fate::{Fate, fates};
use node::NodeSim;

const NUMBERS: fn() -> RoutingNumbers = RoutingNumbers::default;
const QUARANTINE: Duration = Duration::from_secs(300);

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
