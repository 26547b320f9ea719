//! When a server's turn comes: smooth weighted round robin, in exact arithmetic.
//!
//! Virtual time is counted in rounds. A server of weight w has w turns in every round, evenly spaced; its phase says where
//! in that spacing they lie. Whoever has the earliest turn is picked, and virtual time moves there. So in every round, and
//! in any row of as many picks as the weights add up to, each server is picked exactly as often as its weight says; and
//! between two picks of one server, a server of at most k times its weight is picked at most k times.

use std::collections::BTreeMap;

/// A moment in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    round: u64,
    /// In 2^32 parts of a round.
    fraction: u32,
}

impl Turn {
    /// Where the worker of that seed starts, so that workers do not all begin with the same server. Seeds that count up from
    /// zero, the natural ones, spread evenly (multiples of the golden ratio); zero starts with the first server.
    pub(crate) fn start(seed: u64) -> Self {
        Self { round: 0, fraction: (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 }
    }
}

/// The turns of one server, and which of them is next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    /// Turns in a round; at least 1.
    weight: u16,
    /// Where in the space between two turns the turn lies, in 2^32 parts of that space.
    phase: u32,
    round: u64,
    /// Which turn of the round is next, less than `weight`.
    nth: u16,
}

impl Turns {
    /// A server that takes its turns from `now` on.
    pub(crate) fn new(weight: u16, phase: u32, now: Turn) -> Self {
        Self { weight: weight.max(1), phase, round: 0, nth: 0 }.from(now)
    }

    /// The next turn.
    pub(crate) fn next(&self) -> Turn {
        // Less than 2^32, because nth < weight.
        let fraction = ((u64::from(self.nth) << 32) + u64::from(self.phase)) / u64::from(self.weight);
        Turn { round: self.round, fraction: u32::try_from(fraction).unwrap_or(u32::MAX) }
    }

    /// Uses up the next turn. A server that could not take its turns for a while has nothing to catch up with: that would be
    /// a burst.
    pub(crate) fn take(&mut self, now: Turn) {
        self.nth += 1;
        if self.nth == self.weight {
            self.nth = 0;
            self.round += 1;
        }
        self.skip_to(now);
    }

    /// Gives up the turns that have passed.
    pub(crate) fn skip_to(&mut self, now: Turn) {
        if self.next() < now {
            *self = self.from(now);
        }
    }

    /// Another weight or phase. Where neither changes, neither does the next turn.
    pub(crate) fn pace(&mut self, weight: u16, phase: u32, now: Turn) {
        if self.weight == weight.max(1) {
            self.phase = phase;
        } else {
            *self = Self::new(weight, phase, now);
        }
    }

    /// The same turns, starting with the first that is not before `now`.
    fn from(self, now: Turn) -> Self {
        let wanted = u64::from(now.fraction) * u64::from(self.weight);
        let nth = wanted.saturating_sub(u64::from(self.phase)).div_ceil(1 << 32);
        match u16::try_from(nth) {
            Ok(nth) if nth < self.weight => Self { round: now.round, nth, ..self },
            _ => Self { round: now.round + 1, nth: 0, ..self },
        }
    }
}

/// The phases of servers of these weights: those of one weight are spread evenly over the space between their turns, in
/// their order, so that servers of equal weight simply take turns as listed.
pub(crate) fn phases(weights: &[u16]) -> Vec<u32> {
    let mut of_weight = BTreeMap::new();
    for weight in weights {
        *of_weight.entry(weight).or_insert(0_u64) += 1;
    }
    let mut seen = BTreeMap::new();
    let phase_of = |weight| {
        let rank = seen.entry(weight).or_insert(0_u64);
        let phase = ((2 * *rank + 1) << 31) / of_weight[weight];
        *rank += 1;
        u32::try_from(phase).unwrap_or(u32::MAX)
    };
    weights.iter().map(phase_of).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_servers_are_spread_in_their_order() {
        assert_eq!(phases(&[1, 1]), [1 << 30, 3 << 30]);
        // Each weight is spread for itself.
        assert_eq!(phases(&[1, 2, 1]), [1 << 30, 1 << 31, 3 << 30]);
    }

    proptest! {
        #[test]
        fn a_round_has_as_many_turns_as_the_weight(weight in 1..=256_u16, phase in any::<u32>()) {
            let mut turns = Turns::new(weight, phase, Turn::default());
            let mut before = None;
            for round in 0..3 {
                for _ in 0..weight {
                    let next = turns.next();
                    prop_assert_eq!(next.round, round);
                    prop_assert!(before < Some(next));
                    before = Some(next);
                    turns.take(next);
                }
            }
        }

        #[test]
        fn joining_takes_the_first_turn_not_passed(
            weight in 1..=256_u16,
            phase in any::<u32>(),
            round in 0..1_u64 << 40,
            fraction in any::<u32>(),
        ) {
            let now = Turn { round, fraction };
            let joined = Turns::new(weight, phase, now);
            prop_assert!(joined.next() >= now);
            let earlier = if joined.nth > 0 {
                Some(Turns { nth: joined.nth - 1, ..joined })
            } else {
                joined.round.checked_sub(1).map(|round| Turns { round, nth: weight - 1, ..joined })
            };
            prop_assert!(earlier.is_none_or(|turns| turns.next() < now));
        }
    }
}
