//! Kubernetes objects as on the wire, and what a set of them gives to each node. Pure: bytes come in as arguments, nothing
//! is read, watched or written here.

pub mod chain;
pub mod dpf;
pub mod fleet;
pub mod lint;
pub mod manifest;
pub mod nvipam;
pub mod objects;
pub mod render;
mod strict;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use fleet::Fleet;
pub use objects::Objects;

/// The definitions of all custom kinds that are read here, sorted by name.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        nvipam::IpPool::crd(),
        nvipam::CidrPool::crd(),
        dpf::DpuServiceIpam::crd(),
        dpf::DpuServiceInterface::crd(),
        dpf::ServiceInterfaceSet::crd(),
        dpf::ServiceInterface::crd(),
        dpf::NodeServiceInterfaces::crd(),
        dpf::DpuServiceChain::crd(),
        dpf::ServiceChainSet::crd(),
        dpf::ServiceChain::crd(),
    ];
    crds.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    crds
}
