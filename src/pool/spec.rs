//! Pool specs and allocations as data, texts as the user wrote them: only `validate` knows whether they are right.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NodeSelector;

/// The two kinds of pools of nv-ipam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PoolKind {
    /// A subnet shared by all nodes; each node gets a block (range) of it.
    #[serde(rename = "IPPool")]
    IpPool,
    /// A network cut into one prefix per node.
    #[serde(rename = "CIDRPool")]
    CidrPool,
}

impl fmt::Display for PoolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IpPool => "IPPool",
            Self::CidrPool => "CIDRPool",
        })
    }
}

/// The spec of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolSpec {
    /// Blocks of a shared subnet.
    IpPool(IpPoolSpec),
    /// A prefix per node.
    CidrPool(CidrPoolSpec),
}

impl PoolSpec {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PoolKind {
        match self {
            Self::IpPool(_) => PoolKind::IpPool,
            Self::CidrPool(_) => PoolKind::CidrPool,
        }
    }

    /// Its `nodeSelector`; `None` = every node.
    #[must_use]
    pub fn node_selector(&self) -> Option<&NodeSelector> {
        match self {
            Self::IpPool(spec) => spec.node_selector.as_ref(),
            Self::CidrPool(spec) => spec.node_selector.as_ref(),
        }
    }
}

/// `IPPool.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpPoolSpec {
    /// `subnet`, host bits allowed.
    pub subnet: String,
    /// `perNodeBlockSize`, addresses per node.
    pub per_node_block_size: i64,
    /// `gateway`; empty = none.
    pub gateway: String,
    /// `exclusions`.
    pub exclusions: Vec<ExcludeRange>,
    /// `perNodeExclusions`, indexes counted from the block's first address.
    pub per_node_exclusions: Vec<IndexRange>,
    /// `nodeSelector`; `None` = every node.
    pub node_selector: Option<NodeSelector>,
    /// `defaultGateway`: add a default route via the gateway.
    pub default_gateway: bool,
    /// `routes[].dst`, via the gateway.
    pub routes: Vec<String>,
}

/// `CIDRPool.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CidrPoolSpec {
    /// `cidr`.
    pub cidr: String,
    /// `gatewayIndex`, counted from the prefix's network address; `None` = no gateway.
    pub gateway_index: Option<i64>,
    /// `perNodeNetworkPrefix`, a prefix length.
    pub per_node_network_prefix: i64,
    /// `exclusions`.
    pub exclusions: Vec<ExcludeRange>,
    /// `perNodeExclusions`, indexes counted from the prefix's network address.
    pub per_node_exclusions: Vec<IndexRange>,
    /// `staticAllocations`.
    pub static_allocations: Vec<StaticAllocation>,
    /// `nodeSelector`; `None` = every node.
    pub node_selector: Option<NodeSelector>,
    /// `defaultGateway`: add a default route via the gateway.
    pub default_gateway: bool,
    /// `routes[].dst`, via the gateway.
    pub routes: Vec<String>,
}

/// `{startIP, endIP}`, inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExcludeRange {
    /// `startIP`.
    pub start: String,
    /// `endIP`.
    pub end: String,
}

/// `{startIndex, endIndex}`, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexRange {
    /// `startIndex`.
    pub start: i64,
    /// `endIndex`.
    pub end: i64,
}

/// One of a CIDRPool's `staticAllocations`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StaticAllocation {
    /// `nodeName`; empty = reserved for nobody.
    pub node_name: String,
    /// `prefix`.
    pub prefix: String,
    /// `gateway`; empty = by `gatewayIndex`.
    pub gateway: String,
}

/// One entry of `status.allocations`, texts as found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocation {
    /// Of an IPPool.
    Block {
        /// `nodeName`.
        node_name: String,
        /// `startIP`.
        start: String,
        /// `endIP`.
        end: String,
    },
    /// Of a CIDRPool.
    Prefix {
        /// `nodeName`.
        node_name: String,
        /// `prefix`.
        prefix: String,
        /// `gateway`; empty = none.
        gateway: String,
    },
}

impl Allocation {
    /// The node that owns it.
    #[must_use]
    pub fn node_name(&self) -> &str {
        match self {
            Self::Block { node_name, .. } | Self::Prefix { node_name, .. } => node_name,
        }
    }
}
