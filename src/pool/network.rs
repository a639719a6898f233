//! Which addresses of a network hosts may use, by nv-ipam's rules. Knows nothing of pools.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    AddrRange, parse,
    range::{bits, from_bits},
};

/// A network of one or two addresses (/31, /32, /127, /128): it has neither network nor broadcast address.
fn is_tiny(network: &IpNet) -> bool {
    network.prefix_len() + 1 >= network.max_prefix_len()
}

/// First to last address for hosts. Without the network address, and for IPv4 without the broadcast address, unless
/// the network is tiny; IPv6 uses its last address.
pub(super) fn hosts(network: &IpNet) -> AddrRange {
    let (first, last) = (network.network(), network.broadcast());
    let (skip_first, skip_last) = match (is_tiny(network), network) {
        (true, _) => (0, 0),
        (false, IpNet::V4(_)) => (1, 1),
        (false, IpNet::V6(_)) => (1, 0),
    };
    AddrRange::of_bits((bits(first) + skip_first, bits(last) - skip_last), first.is_ipv4())
}

/// The network of this address and length, which fits its family.
pub(super) fn with_length(address: IpAddr, length: u8) -> IpNet {
    debug_assert!(length <= if address.is_ipv4() { 32 } else { 128 }, "the length fits the family");
    IpNet::new(address, length).unwrap_or_else(|_| address.into())
}

/// The gateway of a prefix: its own one if it has one, otherwise by index.
pub(super) fn prefix_gateway(prefix: &IpNet, own: &str, index: Option<i64>) -> Option<IpAddr> {
    if own.is_empty() { gateway(prefix, index?) } else { parse::address(own) }
}

/// The address at `index` from the network address, if a gateway may have it: any of a tiny network, otherwise one
/// of 1 to the number of host addresses.
pub(super) fn gateway(network: &IpNet, index: i64) -> Option<IpAddr> {
    let address = bits(network.network()).checked_add(u128::try_from(index).ok()?)?;
    let (first, last) = hosts(network).to_bits();
    (first <= address && address <= last).then(|| from_bits(address, network.network().is_ipv4()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_each_shape() {
        for (network, expected) in [
            ("10.0.0.0/30", "10.0.0.1-10.0.0.2"),
            ("10.0.0.0/31", "10.0.0.0-10.0.0.1"),
            ("10.0.0.9/32", "10.0.0.9-10.0.0.9"),
            ("fd00::/126", "fd00::1-fd00::3"),
            ("fd00::/127", "fd00::-fd00::1"),
            ("0.0.0.0/0", "0.0.0.1-255.255.255.254"),
            ("::/0", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let hosts = network.parse().map(|network| hosts(&network)).expect(network);
            assert_eq!(format!("{}-{}", hosts.first(), hosts.last()), expected, "{network}");
        }
    }
}
