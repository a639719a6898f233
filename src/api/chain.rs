//! Service interfaces and chains -> the ports of one node that ask for an address. Objects of the management side, sets of
//! the DPU cluster and objects of the node itself count alike; what comes by two of these ways is one.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    dpf::{ChainIpam, Interface, InterfaceType, ServiceChainSpec, ServiceEndpoint},
    objects::{Objects, title},
};
use crate::{
    engine::assignment::{ChainPort, Problem},
    model::Labels,
    pool::Node,
};

/// What the chains give to one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// Sorted; each interface at most once.
    pub ports: Vec<ChainPort>,
    /// Ports that could not be used.
    pub problems: Vec<Problem>,
}

/// Where an object is meant to be.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// On every node that matches; no selector = every node.
    Nodes(Option<&'a LabelSelector>),
    /// On this one.
    Node(Option<&'a str>),
}

impl Scope<'_> {
    fn covers(self, node: &Node) -> bool {
        match self {
            Self::Nodes(selector) => selector.is_none_or(|s| selects(s, &node.labels)),
            Self::Node(name) => name == Some(node.name.as_str()),
        }
    }
}

struct FoundInterface<'a> {
    title: String,
    scope: Scope<'a>,
    labels: Option<&'a Labels>,
    interface: &'a Interface,
}

struct FoundChain<'a> {
    title: String,
    scope: Scope<'a>,
    /// Field path of `switches`.
    path: &'static str,
    spec: &'a ServiceChainSpec,
}

/// The ports of `node` that ask for an address.
#[must_use]
pub fn ports(objects: &Objects, node: &Node) -> Ports {
    let interfaces: Vec<_> = interfaces(objects).into_iter().filter(|i| i.scope.covers(node)).collect();
    let mut found = Ports::default();
    for chain in chains(objects).iter().filter(|c| c.scope.covers(node)) {
        for (s, switch) in chain.spec.switches.iter().enumerate() {
            for (p, port) in switch.ports.iter().enumerate() {
                let Some(ipam) = &port.service_interface.ipam else { continue };
                let field = format!("{}[{s}].ports[{p}].serviceInterface", chain.path);
                match plugged(&interfaces, &port.service_interface.match_labels, node) {
                    Ok(Some(service)) if !ipam.match_labels.is_empty() => {
                        found.ports.push(chain_port(&chain.title, service, ipam));
                    }
                    Ok(Some(_)) => found.problems.push(Problem {
                        object: chain.title.clone(),
                        field: format!("{field}.ipam.matchLabels"),
                        message: "must name the labels of a pool".to_owned(),
                    }),
                    Ok(None) => {}
                    Err(message) => found.problems.push(Problem {
                        object: chain.title.clone(),
                        field: format!("{field}.matchLabels"),
                        message,
                    }),
                }
            }
        }
    }
    settle(found)
}

/// What every chain asks of pools, on whichever node: the chain's name, the field, the labels.
#[must_use]
pub fn pool_requests(objects: &Objects) -> Vec<(String, String, &Labels)> {
    let mut requests = Vec::new();
    for chain in chains(objects) {
        for (s, switch) in chain.spec.switches.iter().enumerate() {
            for (p, port) in switch.ports.iter().enumerate() {
                if let Some(ipam) = &port.service_interface.ipam {
                    let field = format!("{}[{s}].ports[{p}].serviceInterface.ipam.matchLabels", chain.path);
                    requests.push((chain.title.clone(), field, &ipam.match_labels));
                }
            }
        }
    }
    requests
}

/// The nodes that interfaces and chains name.
#[must_use]
pub fn named_nodes(objects: &Objects) -> BTreeSet<&str> {
    let interfaces = objects.interfaces.iter().filter_map(|i| i.spec.node.as_deref());
    let of_nodes = objects.node_interfaces.iter().map(|i| i.spec.node.as_str());
    let chains = objects.chains.iter().filter_map(|c| c.spec.node.as_deref());
    interfaces.chain(of_nodes).chain(chains).collect()
}

/// Whether some interface or chain is meant for selected nodes only.
#[must_use]
pub fn has_selectors(objects: &Objects) -> bool {
    let selective = |scope: Scope<'_>| matches!(scope, Scope::Nodes(Some(_)));
    interfaces(objects).iter().any(|i| selective(i.scope))
        || chains(objects).iter().any(|c| selective(c.scope))
}

/// The service that is plugged into a port; `None` for interfaces that get no address.
fn plugged<'a>(
    interfaces: &'a [FoundInterface<'_>],
    wanted: &Labels,
    node: &Node,
) -> Result<Option<&'a ServiceEndpoint>, String> {
    let matching: Vec<_> =
        interfaces.iter().filter(|i| i.labels.is_some_and(|have| contains(have, wanted))).collect();
    let Some(first) = matching.first() else {
        return Err(format!("{} matches no service interface{}", text(wanted), of(node)));
    };
    if let Some(other) = matching.iter().find(|other| !same(first.interface, other.interface)) {
        let message = "matches several service interfaces";
        return Err(format!("{} {message}{}: {} and {}", text(wanted), of(node), first.title, other.title));
    }
    match (first.interface.interface_type, &first.interface.service) {
        (InterfaceType::Service, None) => {
            Err(format!("{} is of type service but has no service", first.title))
        }
        (InterfaceType::Service, service) => Ok(service.as_ref()),
        _ => Ok(None),
    }
}

