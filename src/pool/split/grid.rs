//! A pool as a row of equal blocks, numbered from 0: which block an entry is, which blocks nobody may have, which are
//! free. Works on intervals of numbers; never walks over blocks or addresses.

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

use super::super::{
    AddrRange, Allocation, CidrPoolSpec, IpPoolSpec, PoolSpec, StaticAllocation, exclusions,
    intervals::Intervals,
    network, parse,
    range::{bits, from_bits},
    validate::first_prefix,
};

/// A valid pool, cut.
pub(super) struct Grid<'a> {
    network: IpNet,
    /// The first address of block 0.
    base: u128,
    /// Addresses per block.
    stride: u128,
    /// The last block that a new node may get. A standing one may lie behind it: an IPPool's block that ends on the
    /// broadcast address is kept (vector `ip-keep-last-broadcast`), as its node would have to move otherwise.
    last: u128,
    /// Blocks that no node may get from the pool: wholly excluded, the gateway, statically allocated.
    barred: Intervals,
    cut: Cut<'a>,
}

enum Cut<'a> {
    Blocks,
    Prefixes { length: u8, gateway_index: Option<i64>, statics: HashMap<&'a str, &'a StaticAllocation> },
}

impl<'a> Grid<'a> {
    /// `None` if the spec is not valid.
    pub(super) fn new(spec: &'a PoolSpec) -> Option<Self> {
        match spec {
            PoolSpec::IpPool(spec) => Self::blocks(spec),
            PoolSpec::CidrPool(spec) => Self::prefixes(spec),
        }
    }

    fn blocks(spec: &IpPoolSpec) -> Option<Self> {
        let network = parse::network(&spec.subnet)?.trunc();
        let hosts = network::hosts(&network);
        let base = bits(hosts.first());
        let stride = u128::try_from(spec.per_node_block_size).ok().filter(|size| *size >= 1)?;
        let last = hosts.span().checked_sub(stride - 1)? / stride;
        let excluded =
            exclusions::whole_blocks(base, stride, stride - 1, &spec.exclusions, &spec.per_node_exclusions);
        // A larger block is handed out with the gateway in it (vector `ip-bs2-gw`).
        let gateway = parse::address(&spec.gateway)
            .filter(|_| stride == 1)
            .and_then(|gateway| bits(gateway).checked_sub(base));
        let barred = excluded.iter().chain(gateway.map(|block| (block, block))).collect();
        Some(Self { network, base, stride, last, barred, cut: Cut::Blocks })
    }

    fn prefixes(spec: &'a CidrPoolSpec) -> Option<Self> {
        let network = parse::network(&spec.cidr)?;
        let first = first_prefix(spec, &network)?;
        let base = bits(network.network());
        let stride = bits(first.broadcast()) - base + 1;
        let last = (bits(network.broadcast()) - base) / stride;
        // The IPv4 broadcast address need not be excluded, the network address must (vectors
        // `cidr-ex-whole-nobroadcast`, `cidr-ex-usable-only`).
        let window = bits(network::hosts(&first).last()) - base;
        let excluded =
            exclusions::whole_blocks(base, stride, window, &spec.exclusions, &spec.per_node_exclusions);
        let reserved = spec.static_allocations.iter().filter_map(|item| {
            let block = (bits(parse::network(&item.prefix)?.network()) - base) / stride;
            Some((block, block))
        });
        let barred = excluded.iter().chain(reserved).collect();
        let statics = spec.static_allocations.iter().map(|item| (item.node_name.as_str(), item)).collect();
        let cut = Cut::Prefixes { length: first.prefix_len(), gateway_index: spec.gateway_index, statics };
        Some(Self { network, base, stride, last, barred, cut })
    }

