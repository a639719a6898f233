//! Repairs of single interfaces: the short way from an event to the address that is back.
//!
//! It has two stages. The kernel tells an interface's addresses in microseconds, but walks whole tables to tell its routes:
//! so addresses come back at once, and the thorough look follows when it is quiet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tracing::{debug, warn};

use super::{Agent, ROUNDS, Settled, name_of};
use crate::{
    engine::{
        desired::Desired,
        plan::{Plan, Scope, plan},
    },
    kernel::{ErrorKind, KernelError, Wake},
    model::{Link, Observed, Step},
};

/// More interfaces than this are cheaper to look at all at once.
const MANY: usize = 16;
/// After this long without news the thorough look comes,
const QUIET: Duration = Duration::from_millis(5);
/// and after this long at the latest.
const PATIENCE: Duration = Duration::from_millis(100);
/// So long after something moved on an interface that is none of ours everything is looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Who removed something so long ago has nothing to do with what is missing now.
const MEMORY: Duration = Duration::from_secs(60);

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
    /// Whether a pass would find nothing that the last one did not.
    pub(super) fn rests(&self, observed: &Observed) -> bool {
        self.rests && self.observed == *observed
    }

    /// Whether the interfaces are still those that the last complete pass saw, so that its desired state fits them.
    fn fits(&self, observed: &Observed) -> bool {
        observed.links.values().all(|now| {
            self.observed
                .links
                .get(&now.ifindex)
                .is_some_and(|then| (&then.name, then.mac) == (&now.name, now.mac))
        })
    }
}

/// Where to look thoroughly, once it is quiet.
#[derive(Debug)]
pub(super) struct Pending {
    /// `None` = everywhere.
    links: Option<BTreeSet<u32>>,
    /// When the first reason came.
    since: Instant,
    /// When it is time.
    due: Instant,
}

impl Pending {
    /// Adds a reason to look at `links` (`None`: everywhere).
    fn merge(pending: &mut Option<Self>, links: Option<&BTreeSet<u32>>, now: Instant) {
        let this = pending.get_or_insert_with(|| Self { links: Some(BTreeSet::new()), since: now, due: now });
        this.due = (now + QUIET).min(this.since + PATIENCE);
        match (&mut this.links, links) {
            (Some(all), Some(more)) => all.extend(more),
            (all, _) => *all = None,
        }
    }

    /// When it is time.
    pub(super) fn due(&self) -> Instant {
        self.due
    }
}

impl Agent {
    /// Puts back at once the addresses that are missing on the interfaces that `wake` names, with their routes, and takes
    /// note where to look thoroughly when it is quiet. True if everything must be looked at now.
    pub(super) fn on_wake(&mut self, wake: &Wake) -> bool {
        let now = Instant::now();
        let Some(settled) = &self.settled else {
            // Nothing is known to work towards yet; the next complete pass may change that.
            Pending::merge(&mut self.pending, None, now);
            return false;
        };
        let wanted = &settled.pass.desired.links;
        for culprit in wake.by.iter().filter(|c| c.ifindex == 0 || wanted.contains_key(&c.ifindex)) {
            self.culprits.insert(culprit.ifindex, (now, culprit.to_string()));
        }
        if wake.lost {
            debug!("events were lost");
            return true;
        }
        let ours: BTreeSet<u32> = wake.links.iter().filter(|i| wanted.contains_key(i)).copied().collect();
        if wake.all || !ours.is_empty() {
            Pending::merge(&mut self.pending, (!wake.all).then_some(&ours), now);
        }
        if ours.len() < wake.links.len() {
            // What happens elsewhere may be in our way, or no longer: an address of ours, or a route.
            self.sweep.get_or_insert(now + SWEEP);
        }
        if ours.is_empty() {
            return false;
        }
        self.restore_addresses(&ours).unwrap_or_else(|error| {
            warn!("{error}");
            true
        })
    }

