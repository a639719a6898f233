//! The status: what a pass came to, per binding and as conditions of the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Pass, WantError,
    assignment::{Assignment, Problem, Standing},
    attach::Match,
    desired::Refusal,
    lease::{Grant, Lease, Trouble},
    plan::Finding,
};
use crate::model::{Attachment, Binding, BindingName, NodeName, PoolRef, Step, Timestamp};

/// What this node's agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The node.
    pub node: NodeName,
    /// The agent's version.
    pub agent_version: String,
    /// When this was last true.
    pub time: Timestamp,
    /// Since when the assignment in force is known; `None` = nothing was ever heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment_time: Option<Timestamp>,
    /// `Ready`, `SourceSynced`, `Applied`, `NoConflict`.
    pub conditions: Vec<Condition>,
    /// One entry per binding, in the order of the configuration.
    pub bindings: Vec<BindingStatus>,
    /// Living leases, from which a reflashed node can recover.
    pub leases: Vec<Lease>,
    /// Objects of the source that cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// What else an operator should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Status {
    /// That of a node of which nothing is known yet.
    #[must_use]
    pub fn empty(node: NodeName, agent_version: &str, now: Timestamp) -> Self {
        Self {
            node,
            agent_version: agent_version.to_owned(),
            time: now,
            assignment_time: None,
            conditions: Vec::new(),
            bindings: Vec::new(),
            leases: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether every binding has what it asks for; false while nothing is known.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.conditions.iter().any(|c| c.kind == ConditionType::Ready && c.status)
    }
}

/// A condition, as Kubernetes has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// One word for machines.
    pub reason: String,
    /// A sentence for people; empty when there is nothing to add.
    pub message: String,
}

/// The conditions of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionType {
    /// Every binding is ready.
    Ready,
    /// The source was read, completely, and all of it can be used.
    SourceSynced,
    /// The kernel has what the leases ask for.
    Applied,
    /// Nobody else claims what is ours.
    NoConflict,
}

/// What one binding came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingStatus {
    /// The binding.
    pub name: BindingName,
    /// Its state.
    pub state: State,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence; empty when there is nothing to add.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The SF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Attachment>,
    /// The pools of its leases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolRef>,
    /// Its addresses with their lengths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
    /// The gateways of its slices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
}

/// A binding's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// The SF has its addresses.
    Ready,
    /// Something that will come by itself is not there yet.
    Waiting,
    /// Somebody has to do something.
    Failed,
}

/// Why a binding is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it; the message tells the particulars")]
pub enum Reason {
    Applied,
    PoolGone,
    PoolUnusable,
    PoolNotFound,
    NoSlice,
    NoChainPort,
    SliceExhausted,
    AddressUnavailable,
    HeldByPod,
    InterfaceAbsent,
    InterfaceAmbiguous,
    InterfaceShared,
    AddressElsewhere,
    RouteTaken,
    Contended,
    ApplyFailed,
}

/// What did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// What the kernel said, or who keeps undoing it.
    pub message: String,
    /// Somebody keeps undoing it.
    pub contended: bool,
}

impl Failure {
    /// The step was taken, yet the kernel still lacks what it brings.
    #[must_use]
    pub fn unconfirmed(step: &Step, name: impl Fn(u32) -> String) -> Self {
        Self { step: step.clone(), message: format!("still to do: {}", step.words(name)), contended: false }
    }

    /// The step is held back, since somebody (`culprit`, where known) undoes it again and again.
    #[must_use]
    pub fn contended(step: &Step, culprit: Option<&str>, name: impl Fn(u32) -> String) -> Self {
        let culprit = culprit.unwrap_or("an unknown process");
        let message =
            format!("{culprit} keeps undoing: {}; now done at most every few seconds", step.words(name));
        Self { step: step.clone(), message, contended: true }
    }
}

/// What the last reading of the source came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// All is read.
    Synced,
    /// It could not be read; the last good assignment carries on.
    Lost(String),
}

/// All that a status is made of, beside the pass itself.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The configuration's bindings.
    pub bindings: &'a [Binding],
    /// The assignment in force.
    pub assignment: &'a Assignment,
    /// Since when it is known.
    pub assignment_time: Option<Timestamp>,
    /// How the source is.
    pub source: &'a SourceState,
    /// The SFs.
    pub matches: &'a BTreeMap<BindingName, Match>,
    /// What did not come about.
    pub failures: &'a [Failure],
    /// What else an operator should know.
    pub notes: &'a [String],
    /// The agent's version.
    pub agent_version: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// The status after `pass`.
