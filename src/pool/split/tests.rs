//! The split against a naive walker on small pools, and on pools that nobody can walk.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Split, split};
use crate::pool::{
    AddrRange, Allocation, CidrPoolSpec, ExcludeRange, IndexRange, IpPoolSpec, Node, PoolSpec,
    StaticAllocation, parse,
    range::{bits, from_bits},
    validate,
};

fn node(name: impl Into<String>) -> Node {
    Node { name: name.into(), labels: BTreeMap::new() }
}

fn nodes(count: usize) -> Vec<Node> {
    (0..count).map(|i| node(format!("n{i}"))).collect()
}

fn exclude(start: &str, end: &str) -> ExcludeRange {
    ExcludeRange { start: start.into(), end: end.into() }
}

fn ip_pool(subnet: &str, size: i64) -> IpPoolSpec {
    IpPoolSpec { subnet: subnet.into(), per_node_block_size: size, ..Default::default() }
}

fn cidr_pool(cidr: &str, length: i64) -> CidrPoolSpec {
    CidrPoolSpec { cidr: cidr.into(), per_node_network_prefix: length, ..Default::default() }
}

/// `first-last` or `prefix`, then `gateway` if any, per allocation.
fn texts(split: &Split) -> Vec<String> {
    let text = |allocation: &Allocation| match allocation {
        Allocation::Block { start, end, .. } => format!("{start}-{end}"),
        Allocation::Prefix { prefix, gateway, .. } => format!("{prefix} {gateway}").trim_end().to_owned(),
    };
    split.allocations.iter().map(text).collect()
}

fn fresh(spec: impl Into<PoolSpec>, count: usize) -> (Vec<String>, usize) {
    let split = split("p", &spec.into(), None, &nodes(count));
    (texts(&split), split.warnings.iter().filter(|warning| warning.reason.starts_with("NoFree")).count())
}

impl From<IpPoolSpec> for PoolSpec {
    fn from(spec: IpPoolSpec) -> Self {
        Self::IpPool(spec)
    }
}

impl From<CidrPoolSpec> for PoolSpec {
    fn from(spec: CidrPoolSpec) -> Self {
        Self::CidrPool(spec)
    }
}

/// nv-ipam walks these for ever; a walk here would be seen as a test that never ends.
#[test]
fn wholly_excluded_pools_answer_at_once() {
    let all = |end| vec![IndexRange { start: 0, end }];
    for (subnet, size) in [("fd00::/64", 4), ("10.0.0.0/8", 1), ("::/0", 1)] {
        let spec = IpPoolSpec { per_node_exclusions: all(size - 1), ..ip_pool(subnet, size) };
        assert_eq!(fresh(spec, 2), (vec![], 2), "{subnet} {size}");
    }
    let spec = CidrPoolSpec { per_node_exclusions: all(255), ..cidr_pool("fd00::/48", 120) };
    assert_eq!(fresh(spec, 2), (vec![], 2));
    let spec = CidrPoolSpec { per_node_exclusions: all(0), ..cidr_pool("::/0", 128) };
    assert_eq!(fresh(spec, 2), (vec![], 2));
}

#[test]
fn long_exclusions_are_jumped_over() {
    let spec = CidrPoolSpec {
        exclusions: vec![exclude("fd00::", "fd00:0:0:7fff:ffff:ffff:ffff:ffff")],
        ..cidr_pool("fd00::/48", 120)
    };
    let lower_half = ["fd00:0:0:8000::/120", "fd00:0:0:8000::100/120"].map(String::from).to_vec();
    assert_eq!(fresh(spec, 2), (lower_half, 0));

    for (size, expected) in [
        (1, "fd00::9000:0:0:1-fd00::9000:0:0:1"),
        (2, "fd00::9000:0:0:1-fd00::9000:0:0:2"),
        (256, "fd00::9000:0:0:1-fd00::9000:0:0:100"),
        (257, "fd00::8fff:ffff:ffff:ff90-fd00::9000:0:0:90"),
    ] {
        let exclusions = vec![exclude("fd00::", "fd00::9000:0:0:0")];
        let spec = IpPoolSpec { exclusions, ..ip_pool("fd00::/64", size) };
        assert_eq!(fresh(spec, 1), (vec![expected.to_owned()], 0), "{size}");
    }
}

