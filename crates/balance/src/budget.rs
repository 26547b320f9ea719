//! How many failed attempts may be repeated: a share of the requests, so that retries cannot multiply an outage.

/// Retries that are allowed without any request having earned them, so that a quiet site can always retry.
const FLOOR: u64 = 10;
/// A retry costs this many hundredths; a request earns as many hundredths as the budget has per cent.
const COST: u64 = 100;
/// Retries that can be saved up, beyond the floor.
const SAVED_MAX: u64 = 1000;

/// A bucket that requests fill and retries drain.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    per_cent: u64,
    /// In hundredths of a retry.
    balance: u64,
}

impl RetryBudget {
    /// Allows retries up to `per_cent` of the requests, and a few always.
    pub fn new(per_cent: u32) -> Self {
        Self { per_cent: u64::from(per_cent), balance: FLOOR * COST }
    }

    /// A request came.
    pub fn earn(&mut self) {
        self.balance = (self.balance + self.per_cent).min((FLOOR + SAVED_MAX) * COST);
    }

    /// Whether one more retry is allowed; if so, it is spent.
    pub fn spend(&mut self) -> bool {
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
        fn retries_stay_within_their_share(per_cent in 0..=100_u32, steps in prop::collection::vec(any::<bool>(), 0..3000)) {
            let mut budget = RetryBudget::new(per_cent);
            let (mut requests, mut retries) = (0_u64, 0_u64);
            for request in steps {
                if request {
                    requests += 1;
                    budget.earn();
                } else if budget.spend() {
                    retries += 1;
                }
                prop_assert!(retries * 100 <= FLOOR * 100 + requests * u64::from(per_cent));
            }
        }
    }

    #[test]
    fn a_quiet_site_can_retry() {
        let mut budget = RetryBudget::new(20);
        assert!((0..FLOOR).all(|_| budget.spend()));
        assert!(!budget.spend());
        for _ in 0..5 {
            budget.earn();
        }
        assert!(budget.spend());
    }
}
