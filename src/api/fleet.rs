//! A set of objects -> what each node gets: renders DPUServiceIPAMs, splits the pools over the nodes, and cuts one node's
//! assignment out of it. Depends on the objects alone, so that nodes with the same files agree; remembers nothing.

mod overlap;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Event, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;

use super::{
    chain,
    nvipam::Pool,
    objects::{ObjectKey, Objects},
    render::{LABEL_NAME, message, render, validate_dpuserviceipam},
};
use crate::{
    engine::assignment::{AssignedPool, Assignment, Problem, Standing},
    model::{NodeName, PoolRef},
    pool::{self, Allocation, Node, PoolSpec, Slice, Warning},
};

/// The pools of a set of objects, split over its nodes.
#[derive(Debug)]
pub struct Fleet<'a> {
    objects: &'a Objects,
    /// The nodes that own something by any pool's status, without labels.
    named: Vec<Node>,
    pools: Vec<FleetPool>,
    events: Vec<Event>,
    problems: Vec<Problem>,
    refused: overlap::Refused,
}

/// A pool with the decision of the split.
#[derive(Debug)]
struct FleetPool {
    reference: PoolRef,
    pool: Pool,
    spec: PoolSpec,
    allocations: Vec<Allocation>,
    warnings: Vec<Warning>,
    /// Its object cannot be read, so it is not known which allocations stand.
    unknown: bool,
    /// Why its allocations may not be used, if so.
    unusable: Option<String>,
}

impl<'a> Fleet<'a> {
    /// Renders and splits. Where a DPUServiceIPAM and a pool of the same identity are both given, the spec is that of the
    /// DPUServiceIPAM and the pool object tells which allocations stand.
    #[must_use]
    pub fn build(objects: &'a Objects) -> Self {
        let mut fleet = Self {
            objects,
            named: named_nodes(objects),
            pools: Vec::new(),
            events: Vec::new(),
            problems: Vec::new(),
            refused: BTreeMap::new(),
        };
        for (reference, pool) in fleet.render() {
            let split = fleet.split(reference, pool);
            fleet.pools.push(split);
        }
        let (refused, problems) = overlap::find(&fleet.pools);
        fleet.refused = refused;
        fleet.problems.extend(problems);
        fleet
    }