#[must_use]
pub fn status(facts: &Facts<'_>, pass: &Pass) -> Status {
    let mut grants: Vec<Vec<(usize, &Grant)>> = vec![Vec::new(); facts.bindings.len()];
    for (index, grant) in pass.grants.iter().enumerate() {
        grants[grant.binding].push((index, grant));
    }
    let bindings: Vec<BindingStatus> = facts
        .bindings
        .iter()
        .zip(&grants)
        .map(|(binding, grants)| of_binding(facts, pass, binding, grants))
        .collect();
    Status {
        node: facts.assignment.node.clone(),
        agent_version: facts.agent_version.to_owned(),
        time: facts.now,
        assignment_time: facts.assignment_time,
        conditions: conditions(facts, &bindings),
        bindings,
        leases: pass.book.leases.clone(),
        problems: facts.assignment.problems.clone(),
        notes: facts.notes.to_vec(),
    }
}

fn of_binding(
    facts: &Facts<'_>,
    pass: &Pass,
    binding: &Binding,
    grants: &[(usize, &Grant)],
) -> BindingStatus {
    let found = facts.matches.get(&binding.name);
    let interface = match found {
        Some(Match::Found(sf)) => Some(sf.clone()),
        _ => None,
    };
    let mut status = BindingStatus {
        name: binding.name.clone(),
        state: State::Ready,
        reason: Reason::Applied,
        message: String::new(),
        interface,
        pools: Vec::new(),
        addresses: Vec::new(),
        gateways: Vec::new(),
    };
    let mut verdicts = Vec::new();
    for (index, grant) in grants {
        let slice = grant.lease.as_ref().and_then(|lease| {
            status.pools.push(lease.pool.clone());
            let pool = facts.assignment.pool(&lease.pool)?;
            verdicts.extend(of_standing(&pool.pool, &pool.standing));
            pool.slice.as_ref().map(|slice| (lease, slice))
        });
        if let Some((lease, slice)) = slice {
            let length = slice.network.prefix_len();
            status.addresses.push(IpNet::new(lease.address, length).unwrap_or_else(|_| lease.address.into()));
            status.gateways.extend(slice.gateway);
        }
        verdicts.extend(grant.trouble.as_ref().map(|t| of_trouble(t, grant)));
        verdicts.extend(pass.desired.refused.get(index).map(|r| of_refusal(r, grant)));
    }
    verdicts.extend(found.and_then(of_match));
    if let Some(Match::Found(sf)) = found {
        verdicts.extend(
            facts.failures.iter().filter(|f| concerns(&f.step, sf, &status.addresses)).map(of_failure),
        );
        verdicts.extend(pass.plan.findings.iter().filter_map(|f| of_finding(f, sf)));
    }
    // The worst counts; of equals the first, which lies nearest to the cause.
    let worst = verdicts.into_iter().reduce(|worst, next| if next.0 > worst.0 { next } else { worst });
    if let Some((state, reason, message)) = worst {
        (status.state, status.reason, status.message) = (state, reason, message);
    }
    status
}

type Verdict = (State, Reason, String);

fn of_standing(pool: &PoolRef, standing: &Standing) -> Option<Verdict> {
    match standing {
        Standing::Current => None,
        Standing::Gone => {
            let message = format!("{pool} is gone; what it assigned is kept");
            Some((State::Ready, Reason::PoolGone, message))
        }
        Standing::Unusable(why) => {
            let message = format!("{pool} cannot be used, what it assigned before is kept: {why}");
            Some((State::Ready, Reason::PoolUnusable, message))
        }
    }
}

fn of_trouble(trouble: &Trouble, grant: &Grant) -> Verdict {
    let (state, reason) = match trouble {
        Trouble::Want(WantError::NoPort { .. }) => (State::Waiting, Reason::NoChainPort),
        Trouble::Want(WantError::NoPool { .. }) => (State::Waiting, Reason::PoolNotFound),
        Trouble::Want(WantError::NoSlice { .. }) => (State::Waiting, Reason::NoSlice),
        Trouble::Exhausted { .. } => (State::Failed, Reason::SliceExhausted),
        Trouble::Index { .. } => (State::Failed, Reason::AddressUnavailable),
        Trouble::HeldByPod { .. } => (State::Failed, Reason::HeldByPod),
    };
    let kept = grant.lease.as_ref().map_or_else(String::new, |l| format!("; {} is kept", l.address));
    (state, reason, format!("{trouble}{kept}"))
}

