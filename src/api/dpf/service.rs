//! Service interfaces and chains: the user's objects on the management side (DPUService...), the sets that they become in
//! the DPU cluster, and the objects of one node.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConditionsStatus, Opaque, TemplateMeta};

/// A template of the management side: metadata and spec of a set in the DPU cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SetTemplate<S> {
    /// Labels and annotations of the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// Spec of the set.
    pub spec: S,
}

/// `DPUServiceInterface.spec`: an interface on the nodes of DPU clusters.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceInterface",
    root = "DpuServiceInterface",
    plural = "dpuserviceinterfaces",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceInterfaceSpec {
    /// Which clusters (deprecated, see `dpuClusterSelector`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_selector: Option<LabelSelector>,
    /// Which DPU clusters; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_cluster_selector: Option<LabelSelector>,
    /// The ServiceInterfaceSet in each.
    pub template: SetTemplate<ServiceInterfaceSetSpec>,
}

/// `ServiceInterfaceSet.spec`: an interface on each matching node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceInterfaceSet",
    plural = "serviceinterfacesets",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInterfaceSetSpec {
    /// Which nodes; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// The ServiceInterface on each.
    pub template: ServiceInterfaceTemplate,
}

/// What a ServiceInterface made by a set looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceInterfaceTemplate {
    /// Its labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// Its spec.
    pub spec: ServiceInterfaceSpec,
}

/// `ServiceInterface.spec`: an interface on one node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceInterface",
    plural = "serviceinterfaces",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq"
)]
pub struct ServiceInterfaceSpec {
    /// The node; absent in templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub interface: Interface,
}

/// What an interface is: its type, and the details of that type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// The type.
    pub interface_type: InterfaceType,
    /// Details of type `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceEndpoint>,
    /// Details of type `physical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<PhysicalInterface>,
    /// Details of type `vlan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Opaque>,
    /// Details of type `pf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf: Option<Opaque>,
    /// Details of type `vf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vf: Option<Opaque>,
    /// Details of type `ovn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovn: Option<Opaque>,
    /// Details of type `patch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Opaque>,
}

/// Types of interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are DPF's")]
pub enum InterfaceType {
    Vlan,
    Physical,
    Pf,
    Vf,
    Ovn,
    Patch,
    Service,
}

/// The interface of a service: the only type that gets an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEndpoint {
    /// The service.
    #[serde(rename = "serviceID")]
    pub service_id: String,
    /// The network attachment.
    pub network: String,
    /// The interface's name inside the service.
    #[schemars(length(min = 1, max = 15))]
    pub interface_name: String,
    /// The virtual network, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_network: Option<String>,
}

/// An uplink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalInterface {
    /// The netdev.
    pub interface_name: String,
}

/// `NodeServiceInterfaces.spec`: all interfaces of one node, from DPF 26.8 in place of its ServiceInterfaces.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "NodeServiceInterfaces",
    plural = "nodeserviceinterfaces",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq"
)]
pub struct NodeServiceInterfacesSpec {
    /// The node.
    pub node: String,
    /// `sfc`, `vpc`, ...
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// The interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<NodeInterface>,
}

/// One interface of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInterface {
    /// `<namespace>_<set>`.
    pub name: String,
    /// On its way out.
    #[serde(default, skip_serializing_if = "super::super::nvipam::is_false")]
    pub terminating: bool,
    /// Labels, as its ServiceInterface would carry them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it is.
    #[serde(flatten)]
    pub interface: Interface,
}

/// `DPUServiceChain.spec`: a chain on the nodes of DPU clusters.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceChain",
    root = "DpuServiceChain",
    plural = "dpuservicechains",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceChainSpec {
    /// Which clusters (deprecated, see `dpuClusterSelector`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_selector: Option<LabelSelector>,
    /// Which DPU clusters; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_cluster_selector: Option<LabelSelector>,
    /// The ServiceChainSet in each.
    pub template: SetTemplate<ServiceChainSetSpec>,
}

/// `ServiceChainSet.spec`: a chain on each matching node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceChainSet",
    plural = "servicechainsets",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChainSetSpec {
    /// Which nodes; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// The ServiceChain on each.
    pub template: ServiceChainTemplate,
}

/// What a ServiceChain made by a set looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceChainTemplate {
    /// Its labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// Its spec.
    pub spec: ServiceChainSpec,
}

/// `ServiceChain.spec`: a chain on one node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceChain",
    plural = "servicechains",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq"
)]
pub struct ServiceChainSpec {
    /// The node; absent in templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its switches.
    pub switches: Vec<Switch>,
}

/// Ports that reach each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Switch {
    /// The ports.
    pub ports: Vec<Port>,
    /// MTU of the services' interfaces; absent = 1500.
    #[serde(rename = "serviceMTU", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1280, max = 9216))]
    pub service_mtu: Option<i64>,
}

/// A port of a switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The interface that is plugged in.
    pub service_interface: PortInterface,
}

/// Which interface, and which address it gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortInterface {
    /// Labels of exactly one ServiceInterface of the node.
    pub match_labels: BTreeMap<String, String>,
    /// The address; counts for type `service` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<ChainIpam>,
}

/// Which address a port gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainIpam {
    /// Labels of the pool.
    pub match_labels: BTreeMap<String, String>,
    /// The interface gets the gateway's own address.
    #[serde(default, skip_serializing_if = "super::super::nvipam::is_false")]
    pub default_gateway: bool,
    /// The interface gets a default route.
    #[serde(default, skip_serializing_if = "super::super::nvipam::is_false")]
    pub set_default_route: bool,
}