    /// The pools with their allocations, sorted by kind, namespace and name; without those of which nobody knows which
    /// allocations stand.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(|p| !p.unknown).map(|p| &p.pool)
    }

    /// What a controller would warn about.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// DPUServiceIPAMs and pools that are not valid, and slices of two nodes that overlap. What was wrong while decoding is
    /// in [`Objects::problems`].
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Everything that `node` gets.
    #[must_use]
    pub fn assignment(&self, node: &NodeName) -> Assignment {
        let known = self.objects.nodes.iter().find(|n| n.name == node.as_str());
        let this = known.cloned().unwrap_or_else(|| Node { name: node.to_string(), labels: BTreeMap::new() });
        let mut problems = self.objects.problems.clone();
        problems.extend_from_slice(&self.problems);
        if known.is_none() && !self.objects.nodes.is_empty() {
            problems.push(Problem {
                object: format!("Node/{node}"),
                field: String::new(),
                message: "is not among the Node objects, so no pool has a slice for it".to_owned(),
            });
        }
        if self.objects.nodes.is_empty() && chain::has_selectors(self.objects) {
            problems.push(Problem {
                object: format!("Node/{node}"),
                field: String::new(),
                message: "no Node object tells its labels, so interfaces and chains with a nodeSelector may not match"
                    .to_owned(),
            });
        }
        let mut pools = Vec::with_capacity(self.pools.len());
        for pool in &self.pools {
            let given = self.slice(pool, &this);
            let (slice, standing) = match given {
                Ok(slice) => (slice, Standing::Current),
                Err(reason) => (None, Standing::Unusable(reason)),
            };
            if slice.is_none() {
                problems.extend(pool.full_for(node.as_str()));
                if standing == Standing::Current && self.objects.nodes.is_empty() {
                    problems.extend(pool.forgotten(node.as_str()));
                }
            }
            pools.push(AssignedPool {
                pool: pool.reference.clone(),
                labels: pool.pool.labels(),
                slice,
                standing,
            });
        }
        let chain::Ports { ports, problems: of_chains } = chain::ports(self.objects, &this);
        problems.extend(of_chains);
        problems.sort();
        problems.dedup();
        let incomplete = self.objects.incomplete || !self.objects.undecodable.is_empty();
        Assignment { node: node.clone(), pools, ports, problems, incomplete, alone: self.only_one() }
    }

    /// The slice of `pool` for `node`; an error says why what the pool says must not be used.
    fn slice(&self, pool: &FleetPool, node: &Node) -> Result<Option<Slice>, String> {
        if let Some(reason) = &pool.unusable {
            return Err(reason.clone());
        }
        if let Some(reason) = self.refused.get(&(pool.reference.clone(), node.name.clone())) {
            return Err(reason.clone());
        }
        let alone;
        let allocations = if self.only_one() {
            alone =
                pool::split(&pool.reference.name, &pool.spec, None, std::slice::from_ref(node)).allocations;
            &alone
        } else {
            &pool.allocations
        };
        match allocations.iter().find(|a| a.node_name() == node.name) {
            Some(own) => pool::slice(&pool.spec, own).map(Some).map_err(|error| error.to_string()),
            None if self.objects.incomplete => {
                Err("not split: there may be nodes and allocations in what could not be read".to_owned())
            }
            None => Ok(None),
        }
    }

    /// Whether nothing speaks of any other node, so that the node that asks is the only one; what cannot be read might.
    fn only_one(&self) -> bool {
        let Objects { nodes, incomplete, undecodable, .. } = self.objects;
        let hidden = undecodable.iter().any(|key| key.kind == "IPPool" || key.kind == "CIDRPool");
        nodes.is_empty() && self.named.is_empty() && !incomplete && !hidden
    }

    /// The pools that exist: those given, and in their place those that DPUServiceIPAMs ask for.
    fn render(&mut self) -> BTreeMap<PoolRef, Pool> {
        let ip_pools = self.objects.ip_pools.iter().cloned().map(Pool::IpPool);
        let cidr_pools = self.objects.cidr_pools.iter().cloned().map(Pool::CidrPool);
        let mut pools: BTreeMap<_, _> = ip_pools.chain(cidr_pools).map(|p| (p.reference(), p)).collect();
        for ipam in &self.objects.ipams {
            let problems = validate_dpuserviceipam(ipam);
            let rendered = if problems.is_empty() { render(ipam) } else { None };
            // Refused at the door: the pool that an earlier, valid version made stays as it is.
            let Some(mut pool) = rendered else {
                let texts: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.field, p.message)).collect();
                self.warn(reference_of(ipam), "InvalidSpec", &texts.join("; "));
                self.problems.extend(problems);
                continue;
            };
            let reference = pool.reference();
            if let Some(allocations) = pools.get(&reference).and_then(Pool::allocations) {
                pool.set_allocations(&allocations);
            }
            // A switch of the mode deletes the pool of the other kind.
            pools.retain(|other, old| {
                other.namespace != reference.namespace
                    || other.name != reference.name
                    || old.labels().get(LABEL_NAME).map(String::as_str) != Some(&*reference.name)
            });
            pools.insert(reference, pool);
        }
        pools
    }

    fn split(&mut self, reference: PoolRef, mut pool: Pool) -> FleetPool {
        let spec = pool.spec();
        let current = pool.allocations();
        let mut unusable = None;
        let invalid = pool::validate(&reference.name, &spec);
        if let Some(first) = invalid.first() {
            unusable = Some(format!("invalid: {}: {}", first.field, message(first)));
            self.problems.extend(invalid.iter().map(|error| Problem {
                object: reference.to_string(),
                field: error.field.clone(),
                message: message(error),
            }));
        }
        let key = ObjectKey {
            kind: reference.kind.to_string(),
            namespace: reference.namespace.to_string(),
            name: reference.name.to_string(),
        };
        let mut allocations = current.clone().unwrap_or_default();
        let mut warnings = Vec::new();
        let unknown = self.objects.undecodable.contains(&key);
        if unknown {
            unusable = Some(
                "its pool object cannot be read, so the allocations that stand are not known".to_owned(),
            );
        } else if !self.objects.incomplete {
            let split = self.over_nodes(&reference.name, &spec, current.as_deref());
            pool.set_allocations(&split.allocations);
            (allocations, warnings) = (split.allocations, split.warnings);
        }
        for warning in &warnings {
            self.warn(involved(&pool), warning.reason, &warning.message);
        }
        FleetPool { reference, pool, spec, allocations, warnings, unknown, unusable }
    }

    /// Splits over the Node objects. Without any, the nodes are those that the status names, whatever the selector says: it
    /// was judged where their labels were known. A pool without allocations is split over all nodes that any status names.
    fn over_nodes(&self, name: &str, spec: &PoolSpec, current: Option<&[Allocation]>) -> pool::Split {
        let standing = current.unwrap_or_default();
        if !self.objects.nodes.is_empty() {
            pool::split(name, spec, current, &self.objects.nodes)
        } else if standing.is_empty() {
            pool::split(name, spec, current, &self.named)
        } else {
            let mut spec = spec.clone();
            match &mut spec {
                PoolSpec::IpPool(spec) => spec.node_selector = None,
                PoolSpec::CidrPool(spec) => spec.node_selector = None,
            }
            pool::split(name, &spec, current, &unlabelled(standing.iter().map(Allocation::node_name)))
        }
    }

    fn warn(&mut self, object: ObjectReference, reason: &str, message: &str) {
        let number = self.events.len() + 1;
        self.events.push(Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{number}", object.name.as_deref().unwrap_or_default())),
                namespace: object.namespace.clone().or_else(|| Some("default".to_owned())),
                ..ObjectMeta::default()
            },
            involved_object: object,
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            type_: Some("Warning".to_owned()),
            ..Event::default()
        });
    }
}