fn of_refusal(refusal: &Refusal, grant: &Grant) -> Verdict {
    match refusal {
        Refusal::Elsewhere { address, netdev, .. } => {
            let message =
                format!("{address} is already on {netdev}, where dpu-ipam did not put it; remove it there");
            (State::Failed, Reason::AddressElsewhere, message)
        }
        Refusal::NoSlice => {
            let pool = grant.lease.as_ref().map_or_else(String::new, |l| l.pool.to_string());
            let message =
                format!("the slice of {pool} is not known; whatever the interface has is left alone");
            (State::Waiting, Reason::NoSlice, message)
        }
    }
}

fn of_match(found: &Match) -> Option<Verdict> {
    match found {
        Match::Found(_) => None,
        Match::Absent { why } => Some((State::Waiting, Reason::InterfaceAbsent, why.clone())),
        Match::Ambiguous(names) => {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let message =
                format!("several interfaces match: {}; add to match what tells them apart", names.join(", "));
            Some((State::Failed, Reason::InterfaceAmbiguous, message))
        }
        Match::Shared { with, netdev } => {
            let message = format!(
                "{netdev} already belongs to the binding {with}; one of the two must match another SF"
            );
            Some((State::Failed, Reason::InterfaceShared, message))
        }
    }
}

fn concerns(step: &Step, sf: &Attachment, addresses: &[IpNet]) -> bool {
    match step {
        Step::AddRule(rule) | Step::DelRule(rule) => {
            rule.from.is_some_and(|from| addresses.iter().any(|a| a.addr() == from.addr()))
        }
        other => other.ifindex() == Some(sf.ifindex),
    }
}

fn of_failure(failure: &Failure) -> Verdict {
    let reason = if failure.contended { Reason::Contended } else { Reason::ApplyFailed };
    (State::Failed, reason, failure.message.clone())
}

fn of_finding(finding: &Finding, sf: &Attachment) -> Option<Verdict> {
    match finding {
        Finding::RouteTaken { wanted, present } if wanted.oif == sf.ifindex => {
            let add = Step::AddRoute(wanted.clone()).words(|_| sf.netdev.to_string());
            let message = format!(
                "cannot {add}: its place is taken by a route of protocol {}; remove that, or choose another routing.metric",
                present.protocol
            );
            Some((State::Failed, Reason::RouteTaken, message))
        }
        Finding::RouteTaken { .. } => None,
    }
}

fn conditions(facts: &Facts<'_>, bindings: &[BindingStatus]) -> Vec<Condition> {
    let unready: BTreeSet<&str> =
        bindings.iter().filter(|b| b.state != State::Ready).map(|b| b.name.as_str()).collect();
    let conflicts: Vec<&str> = bindings
        .iter()
        .filter(|b| {
            matches!(
                b.reason,
                Reason::AddressElsewhere | Reason::HeldByPod | Reason::RouteTaken | Reason::Contended
            )
        })
        .map(|b| b.name.as_str())
        .collect();
    let condition = |kind, status, reason: &str, message: String| Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message,
    };
    let list = |names: Vec<&str>| names.join(", ");
    vec![
        if unready.is_empty() {
            condition(ConditionType::Ready, true, "AllBindingsReady", String::new())
        } else {
            condition(ConditionType::Ready, false, "BindingsNotReady", list(unready.into_iter().collect()))
        },
        match facts.source {
            SourceState::Lost(why) => {
                condition(ConditionType::SourceSynced, false, "SourceLost", why.clone())
            }
            SourceState::Synced if !facts.assignment.problems.is_empty() => condition(
                ConditionType::SourceSynced,
                false,
                "ObjectsUnusable",
                match facts.assignment.problems.len() {
                    1 => "1 problem, see problems".to_owned(),
                    n => format!("{n} problems, see problems"),
                },
            ),
            SourceState::Synced => condition(ConditionType::SourceSynced, true, "Synced", String::new()),
        },
        match facts.failures.first() {
            None => condition(ConditionType::Applied, true, "Applied", String::new()),
            Some(first) => condition(ConditionType::Applied, false, "StepsFailed", first.message.clone()),
        },
        if conflicts.is_empty() {
            condition(ConditionType::NoConflict, true, "NoConflict", String::new())
        } else {
            condition(ConditionType::NoConflict, false, "Conflict", list(conflicts))
        },
    ]
}
