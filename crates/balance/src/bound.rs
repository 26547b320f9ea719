//! Bounded loads: no server of a ring has much more than its share of the requests in flight.
//!
//! A key that is asked for very often would keep one server busy and leave the others idle. With a bound, what is too much for
//! its server goes to the next one on the ring, and so always to the same few. ("Consistent Hashing with Bounded Loads",
//! Mirrokni, Thorup and Zadimoghaddam; HAProxy's `hash-balance-factor`.)

use crate::pool::Load;

/// How much of its share a server may have in flight, in per cent: more than 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadFactor(u32);

impl LoadFactor {
    /// The least: hardly more than its share.
    pub const MIN: u32 = 101;
    /// The most: a hundred times its share.
    pub const MAX: u32 = 10_000;

    /// That many per cent; none if that is less than [`LoadFactor::MIN`] or more than [`LoadFactor::MAX`].
    pub const fn per_cent(value: u32) -> Option<Self> {
        if value >= Self::MIN && value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// The per cent.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The loads of servers, by slot, and what each of them may have.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    factor: LoadFactor,
    loads: Vec<Option<Load>>,
    in_flight: u64,
    weight: u64,
}

impl Bound {
    pub(crate) fn new(factor: LoadFactor, loads: Vec<Option<Load>>) -> Self {
        let in_flight = loads.iter().flatten().map(|load| load.in_flight).sum();
        let weight = loads.iter().flatten().map(|load| u64::from(load.weight)).sum();
        Self { factor, loads, in_flight, weight }
    }

    /// Gives a slot another load, or takes it out.
    pub(crate) fn set(&mut self, slot: usize, load: Option<Load>) {
        let Some(held) = self.loads.get_mut(slot) else { return };
        if let Some(before) = std::mem::replace(held, load) {
            self.in_flight -= before.in_flight;
            self.weight -= u64::from(before.weight);
        }
        if let Some(after) = load {
            self.in_flight += after.in_flight;
            self.weight += u64::from(after.weight);
        }
    }

    /// Whether the next request may go there. Of all slots that have a load, one has room: shares are rounded up.
    pub(crate) fn has_room(&self, slot: usize) -> bool {
        let Some(load) = self.loads.get(slot).copied().flatten() else { return false };
        load.in_flight < self.most(load.weight)
    }

    /// What a server of that weight may have in flight, the next request included.
    fn most(&self, weight: u16) -> u64 {
        let all = u128::from(self.in_flight) + 1;
        let share = all * u128::from(self.factor.get()) * u128::from(weight);
        u64::try_from(share.div_ceil(100 * u128::from(self.weight.max(1)))).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn somebody_always_has_room_and_nobody_gets_more_than_the_bound(
            factor in LoadFactor::MIN..=LoadFactor::MAX,
            weights in prop::collection::vec(1..=25_600_u16, 1..20),
            steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..300),
        ) {
            let loads = weights.iter().map(|weight| Some(Load { in_flight: 0, weight: *weight })).collect();
            let mut bound = Bound::new(LoadFactor::per_cent(factor).unwrap(), loads);
            let mut in_flight = vec![0_u64; weights.len()];
            for (which, begins) in steps {
                let slot = which.index(weights.len());
                if begins {
                    let open: Vec<usize> = (0..weights.len()).filter(|slot| bound.has_room(*slot)).collect();
                    prop_assert!(!open.is_empty());
                    let slot = open[which.index(open.len())];
                    in_flight[slot] += 1;
                    let share = in_flight.iter().sum::<u64>() as f64 * f64::from(weights[slot])
                        / weights.iter().copied().map(f64::from).sum::<f64>();
                    let most = share * f64::from(factor) / 100.0;
                    prop_assert!(in_flight[slot] as f64 <= most.ceil() + 1e-6, "{in_flight:?}");
                } else {
                    in_flight[slot] = in_flight[slot].saturating_sub(1);
                }
                (0..weights.len()).for_each(|slot| {
                    bound.set(slot, Some(Load { in_flight: in_flight[slot], weight: weights[slot] }));
                });
            }
            let rest = bound.loads.clone();
            let anew = Bound::new(bound.factor, rest);
            prop_assert_eq!((anew.in_flight, anew.weight), (bound.in_flight, bound.weight));
        }
    }
}
