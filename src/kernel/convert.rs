//! Messages to model: takes from a message's body what the model holds. Pure; never reads or writes a socket.
//!
//! A body that is too short or has a torn attribute is malformed, and then the whole answer is: half a truth is none.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::{
    uapi::*,
    wire::{Attrs, Malformed, bytes, u8_at, u16_at, u32_at},
};
use crate::model::{Address, IfName, Ipv4Conf, Link, MacAddr, Route, Rule};

/// Lengths of the fixed headers: `ifinfomsg`, `ifaddrmsg`, `rtmsg`, `fib_rule_hdr`.
pub(super) const LINK_HEADER: usize = 16;
pub(super) const ADDRESS_HEADER: usize = 8;
pub(super) const ROUTE_HEADER: usize = 12;
pub(super) const RULE_HEADER: usize = 12;

/// A text with its closing zero. Bytes that are not ASCII become `?`, so that an odd name has the length that it has.
pub(super) fn text(value: &[u8]) -> String {
    let text = value.split(|b| *b == 0).next().unwrap_or_default();
    text.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect()
}

/// The index in an `ifinfomsg` or (at the same place) an `ifaddrmsg`.
pub(super) fn ifindex(body: &[u8]) -> Result<u32, Malformed> {
    u32_at(body, 4)
}

/// A link.
pub(super) fn link(body: &[u8]) -> Result<Link, Malformed> {
    let kind = u16_at(body, 2)?;
    let flags = u32_at(body, 8)?;
    let mut name = None;
    let mut link = LinkParts::default();
    for attr in Attrs::behind(body, LINK_HEADER)? {
        let (attr, value) = attr?;
        match attr {
            IFLA_IFNAME => name = Some(text(value)),
            IFLA_ADDRESS if kind == ARPHRD_ETHER => link.mac = Some(MacAddr(bytes(value, 0)?)),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_LINKINFO => link.kind = Attrs::new(value).find(IFLA_INFO_KIND)?.map(text),
            IFLA_PHYS_PORT_NAME => link.phys_port_name = Some(text(value)),
            IFLA_PARENT_DEV_NAME => link.parent_dev = Some(text(value)),
            IFLA_AF_SPEC => link.ipv4 = ipv4_conf(value)?,
            _ => {}
        }
    }
    let name: IfName = name.and_then(|name| name.parse().ok()).ok_or(Malformed)?;
    Ok(Link {
        ifindex: ifindex(body)?,
        name,
        mac: link.mac,
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        mtu: link.mtu,
        kind: link.kind,
        phys_port_name: link.phys_port_name,
        parent_dev: link.parent_dev,
        ipv4: link.ipv4,
    })
}

/// What a link may lack.
#[derive(Default)]
struct LinkParts {
    mac: Option<MacAddr>,
    mtu: u32,
    kind: Option<String>,
    phys_port_name: Option<String>,
    parent_dev: Option<String>,
    ipv4: Ipv4Conf,
}

/// IFLA_AF_SPEC: for IPv4 one flat array of all settings.
fn ipv4_conf(spec: &[u8]) -> Result<Ipv4Conf, Malformed> {
    let Some(inet) = Attrs::new(spec).find(u16::from(AF_INET))? else { return Ok(Ipv4Conf::default()) };
    let Some(array) = Attrs::new(inet).find(IFLA_INET_CONF)? else { return Ok(Ipv4Conf::default()) };
    let setting = |number: u16| u32_at(array, (usize::from(number) - 1) * 4);
    Ok(Ipv4Conf {
        arp_ignore: setting(IPV4_DEVCONF_ARP_IGNORE)?,
        arp_announce: setting(IPV4_DEVCONF_ARP_ANNOUNCE)?,
        rp_filter: setting(IPV4_DEVCONF_RP_FILTER)?,
        promote_secondaries: setting(IPV4_DEVCONF_PROMOTE_SECONDARIES)?,
    })
}

/// An address of the given family.
fn ip(family: u8, value: &[u8]) -> Result<IpAddr, Malformed> {
    match family {
        AF_INET => Ok(Ipv4Addr::from(bytes::<4>(value, 0)?).into()),
        AF_INET6 => Ok(Ipv6Addr::from(bytes::<16>(value, 0)?).into()),
        _ => Err(Malformed),
    }
}

