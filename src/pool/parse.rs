//! Texts of addresses and networks, read as nv-ipam reads them. Nothing else in this room parses.

use std::net::IpAddr;

use ipnet::IpNet;

/// Bits that an IPv4-mapped IPv6 address has before its IPv4 part.
pub(super) const MAPPED_BITS: u8 = 96;

/// An address without zone: dotted decimal without leading zeros, or IPv6. `::ffff:a.b.c.d` is the IPv4 address
/// (vector `ip-keep-v4mapped`).
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Address, one slash, decimal digits with any leading zeros (vector `cidr-static-leadingzero`). Host bits are kept,
/// for the caller to judge. An IPv4-mapped network of at least 96 bits is the IPv4 network (vector `ip-routes-07`).
pub(super) fn network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    if length.is_empty() || !length.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let raw = IpNet::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    let mapped = match (raw.addr().to_canonical(), raw) {
        (v4 @ IpAddr::V4(_), IpNet::V6(v6)) => {
            v6.prefix_len().checked_sub(MAPPED_BITS).and_then(|length| IpNet::new(v4, length).ok())
        }
        _ => None,
    };
    Some(mapped.unwrap_or(raw))
}

/// A network without host bits.
pub(super) fn exact_network(text: &str) -> Option<IpNet> {
    network(text).filter(|network| *network == network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_network() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+24",
            "10.0.0.0/24/1",
            "010.0.0.0/8",
            "fe80::%1/64",
        ] {
            assert_eq!(network(text), None, "{text}");
        }
    }

    #[test]
    fn mapped_networks_are_ipv4_where_they_can_be() {
        assert_eq!(network("::ffff:10.0.0.0/120"), network("10.0.0.0/024"));
        assert_eq!(
            network("::ffff:10.0.0.0/90").map(|n| n.trunc().to_string()).as_deref(),
            Some("::ffc0:0:0/90")
        );
    }
}
