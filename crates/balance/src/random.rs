//! Random numbers from a seed: splitmix64. Good enough to choose servers, and of no use for secrets.

use crate::ring::mix;

#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below `bound`, or zero for a bound of zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // Multiply and take the high half (Lemire): no division, and a bias far below anything that could be noticed.
        ((u128::from(mix(self.state)) * u128::from(bound)) >> 64) as u64
    }
}