/// Exclusions leave index 7 of every block, and once that one as well.
#[test]
fn exclusions_and_indexes_add_up_in_the_middle_of_a_huge_pool() {
    let per_node_exclusions = vec![IndexRange { start: 0, end: 6 }, IndexRange { start: 8, end: 255 }];
    let exclusions = vec![exclude("fd00::7", "fd00::7"), exclude("fd00::200", "fd00::7:ffff:ffff:ffff:ffff")];
    let spec = CidrPoolSpec { per_node_exclusions, exclusions, ..cidr_pool("fd00::/48", 120) };
    let expected = ["fd00::100/120", "fd00:0:0:8::/120"].map(String::from).to_vec();
    assert_eq!(fresh(spec, 2), (expected, 0));
}

#[test]
fn the_whole_address_space_has_no_overflow() {
    assert_eq!(fresh(cidr_pool("::/0", 128), 2).0, ["::/128", "::1/128"]);
    assert_eq!(fresh(cidr_pool("::/0", 1), 3), (vec!["::/1".into(), "8000::/1".into()], 1));
    assert_eq!(fresh(cidr_pool("0.0.0.0/0", 1), 3), (vec!["0.0.0.0/1".into(), "128.0.0.0/1".into()], 1));
    assert_eq!(fresh(ip_pool("::/0", 1), 1).0, ["::1-::1"]);
    let end = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let exclusions = vec![exclude("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")];
    let spec = IpPoolSpec { exclusions, ..ip_pool("::/0", 1) };
    assert_eq!(fresh(spec, 2), (vec![format!("{end}-{end}")], 1));
}

#[test]
fn ipv4_mapped_pools_are_ipv4_pools() {
    assert_eq!(fresh(ip_pool("::ffff:10.0.0.0/120", 10), 1).0, ["10.0.0.1-10.0.0.10"]);
    assert_eq!(fresh(cidr_pool("::ffff:10.0.0.0/112", 120), 2).0, ["10.0.0.0/24", "10.0.1.0/24"]);
    assert_eq!(fresh(ip_pool("::ffff:0:0/90", 1), 1).0, ["::ffc0:0:1-::ffc0:0:1"]);
}

/// nv-ipam's grid is one of floats, which lose such a block.
#[test]
fn a_block_far_from_the_start_stays() {
    let exclusions = vec![exclude("fd00::", "fd00::ff:ffff:ffff:ffff")];
    let spec: PoolSpec = IpPoolSpec { exclusions, ..ip_pool("fd00::/64", 100) }.into();
    let before = split("p", &spec, None, &nodes(3));
    let after = split("p", &spec, Some(&before.allocations), &nodes(3)[1..]);
    assert_eq!(after.allocations, before.allocations[1..]);
}

#[test]
fn an_undecided_node_gets_nothing_new_and_loses_nothing() {
    let term = |operator: &str, value: &str| crate::pool::Term {
        expressions: vec![crate::pool::Requirement {
            key: "rank".into(),
            operator: operator.into(),
            values: vec![value.into()],
        }],
        fields: vec![],
    };
    let node_selector = Some(crate::pool::NodeSelector { terms: vec![term("Gt", "-5"), term("In", "7")] });
    let spec: PoolSpec = IpPoolSpec { node_selector, ..ip_pool("10.0.0.0/24", 10) }.into();
    let mut nodes = nodes(3);
    nodes[2].labels.insert("rank".into(), "7".into());
    let standing =
        [Allocation::Block { node_name: "n1".into(), start: "10.0.0.1".into(), end: "10.0.0.10".into() }];
    let split = split("p", &spec, Some(&standing), &nodes);
    assert_eq!(texts(&split), ["10.0.0.1-10.0.0.10", "10.0.0.11-10.0.0.20"]);
    assert_eq!(split.allocations.iter().map(Allocation::node_name).collect::<Vec<_>>(), ["n1", "n2"]);
    assert_eq!(split.warnings.iter().map(|warning| warning.reason).collect::<Vec<_>>(), ["InvalidSelector"]);
}

// ---- against a naive walker ----

/// A small pool, random but not always valid, its standing entries and how many nodes there are.
#[derive(Debug, Clone)]
struct Case {
    spec: PoolSpec,
    standing: Vec<Allocation>,
    nodes: usize,
}

