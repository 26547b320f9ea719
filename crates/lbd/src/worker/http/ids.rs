//! Names for requests: random, and different in every worker of every lbd.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Makes them: a count under a keyed hash, whose key is the system's randomness. So nobody can tell from one what the next will be.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    key: RandomState,
    made: Cell<u64>,
}

impl Ids {
    /// Random bits that nobody else has.
    pub(crate) fn next(&self) -> u128 {
        let made = self.made.get();
        self.made.set(made.wrapping_add(1));
        let half = |which: u8| u128::from(self.key.hash_one((which, made)));
        half(0) << 64 | half(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn none_comes_twice() {
        let [a, b] = [Ids::default(), Ids::default()];
        let all: HashSet<u128> = (0..1000).flat_map(|_| [a.next(), b.next()]).collect();
        assert_eq!(all.len(), 2000);
    }
}
