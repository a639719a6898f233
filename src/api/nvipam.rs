//! `nv-ipam.nvidia.com/v1alpha1` as on the wire: IPPool and CIDRPool, and their way to and from the pool room's types.
//! Whether a spec is right is not decided here.

#![expect(clippy::duplicated_attributes, reason = "columns of one type")]

use k8s_openapi::{api::core::v1::NodeSelector, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::objects::namespace;
use crate::{
    model::{Labels, PoolRef},
    pool::{self, Allocation, PoolKind, PoolSpec},
};

/// `IPPool.spec`: a subnet shared by all nodes, of which each gets a block.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "nv-ipam.nvidia.com",
    version = "v1alpha1",
    kind = "IPPool",
    root = "IpPool",
    plural = "ippools",
    singular = "ippool",
    namespaced,
    status = "IpPoolStatus",
    derive = "PartialEq",
    doc = "A subnet shared by all nodes; each node gets a block of it.",
    printcolumn(name = "Subnet", type_ = "string", json_path = ".spec.subnet"),
    printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.gateway"),
    printcolumn(name = "Block Size", type_ = "integer", json_path = ".spec.perNodeBlockSize")
)]
#[serde(rename_all = "camelCase")]
pub struct IpPoolSpec {
    /// The subnet; host bits are ignored.
    pub subnet: String,
    /// Addresses per node.
    pub per_node_block_size: i64,
    /// The gateway of the whole subnet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that are never handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<ExcludeRange>,
    /// Indexes of each block that are never handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_node_exclusions: Vec<ExcludeIndexRange>,
    /// Which nodes get a block; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// Adds a default route via the gateway.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default_gateway: bool,
    /// Routes via the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// `CIDRPool.spec`: a network cut into one prefix per node.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "nv-ipam.nvidia.com",
    version = "v1alpha1",
    kind = "CIDRPool",
    root = "CidrPool",
    plural = "cidrpools",
    singular = "cidrpool",
    namespaced,
    status = "CidrPoolStatus",
    derive = "PartialEq",
    doc = "A network cut into one prefix per node.",
    printcolumn(name = "CIDR", type_ = "string", json_path = ".spec.cidr"),
    printcolumn(name = "Gateway index", type_ = "string", json_path = ".spec.gatewayIndex"),
    printcolumn(
        name = "Per Node Network Prefix",
        type_ = "integer",
        json_path = ".spec.perNodeNetworkPrefix"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CidrPoolSpec {
    /// The network.
    pub cidr: String,
    /// The gateway's index in each prefix, counted from the network address; absent = no gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_index: Option<i64>,
    /// Length of each node's prefix.
    pub per_node_network_prefix: i64,
    /// Addresses that are never handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<ExcludeRange>,
    /// Indexes of each prefix that are never handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_node_exclusions: Vec<ExcludeIndexRange>,
    /// Prefixes given by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_allocations: Vec<StaticAllocation>,
    /// Which nodes get a prefix; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// Adds a default route via the gateway.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default_gateway: bool,
    /// Routes via the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// A pool of either kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Pool {
    /// Blocks of a shared subnet.
    IpPool(IpPool),
    /// A prefix per node.
    CidrPool(CidrPool),
}

impl Pool {
    /// Its metadata.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::IpPool(pool) => &pool.metadata,
            Self::CidrPool(pool) => &pool.metadata,
        }
    }

    /// Its metadata, to be changed.
    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::IpPool(pool) => &mut pool.metadata,
            Self::CidrPool(pool) => &mut pool.metadata,
        }
    }

    /// Its identity.
    #[must_use]
    pub fn reference(&self) -> PoolRef {
        let kind = match self {
            Self::IpPool(_) => PoolKind::IpPool,
            Self::CidrPool(_) => PoolKind::CidrPool,
        };
        let meta = self.meta();
        PoolRef {
            kind,
            namespace: namespace(meta).into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
        }
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> Labels {
        self.meta().labels.clone().unwrap_or_default()
    }

    /// Its spec, as the pool room takes it.
    #[must_use]
    pub fn spec(&self) -> PoolSpec {
        match self {
            Self::IpPool(pool) => (&pool.spec).into(),
            Self::CidrPool(pool) => (&pool.spec).into(),
        }
    }

    /// `status.allocations`; `None` = never written.
    #[must_use]
    pub fn allocations(&self) -> Option<Vec<Allocation>> {
        match self {
            Self::IpPool(pool) => {
                Some(pool.status.as_ref()?.allocations.as_ref()?.iter().map(Into::into).collect())
            }
            Self::CidrPool(pool) => {
                Some(pool.status.as_ref()?.allocations.as_ref()?.iter().map(Into::into).collect())
            }
        }
    }

    /// Writes `status.allocations`; entries of the other kind are left out.
    pub fn set_allocations(&mut self, allocations: &[Allocation]) {
        match self {
            Self::IpPool(pool) => {
                let blocks = allocations.iter().filter_map(|a| match a {
                    Allocation::Block { node_name, start, end } => Some(BlockAllocation {
                        node_name: node_name.clone(),
                        start_ip: start.clone(),
                        end_ip: end.clone(),
                    }),
                    Allocation::Prefix { .. } => None,
                });
                pool.status = Some(IpPoolStatus { allocations: Some(blocks.collect()) });
            }
            Self::CidrPool(pool) => {
                let prefixes = allocations.iter().filter_map(|a| match a {
                    Allocation::Prefix { node_name, prefix, gateway } => Some(PrefixAllocation {
                        node_name: node_name.clone(),
                        prefix: prefix.clone(),
                        gateway: gateway.clone(),
                    }),
                    Allocation::Block { .. } => None,
                });
                pool.status = Some(CidrPoolStatus { allocations: Some(prefixes.collect()) });
            }
        }
    }
}

