//! The pure middle: from what the cluster says and what the kernel has to what must be done.
//!
//! [`pass`] is the heart: a value that `plan` prints and `run` executes.

use std::{collections::BTreeMap, time::Duration};

pub mod assignment;
pub mod attach;
pub mod desired;
pub mod drift;
pub mod lease;
pub mod plan;
mod recover;
pub mod status;
mod want;

pub use want::WantError;

use self::{
    assignment::Assignment,
    attach::Match,
    desired::{Desired, desired},
    lease::{Grant, LeaseBook, PodHeld, allot},
    plan::{Owned, Plan, Scope, plan},
    recover::recover,
};
use crate::model::{Binding, BindingName, Observed, RoutingNumbers, Timestamp};

/// All that a pass is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The configuration's bindings, in its order.
    pub bindings: &'a [Binding],
    /// The numbers that are ours in the kernel.
    pub numbers: &'a RoutingNumbers,
    /// How long an address rests that was given up.
    pub quarantine: Duration,
    /// The assignment in force, completed by its predecessor ([`Assignment::succeed`]).
    pub assignment: &'a Assignment,
    /// The leases as stored.
    pub book: &'a LeaseBook,
    /// What is recorded as ours.
    pub owned: &'a Owned,
    /// Which SF each binding means.
    pub matches: &'a BTreeMap<BindingName, Match>,
    /// The kernel's state, complete.
    pub observed: &'a Observed,
    /// What nv-ipam holds for Pods of this node.
    pub pods: &'a PodHeld,
    /// Now.
    pub now: Timestamp,
}

/// What a pass decides. `book` and `plan.owned` must be stored before the first step is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The leases.
    pub book: LeaseBook,
    /// What each wish came to.
    pub grants: Vec<Grant>,
    /// What the kernel should have.
    pub desired: Desired,
    /// The way there.
    pub plan: Plan,
}

/// Computes a pass: leases (also those that only the kernel still knows), desired state, plan.
#[must_use]
pub fn pass(inputs: &Inputs<'_>) -> Pass {
    let mut book = inputs.book.clone();
    recover(inputs, &mut book);
    let (book, grants) = allot(inputs, &book);
    let desired = desired(inputs, &book, &grants);
    let plan = plan(&desired, inputs.observed, inputs.owned, inputs.numbers, Scope::All);
    Pass { book, grants, desired, plan }
}
