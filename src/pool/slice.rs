//! A node's part of a pool, as arithmetic sees it: what may be leased, with which mask, gateway and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    AddrRange, Allocation, CidrPoolSpec, ExcludeRange, IndexRange, IpPoolSpec, PoolSpec, exclusions,
    intervals::Intervals,
    network, parse,
    range::{bits, from_bits},
    validate::first_prefix,
};

/// A node's part of a pool: a *block* of an IPPool or a *prefix* of a CIDRPool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    /// The network that gives addresses their mask: the pool's subnet (block) or the prefix itself.
    pub network: IpNet,
    /// The addresses that may be leased, before gateway and exclusions. Index 0 is its first address.
    pub range: AddrRange,
    /// The gateway, which may lie outside `range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Excluded ranges, clipped to `range`, sorted, disjoint and not adjoining. The network address and the IPv4
    /// broadcast address are among them where `range` reaches so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<AddrRange>,
    /// Destinations via the gateway, masked, sorted by address then length, without doubles; the default route is
    /// among them if the pool asks for it. Empty without a gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<IpNet>,
}

/// Why an allocation gives its node nothing that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SliceError(pub String);

/// The slice that `allocation` (one entry of the pool's status) gives to its node. The pool's spec must be valid.
///
/// Stricter than nv-ipam's node daemon for IPPools, whose entries it takes unchecked, and equal for CIDRPools (vector
/// `cidr-invalid-entry`), but by value instead of by text. Exclusions that overlap, cross a border or span everything
/// are joined and clipped (vectors `ip-ex-overlap`, `cidr-ex-cross-network`, `cidr-ex-spanning-static`).
///
/// # Errors
/// Names what in the entry does not fit the spec.
pub fn slice(spec: &PoolSpec, allocation: &Allocation) -> Result<Slice, SliceError> {
    match (spec, allocation) {
        (PoolSpec::IpPool(spec), Allocation::Block { start, end, .. }) => block(spec, start, end),
        (PoolSpec::CidrPool(spec), Allocation::Prefix { node_name, prefix, gateway }) => {
            self::prefix(spec, node_name, prefix, gateway)
        }
        _ => Err(SliceError(format!("the allocation is not one of a {}", spec.kind()))),
    }
}

fn block(spec: &IpPoolSpec, start: &str, end: &str) -> Result<Slice, SliceError> {
    let network = pool_network(&spec.subnet)?.trunc();
    let range =
        parse::address(start).zip(parse::address(end)).and_then(|(first, last)| AddrRange::new(first, last));
    let inside = |range: &AddrRange| network.contains(&range.first()) && network.contains(&range.last());
    let range = range
        .filter(inside)
        .ok_or_else(|| SliceError(format!("{start} to {end} is no range of addresses in {network}")))?;
    let excluded =
        excluded(&network, range, bits(range.first()), &spec.exclusions, &spec.per_node_exclusions);
    let gateway = parse::address(&spec.gateway);
    let routes = routes(&network, gateway, &spec.routes, spec.default_gateway);
    Ok(Slice { network, range, gateway, excluded, routes })
}

fn prefix(spec: &CidrPoolSpec, node_name: &str, text: &str, gateway: &str) -> Result<Slice, SliceError> {
    let cidr = pool_network(&spec.cidr)?;
    let length = first_prefix(spec, &cidr).map(|first| first.prefix_len());
    let network = parse::exact_network(text)
        .filter(|prefix| cidr.contains(&prefix.network()) && Some(prefix.prefix_len()) == length)
        .ok_or_else(|| SliceError(format!("{text:?} is no prefix of {cidr} with the pool's length")))?;
    let mut own_gateway = "";
    for item in &spec.static_allocations {
        let same_prefix = parse::network(&item.prefix) == Some(network);
        match (item.node_name == node_name, same_prefix) {
            (true, true) => own_gateway = &item.gateway,
            (true, false) => {
                return Err(SliceError(format!(
                    "the pool gives {} to {node_name}, not {network}",
                    item.prefix
                )));
            }
            (false, true) => return Err(SliceError(format!("the pool reserves {network} for another node"))),
            (false, false) => {}
        }
    }
    let expected = network::prefix_gateway(&network, own_gateway, spec.gateway_index);
    let gateway = (!gateway.is_empty()).then_some(gateway);
    if gateway.map(parse::address) != expected.map(Some) {
        let text = |gateway: Option<String>| gateway.unwrap_or_else(|| "none".to_owned());
        let (said, expected) = (text(gateway.map(str::to_owned)), text(expected.map(|ip| ip.to_string())));
        return Err(SliceError(format!("the gateway of {network} is {said}, the pool asks for {expected}")));
    }
    let range = network::hosts(&network);
    let origin = bits(network.network());
    let excluded = excluded(&network, range, origin, &spec.exclusions, &spec.per_node_exclusions);
    let routes = routes(&network, expected, &spec.routes, spec.default_gateway);
    Ok(Slice { network, range, gateway: expected, excluded, routes })
}

