//! DPUServiceIPAM: the pool as the user writes it on the management side.

#![expect(clippy::duplicated_attributes, reason = "columns of one type")]

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::NodeSelector,
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector},
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Opaque, TemplateMeta};
use crate::api::nvipam::{ExcludeRange, Route, is_false};

/// `DPUServiceIPAM.spec`: exactly one of `ipv4Subnet` and `ipv4Network`.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceIPAM",
    root = "DpuServiceIpam",
    plural = "dpuserviceipams",
    singular = "dpuserviceipam",
    namespaced,
    status = "DpuServiceIpamStatus",
    derive = "PartialEq",
    doc = "Addresses for the services of a DPU cluster, split over its nodes.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceIpamSpec {
    /// Labels and annotations for the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// Share a subnet: a block of it for every node, one gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_subnet: Option<Ipv4Subnet>,
    /// Cut a network: a subnet with its own gateway for every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_network: Option<Ipv4Network>,
    /// Which nodes are served; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// Which clusters are served (deprecated, see `dpuClusterSelector`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_selector: Option<LabelSelector>,
    /// Which DPU clusters are served; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_cluster_selector: Option<LabelSelector>,
}

/// A subnet shared by all nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipv4Subnet {
    /// The subnet.
    pub subnet: String,
    /// The gateway of all nodes.
    pub gateway: String,
    /// Addresses per node.
    #[serde(rename = "perNodeIPCount")]
    pub per_node_ip_count: i64,
    /// Addresses that are never handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_ranges: Vec<ExcludeRange>,
    /// Adds a default route via the gateway.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default_gateway: bool,
    /// Routes via the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Blocks for each DPU cluster.
    #[serde(rename = "blocksPerDPUCluster", default, skip_serializing_if = "Option::is_none")]
    pub blocks_per_dpu_cluster: Option<i64>,
}

/// A network cut into a subnet per node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipv4Network {
    /// The network.
    pub network: String,
    /// The gateway's index in each subnet; absent = no gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_index: Option<i64>,
    /// Prefix length of each subnet.
    pub prefix_size: i64,
    /// Single addresses that are never handed out (deprecated, see `excludeRanges`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<String>,
    /// Addresses that are never handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_ranges: Vec<ExcludeRange>,
    /// Subnets given by hand: node name to prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocations: BTreeMap<String, String>,
    /// Adds a default route via the gateway.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default_gateway: bool,
    /// Routes via the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Subnets for each DPU cluster.
    #[serde(rename = "subnetsPerDPUCluster", default, skip_serializing_if = "Option::is_none")]
    pub subnets_per_dpu_cluster: Option<i64>,
}

/// `DPUServiceIPAM.status`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DpuServiceIpamStatus {
    /// `Ready`, `DPUIPAMObjectReconciled`, `DPUIPAMObjectReady`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that the conditions speak of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What each DPU cluster got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpu_cluster_allocations: Option<Opaque>,
}
