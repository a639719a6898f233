//! What is wrong with a set of objects, object by object and between them, as `validate` tells it. Decides nothing for
//! nodes.

use std::collections::BTreeMap;

use super::{Fleet, Objects, chain, render};
use crate::{
    engine::assignment::{Problem, nearest_pool},
    model::{Labels, PoolRef},
    pool::Node,
};

/// The findings of [`lint`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// What is wrong; empty = valid.
    pub problems: Vec<Problem>,
    /// What could not be checked, and why.
    pub notes: Vec<String>,
}

/// Checks everything that can be checked without a node or a cluster.
#[must_use]
pub fn lint(objects: &Objects) -> Findings {
    let fleet = Fleet::build(objects);
    let mut findings = Findings { problems: objects.problems.clone(), notes: Vec::new() };
    findings.problems.extend_from_slice(fleet.problems());
    ports(objects, &mut findings);
    requests(objects, &fleet, &mut findings);
    findings
}

/// Every port of a chain must find exactly one interface.
fn ports(objects: &Objects, findings: &mut Findings) {
    let interfaces = objects.dpu_interfaces.len()
        + objects.interface_sets.len()
        + objects.interfaces.len()
        + objects.node_interfaces.len();
    let chains = objects.dpu_chains.len() + objects.chain_sets.len() + objects.chains.len();
    if interfaces == 0 && chains > 0 {
        findings.notes.push("no service interface is given: the ports of chains are not checked".to_owned());
    }
    if interfaces == 0 || chains == 0 {
        return;
    }
    let mut nodes = objects.nodes.clone();
    if nodes.is_empty() {
        let named = chain::named_nodes(objects).into_iter();
        nodes.extend(named.map(|name| Node { name: name.to_owned(), labels: Labels::new() }));
    }
    if nodes.is_empty() {
        nodes.push(Node { name: String::new(), labels: Labels::new() });
    }
    // The same port fails alike on many nodes: one line.
    let mut found: BTreeMap<(String, String), (Problem, usize)> = BTreeMap::new();
    for problem in nodes.iter().flat_map(|node| chain::ports(objects, node).problems) {
        let key = (problem.object.clone(), problem.field.clone());
        found.entry(key).or_insert((problem, 0)).1 += 1;
    }
    findings.problems.extend(found.into_values().map(|(mut problem, nodes)| {
        if nodes > 1 {
            problem.message = format!("{} (and on {} more nodes)", problem.message, nodes - 1);
        }
        problem
    }));
}

/// Labels that a chain asks for must be those of a pool.
fn requests(objects: &Objects, fleet: &Fleet<'_>, findings: &mut Findings) {
    let requests = chain::pool_requests(objects);
    let mut pools: BTreeMap<PoolRef, Labels> = fleet.pools().map(|p| (p.reference(), p.labels())).collect();
    // A DPUServiceIPAM that is not valid is told of already; its labels are what its author meant.
    pools.extend(objects.ipams.iter().filter_map(render::render).map(|p| (p.reference(), p.labels())));
    if pools.is_empty() && !requests.is_empty() {
        findings.notes.push("no pool is given: the pool labels of chains are not checked".to_owned());
        return;
    }
    for (object, field, wanted) in requests {
        if let Some(message) = nearest_pool(wanted, &pools) {
            findings.problems.push(Problem { object, field, message });
        }
    }
}