impl FleetPool {
    /// The problem that the allocations that came along name other nodes only, and no Node object says whether `node` is
    /// one more: giving it a free block could give the same one to two nodes.
    fn forgotten(&self, node: &str) -> Option<Problem> {
        let forgotten = !self.allocations.is_empty() && self.spec.node_selector().is_none();
        forgotten.then(|| Problem {
            object: self.reference.to_string(),
            field: "status.allocations".to_owned(),
            message: format!(
                "names other nodes, but not {node}: split the pool again with the Node objects of all"
            ),
        })
    }

    /// The problem that nothing was left for `node`, if the split said so.
    fn full_for(&self, node: &str) -> Option<Problem> {
        let names_it =
            |w: &&Warning| w.reason.starts_with("NoFree") && w.message.split([' ', ',']).any(|t| t == node);
        let warning = self.warnings.iter().find(names_it)?;
        let (object, message) =
            (self.reference.to_string(), format!("{}: {}", warning.reason, warning.message));
        Some(Problem { object, field: String::new(), message })
    }
}

/// The nodes that the pools' status names. They are known even where the pool itself gives way to another.
fn named_nodes(objects: &Objects) -> Vec<Node> {
    let blocks = objects.ip_pools.iter().filter_map(|p| p.status.as_ref()?.allocations.as_ref()).flatten();
    let prefixes =
        objects.cidr_pools.iter().filter_map(|p| p.status.as_ref()?.allocations.as_ref()).flatten();
    let names = blocks.map(|b| b.node_name.as_str()).chain(prefixes.map(|p| p.node_name.as_str()));
    unlabelled(names.collect::<BTreeSet<_>>())
}

fn unlabelled<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Node> {
    names.into_iter().map(|name| Node { name: name.to_owned(), labels: BTreeMap::new() }).collect()
}

/// The object that an event on `pool` is about.
fn involved(pool: &Pool) -> ObjectReference {
    match pool {
        Pool::IpPool(pool) => reference_of(pool),
        Pool::CidrPool(pool) => reference_of(pool),
    }
}

fn reference_of<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: object.meta().namespace.clone(),
        name: object.meta().name.clone(),
        ..ObjectReference::default()
    }
}