/// The address with no bit set.
fn unspecified(family: u8) -> IpAddr {
    if family == AF_INET { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn is_ip(family: u8) -> bool {
    family == AF_INET || family == AF_INET6
}

fn net(addr: IpAddr, len: u8) -> Result<IpNet, Malformed> {
    IpNet::new(addr, len).map_err(|_| Malformed)
}

/// An IPv4 or IPv6 address; none for other families.
pub(super) fn address(body: &[u8]) -> Result<Option<Address>, Malformed> {
    let family = u8_at(body, 0)?;
    if !is_ip(family) {
        return Ok(None);
    }
    let mut flags = u32::from(u8_at(body, 2)?);
    let (mut local, mut far, mut protocol) = (None, None, 0);
    for attr in Attrs::behind(body, ADDRESS_HEADER)? {
        let (attr, value) = attr?;
        match attr {
            IFA_LOCAL => local = Some(ip(family, value)?),
            IFA_ADDRESS => far = Some(ip(family, value)?),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            IFA_PROTO => protocol = u8_at(value, 0)?,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's; IPv6 gives IFA_LOCAL only then.
    let addr = local.or(far).ok_or(Malformed)?;
    Ok(Some(Address {
        ifindex: ifindex(body)?,
        address: net(addr, u8_at(body, 1)?)?,
        noprefixroute: flags & IFA_F_NOPREFIXROUTE != 0,
        dad_failed: flags & IFA_F_DADFAILED != 0,
        protocol,
    }))
}

/// Which interface a route's message is about, and what for: all that a notification is read for.
pub(super) struct RouteHead {
    /// It is unicast and not in the table `local`.
    pub(super) relevant: bool,
    /// Who set it.
    pub(super) protocol: u8,
    /// Output interfaces: one, or several for multipath.
    pub(super) oifs: Vec<u32>,
}

/// Reads where a route goes out.
pub(super) fn route_head(body: &[u8]) -> Result<RouteHead, Malformed> {
    let mut oifs = Vec::new();
    let mut table = u32::from(u8_at(body, 4)?);
    for attr in Attrs::behind(body, ROUTE_HEADER)? {
        match attr? {
            (RTA_OIF, value) => oifs.push(u32_at(value, 0)?),
            (RTA_MULTIPATH, value) => oifs.extend(hops(value)?),
            (RTA_TABLE, value) => table = u32_at(value, 0)?,
            _ => {}
        }
    }
    let relevant = u8_at(body, 7)? == RTN_UNICAST && table != RT_TABLE_LOCAL;
    Ok(RouteHead { relevant, protocol: u8_at(body, 5)?, oifs })
}

/// The interfaces of a list of `rtnexthop`.
fn hops(mut list: &[u8]) -> Result<Vec<u32>, Malformed> {
    const HOP_HEADER: usize = 8;
    let mut oifs = Vec::new();
    while !list.is_empty() {
        oifs.push(u32_at(list, 4)?);
        let len = usize::from(u16_at(list, 0)?).max(HOP_HEADER).next_multiple_of(4);
        list = list.get(len..).unwrap_or_default();
    }
    Ok(oifs)
}

/// A unicast route of a table other than `local`, if one of its output interfaces is in `through` (where that is given).
pub(super) fn route(body: &[u8], through: Option<&BTreeSet<u32>>) -> Result<Option<Route>, Malformed> {
    let family = u8_at(body, 0)?;
    if !is_ip(family) || u8_at(body, 7)? != RTN_UNICAST {
        return Ok(None);
    }
    let mut table = u32::from(u8_at(body, 4)?);
    let mut dst = unspecified(family);
    let (mut metric, mut gateway, mut oif, mut source) = (0, None, 0, None);
    let wanted = |oif: u32| through.is_none_or(|through| through.contains(&oif));
    let mut found = through.is_none();
    for attr in Attrs::behind(body, ROUTE_HEADER)? {
        let (attr, value) = attr?;
        match attr {
            RTA_TABLE => table = u32_at(value, 0)?,
            RTA_DST => dst = ip(family, value)?,
            RTA_PRIORITY => metric = u32_at(value, 0)?,
            RTA_GATEWAY => gateway = Some(ip(family, value)?),
            // A gateway of the other family, behind its family.
            RTA_VIA => {
                let via = u16_at(value, 0)?;
                let family = u8::try_from(via).map_err(|_| Malformed)?;
                gateway = Some(ip(family, value.get(2..).ok_or(Malformed)?)?);
            }
            RTA_OIF => {
                oif = u32_at(value, 0)?;
                found |= wanted(oif);
            }
            RTA_MULTIPATH if through.is_some() => found |= hops(value)?.into_iter().any(wanted),
            RTA_PREFSRC => source = Some(ip(family, value)?),
            _ => {}
        }
    }
    if !found || table == RT_TABLE_LOCAL {
        return Ok(None);
    }
    Ok(Some(Route {
        table,
        dst: net(dst, u8_at(body, 1)?)?,
        metric,
        gateway,
        oif,
        source,
        onlink: u32_at(body, 8)? & RTNH_F_ONLINK != 0,
        protocol: u8_at(body, 5)?,
    }))
}

/// An IPv4 or IPv6 rule; none for other families.
pub(super) fn rule(body: &[u8]) -> Result<Option<Rule>, Malformed> {
    let family = u8_at(body, 0)?;
    if !is_ip(family) {
        return Ok(None);
    }
    let action = u8_at(body, 7)?;
    let mut table = u32::from(u8_at(body, 4)?);
    let (mut priority, mut from, mut protocol) = (0, None, 0);
    let mut complex =
        action != FR_ACT_TO_TBL || u8_at(body, 3)? != 0 || u32_at(body, 8)? & FIB_RULE_INVERT != 0;
    for attr in Attrs::behind(body, RULE_HEADER)? {
        let (attr, value) = attr?;
        match attr {
            FRA_PRIORITY => priority = u32_at(value, 0)?,
            FRA_SRC => from = Some(net(ip(family, value)?, u8_at(body, 2)?)?),
            FRA_TABLE => table = u32_at(value, 0)?,
            FRA_PROTOCOL => protocol = u8_at(value, 0)?,
            // Always there, all ones = not set.
            FRA_SUPPRESS_PREFIXLEN | FRA_SUPPRESS_IFGROUP => complex |= u32_at(value, 0)? != u32::MAX,
            FRA_PAD => {}
            // Everything else is a selector or a target, also what future kernels add.
            _ => complex = true,
        }
    }
    let table = if action == FR_ACT_TO_TBL { table } else { 0 };
    Ok(Some(Rule { priority, from, table, ipv6: family == AF_INET6, complex, protocol }))
}

#[cfg(test)]
mod tests;
