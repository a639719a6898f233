//! Repairs, and the patience with whoever undoes them: a fight is slowed down and named, never fought hot.

use std::{collections::HashMap, time::Duration};

use crate::model::Step;

/// So many repairs of one thing are made at once; it is no fight yet.
const BURST: u32 = 10;
/// After the burst, one repair of the same thing per this time.
const REFILL: Duration = Duration::from_secs(5);

/// Counts the repairs of every single thing that the agent keeps right: a token bucket for each.
#[derive(Debug, Default)]
pub struct Repairs {
    buckets: HashMap<Step, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    refilled: Duration,
}

impl Repairs {
    /// Whether the repair `step` may be made now. `now` is any clock that only moves forward.
    pub fn admit(&mut self, step: &Step, now: Duration) -> bool {
        let bucket = self.buckets.entry(step.clone()).or_insert(Bucket { tokens: BURST, refilled: now });
        bucket.refill(now);
        if bucket.tokens == 0 {
            return false;
        }
        bucket.tokens -= 1;
        true
    }

    /// When the next repair that is held back may be made, counted from `now`; `None` when none is.
    #[must_use]
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        let waits = self.buckets.values().filter(|b| b.tokens == 0).map(|b| b.refilled + REFILL);
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
        assert!(!repairs.admit(&STEP, at + REFILL));
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
