//! DPUServiceIPAM -> IPPool or CIDRPool, and what admission would refuse. Pure; nothing is decided about nodes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    dpf::{DpuServiceIpam, Ipv4Network, Ipv4Subnet, OPERATOR_NAMESPACE},
    nvipam::{CidrPool, CidrPoolSpec, ExcludeRange, IpPool, IpPoolSpec, Pool, StaticAllocation},
    objects::title,
};
use crate::{
    engine::assignment::Problem,
    pool::{self, FieldError, PoolSpec},
};

/// On a rendered pool: the name of the DPUServiceIPAM that it comes from.
pub const LABEL_NAME: &str = "dpu.nvidia.com/dpuserviceipam-name";
/// On a rendered pool: the namespace of the DPUServiceIPAM that it comes from.
pub const LABEL_NAMESPACE: &str = "dpu.nvidia.com/dpuserviceipam-namespace";

/// The longest name that fits into [`LABEL_NAME`].
const NAME_MAX: usize = 63;

/// The pool that `ipam` asks for; `None` unless exactly one mode is set.
#[must_use]
pub fn render(ipam: &DpuServiceIpam) -> Option<Pool> {
    let metadata = metadata(ipam);
    match (&ipam.spec.ipv4_subnet, &ipam.spec.ipv4_network) {
        (Some(subnet), None) => {
            Some(Pool::IpPool(IpPool { metadata, spec: ip_pool(ipam, subnet), status: None }))
        }
        (None, Some(network)) => {
            Some(Pool::CidrPool(CidrPool { metadata, spec: cidr_pool(ipam, network), status: None }))
        }
        _ => None,
    }
}

fn metadata(ipam: &DpuServiceIpam) -> ObjectMeta {
    let template = ipam.spec.metadata.clone().unwrap_or_default();
    let mut labels = template.labels;
    labels.insert(LABEL_NAME.to_owned(), ipam.metadata.name.clone().unwrap_or_default());
    labels.insert(LABEL_NAMESPACE.to_owned(), ipam.metadata.namespace.clone().unwrap_or_default());
    ObjectMeta {
        name: ipam.metadata.name.clone(),
        namespace: ipam.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: Some(template.annotations).filter(|a| !a.is_empty()),
        ..ObjectMeta::default()
    }
}

fn ip_pool(ipam: &DpuServiceIpam, subnet: &Ipv4Subnet) -> IpPoolSpec {
    IpPoolSpec {
        subnet: subnet.subnet.clone(),
        per_node_block_size: subnet.per_node_ip_count,
        gateway: subnet.gateway.clone(),
        exclusions: subnet.exclude_ranges.clone(),
        per_node_exclusions: Vec::new(),
        node_selector: ipam.spec.node_selector.clone(),
        default_gateway: subnet.default_gateway,
        routes: subnet.routes.clone(),
    }
}

fn cidr_pool(ipam: &DpuServiceIpam, network: &Ipv4Network) -> CidrPoolSpec {
    let single = |ip: &String| ExcludeRange { start_ip: ip.clone(), end_ip: ip.clone() };
    CidrPoolSpec {
        cidr: network.network.clone(),
        gateway_index: network.gateway_index,
        per_node_network_prefix: network.prefix_size,
        // `field` below relies on this order.
        exclusions: network
            .exclude_ranges
            .iter()
            .cloned()
            .chain(network.exclusions.iter().map(single))
            .collect(),
        per_node_exclusions: Vec::new(),
        static_allocations: network
            .allocations
            .iter()
            .map(|(node, prefix)| StaticAllocation {
                node_name: node.clone(),
                prefix: prefix.clone(),
                gateway: String::new(),
            })
            .collect(),
        node_selector: ipam.spec.node_selector.clone(),
        default_gateway: network.default_gateway,
        routes: network.routes.clone(),
    }
}

