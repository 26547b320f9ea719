//! A tournament over keys: the smallest is known at once, and changing one costs the logarithm of their number.

/// Contestants are numbered from zero; those without a key are absent and never win.
#[derive(Clone, Debug)]
pub(crate) struct Tournament<K> {
    keys: Vec<Option<K>>,
    /// The winner of each match, the final at index 1. The matches below node `n` are `2n` and `2n + 1`; from `leaves` on,
    /// nodes are contestants.
    winners: Vec<u32>,
    leaves: usize,
}

impl<K: Copy + Ord> Tournament<K> {
    /// A tournament of these, each with its key.
    pub(crate) fn new(keys: Vec<Option<K>>) -> Self {
        let leaves = keys.len().next_power_of_two().max(2);
        let mut tournament = Self { keys, winners: vec![0; leaves], leaves };
        for node in (1..leaves).rev() {
            tournament.replay(node);
        }
        tournament
    }

    /// Gives a contestant another key, or takes it out. One that is not known is ignored.
    pub(crate) fn set(&mut self, contestant: usize, key: Option<K>) {
        let Some(held) = self.keys.get_mut(contestant) else { return };
        if *held == key {
            return;
        }
        *held = key;
        let mut node = (self.leaves + contestant) / 2;
        while node > 0 {
            self.replay(node);
            node /= 2;
        }
    }

    /// The contestant with the smallest key, the first among equals, and its key.
    pub(crate) fn winner(&self) -> Option<(usize, K)> {
        let winner = *self.winners.get(1)? as usize;
        Some((winner, self.key(winner)?))
    }

    /// What a contestant has.
    pub(crate) fn key(&self, contestant: usize) -> Option<K> {
        self.keys.get(contestant).copied().flatten()
    }

    fn replay(&mut self, node: usize) {
        let (left, right) = (self.below(2 * node), self.below(2 * node + 1));
        let right_wins = match (self.key(left as usize), self.key(right as usize)) {
            (Some(left), Some(right)) => right < left,
            (left, right) => left.is_none() && right.is_some(),
        };
        self.winners[node] = if right_wins { right } else { left };
    }

    fn below(&self, node: usize) -> u32 {
        match node.checked_sub(self.leaves) {
            // Servers are counted in thousands; a number beyond u32 would only never win.
            Some(contestant) => u32::try_from(contestant).unwrap_or(u32::MAX),
            None => self.winners[node],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_winner_is_the_first_smallest(
            mut expected in prop::collection::vec(prop::option::of(0..5_u8), 0..40),
            changes in prop::collection::vec((0..40_usize, prop::option::of(0..5_u8)), 0..200),
        ) {
            let mut tournament = Tournament::new(expected.clone());
            for (contestant, key) in changes {
                if let Some(held) = expected.get_mut(contestant) {
                    *held = key;
                }
                tournament.set(contestant, key);
                let smallest = expected.iter().flatten().min();
                let first = smallest.and_then(|key| {
                    expected.iter().position(|held| held.as_ref() == Some(key)).map(|at| (at, *key))
                });
                prop_assert_eq!(tournament.winner(), first);
            }
        }
    }
}
