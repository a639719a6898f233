//! How long the split of one pool takes: nobody has an entry (cold), everybody has one (unchanged), one more node.
//! Beside it, in the same run, a peer that works like nv-ipam: prefixes as texts, each compared with all the others.

#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::{
    hint::black_box,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use dpu_ipam::pool::{Allocation, CidrPoolSpec, IpPoolSpec, Node, PoolSpec, split};

const COUNTS: [usize; 3] = [1_000, 10_000, 100_000];
/// The peer needs minutes above.
const PEER_COUNTS: [usize; 2] = [1_000, 10_000];

fn main() {
    println!(
        "{:<16} {:>8} {:>12} {:>14} {:>17}",
        "kind", "nodes", "cold ms", "unchanged ms", "one more node ms"
    );
    for (kind, spec) in [("IPPool", ip_pool()), ("CIDRPool", cidr_pool())] {
        for count in COUNTS {
            row(kind, count, &|current, nodes| split("pool", &spec, current, nodes).allocations);
        }
    }
    for count in PEER_COUNTS {
        row("CIDRPool, texts", count, &|current, nodes| peer(current.unwrap_or_default(), nodes));
    }
}

fn ip_pool() -> PoolSpec {
    let (subnet, gateway) = ("10.0.0.0/8".into(), "10.0.0.1".into());
    PoolSpec::IpPool(IpPoolSpec { subnet, gateway, per_node_block_size: 128, ..Default::default() })
}

fn cidr_pool() -> PoolSpec {
    PoolSpec::CidrPool(CidrPoolSpec {
        cidr: "10.0.0.0/8".into(),
        gateway_index: Some(1),
        per_node_network_prefix: 26,
        ..Default::default()
    })
}

type Run<'a> = &'a dyn Fn(Option<&[Allocation]>, &[Node]) -> Vec<Allocation>;

fn row(kind: &str, count: usize, run: Run<'_>) {
    let nodes: Vec<_> =
        (0..=count).map(|i| Node { name: format!("dpu-node-{i:06}"), labels: Default::default() }).collect();
    let (more, nodes) = (&nodes, &nodes[1..]);
    let standing = run(None, nodes);
    assert_eq!(standing.len(), count, "{kind}: every node has a part");
    let cold = median(|| run(None, nodes));
    let unchanged = median(|| run(Some(&standing), nodes));
    let one_more = median(|| run(Some(&standing), more));
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    println!("{kind:<16} {count:>8} {:>12.2} {:>14.2} {:>17.2}", ms(cold), ms(unchanged), ms(one_more));
}

/// Of 15 runs, fewer if they take seconds.
fn median<T>(run: impl Fn() -> T) -> Duration {
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 15 && (times.len() < 3 || begin.elapsed() < Duration::from_secs(3)) {
        let start = Instant::now();
        black_box(run());
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// The way of nv-ipam's CIDRPool controller, in short: every standing entry is compared with all others as text, every
/// candidate prefix with all that are taken.
fn peer(standing: &[Allocation], nodes: &[Node]) -> Vec<Allocation> {
    let entry = |allocation: &Allocation| match allocation {
        Allocation::Prefix { node_name, prefix, gateway } => {
            (node_name.clone(), prefix.clone(), gateway.clone())
        }
        Allocation::Block { .. } => Default::default(),
    };
    let standing: Vec<_> = standing.iter().map(entry).collect();
    let clashes = |i: usize| {
        let (name, prefix, gateway) = &standing[i];
        let clash =
            |other: &(String, String, String)| other.0 == *name || other.1 == *prefix || other.2 == *gateway;
        standing.iter().enumerate().any(|(k, other)| k != i && clash(other))
    };
    let mut kept: Vec<_> =
        (0..standing.len()).filter(|i| !clashes(*i)).map(|i| standing[i].clone()).collect();
    let mut candidates = (0x0a00_0000_u32..).step_by(64);
    let mut names: Vec<_> = nodes.iter().map(|node| node.name.clone()).collect();
    names.sort();
    for name in names {
        if kept.iter().any(|(owner, ..)| *owner == name) {
            continue;
        }
        for network in candidates.by_ref() {
            let prefix = format!("{}/26", Ipv4Addr::from(network));
            if !standing.iter().any(|(_, taken, _)| *taken == prefix) {
                kept.push((name, prefix, Ipv4Addr::from(network + 1).to_string()));
                break;
            }
        }
    }
    kept.sort();
    kept.into_iter()
        .map(|(node_name, prefix, gateway)| Allocation::Prefix { node_name, prefix, gateway })
        .collect()
}
