//! The plan: ordered steps from observed to desired. Data, never code.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{IfName, Ipv4Key};

/// What the agent put into the kernel where the kernel itself cannot tell whose it is. Recorded before it becomes
/// visible; valid for one boot only, as a reboot takes it all away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owned {
    /// Addresses that the agent added.
    pub addresses: Vec<OwnedAddress>,
    /// Settings that the agent changed.
    pub settings: Vec<OwnedSetting>,
}

/// An address that the agent added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedAddress {
    /// Index of the interface at that time.
    pub ifindex: u32,
    /// Name of the interface at that time.
    pub netdev: IfName,
    /// The address with its length.
    pub address: IpNet,
}

/// A setting that the agent changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedSetting {
    /// Index of the interface at that time.
    pub ifindex: u32,
    /// Name of the interface at that time.
    pub netdev: IfName,
    /// Which.
    pub key: Ipv4Key,
    /// The value that stood before.
    pub previous: u32,
}