fn pool_address(v4: bool, host: u128) -> String {
    let base = if v4 { u128::from(u32::from_be_bytes([10, 0, 0, 0])) } else { 0xfd00 << 112 };
    from_bits(base + host, v4).to_string()
}

fn case() -> impl Strategy<Value = Case> {
    let ranges = prop::collection::vec((0..64_u128, 0..40_u128), 0..4);
    let indexes = prop::collection::vec((0..12_i64, 0..6_i64), 0..3);
    let entries = prop::collection::vec((0..8_usize, 0..64_u128, prop::bool::weighted(0.8)), 0..8);
    let shape = (any::<bool>(), any::<bool>(), 0..7_u8, 0..5_u8, 1..9_i64);
    (shape, ranges, indexes, entries, prop::option::of(0..64_u128), 0..10_usize).prop_map(
        |((blocks, v4, host_bits, block_bits, size), ranges, indexes, entries, gateway, nodes)| {
            let full = if v4 { 32 } else { 128 };
            let network = format!("{}/{}", pool_address(v4, 0), full - host_bits);
            let inside = |host: u128| host % (1 << host_bits);
            let exclusions: Vec<_> = ranges
                .into_iter()
                .map(|(start, more)| (inside(start), (inside(start) + more).min((1 << host_bits) - 1)))
                .map(|(start, end)| exclude(&pool_address(v4, start), &pool_address(v4, end)))
                .collect();
            let block_bits = block_bits.min(host_bits);
            let top = if blocks { size - 1 } else { (1 << block_bits) - 1 };
            let per_node_exclusions: Vec<_> = indexes
                .into_iter()
                .map(|(start, more)| IndexRange { start: start.min(top), end: (start + more).min(top) })
                .collect();
            if blocks {
                let standing = entries.into_iter().map(|(owner, start, aligned)| {
                    let size = u128::try_from(size).unwrap();
                    let start = inside(start);
                    let start = if aligned { start / size * size + 1 } else { start };
                    Allocation::Block {
                        node_name: format!("n{owner}"),
                        start: pool_address(v4, start),
                        end: pool_address(v4, start + size - 1),
                    }
                });
                let standing = standing.collect();
                let gateway = gateway.map(|host| pool_address(v4, inside(host))).unwrap_or_default();
                let spec = IpPoolSpec { gateway, exclusions, per_node_exclusions, ..ip_pool(&network, size) };
                return Case { spec: spec.into(), standing, nodes };
            }
            let length = full - block_bits;
            let standing = entries.into_iter().map(|(owner, start, aligned)| {
                let start = if aligned { inside(start) >> block_bits << block_bits } else { inside(start) };
                Allocation::Prefix {
                    node_name: format!("n{owner}"),
                    prefix: format!("{}/{length}", pool_address(v4, start)),
                    gateway: String::new(),
                }
            });
            let standing = standing.collect();
            let reserved = gateway.map(|host| StaticAllocation {
                node_name: if host % 2 == 0 { String::new() } else { "n1".into() },
                prefix: format!("{}/{length}", pool_address(v4, inside(host) >> block_bits << block_bits)),
                gateway: String::new(),
            });
            let spec = CidrPoolSpec {
                exclusions,
                per_node_exclusions,
                static_allocations: reserved.into_iter().collect(),
                ..cidr_pool(&network, length.into())
            };
            Case { spec: spec.into(), standing, nodes }
        },
    )
}

fn range(allocation: &Allocation) -> Option<AddrRange> {
    match allocation {
        Allocation::Block { start, end, .. } => AddrRange::new(parse::address(start)?, parse::address(end)?),
        Allocation::Prefix { prefix, .. } => {
            let prefix = parse::exact_network(prefix)?;
            AddrRange::new(prefix.network(), prefix.broadcast())
        }
    }
}

