//! What the cluster says for one node, and how a new word succeeds an older one: absence is not deletion.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::model::{Labels, NodeName, PoolRef, Slice};

/// Everything the cluster says for this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The node.
    pub node: NodeName,
    /// The pools that exist, sorted by [`PoolRef`]; also those that give this node no slice.
    pub pools: Vec<AssignedPool>,
    /// The chain ports on this node that ask for an address, sorted.
    pub ports: Vec<ChainPort>,
    /// Objects that could not be used. What stood before for them is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// A part of the source could not be read: what is missing may be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// Nothing speaks of any other node, so that this one was taken for the only one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// A pool, and what it gives to this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedPool {
    /// Which pool.
    pub pool: PoolRef,
    /// Its labels, by which bindings and chains find it.
    pub labels: Labels,
    /// This node's slice; `None` when the pool has none for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// Whether the latest word of the source says so, or an earlier one that is kept.
    #[serde(default)]
    pub standing: Standing,
}

/// Whether something is said now, or was said and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// The latest complete word of the source says so.
    #[default]
    Current,
    /// No longer there (pool deleted, or its status cleared for this node).
    Gone,
    /// There, but not usable; the text says why.
    Unusable(String),
}

/// A port of a ServiceChain on this node that asks for an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainPort {
    /// `service.serviceID` of the ServiceInterface.
    pub service_id: String,
    /// `service.interfaceName` of the ServiceInterface.
    pub interface_name: String,
    /// The chain, as `Kind/name`, for messages.
    pub chain: String,
    /// `ipam.matchLabels`: labels that the pool must carry.
    pub pool_labels: Labels,
    /// `ipam.defaultGateway`: the interface gets the gateway's own address.
    #[serde(default)]
    pub is_gateway: bool,
    /// `ipam.setDefaultRoute`: the interface gets a default route via the gateway.
    #[serde(default)]
    pub set_default_route: bool,
}

/// Something in the source that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `Kind/name`, or the file's name when it is not even an object.
    pub object: String,
    /// Field path; empty when the whole object is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

const NO_NODES: &str = "there were other nodes, and nothing speaks of them any more: bring the Node objects back, or give \
     the pools as `dpu-ipam split` prints them";

impl Assignment {
    /// The assignment of a node of which nothing was ever heard.
    #[must_use]
    pub fn empty(node: NodeName) -> Self {
        Self {
            node,
            pools: Vec::new(),
            ports: Vec::new(),
            problems: Vec::new(),
            incomplete: false,
            alone: false,
        }
    }

    /// This word, completed by what `previous` said of pools in use and of ports and this one no longer says.
    ///
    /// A pool `in_use` that lost its slice (pool deleted, status cleared, object not usable) keeps the slice that it had,
    /// and its [`Standing`] tells why; a port that is gone stays. Only a slice that is *said* to be another one replaces
    /// the old one. Pools that nobody uses are forgotten with their absence.
    ///
    /// That nobody speaks of other nodes any more makes nobody the only one: every node would take the first slice.
    #[must_use]
    pub fn succeed(mut self, previous: &Self, in_use: &BTreeSet<PoolRef>) -> Self {
        let absent = if self.incomplete {
            Standing::Unusable("not among the manifests that can be read".to_owned())
        } else {
            Standing::Gone
        };
        if self.alone && !previous.alone && previous.pools.iter().any(|p| p.slice.is_some()) {
            self.alone = false;
            for pool in &mut self.pools {
                pool.slice = None;
                pool.standing = Standing::Unusable(NO_NODES.to_owned());
            }
        }
        for old in previous.pools.iter().filter(|p| p.slice.is_some() && in_use.contains(&p.pool)) {
            match self.pools.iter_mut().find(|p| p.pool == old.pool) {
                None => {
                    self.pools.push(AssignedPool { standing: absent.clone(), ..old.clone() });
                }
                Some(new) if new.slice.is_none() => {
                    new.slice.clone_from(&old.slice);
                    if new.standing == Standing::Current {
                        new.standing = Standing::Gone;
                    }
                }
                Some(_) => {}
            }
        }
        self.pools.sort_by(|a, b| a.pool.cmp(&b.pool));
        for old in &previous.ports {
            if self.port(&old.service_id, &old.interface_name).is_none() {
                self.ports.push(old.clone());
            }
        }
        self.ports.sort();
        self
    }

    /// The pool `pool`.
    #[must_use]
    pub fn pool(&self, pool: &PoolRef) -> Option<&AssignedPool> {
        self.pools.iter().find(|p| p.pool == *pool)
    }

    /// The port that is the interface `interface_name` of the service `service_id`.
    #[must_use]
    pub fn port(&self, service_id: &str, interface_name: &str) -> Option<&ChainPort> {
        self.ports.iter().find(|p| p.service_id == service_id && p.interface_name == interface_name)
    }
}

impl fmt::Display for Problem {
    /// `Kind/name field.path: message`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, field, message } = self;
        if field.is_empty() {
            write!(f, "{object}: {message}")
        } else {
            write!(f, "{object} {field}: {message}")
        }
    }
}

/// Why no pool carries the labels `wanted`, and which one comes near, for a human; `None` if a pool does carry them.
#[must_use]
pub fn nearest_pool<'a>(
    wanted: &Labels,
    pools: impl IntoIterator<Item = (&'a PoolRef, &'a Labels)>,
) -> Option<String> {
    let pairs =
        |labels: &Labels| labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",");
    let mut nearest: Option<(f64, String)> = None;
    for (pool, labels) in pools {
        if wanted.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            return None;
        }
        // A label whose key is there counts half, the rest goes by how much the value looks like the wanted one.
        let score = wanted
            .iter()
            .filter_map(|(key, value)| labels.get(key).map(|is| 0.5 + 0.5 * strsim::jaro_winkler(value, is)))
            .sum::<f64>();
        if score > nearest.as_ref().map_or(0.0, |(best, _)| *best) {
            let common: Labels = labels
                .iter()
                .filter(|(k, _)| wanted.contains_key(*k))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            nearest = Some((score, format!("{pool} comes near with {}", pairs(&common))));
        }
    }
    let near = nearest.map_or_else(|| "nothing comes near".to_owned(), |(_, text)| text);
    Some(format!("no pool has label {}; {near}", pairs(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::PoolKind;

    fn labels(text: &str) -> Labels {
        text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn near(wanted: &str, pools: &[(&str, &str)]) -> Option<String> {
        let pools: Vec<_> = pools
            .iter()
            .map(|(name, have)| {
                (
                    PoolRef { kind: PoolKind::IpPool, namespace: "n".into(), name: (*name).into() },
                    labels(have),
                )
            })
            .collect();
        nearest_pool(&labels(wanted), pools.iter().map(|(pool, have)| (pool, have)))
    }

    #[test]
    fn the_most_similar_value_of_the_key_comes_near() {
        let pools = [("blue", "pool=blue"), ("example-pool1", "pool=example-pool1,x=y"), ("none", "x=pool1")];
        assert_eq!(
            near("pool=pool1", &pools).as_deref(),
            Some("no pool has label pool=pool1; IPPool/example-pool1 comes near with pool=example-pool1")
        );
        assert_eq!(near("pool=blue", &pools), None);
        assert_eq!(near("a=b", &pools).as_deref(), Some("no pool has label a=b; nothing comes near"));
    }
}
