//! A node's part of a pool, as arithmetic sees it: what may be leased, with which mask, gateway and routes.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{AddrRange, Allocation, PoolSpec};

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
    /// Excluded ranges, clipped to `range`, sorted, disjoint and not adjoining.
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
/// # Errors
/// Names what in the entry does not fit the spec.
pub fn slice(_spec: &PoolSpec, _allocation: &Allocation) -> Result<Slice, SliceError> {
    Err(SliceError("not written".into()))
}
