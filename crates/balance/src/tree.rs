//! A tournament over keys: the smallest is known at once, and changing one costs the logarithm of their number.

/// What servers compete with; the smaller wins.
pub(crate) type Key = (u64, u64);

/// Never wins.
pub(crate) const ABSENT: Key = (u64::MAX, u64::MAX);

/// The winners of all matches, up to the final at index 1. The leaves hold the keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    keys: Vec<Key>,
    /// For each inner node the contestant that won below it.
    winners: Vec<u32>,
    leaves: usize,
}

impl Tree {
    /// A tournament of these keys.
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        let leaves = keys.len().next_power_of_two().max(2);
        let mut tree = Self { keys, winners: vec![0; leaves], leaves };
        for node in (1..leaves).rev() {
            tree.replay(node);
        }
        tree
    }

    pub(crate) fn key(&self, contestant: usize) -> Key {
        self.keys.get(contestant).copied().unwrap_or(ABSENT)
    }

    /// Gives a contestant another key.
    pub(crate) fn set(&mut self, contestant: usize, key: Key) {
        let Some(held) = self.keys.get_mut(contestant) else { return };
        *held = key;
        let mut node = (self.leaves + contestant) / 2;
        while node > 0 {
            self.replay(node);
            node /= 2;
        }
    }

    /// The contestant with the smallest key; the first among equals. None if all are absent.
    pub(crate) fn winner(&self) -> Option<usize> {
        let winner = *self.winners.get(1)? as usize;
        (self.key(winner) != ABSENT).then_some(winner)
    }

    fn replay(&mut self, node: usize) {
        let (left, right) = (self.below(2 * node), self.below(2 * node + 1));
        let winner = if self.key(right as usize) < self.key(left as usize) { right } else { left };
        self.winners[node] = winner;
    }

    fn below(&self, node: usize) -> u32 {
        match node.checked_sub(self.leaves) {
            // There are never more contestants than servers in a file of one megabyte.
            Some(leaf) => u32::try_from(leaf).unwrap_or(u32::MAX),
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
            keys in prop::collection::vec((0..5_u64, 0..5_u64), 0..40),
            changes in prop::collection::vec((0..40_usize, 0..5_u64), 0..40),
        ) {
            let mut expected = keys.clone();
            let mut tree = Tree::new(keys);
            for (contestant, key) in changes {
                if let Some(held) = expected.get_mut(contestant) {
                    *held = if key == 4 { ABSENT } else { (key, 0) };
                    tree.set(contestant, *held);
                }
                let smallest = expected.iter().min().filter(|key| **key != ABSENT);
                let first = smallest.and_then(|smallest| expected.iter().position(|key| key == smallest));
                prop_assert_eq!(tree.winner(), first);
            }
        }
    }
}
