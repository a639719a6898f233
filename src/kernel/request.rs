//! Model to messages: one message per step. Pure; never sends anything.
//!
//! Every message that adds or removes carries the agent's own protocol number, whatever number the noun carries: what is
//! added is marked as ours, and a removal can only hit what is marked as ours. (The kernel does not compare the mark when an
//! address is removed; there the plan, which knows what the agent added, is the guard. The route to the subnet of such an
//! address carries the kernel's mark, and its removal can only hit what carries that: to the kernel a metric of 0 means
//! "any", so without a mark it could hit ours beside it.)

use std::net::IpAddr;

use ipnet::IpNet;

use super::{uapi::*, wire::Writer};
use crate::model::{Address, Ipv4Key, Route, Rule, Step};

/// Writes the message of one step. `flags` are those that every request carries.
pub(super) fn step(w: &mut Writer, step: &Step, protocol: u8, flags: u16, seq: u32) {
    let create = flags | NLM_F_CREATE | NLM_F_EXCL;
    match step {
        Step::SetIpv4 { ifindex, key, value } => set_ipv4(w, *ifindex, *key, *value, flags, seq),
        Step::LinkUp { ifindex } => {
            w.message(RTM_SETLINK, flags, seq, &link_header(*ifindex, IFF_UP), |_| {});
        }
        Step::AddAddress(a) => address(w, a, protocol, RTM_NEWADDR, create, seq),
        Step::DelAddress(a) => address(w, a, protocol, RTM_DELADDR, flags, seq),
        Step::AddRoute(r) => route(w, r, protocol, RTM_NEWROUTE, create, seq),
        Step::ReplaceRoute(r) => {
            route(w, r, protocol, RTM_NEWROUTE, flags | NLM_F_CREATE | NLM_F_REPLACE, seq);
        }
        Step::DelRoute(r) => route(w, r, protocol, RTM_DELROUTE, flags, seq),
        Step::DelSubnetRoute(r) => route(w, r, RTPROT_KERNEL, RTM_DELROUTE, flags, seq),
        Step::AddRule(r) => rule(w, r, protocol, RTM_NEWRULE, create, seq),
        Step::DelRule(r) => rule(w, r, protocol, RTM_DELRULE, flags, seq),
    }
}

/// `ifinfomsg` for one link, which sets the given flags and leaves all others.
pub(super) fn link_header(ifindex: u32, set: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    header[8..12].copy_from_slice(&set.to_ne_bytes());
    header[12..16].copy_from_slice(&set.to_ne_bytes());
    header
}

/// `ifaddrmsg`.
pub(super) fn address_header(family: u8, len: u8, ifindex: u32) -> [u8; 8] {
    let [a, b, c, d] = ifindex.to_ne_bytes();
    [family, len, 0, 0, a, b, c, d]
}

fn set_ipv4(w: &mut Writer, ifindex: u32, key: Ipv4Key, value: u32, flags: u16, seq: u32) {
    let setting = match key {
        Ipv4Key::ArpIgnore => IPV4_DEVCONF_ARP_IGNORE,
        Ipv4Key::ArpAnnounce => IPV4_DEVCONF_ARP_ANNOUNCE,
        Ipv4Key::PromoteSecondaries => IPV4_DEVCONF_PROMOTE_SECONDARIES,
    };
    w.message(RTM_SETLINK, flags, seq, &link_header(ifindex, 0), |w| {
        w.nest(IFLA_AF_SPEC, |w| {
            w.nest(u16::from(AF_INET), |w| w.nest(IFLA_INET_CONF, |w| w.attr_u32(setting, value)));
        });
    });
}

fn family(of: IpAddr) -> u8 {
    if of.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn ip(w: &mut Writer, kind: u16, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => w.attr(kind, &addr.octets()),
        IpAddr::V6(addr) => w.attr(kind, &addr.octets()),
    }
}

fn address(w: &mut Writer, a: &Address, protocol: u8, kind: u16, flags: u16, seq: u32) {
    let addr = a.address.addr();
    let header = address_header(family(addr), a.address.prefix_len(), a.ifindex);
    w.message(kind, flags, seq, &header, |w| {
        ip(w, IFA_LOCAL, addr);
        ip(w, IFA_ADDRESS, addr);
        if kind == RTM_DELADDR {
            return;
        }
        // As the CNI plugins set it, so that both look alike; /31 (RFC 3021) and /32 have no broadcast address.
        if let IpNet::V4(net) = a.address
            && net.prefix_len() < 31
        {
            ip(w, IFA_BROADCAST, net.broadcast().into());
        }
        if a.noprefixroute {
            w.attr_u32(IFA_FLAGS, IFA_F_NOPREFIXROUTE);
        }
        // Kernels before 5.18 do not know it and ignore it.
        w.attr(IFA_PROTO, &[protocol]);
    });
}

fn route(w: &mut Writer, r: &Route, protocol: u8, kind: u16, flags: u16, seq: u32) {
    let family = family(r.dst.addr());
    let scope = match (kind, r.gateway) {
        // Any scope.
        (RTM_DELROUTE, _) => RT_SCOPE_NOWHERE,
        (_, None) if family == AF_INET => RT_SCOPE_LINK,
        _ => RT_SCOPE_UNIVERSE,
    };
    let hop_flags = if r.onlink { RTNH_F_ONLINK } else { 0 };
    let [a, b, c, d] = hop_flags.to_ne_bytes();
    let len = r.dst.prefix_len();
    let header = [family, len, 0, 0, RT_TABLE_UNSPEC, protocol, scope, RTN_UNICAST, a, b, c, d];
    w.message(kind, flags, seq, &header, |w| {
        w.attr_u32(RTA_TABLE, r.table);
        ip(w, RTA_DST, r.dst.network());
        if r.metric != 0 {
            w.attr_u32(RTA_PRIORITY, r.metric);
        }
        match r.gateway {
            Some(gateway) if self::family(gateway) == family => ip(w, RTA_GATEWAY, gateway),
            Some(gateway) => via(w, gateway),
            None => {}
        }
        if r.oif != 0 {
            w.attr_u32(RTA_OIF, r.oif);
        }
        if let Some(source) = r.source {
            ip(w, RTA_PREFSRC, source);
        }
    });
}

/// A gateway of the other family: `rtvia`, its family and its bytes.
fn via(w: &mut Writer, gateway: IpAddr) {
    let mut value = u16::from(family(gateway)).to_ne_bytes().to_vec();
    match gateway {
        IpAddr::V4(addr) => value.extend(addr.octets()),
        IpAddr::V6(addr) => value.extend(addr.octets()),
    }
    w.attr(RTA_VIA, &value);
}

fn rule(w: &mut Writer, r: &Rule, protocol: u8, kind: u16, flags: u16, seq: u32) {
    let family = r.from.map_or(if r.ipv6 { AF_INET6 } else { AF_INET }, |from| family(from.addr()));
    let len = r.from.map_or(0, |from| from.prefix_len());
    let header = [family, 0, len, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    w.message(kind, flags, seq, &header, |w| {
        w.attr_u32(FRA_PRIORITY, r.priority);
        w.attr_u32(FRA_TABLE, r.table);
        w.attr(FRA_PROTOCOL, &[protocol]);
        if let Some(from) = r.from {
            ip(w, FRA_SRC, from.network());
        }
    });
}