/// ` of node x`; nothing for the nameless node that stands for all of them in a check of files.
fn of(node: &Node) -> String {
    if node.name.is_empty() { String::new() } else { format!(" of node {}", node.name) }
}

/// Whether two objects speak of one interface: a service's interface is known by service and name, and the object of the
/// management side and the one made from it both say them.
fn same(a: &Interface, b: &Interface) -> bool {
    match (&a.service, &b.service) {
        (Some(x), Some(y)) => (&x.service_id, &x.interface_name) == (&y.service_id, &y.interface_name),
        _ => a == b,
    }
}

fn chain_port(chain: &str, service: &ServiceEndpoint, ipam: &ChainIpam) -> ChainPort {
    ChainPort {
        service_id: service.service_id.clone(),
        interface_name: service.interface_name.clone(),
        chain: chain.to_owned(),
        pool_labels: ipam.match_labels.clone(),
        is_gateway: ipam.default_gateway,
        set_default_route: ipam.set_default_route,
    }
}

/// Sorts; a port that came by two ways is one; an interface of which two chains want different things is in neither.
fn settle(mut found: Ports) -> Ports {
    found.ports.sort();
    found.ports.dedup_by(|b, a| ChainPort { chain: a.chain.clone(), ..b.clone() } == *a);
    let mut kept: Vec<ChainPort> = Vec::new();
    for group in
        found.ports.chunk_by(|a, b| (&a.service_id, &a.interface_name) == (&b.service_id, &b.interface_name))
    {
        match group {
            [first, second, ..] => found.problems.push(Problem {
                object: second.chain.clone(),
                field: String::new(),
                message: format!(
                    "interface {} of service {} gets its address by {} already, which asks for something else; it gets none",
                    first.interface_name, first.service_id, first.chain
                ),
            }),
            one => kept.extend_from_slice(one),
        }
    }
    found.problems.sort();
    Ports { ports: kept, problems: found.problems }
}

fn interfaces(objects: &Objects) -> Vec<FoundInterface<'_>> {
    let mut found = Vec::new();
    for object in &objects.dpu_interfaces {
        let set = &object.spec.template.spec;
        found.push(FoundInterface {
            title: title(object),
            scope: Scope::Nodes(set.node_selector.as_ref()),
            labels: set.template.metadata.as_ref().map(|m| &m.labels),
            interface: &set.template.spec.interface,
        });
    }
    for object in &objects.interface_sets {
        found.push(FoundInterface {
            title: title(object),
            scope: Scope::Nodes(object.spec.node_selector.as_ref()),
            labels: object.spec.template.metadata.as_ref().map(|m| &m.labels),
            interface: &object.spec.template.spec.interface,
        });
    }
    for object in &objects.interfaces {
        found.push(FoundInterface {
            title: title(object),
            scope: Scope::Node(object.spec.node.as_deref()),
            labels: object.metadata.labels.as_ref(),
            interface: &object.spec.interface,
        });
    }
    for object in &objects.node_interfaces {
        for entry in object.spec.interfaces.iter().filter(|entry| !entry.terminating) {
            found.push(FoundInterface {
                title: format!("{} {}", title(object), entry.name),
                scope: Scope::Node(Some(&object.spec.node)),
                labels: Some(&entry.labels),
                interface: &entry.interface,
            });
        }
    }
    found
}

fn chains(objects: &Objects) -> Vec<FoundChain<'_>> {
    let mut found = Vec::new();
    for object in &objects.dpu_chains {
        let set = &object.spec.template.spec;
        found.push(FoundChain {
            title: title(object),
            scope: Scope::Nodes(set.node_selector.as_ref()),
            path: "spec.template.spec.template.spec.switches",
            spec: &set.template.spec,
        });
    }
    for object in &objects.chain_sets {
        found.push(FoundChain {
            title: title(object),
            scope: Scope::Nodes(object.spec.node_selector.as_ref()),
            path: "spec.template.spec.switches",
            spec: &object.spec.template.spec,
        });
    }
    for object in &objects.chains {
        found.push(FoundChain {
            title: title(object),
            scope: Scope::Node(object.spec.node.as_deref()),
            path: "spec.switches",
            spec: &object.spec,
        });
    }
    found
}

/// Evaluates a LabelSelector: everything must hold; an operator that is not known holds for nothing.
fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let expressions = selector.match_expressions.iter().flatten().all(|e| {
        let value = labels.get(&e.key);
        let listed = value.is_some_and(|v| e.values.iter().flatten().any(|w| w == v));
        match e.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    expressions && selector.match_labels.as_ref().is_none_or(|wanted| contains(labels, wanted))
}

fn contains(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn text(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
