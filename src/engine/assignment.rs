//! What the cluster says for one node, and how a new word succeeds an older one: absence is not deletion.

use serde::{Deserialize, Serialize};

use crate::model::{Labels, NodeName, PoolRef, Slice};

/// Everything the cluster says for this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The node.
    pub node: NodeName,
    /// The pools that exist, sorted by [`PoolRef`]; also those that give this node no slice.
    pub pools: Vec<AssignedPool>,
    /// The chain ports on this node that ask for an address, sorted.
    pub ports: Vec<ChainPort>,
    /// Objects that could not be used. What stood before for them is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// A pool, and what it gives to this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedPool {
    /// Which pool.
    pub pool: PoolRef,
    /// Its labels, by which bindings and chains find it.
    pub labels: Labels,
    /// This node's slice; `None` when the pool has none for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// Whether the latest word of the source says so, or an earlier one that is kept.
    #[serde(default)]
    pub standing: Standing,
}

/// Whether something is said now, or was said and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// The latest complete word of the source says so.
    #[default]
    Current,
    /// No longer there (pool deleted, or its status cleared for this node).
    Gone,
    /// There, but not usable; the text says why.
    Unusable(String),
}

/// A port of a ServiceChain on this node that asks for an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainPort {
    /// `service.serviceID` of the ServiceInterface.
    pub service_id: String,
    /// `service.interfaceName` of the ServiceInterface.
    pub interface_name: String,
    /// The chain, as `Kind/name`, for messages.
    pub chain: String,
    /// `ipam.matchLabels`: labels that the pool must carry.
    pub pool_labels: Labels,
    /// `ipam.defaultGateway`: the interface gets the gateway's own address.
    #[serde(default)]
    pub is_gateway: bool,
    /// `ipam.setDefaultRoute`: the interface gets a default route via the gateway.
    #[serde(default)]
    pub set_default_route: bool,
}

/// Something in the source that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `Kind/name`, or the file's name when it is not even an object.
    pub object: String,
    /// Field path; empty when the whole object is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
}
