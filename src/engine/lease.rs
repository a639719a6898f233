//! Leases: which binding holds which address of which slice. Sticky, never doubled, not reused at once.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::model::{BindingName, PoolRef, Timestamp};

/// One address of a slice held by one binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Who holds it.
    pub binding: BindingName,
    /// From which pool.
    pub pool: PoolRef,
    /// The address.
    pub address: IpAddr,
}

/// An address that was held and must not be given to another binding yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// What was held, and by whom: only this binding may have it back at once.
    pub lease: Lease,
    /// Free for others from then on.
    pub until: Timestamp,
}

/// All leases of this node: what the store must never lose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseBook {
    /// Living leases.
    pub leases: Vec<Lease>,
    /// Resting addresses.
    pub quarantine: Vec<Quarantined>,
    /// The slot of each binding, from which its routing table follows.
    pub slots: BTreeMap<BindingName, u16>,
}
