//! The nouns that the rooms share. Texts become these types at the door (`api`, `config`, `kernel`) and stay them.

mod names;
mod observed;
mod step;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::{
    names::{BindingName, IfName, MacAddr, NodeName, ParseError, PciAddr},
    observed::{Address, Ipv4Conf, Ipv4Key, Link, Observed, Route, Rule, TABLE_MAIN},
    step::Step,
};
pub use crate::pool::{AddrRange, PoolKind, Slice};

/// Labels of an object, or the `matchLabels` that ask for them.
pub type Labels = BTreeMap<String, String>;

/// Seconds since the Unix epoch. Only an argument: the pure rooms have no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A pool's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolRef {
    /// IPPool or CIDRPool; IPPools sort first, as the look-up by labels wants it.
    pub kind: PoolKind,
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for PoolRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// "This SF gets an address from that pool."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub name: BindingName,
    /// Which SF.
    pub sf: SfMatch,
    /// Which pool.
    pub pool: PoolChoice,
    /// This index of the slice and no other.
    pub index: Option<u32>,
    /// What is done when SFs share a subnet.
    pub isolation: Isolation,
}

/// What an SF must show to be the one that is meant; all given must match, at least one is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SfMatch {
    /// PCI parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciAddr>,
    /// The SF's number under its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sfnum: Option<u32>,
    /// The netdev's present name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netdev: Option<IfName>,
    /// The netdev's present MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

impl fmt::Display for SfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.pci.map(|v| format!("pci {v}")),
            self.sfnum.map(|v| format!("sfnum {v}")),
            self.netdev.as_ref().map(|v| format!("netdev {v}")),
            self.mac.map(|v| format!("mac {v}")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Where a binding's pool comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolChoice {
    /// The port of a ServiceChain that this service's interface is.
    ServiceInterface {
        /// `service.serviceID`.
        service_id: String,
        /// `service.interfaceName`.
        interface_name: String,
    },
    /// Named here; one address from each (two for dual stack).
    Pools(Vec<PoolSelector>),
}

/// How a pool is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolSelector {
    /// By its name; an IPPool before a CIDRPool.
    Name(String),
    /// By labels that it must carry; IPPools first, then by name. Never empty.
    Labels(Labels),
}

impl PoolSelector {
    /// Whether it means the pool `name` with `labels`.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Labels(wanted) => wanted.iter().all(|(k, v)| labels.get(k) == Some(v)),
        }
    }
}

impl fmt::Display for PoolSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "name {name}"),
            Self::Labels(labels) => {
                let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "labels {}", pairs.join(","))
            }
        }
    }
}

/// How the traffic of SFs that share a subnet is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// `source` where several SFs of this node are in one subnet, else `none`.
    #[default]
    Auto,
    /// Plain address and routes.
    None,
    /// A table of its own per SF, chosen by source address.
    Source,
}

/// An SF netdev found on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Present name.
    pub netdev: IfName,
    /// Present index.
    pub ifindex: u32,
    /// Present MAC address, where the device has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// PCI parent, where sysfs tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciAddr>,
    /// SF number, where sysfs tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sfnum: Option<u32>,
}

/// Numbers in the kernel's name spaces that the agent uses; none of those that DPF takes (table 60, rule priorities
/// 31000 and 32000, metric 10000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoutingNumbers {
    /// Route, rule and (from kernel 5.18) address protocol that marks what is ours.
    pub protocol: u8,
    /// Metric of our routes in the main table.
    pub metric: u32,
    /// First of the tables for isolated SFs; a binding's table is this plus its slot.
    pub table_base: u32,
    /// Priority of our rules.
    pub rule_priority: u32,
}

impl Default for RoutingNumbers {
    /// Protocol 133 is free in iproute2's rt_protos. Metric 2000 loses against a management default route of DHCP
    /// (100 to 1024) and wins against DPF's 10000.
    fn default() -> Self {
        Self { protocol: 133, metric: 2000, table_base: 20_000, rule_priority: 20_000 }
    }
}