    /// The first repair. What else stands on the interfaces is not looked at, as the kernel takes long to tell: where an
    /// address is gone its routes are taken for gone as well, and those that are not say so. True if everything must be
    /// looked at now.
    fn restore_addresses(&mut self, links: &BTreeSet<u32>) -> Result<bool, KernelError> {
        let addresses = self.kernel.observe_addresses(links)?;
        let Some(settled) = &self.settled else { return Ok(true) };
        let known = |ifindex: &u32| Some((*ifindex, settled.observed.links.get(ifindex)?.clone()));
        let observed =
            Observed { links: links.iter().filter_map(known).collect(), addresses, ..Observed::default() };
        let Plan { mut steps, owned, .. } = self.plan_links(settled, &observed);
        if owned.is_some() {
            // Something must be stored first.
            return Ok(true);
        }
        let bare: BTreeSet<u32> = steps
            .iter()
            .filter_map(|step| match step {
                Step::AddAddress(address) => Some(address.ifindex),
                _ => None,
            })
            .collect();
        steps.retain(|step| {
            matches!(step, Step::AddAddress(_) | Step::AddRoute(_))
                && step.ifindex().is_some_and(|i| bare.contains(&i))
        });
        Ok(!self.admit(&mut steps) || !self.repair(&steps, &observed))
    }

    /// The thorough look, once it is quiet. True if everything must be looked at.
    pub(super) fn look_again(&mut self) -> bool {
        match self.pending.take() {
            Some(Pending { links: Some(links), .. }) if links.len() <= MANY => {
                self.restore_links(&links).unwrap_or_else(|error| {
                    warn!("{error}");
                    true
                })
            }
            Some(_) => true,
            None => false,
        }
    }

    /// The second repair: all that these interfaces have, until nothing is missing. True if everything must be looked at.
    fn restore_links(&mut self, links: &BTreeSet<u32>) -> Result<bool, KernelError> {
        for _ in 0..ROUNDS {
            let observed = self.kernel.observe_links(links)?;
            let Some(settled) = &self.settled else { return Ok(true) };
            if observed.links.len() != links.len() || !settled.fits(&observed) {
                return Ok(true);
            }
            let plan = self.plan_links(settled, &observed);
            let mut steps = plan.steps;
            if plan.findings.iter().any(|f| !settled.pass.plan.findings.contains(f))
                || !self.admit(&mut steps)
            {
                return Ok(true);
            }
            if steps.is_empty() {
                return Ok(false);
            }
            if let Some(owned) = plan.owned {
                self.state.owned = owned;
                self.news = true;
                self.save();
            }
            if !self.repair(&steps, &observed) {
                return Ok(true);
            }
        }
        Ok(true)
    }

    fn plan_links(&self, settled: &Settled, observed: &Observed) -> Plan {
        plan(&settled.pass.desired, observed, &self.state.owned, &self.config.numbers, Scope::Links)
    }

    /// Leaves out of `steps` those that somebody undoes again and again. False if one of them is held back for the first
    /// time, so that a complete pass must say so.
    fn admit(&mut self, steps: &mut Vec<Step>) -> bool {
        let Some(settled) = &mut self.settled else { return false };
        let now = self.started.elapsed();
        let mut known = true;
        steps.retain(|step| {
            let admitted = !asks_for(&settled.pass.desired, step) || self.repairs.admit(step, now);
            known &= admitted || !settled.contended.insert(step.clone());
            admitted
        });
        known
    }

    /// Takes `steps` and says so. False if one failed.
    fn repair(&mut self, steps: &[Step], observed: &Observed) -> bool {
        if steps.is_empty() {
            return true;
        }
        let results = self.kernel.apply(steps, self.config.numbers.protocol);
        let mut done = Vec::new();
        let mut good = true;
        for (step, result) in steps.iter().zip(results) {
            match result {
                Ok(()) => done.push(step),
                Err(error) if error.kind() == ErrorKind::Exists => {}
                Err(error) => {
                    debug!("{error}");
                    self.repairs.refund(step);
                    good = false;
                }
            }
        }
        self.log_repairs(&done, &observed.links);
        good
    }

    /// Who removed something from this interface (0 = a rule) a short time ago.
    pub(super) fn culprit(&self, ifindex: u32) -> Option<&str> {
        let (when, who) = self.culprits.get(&ifindex)?;
        (when.elapsed() < MEMORY).then_some(who)
    }

    /// One line for every interface that was repaired (0 = rules), and who made it necessary.
    pub(super) fn log_repairs(&self, steps: &[&Step], links: &BTreeMap<u32, Link>) {
        let mut done: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for step in steps {
            let words = step.words(|i| name_of(links, i));
            done.entry(step.ifindex().unwrap_or(0)).or_default().push(words);
        }
        for (ifindex, words) in done {
            let what = if ifindex == 0 { "rules".to_owned() } else { name_of(links, ifindex) };
            let by = self.culprit(ifindex).map_or_else(String::new, |c| format!(" (removed by {c})"));
            warn!("repaired {what}: {}{by}", words.join(", "));
        }
    }
}
