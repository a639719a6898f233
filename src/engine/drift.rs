//! Repairs, and the patience with whoever undoes them: a fight is slowed down and named, never fought hot.

use std::{collections::HashMap, time::Duration};

use crate::model::Step;

/// So many repairs of one thing are made at once; it is no fight yet. (A single `ip address flush` removes ten times what
/// comes back while it looks.)
const BURST: u32 = 20;
/// After the burst, one repair of the same thing per this time.
const REFILL: Duration = Duration::from_secs(5);
/// A fight is over when so many tokens are there again: one more than a fight that goes on ever gathers.
const PEACE: u32 = 2;

/// Counts the repairs of every single thing that the agent keeps right: a token bucket for each.
#[derive(Debug, Default)]
pub struct Repairs {
    buckets: HashMap<Step, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    refilled: Duration,
    fight: bool,
}

impl Repairs {
    /// Whether the repair `step` may be made now. `now` is any clock that only moves forward.
    pub fn admit(&mut self, step: &Step, now: Duration) -> bool {
        let bucket =
            self.buckets.entry(step.clone()).or_insert(Bucket { tokens: BURST, refilled: now, fight: false });
        bucket.refill(now);
        if bucket.tokens == 0 {
            bucket.fight = true;
            return false;
        }
        bucket.tokens -= 1;
        true
    }

    /// Takes back that `step` was admitted: the kernel refused it, so nobody undid anything.
    pub fn refund(&mut self, step: &Step) {
        if let Some(bucket) = self.buckets.get_mut(step) {
            bucket.tokens = (bucket.tokens + 1).min(BURST);
        }
    }

    /// The repairs that somebody undid too often, also in the moments in which they hold.
    pub fn fights(&self) -> impl Iterator<Item = &Step> {
        self.buckets.iter().filter(|(_, bucket)| bucket.fight).map(|(step, _)| step)
    }

    /// When to look at the fights again, counted from `now`; `None` when there is peace.
    #[must_use]
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        let waits = self.buckets.values().filter(|b| b.fight).map(|b| b.refilled + REFILL);
        waits.min().map(|due| due.saturating_sub(now))
    }

    /// Forgets what has been quiet long enough to have all its tokens again.
    pub fn forget(&mut self, now: Duration) {
        self.buckets.retain(|_, bucket| {
            bucket.refill(now);
            bucket.tokens < BURST
        });
    }
}

impl Bucket {
    fn refill(&mut self, now: Duration) {
        while self.tokens < BURST && self.refilled + REFILL <= now {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        self.fight &= self.tokens < PEACE;
        if self.tokens == BURST {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step::LinkUp { ifindex: 7 };

    #[test]
    fn a_burst_is_repaired_at_once_and_a_fight_is_slowed() {
        let mut repairs = Repairs::default();
        let at = Duration::from_secs(1);
        assert_eq!(repairs.next_due(at), None);
        for _ in 0..BURST {
            assert!(repairs.admit(&STEP, at));
        }
        assert!(!repairs.admit(&STEP, at));
        assert!(repairs.admit(&Step::LinkUp { ifindex: 8 }, at), "each thing has a bucket of its own");
        assert_eq!(repairs.next_due(at), Some(REFILL));
        assert!(repairs.admit(&STEP, at + REFILL));
        assert_eq!(repairs.fights().collect::<Vec<_>>(), [&STEP], "it may be undone again at any moment");
        assert!(!repairs.admit(&STEP, at + REFILL));
        for (quiet, fights) in [(2, 1), (3, 0)] {
            repairs.forget(at + quiet * REFILL);
            assert_eq!(repairs.fights().count(), fights);
        }
        assert_eq!(repairs.next_due(at + 3 * REFILL), None);
    }

    #[test]
    fn peace_is_forgotten() {
        let mut repairs = Repairs::default();
        assert!(repairs.admit(&STEP, Duration::ZERO));
        repairs.forget(REFILL / 2);
        assert_eq!(repairs.buckets.len(), 1);
        repairs.forget(REFILL);
        assert!(repairs.buckets.is_empty());
    }
}
