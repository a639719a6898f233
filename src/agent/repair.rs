//! Repairs of single interfaces: the short way from an event to the address that is back.

use std::collections::BTreeSet;

use tracing::{debug, warn};

use super::{Agent, ROUNDS, Settled, name_of};
use crate::{
    engine::{
        desired::Desired,
        plan::{Scope, plan},
    },
    kernel::{KernelError, Wake},
    model::{Observed, Step},
};

/// More interfaces than this are cheaper to look at all at once.
const MANY: usize = 32;

/// Whether `desired` asks for what `step` brings: if it did so before, somebody undid it.
pub(super) fn asks_for(desired: &Desired, step: &Step) -> bool {
    let link = step.ifindex().and_then(|i| desired.links.get(&i));
    match step {
        Step::AddAddress(a) => link.is_some_and(|l| l.addresses.iter().any(|d| d.address == a.address)),
        Step::AddRoute(r) | Step::ReplaceRoute(r) => link
            .is_some_and(|l| l.routes.contains(r) || l.addresses.iter().any(|a| a.address.trunc() == r.dst)),
        Step::SetIpv4 { key, value, .. } => link.is_some_and(|l| l.settings.get(key) == Some(value)),
        Step::LinkUp { .. } => link.is_some(),
        Step::AddRule(rule) => desired.rules.contains(rule),
        Step::DelRule(_) | Step::DelRoute(_) | Step::DelSubnetRoute(_) | Step::DelAddress(_) => false,
    }
}

impl Settled {
    /// Whether the interfaces are still those that the last complete pass saw, so that its desired state fits them.
    fn fits(&self, observed: &Observed) -> bool {
        observed.links.values().all(|now| {
            self.links.get(&now.ifindex).is_some_and(|then| (&then.name, then.mac) == (&now.name, now.mac))
        })
    }
}

impl Agent {
    /// Repairs the interfaces that `wake` names. False if everything must be looked at instead.
    pub(super) fn repair(&mut self, wake: &Wake) -> Result<bool, KernelError> {
        let Some(settled) = &mut self.settled else { return Ok(false) };
        if wake.all || wake.links.len() > MANY {
            return Ok(false);
        }
        let wanted = &settled.pass.desired.links;
        let (ours, others): (BTreeSet<u32>, BTreeSet<u32>) =
            wake.links.iter().partition(|i| wanted.contains_key(i));
        let waits_for_others =
            !settled.pass.desired.refused.is_empty() || !settled.pass.plan.findings.is_empty();
        if !others.is_empty() && waits_for_others {
            return Ok(false);
        }
        if ours.is_empty() {
            return Ok(true);
        }
        for _ in 0..ROUNDS {
            let observed = self.kernel.observe_links(&ours)?;
            let Some(settled) = &mut self.settled else { return Ok(false) };
            if observed.links.len() != ours.len() || !settled.fits(&observed) {
                return Ok(false);
            }
            let plan =
                plan(&settled.pass.desired, &observed, &self.state.owned, &self.config.numbers, Scope::Links);
            if plan.findings != settled.pass.plan.findings && !plan.findings.is_empty() {
                return Ok(false);
            }
            let at = self.started.elapsed();
            let mut steps = plan.steps;
            let mut newly_held = false;
            steps.retain(|step| {
                let admitted = !asks_for(&settled.pass.desired, step) || self.repairs.admit(step, at);
                newly_held |= !admitted && settled.contended.insert(step.clone());
                admitted
            });
            if newly_held {
                // Someone keeps undoing it: the complete pass says so in the status.
                return Ok(false);
            }
            if steps.is_empty() {
                return Ok(true);
            }
            if plan.owned != self.state.owned {
                self.state.owned = plan.owned;
                self.save();
            }
            let results = self.kernel.apply(&steps, self.config.numbers.protocol);
            let failed = results.iter().any(Result::is_err);
            for (step, result) in steps.iter().zip(&results) {
                let by = self.culprit(step).map_or_else(String::new, |c| format!(" (removed by {c})"));
                let words = step.words(|i| name_of(&observed.links, i));
                match result {
                    Ok(()) => warn!("repaired: {words}{by}"),
                    Err(error) => debug!("{error}"),
                }
            }
            if failed {
                return Ok(false);
            }
        }
        Ok(false)
    }
}