fn pool_network(text: &str) -> Result<IpNet, SliceError> {
    parse::network(text).ok_or_else(|| SliceError(format!("the pool's network {text:?} is not valid")))
}

/// What must not be leased of `range`. Indexes count from `origin`.
fn excluded(
    network: &IpNet,
    range: AddrRange,
    origin: u128,
    exclusions: &[ExcludeRange],
    per_node: &[IndexRange],
) -> Vec<AddrRange> {
    let hosts = network::hosts(network).to_bits();
    let (first, last) = range.to_bits();
    let by_index = exclusions::indexes(per_node);
    // An index behind the end of the address space excludes nothing.
    let by_index =
        by_index.iter().filter_map(|(from, to)| Some((origin.checked_add(from)?, origin.saturating_add(to))));
    let not_for_hosts = Intervals::from_iter([hosts]).gaps(0, u128::MAX);
    let all: Intervals =
        exclusions::addresses(exclusions).iter().chain(by_index).chain(not_for_hosts.iter()).collect();
    let v4 = range.first().is_ipv4();
    all.clip(first, last).iter().map(|interval| AddrRange::of_bits(interval, v4)).collect()
}

fn routes(network: &IpNet, gateway: Option<IpAddr>, texts: &[String], default: bool) -> Vec<IpNet> {
    if gateway.is_none() {
        return Vec::new();
    }
    let unspecified = match network {
        IpNet::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpNet::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut routes: Vec<_> =
        texts.iter().filter_map(|text| parse::network(text)).map(|route| route.trunc()).collect();
    routes.extend(default.then(|| network::with_length(unspecified, 0)));
    routes.sort_unstable_by_key(|route| (route.addr(), route.prefix_len()));
    routes.dedup();
    routes
}

impl Slice {
    /// Whether `address` may be leased: inside the range, not excluded, not the gateway.
    #[must_use]
    pub fn usable(&self, address: IpAddr) -> bool {
        let at = self.excluded.partition_point(|range| range.last() < address);
        let is_excluded = self.excluded.get(at).is_some_and(|range| range.contains(address));
        self.range.contains(address) && !is_excluded && self.gateway != Some(address)
    }

    /// The index of `address` in the range, whether or not it may be leased; `None` outside.
    #[must_use]
    pub fn index_of(&self, address: IpAddr) -> Option<u128> {
        self.range.contains(address).then(|| bits(address) - bits(self.range.first()))
    }

    /// The addresses that may be leased, ascending, from the one at `index` on. Jumps over excluded ranges.
    pub fn free_from(&self, index: u128) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.range.first().is_ipv4();
        let (first, last) = self.range.to_bits();
        let mut next = first.checked_add(index);
        let mut excluded = self.excluded.iter().map(|range| range.to_bits()).peekable();
        std::iter::from_fn(move || {
            loop {
                let at = next.filter(|at| *at <= last)?;
                while excluded.next_if(|range| range.1 < at).is_some() {}
                if let Some(range) = excluded.next_if(|range| range.0 <= at) {
                    next = range.1.checked_add(1);
                    continue;
                }
                next = at.checked_add(1);
                let address = from_bits(at, v4);
                if self.gateway != Some(address) {
                    return Some(address);
                }
            }
        })
    }

    /// How many addresses may be leased; `u128::MAX` stands for one more as well.
    #[must_use]
    pub fn capacity(&self) -> u128 {
        let size = |range: &AddrRange| range.span().saturating_add(1);
        let excluded = self.excluded.iter().map(size).fold(0, u128::saturating_add);
        let gateway_counts = self.gateway.is_some_and(|gateway| {
            self.range.contains(gateway) && !self.excluded.iter().any(|range| range.contains(gateway))
        });
        size(&self.range).saturating_sub(excluded).saturating_sub(u128::from(gateway_counts))
    }
}

#[cfg(test)]
mod tests;
