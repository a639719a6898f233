//! The kernel's state, as far as the agent looks at it.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{IfName, MacAddr};

/// A link as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// Name.
    pub name: IfName,
    /// Hardware address, if it is an Ethernet one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// Carrier present (IFF_LOWER_UP).
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Kind (IFLA_INFO_KIND), as in `veth`; absent for hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the port in the switch (IFLA_PHYS_PORT_NAME), as in `pf0sf10` of a representor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phys_port_name: Option<String>,
    /// Bus name of the parent device (IFLA_PARENT_DEV_NAME), as in `mlx5_core.sf.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_dev: Option<String>,
    /// Per-interface IPv4 settings.
    #[serde(default)]
    pub ipv4: Ipv4Conf,
}

/// Per-interface IPv4 settings (`/proc/sys/net/ipv4/conf/<if>/`), as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv4Conf {
    /// `arp_ignore`
    pub arp_ignore: u32,
    /// `arp_announce`
    pub arp_announce: u32,
    /// `rp_filter`
    pub rp_filter: u32,
    /// `promote_secondaries`
    pub promote_secondaries: u32,
}

impl Ipv4Conf {
    /// The value of one setting.
    #[must_use]
    pub fn get(&self, key: Ipv4Key) -> u32 {
        match key {
            Ipv4Key::ArpIgnore => self.arp_ignore,
            Ipv4Key::ArpAnnounce => self.arp_announce,
            Ipv4Key::PromoteSecondaries => self.promote_secondaries,
        }
    }

    /// Changes one setting.
    pub fn set(&mut self, key: Ipv4Key, value: u32) {
        match key {
            Ipv4Key::ArpIgnore => self.arp_ignore = value,
            Ipv4Key::ArpAnnounce => self.arp_announce = value,
            Ipv4Key::PromoteSecondaries => self.promote_secondaries = value,
        }
    }
}

/// The IPv4 settings that the agent may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ipv4Key {
    /// Which ARP requests are answered.
    ArpIgnore,
    /// Which source address ARP requests carry.
    ArpAnnounce,
    /// Whether a secondary address outlives its primary.
    PromoteSecondaries,
}

impl fmt::Display for Ipv4Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
            Self::PromoteSecondaries => "promote_secondaries",
        })
    }
}

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Interface index.
    pub ifindex: u32,
    /// Address with its prefix length (host bits kept).
    pub address: IpNet,
    /// IFA_F_NOPREFIXROUTE: the kernel makes no route to the subnet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noprefixroute: bool,
    /// IPv6 duplicate address detection failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dad_failed: bool,
    /// Who set it (IFA_PROTO, kernel 5.18+); 0 = not said.
    #[serde(default)]
    pub protocol: u8,
}

/// A unicast route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Table.
    pub table: u32,
    /// Destination; a length of 0 is the default route.
    pub dst: IpNet,
    /// Metric; for IPv4 part of the route's identity together with table and destination.
    #[serde(default)]
    pub metric: u32,
    /// Gateway; none = on link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Output interface; 0 when it has none or several (multipath).
    pub oif: u32,
    /// Preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// RTNH_F_ONLINK: the gateway is reached directly although no route says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// Who set it (`/etc/iproute2/rt_protos`).
    pub protocol: u8,
}

/// A policy rule of the shape that the agent uses. Others are kept only as far as they can be told apart from ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Lower is asked first.
    pub priority: u32,
    /// Source selector (`from`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNet>,
    /// The table that is asked; 0 when the rule does something else.
    pub table: u32,
    /// IPv6, for rules without a source selector.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
    /// Has selectors or an action beyond `from X lookup T`; never ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub complex: bool,
    /// Who set it (FRA_PROTOCOL).
    pub protocol: u8,
}

/// The main routing table.
pub const TABLE_MAIN: u32 = 254;

/// What the kernel has, from complete dumps. All of one network namespace, or exactly the links in `links` with their
/// addresses and routes when only these were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Links by index; written as a list, as each says its index itself.
    #[serde(with = "by_index")]
    pub links: BTreeMap<u32, Link>,
    /// Addresses, the kernel's order.
    pub addresses: Vec<Address>,
    /// Unicast routes of all tables but `local`.
    pub routes: Vec<Route>,
    /// Rules.
    pub rules: Vec<Rule>,
}

mod by_index {
    use super::{BTreeMap, Deserialize, Link};

    pub(super) fn serialize<S: serde::Serializer>(
        links: &BTreeMap<u32, Link>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(links.values())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<u32, Link>, D::Error> {
        let links = Vec::<Link>::deserialize(deserializer)?;
        Ok(links.into_iter().map(|link| (link.ifindex, link)).collect())
    }
}