    /// What the spec itself gives to the node, whatever else is said. As written, because nv-ipam's node daemon
    /// compares the texts with the spec's.
    pub(super) fn static_allocation(&self, node_name: &str) -> Option<Allocation> {
        let Cut::Prefixes { statics, .. } = &self.cut else { return None };
        let item = statics.get(node_name).filter(|_| !node_name.is_empty())?;
        let gateway = if item.gateway.is_empty() {
            self.gateway_text(&parse::network(&item.prefix)?)
        } else {
            item.gateway.clone()
        };
        Some(Allocation::Prefix { node_name: node_name.to_owned(), prefix: item.prefix.clone(), gateway })
    }

    /// The block that a standing entry is; `None` if it is not exactly one block that its node may keep.
    pub(super) fn block_of(&self, entry: &Allocation) -> Option<u128> {
        let first = match (entry, &self.cut) {
            (Allocation::Block { start, end, .. }, Cut::Blocks) => {
                let range = AddrRange::new(parse::address(start)?, parse::address(end)?)?;
                let inside = self.network.contains(&range.first()) && self.network.contains(&range.last());
                (inside && range.span() == self.stride - 1).then_some(range.first())?
            }
            (Allocation::Prefix { node_name, prefix, .. }, Cut::Prefixes { length, statics, .. }) => {
                let prefix = parse::exact_network(prefix)?;
                let fits = self.network.contains(&prefix.network()) && prefix.prefix_len() == *length;
                // A node with a static allocation keeps nothing else.
                let may_keep = !node_name.is_empty() && !statics.contains_key(node_name.as_str());
                (fits && may_keep).then_some(prefix.network())?
            }
            _ => return None,
        };
        let offset = bits(first).checked_sub(self.base)?;
        let block = offset / self.stride;
        (offset.is_multiple_of(self.stride) && !self.barred.cover(block, block)).then_some(block)
    }

    /// The standing entry, which is this block, with its gateway brought up to date. A block is rewritten in canonical
    /// form, a prefix is left as written.
    pub(super) fn kept(&self, entry: &Allocation, block: u128) -> Allocation {
        match entry {
            Allocation::Block { node_name, .. } => self.allocation(node_name, block),
            Allocation::Prefix { node_name, prefix, .. } => Allocation::Prefix {
                node_name: node_name.clone(),
                prefix: prefix.clone(),
                gateway: self.prefix(block).map(|prefix| self.gateway_text(&prefix)).unwrap_or_default(),
            },
        }
    }

    /// The block, given to the node.
    pub(super) fn allocation(&self, node_name: &str, block: u128) -> Allocation {
        let node_name = node_name.to_owned();
        match self.prefix(block) {
            Some(prefix) => Allocation::Prefix {
                node_name,
                prefix: prefix.to_string(),
                gateway: self.gateway_text(&prefix),
            },
            None => {
                let first = self.base + block * self.stride;
                let (start, end) = (self.address(first), self.address(first + (self.stride - 1)));
                Allocation::Block { node_name, start: start.to_string(), end: end.to_string() }
            }
        }
    }

    /// The blocks that a new node may get, ascending, beside those that are `taken`.
    pub(super) fn free_blocks(&self, taken: impl Iterator<Item = u128>) -> impl Iterator<Item = u128> {
        let taken: Intervals = self.barred.iter().chain(taken.map(|block| (block, block))).collect();
        taken.gaps(0, self.last).into_iter().flat_map(|(first, last)| first..=last)
    }

    fn address(&self, bits: u128) -> IpAddr {
        from_bits(bits, matches!(self.network, IpNet::V4(_)))
    }

    /// The block as a prefix, if the pool is cut into prefixes.
    fn prefix(&self, block: u128) -> Option<IpNet> {
        let Cut::Prefixes { length, .. } = self.cut else { return None };
        Some(network::with_length(self.address(self.base + block * self.stride), length))
    }

    /// By `gatewayIndex`; empty = none.
    fn gateway_text(&self, prefix: &IpNet) -> String {
        let Cut::Prefixes { gateway_index: Some(index), .. } = self.cut else { return String::new() };
        network::gateway(prefix, index).map(|gateway| gateway.to_string()).unwrap_or_default()
    }
}
