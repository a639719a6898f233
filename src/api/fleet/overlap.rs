//! Finds slices of two nodes that overlap across pools. Overlapping pools alone are fine (nv-ipam allows them); an address
//! that two nodes may lease is not.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::FleetPool;
use crate::{
    engine::assignment::Problem,
    model::PoolRef,
    pool::{self, AddrRange, PoolSpec},
};

/// Pool and node whose slice is refused, and why.
pub(super) type Refused = BTreeMap<(PoolRef, String), String>;

struct Piece<'a> {
    range: AddrRange,
    pool: &'a PoolRef,
    node: &'a str,
}

/// Both sides of an overlap are refused: whichever came later may be the one that sorts first, and a refused slice takes
/// nothing from a node that leased from it before. One problem for each pair of pools.
pub(super) fn find(pools: &[FleetPool]) -> (Refused, Vec<Problem>) {
    let mut pieces = pieces(pools);
    pieces.sort_by_key(|p| (p.range.first(), p.range.last()));
    let mut refused = Refused::new();
    let mut pairs: BTreeMap<(PoolRef, PoolRef), (String, usize)> = BTreeMap::new();
    // Slices of one pool are disjoint, so at most one of each pool is open at a time.
    let mut open: Vec<&Piece<'_>> = Vec::new();
    for piece in &pieces {
        open.retain(|other| other.range.contains(piece.range.first()));
        for other in open.iter().filter(|o| o.node != piece.node && o.pool != piece.pool) {
            for (own, foreign) in [(piece, *other), (*other, piece)] {
                refused.entry((own.pool.clone(), own.node.to_owned())).or_insert_with(|| text(own, foreign));
            }
            let (a, b) = if piece.pool < other.pool { (piece, *other) } else { (*other, piece) };
            let pair = pairs.entry((a.pool.clone(), b.pool.clone())).or_insert_with(|| (text(a, b), 0));
            pair.1 += 1;
        }
        open.push(piece);
    }
    let problems = pairs.into_iter().map(|((pool, _), (text, count))| Problem {
        object: pool.to_string(),
        field: String::new(),
        message: match count {
            1 => text,
            more => format!("{text} (and {} more)", more - 1),
        },
    });
    (refused, problems.collect())
}

/// The slices of those pools whose networks overlap that of another one.
fn pieces(pools: &[FleetPool]) -> Vec<Piece<'_>> {
    let usable: Vec<_> =
        pools.iter().filter(|p| p.unusable.is_none()).map(|p| (p, network(&p.spec))).collect();
    let mut pieces = Vec::new();
    for (at, (pool, net)) in usable.iter().enumerate() {
        if !usable.iter().enumerate().any(|(other, (_, of_other))| other != at && may_overlap(net, of_other))
        {
            continue;
        }
        for allocation in &pool.allocations {
            if let Ok(slice) = pool::slice(&pool.spec, allocation) {
                pieces.push(Piece {
                    range: slice.range,
                    pool: &pool.reference,
                    node: allocation.node_name(),
                });
            }
        }
    }
    pieces
}

/// Only saves work: a network in an unusual spelling counts as one that may.
fn may_overlap(a: &Option<IpNet>, b: &Option<IpNet>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.contains(b) || b.contains(a),
        _ => true,
    }
}

fn network(spec: &PoolSpec) -> Option<IpNet> {
    let text = match spec {
        PoolSpec::IpPool(spec) => &spec.subnet,
        PoolSpec::CidrPool(spec) => &spec.cidr,
    };
    text.parse::<IpNet>().ok().map(|net| net.trunc())
}

fn text(own: &Piece<'_>, foreign: &Piece<'_>) -> String {
    format!(
        "{}-{} of node {} overlaps {}-{} of node {} in {}: neither is used for new addresses",
        own.range.first(),
        own.range.last(),
        own.node,
        foreign.range.first(),
        foreign.range.last(),
        foreign.node,
        foreign.pool
    )
}