/// What the split must be, by walking over every address of every block: node -> first address.
fn naive(case: &Case) -> BTreeMap<String, u128> {
    let (network, exclusions, per_node) = match &case.spec {
        PoolSpec::IpPool(spec) => (&spec.subnet, &spec.exclusions, &spec.per_node_exclusions),
        PoolSpec::CidrPool(spec) => (&spec.cidr, &spec.exclusions, &spec.per_node_exclusions),
    };
    let network = parse::network(network).unwrap();
    let (bottom, top) = (bits(network.network()), bits(network.broadcast()));
    let tiny = |size: u128| size <= 2;
    let v4 = network.addr().is_ipv4();
    let (first, size, last, window) = match &case.spec {
        PoolSpec::IpPool(spec) => {
            let tiny = tiny(top - bottom + 1);
            let size = u128::try_from(spec.per_node_block_size).unwrap();
            (bottom + u128::from(!tiny), size, top - u128::from(v4 && !tiny), size)
        }
        PoolSpec::CidrPool(spec) => {
            let bits = if v4 { 32 } else { 128 } - u32::try_from(spec.per_node_network_prefix).unwrap();
            let size = 1 << bits;
            (bottom, size, top, size - u128::from(v4 && !tiny(size)))
        }
    };
    let is_excluded = |start: u128, address: u128| {
        let index = i64::try_from(address - start).unwrap();
        per_node.iter().any(|range| range.start <= index && index <= range.end)
            || exclusions.iter().any(|range| {
                let end = |text: &str| bits(parse::address(text).unwrap());
                end(&range.start) <= address && address <= end(&range.end)
            })
    };
    let mut owners = BTreeMap::new();
    let mut reserved = BTreeSet::new();
    let mut gateway = None;
    match &case.spec {
        PoolSpec::IpPool(spec) => gateway = parse::address(&spec.gateway).map(bits).filter(|_| size == 1),
        PoolSpec::CidrPool(spec) => {
            for item in &spec.static_allocations {
                let start = bits(parse::network(&item.prefix).unwrap().network());
                reserved.insert(start);
                if nodes(case.nodes).contains(&node(&item.node_name)) {
                    owners.insert(item.node_name.clone(), start);
                }
            }
        }
    }
    let usable = |start: u128| {
        gateway != Some(start)
            && !reserved.contains(&start)
            && !(start..start + window).all(|address| is_excluded(start, address))
    };
    for entry in &case.standing {
        let Some(range) = range(entry) else { continue };
        let (start, end) = range.to_bits();
        let on_grid = (first..=top).step_by(usize::try_from(size).unwrap()).any(|block| block == start);
        let good = on_grid && end <= top && end - start + 1 == size && usable(start);
        let known = nodes(case.nodes).iter().any(|node| node.name == entry.node_name());
        let taken = owners.values().any(|owned| *owned == start);
        if good && known && !taken {
            owners.entry(entry.node_name().to_owned()).or_insert(start);
        }
    }
    for node in nodes(case.nodes) {
        let mut blocks = (first..=last).step_by(usize::try_from(size).unwrap());
        let free = |start: &u128| {
            start + size - 1 <= last && usable(*start) && !owners.values().any(|owned| owned == start)
        };
        if !owners.contains_key(&node.name)
            && let Some(start) = blocks.find(free)
        {
            owners.insert(node.name, start);
        }
    }
    owners
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_naive_walker(case in case()) {
        prop_assume!(validate("p", &case.spec).is_empty());
        let split = split("p", &case.spec, Some(&case.standing), &nodes(case.nodes));
        let first = |allocation: &Allocation| range(allocation).unwrap().to_bits().0;
        let got: BTreeMap<_, _> =
            split.allocations.iter().map(|a| (a.node_name().to_owned(), first(a))).collect();
        prop_assert_eq!(got, naive(&case));
    }

    /// Whatever stands in the status: no overlap, one entry a node, and the next pass changes nothing.
    #[test]
    fn no_address_has_two_owners(case in case(), more in case()) {
        prop_assume!(validate("p", &case.spec).is_empty());
        let standing: Vec<_> = case.standing.iter().chain(&more.standing).cloned().collect();
        let nodes = nodes(case.nodes.max(more.nodes));
        let split = super::split("p", &case.spec, Some(&standing), &nodes);
        let mut ranges: Vec<_> = split.allocations.iter().map(|a| range(a).unwrap()).collect();
        ranges.sort();
        prop_assert!(ranges.windows(2).all(|pair| pair[0].last() < pair[1].first()), "{ranges:?}");
        prop_assert!(split.allocations.windows(2).all(|pair| pair[0].node_name() < pair[1].node_name()));
        let again = super::split("p", &case.spec, Some(&split.allocations), &nodes);
        prop_assert_eq!(&again.allocations, &split.allocations);
        prop_assert!(!again.changed);
    }
}