/// An inclusive range of addresses.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ExcludeRange {
    /// First address.
    #[serde(rename = "startIP")]
    pub start_ip: String,
    /// Last address.
    #[serde(rename = "endIP")]
    pub end_ip: String,
}

/// An inclusive range of indexes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExcludeIndexRange {
    /// First index.
    pub start_index: i64,
    /// Last index.
    pub end_index: i64,
}

/// A prefix given by hand to a node, or kept from all of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticAllocation {
    /// The node; absent = reserved for nobody.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// The prefix.
    pub prefix: String,
    /// The gateway; absent = by `gatewayIndex`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gateway: String,
}

/// A destination via the gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The destination network.
    pub dst: String,
}

/// `IPPool.status`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct IpPoolStatus {
    /// One block per node; absent = never split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations: Option<Vec<BlockAllocation>>,
}

/// `CIDRPool.status`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CidrPoolStatus {
    /// One prefix per node; absent = never split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations: Option<Vec<PrefixAllocation>>,
}

/// A node's block. Texts that miss count as empty: the split drops such an entry, the object stays readable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockAllocation {
    /// The node.
    pub node_name: String,
    /// First address.
    #[serde(rename = "startIP")]
    pub start_ip: String,
    /// Last address.
    #[serde(rename = "endIP")]
    pub end_ip: String,
}

/// A node's prefix. Texts that miss count as empty: the split drops such an entry, the object stays readable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrefixAllocation {
    /// The node.
    pub node_name: String,
    /// The prefix.
    pub prefix: String,
    /// The gateway; absent = none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

impl From<&IpPoolSpec> for PoolSpec {
    fn from(spec: &IpPoolSpec) -> Self {
        Self::IpPool(pool::IpPoolSpec {
            subnet: spec.subnet.clone(),
            per_node_block_size: spec.per_node_block_size,
            gateway: spec.gateway.clone(),
            exclusions: spec.exclusions.iter().map(Into::into).collect(),
            per_node_exclusions: spec.per_node_exclusions.iter().map(Into::into).collect(),
            node_selector: spec.node_selector.as_ref().map(node_selector),
            default_gateway: spec.default_gateway,
            routes: spec.routes.iter().map(|r| r.dst.clone()).collect(),
        })
    }
}

impl From<&CidrPoolSpec> for PoolSpec {
    fn from(spec: &CidrPoolSpec) -> Self {
        Self::CidrPool(pool::CidrPoolSpec {
            cidr: spec.cidr.clone(),
            gateway_index: spec.gateway_index,
            per_node_network_prefix: spec.per_node_network_prefix,
            exclusions: spec.exclusions.iter().map(Into::into).collect(),
            per_node_exclusions: spec.per_node_exclusions.iter().map(Into::into).collect(),
            static_allocations: spec
                .static_allocations
                .iter()
                .map(|s| pool::StaticAllocation {
                    node_name: s.node_name.clone(),
                    prefix: s.prefix.clone(),
                    gateway: s.gateway.clone(),
                })
                .collect(),
            node_selector: spec.node_selector.as_ref().map(node_selector),
            default_gateway: spec.default_gateway,
            routes: spec.routes.iter().map(|r| r.dst.clone()).collect(),
        })
    }
}

impl From<&ExcludeRange> for pool::ExcludeRange {
    fn from(range: &ExcludeRange) -> Self {
        Self { start: range.start_ip.clone(), end: range.end_ip.clone() }
    }
}

impl From<&ExcludeIndexRange> for pool::IndexRange {
    fn from(range: &ExcludeIndexRange) -> Self {
        Self { start: range.start_index, end: range.end_index }
    }
}

impl From<&BlockAllocation> for Allocation {
    fn from(entry: &BlockAllocation) -> Self {
        Self::Block {
            node_name: entry.node_name.clone(),
            start: entry.start_ip.clone(),
            end: entry.end_ip.clone(),
        }
    }
}

impl From<&PrefixAllocation> for Allocation {
    fn from(entry: &PrefixAllocation) -> Self {
        Self::Prefix {
            node_name: entry.node_name.clone(),
            prefix: entry.prefix.clone(),
            gateway: entry.gateway.clone(),
        }
    }
}

/// The core/v1 selector as the pool room evaluates it.
fn node_selector(selector: &NodeSelector) -> pool::NodeSelector {
    let requirements = |list: &Option<Vec<k8s_openapi::api::core::v1::NodeSelectorRequirement>>| {
        list.iter()
            .flatten()
            .map(|r| pool::Requirement {
                key: r.key.clone(),
                operator: r.operator.clone(),
                values: r.values.clone().unwrap_or_default(),
            })
            .collect()
    };
    pool::NodeSelector {
        terms: selector
            .node_selector_terms
            .iter()
            .map(|term| pool::Term {
                expressions: requirements(&term.match_expressions),
                fields: requirements(&term.match_fields),
            })
            .collect(),
    }
}
