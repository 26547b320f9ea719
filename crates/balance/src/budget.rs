//! How many failed attempts may be repeated: a share of the requests, so that retries cannot multiply an outage.

use crate::Tick;

/// Retries that are allowed without any request having earned them. They come back, one a second, so that a quiet site can
/// always retry.
const FLOOR: u64 = 10;
/// A retry costs this many thousandths: a millisecond earns one, a request ten for each per cent.
const COST: u64 = 1000;
/// Retries that can be saved up, beyond the floor.
const SAVED_MAX: u64 = 1000;

/// A bucket that requests and time fill, and retries drain.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    per_cent: u64,
    /// In thousandths of a retry.
    balance: u64,
    /// Up to when time has been counted.
    counted: Tick,
}

impl RetryBudget {
    /// Allows retries up to `per_cent` of the requests, and a few always.
    pub fn new(per_cent: u32, now: Tick) -> Self {
        Self { per_cent: u64::from(per_cent), balance: FLOOR * COST, counted: now }
    }

    /// A request came.
    pub fn earn(&mut self) {
        self.balance = (self.balance + self.per_cent * COST / 100).min((FLOOR + SAVED_MAX) * COST);
    }

    /// Whether one more retry is allowed; if so, it is spent.
    pub fn spend(&mut self, now: Tick) -> bool {
        // Time fills the bucket up to the floor and no further.
        let elapsed = now.since(self.counted);
        self.counted = now;
        self.balance = self.balance.max(self.balance.saturating_add(elapsed).min(FLOOR * COST));
        match self.balance.checked_sub(COST) {
            Some(rest) => {
                self.balance = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn retries_stay_within_their_share(
            per_cent in 0..=100_u32,
            steps in prop::collection::vec((any::<bool>(), 0..50_u64), 0..3000),
        ) {
            let mut budget = RetryBudget::new(per_cent, Tick::default());
            let (mut requests, mut retries, mut millis) = (0_u64, 0_u64, 0_u64);
            for (request, pause) in steps {
                millis += pause;
                if request {
                    requests += 1;
                    budget.earn();
                } else if budget.spend(Tick::from_millis(millis)) {
                    retries += 1;
                }
                prop_assert!(retries * COST <= FLOOR * COST + requests * u64::from(per_cent) * 10 + millis);
            }
        }
    }

    #[test]
    fn a_quiet_site_can_retry_again_after_a_while() {
        let at = Tick::from_millis;
        let mut budget = RetryBudget::new(20, at(0));
        assert!((0..FLOOR).all(|_| budget.spend(at(0))));
        assert!(!budget.spend(at(999)));
        assert!(budget.spend(at(1000)));
        for _ in 0..5 {
            budget.earn();
        }
        assert!(budget.spend(at(1000)) && !budget.spend(at(1000)));
        assert!((0..FLOOR).all(|_| budget.spend(at(60_000))));
        assert!(!budget.spend(at(60_000)));
    }
}
