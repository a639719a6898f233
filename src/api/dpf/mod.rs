//! `svc.dpu.nvidia.com/v1alpha1` of the DOCA Platform Framework as on the wire. Only shapes; what they mean is said in
//! `render` (DPUServiceIPAM) and `chain` (interfaces and chains).

mod ipam;
mod service;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use ipam::{DpuServiceIpam, DpuServiceIpamSpec, DpuServiceIpamStatus, Ipv4Network, Ipv4Subnet};
pub use service::{
    ChainIpam, DpuServiceChain, DpuServiceChainSpec, DpuServiceInterface, DpuServiceInterfaceSpec, Interface,
    InterfaceType, NodeInterface, NodeServiceInterfaces, NodeServiceInterfacesSpec, PhysicalInterface, Port,
    PortInterface, ServiceChain, ServiceChainSet, ServiceChainSetSpec, ServiceChainSpec,
    ServiceChainTemplate, ServiceEndpoint, ServiceInterface, ServiceInterfaceSet, ServiceInterfaceSetSpec,
    ServiceInterfaceSpec, ServiceInterfaceTemplate, SetTemplate, Switch,
};

/// The only namespace in which a DPUServiceIPAM takes effect.
pub const OPERATOR_NAMESPACE: &str = "dpf-operator-system";

/// Labels and annotations for the objects that are made from a template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TemplateMeta {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The status that all kinds of DPF share.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConditionsStatus {
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that the conditions speak of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// An object that this program carries along without looking inside.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Opaque(pub serde_json::Map<String, serde_json::Value>);

impl JsonSchema for Opaque {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Opaque".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}
