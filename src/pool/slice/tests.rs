//! Tests of a slice's leasable addresses.

use proptest::prelude::*;

use super::*;

fn block(subnet: &str, start: &str, end: &str, exclusions: &[(&str, &str)]) -> Result<Slice, SliceError> {
    let exclusions =
        exclusions.iter().map(|(start, end)| ExcludeRange { start: (*start).into(), end: (*end).into() });
    let spec = IpPoolSpec {
        subnet: subnet.into(),
        gateway: "10.0.0.3".into(),
        exclusions: exclusions.collect(),
        ..Default::default()
    };
    let allocation = Allocation::Block { node_name: "n".into(), start: start.into(), end: end.into() };
    slice(&PoolSpec::IpPool(spec), &allocation)
}

fn prefix(spec: CidrPoolSpec, prefix: &str, gateway: &str) -> Result<Slice, SliceError> {
    let allocation =
        Allocation::Prefix { node_name: "n".into(), prefix: prefix.into(), gateway: gateway.into() };
    slice(&PoolSpec::CidrPool(spec), &allocation)
}

#[test]
fn network_broadcast_gateway_and_excluded_are_never_leased() {
    let slice =
        block("10.0.0.7/28", "10.0.0.0", "10.0.0.15", &[("10.0.0.5", "10.0.0.9"), ("10.0.0.2", "10.0.0.5")]);
    let slice = slice.unwrap();
    assert_eq!(slice.network.to_string(), "10.0.0.0/28");
    let free: Vec<_> = slice.free_from(0).map(|address| address.to_string()).collect();
    assert_eq!(free, ["10.0.0.1", "10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"]);
    assert_eq!(slice.capacity(), 6);
    assert_eq!(slice.index_of("10.0.0.10".parse().unwrap()), Some(10));
    assert_eq!(slice.index_of("10.0.0.16".parse().unwrap()), None);
}

#[test]
fn an_entry_that_is_no_range_of_the_subnet_is_refused() {
    for (start, end) in [("10.0.0.5", "10.0.1.5"), ("10.0.0.5", "10.0.0.4"), ("fd00::1", "fd00::2"), ("", "")]
    {
        assert!(block("10.0.0.0/24", start, end, &[]).is_err(), "{start} {end}");
    }
}

#[test]
fn a_prefix_is_compared_by_value_with_what_the_spec_says() {
    let spec = CidrPoolSpec {
        cidr: "fd00::/48".into(),
        per_node_network_prefix: 64,
        gateway_index: Some(1),
        static_allocations: vec![crate::pool::StaticAllocation {
            node_name: "n".into(),
            prefix: "FD00:0:0:5::/064".into(),
            gateway: "fd00:0:0:5::0009".into(),
        }],
        ..Default::default()
    };
    let slice = prefix(spec.clone(), "fd00:0:0:5::/64", "fd00:0:0:5:0::9").unwrap();
    assert_eq!(slice.gateway, "fd00:0:0:5::9".parse().ok());
    for (text, gateway) in
        [("fd00:0:0:5::/64", "fd00:0:0:5::1"), ("fd00:0:0:6::/64", "fd00:0:0:6::1"), ("fd00:0:0:5::/64", "")]
    {
        assert!(prefix(spec.clone(), text, gateway).is_err(), "{text} {gateway}");
    }
}

#[test]
fn a_huge_slice_jumps_over_what_is_excluded() {
    let spec = CidrPoolSpec {
        cidr: "fd00::/48".into(),
        per_node_network_prefix: 48,
        exclusions: vec![ExcludeRange {
            start: "fd00::".into(),
            end: "fd00:0:0:ffff:ffff:ffff:ffff:fffd".into(),
        }],
        ..Default::default()
    };
    let slice = prefix(spec, "fd00::/48", "").unwrap();
    assert_eq!(slice.capacity(), 2);
    assert_eq!(slice.free_from(0).count(), 2);
    assert_eq!(slice.free_from(slice.range.span()).count(), 1);
    assert_eq!(slice.free_from(slice.range.span() + 1).count(), 0);
    assert_eq!(slice.free_from(u128::MAX).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn free_usable_and_capacity_agree(
        first in 0..40_u8, more in 0..40_u8, ranges in prop::collection::vec((0..64_u8, 0..20_u8), 0..5), from in 0..50_u128,
    ) {
        let ip = |host: u8| format!("10.0.0.{host}");
        let ranges: Vec<_> = ranges.iter().map(|(start, more)| (ip(*start), ip(start + more))).collect();
        let ranges: Vec<_> = ranges.iter().map(|(start, end)| (start.as_str(), end.as_str())).collect();
        let slice = block("10.0.0.0/26", &ip(first), &ip((first + more).min(63)), &ranges).unwrap();
        let usable: Vec<_> =
            (0..=slice.range.span()).filter_map(|i| slice.range.nth(i)).filter(|ip| slice.usable(*ip)).collect();
        let behind: Vec<_> = usable.iter().copied().filter(|ip| slice.index_of(*ip) >= Some(from)).collect();
        prop_assert_eq!(slice.free_from(from).collect::<Vec<_>>(), behind);
        prop_assert_eq!(slice.capacity(), usable.len() as u128);
    }
}