/// Everything that admission refuses, all at once; field paths are the DPUServiceIPAM's own.
#[must_use]
pub fn validate_dpuserviceipam(ipam: &DpuServiceIpam) -> Vec<Problem> {
    let object = title(ipam);
    let mut problems = Vec::new();
    let mut problem = |field: &str, message: String| {
        let problem = Problem { object: object.clone(), field: field.to_owned(), message };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    match ipam.metadata.namespace.as_deref() {
        Some(OPERATOR_NAMESPACE) => {}
        other => {
            let is = other.map_or_else(|| "none is set".to_owned(), |ns| format!("this is {ns}"));
            problem(
                "metadata.namespace",
                format!("takes effect only in namespace {OPERATOR_NAMESPACE}; {is}"),
            );
        }
    }
    let name = ipam.metadata.name.clone().unwrap_or_default();
    if name.len() > NAME_MAX {
        problem("metadata.name", format!("has {} bytes, at most {NAME_MAX} are possible", name.len()));
    }
    let (mode, field, network, spec) = match (&ipam.spec.ipv4_subnet, &ipam.spec.ipv4_network) {
        (Some(mode), None) => {
            ("spec.ipv4Subnet", "subnet", &mode.subnet, PoolSpec::from(&ip_pool(ipam, mode)))
        }
        (None, Some(mode)) => {
            ("spec.ipv4Network", "network", &mode.network, PoolSpec::from(&cidr_pool(ipam, mode)))
        }
        (None, None) => {
            problem("spec", "needs a mode: set ipv4Subnet or ipv4Network".to_owned());
            return problems;
        }
        (Some(_), Some(_)) => {
            problem("spec", "has two modes: set ipv4Subnet or ipv4Network, not both".to_owned());
            return problems;
        }
    };
    if network.contains(':') {
        problem(
            &format!("{mode}.{field}"),
            format!("{network:?} is IPv6; a DPUServiceIPAM is IPv4 only (an IPPool or CIDRPool takes both)"),
        );
    }
    for error in pool::validate(&name, &spec) {
        // nv-ipam's texts name fields of the pool, too.
        let text = message(&error).replace(" spec.", &format!(" {mode}."));
        problem(&own_field(ipam, &error.field), text);
    }
    problems
}

/// The DPUServiceIPAM's field behind a field of the rendered pool.
fn own_field(ipam: &DpuServiceIpam, field: &str) -> String {
    if let Some(rest) = field.strip_prefix("spec.nodeSelectorTerms") {
        return format!("spec.nodeSelector.nodeSelectorTerms{rest}");
    }
    let Some(rest) = field.strip_prefix("spec.") else { return field.to_owned() };
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (head, tail) = rest.split_at(end);
    let Some(network) = &ipam.spec.ipv4_network else {
        let head = match head {
            "perNodeBlockSize" => "perNodeIPCount",
            "exclusions" => "excludeRanges",
            same => same,
        };
        return format!("spec.ipv4Subnet.{head}{tail}");
    };
    let index = || tail.strip_prefix('[')?.split(']').next()?.parse::<usize>().ok();
    let own = match (head, index()) {
        ("cidr", _) => "network".to_owned(),
        ("perNodeNetworkPrefix", _) => "prefixSize".to_owned(),
        ("exclusions", Some(index)) => match index.checked_sub(network.exclude_ranges.len()) {
            None => format!("excludeRanges{tail}"),
            Some(single) => format!("exclusions[{single}]"),
        },
        ("staticAllocations", index) => match index.and_then(|i| network.allocations.keys().nth(i)) {
            Some(node) => format!("allocations[{node}]"),
            None => "allocations".to_owned(),
        },
        _ => format!("{head}{tail}"),
    };
    format!("spec.ipv4Network.{own}")
}

/// A field error as Kubernetes words it, without the field, which stands before it.
#[must_use]
pub fn message(error: &FieldError) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{}: ", error.field)).unwrap_or(&text).to_owned()
}
