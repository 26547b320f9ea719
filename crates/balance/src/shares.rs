//! Drawing by weight: cumulated weights in a binary indexed tree (Fenwick), so that both drawing and changing one weight cost
//! the logarithm of their number.

use crate::random::Random;

/// Weights by slot; one of zero is never drawn.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    weights: Vec<u16>,
    /// Entry `n` holds the sum of the `n & -n` weights that end with the n-th, counted from 1.
    sums: Vec<u64>,
    total: u64,
}

impl Shares {
    /// These weights, by slot.
    pub(crate) fn new(weights: Vec<u16>) -> Self {
        let mut sums = vec![0; weights.len() + 1];
        for (slot, weight) in weights.iter().enumerate() {
            let node = slot + 1;
            sums[node] += u64::from(*weight);
            let (sum, above) = (sums[node], node + (node & node.wrapping_neg()));
            if let Some(held) = sums.get_mut(above) {
                *held += sum;
            }
        }
        let total = weights.iter().copied().map(u64::from).sum();
        Self { weights, sums, total }
    }

    /// Gives a slot another weight.
    pub(crate) fn set(&mut self, slot: usize, weight: u16) {
        let Some(held) = self.weights.get_mut(slot) else { return };
        // Sums never fall below zero, so wrapping in between is right.
        let change = u64::from(weight).wrapping_sub(u64::from(*held));
        *held = weight;
        self.total = self.total.wrapping_add(change);
        let mut node = slot + 1;
        while let Some(sum) = self.sums.get_mut(node) {
            *sum = sum.wrapping_add(change);
            node += node & node.wrapping_neg();
        }
    }

    /// The weight of a slot.
    #[cfg(test)]
    pub(crate) fn weight(&self, slot: usize) -> u16 {
        self.weights.get(slot).copied().unwrap_or_default()
    }

    /// A slot, each with the probability of its weight.
    pub(crate) fn draw(&self, random: &mut Random) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        Some(self.find(random.below(self.total)))
    }

    /// The slot in whose share `at` lies, the shares laid end to end.
    fn find(&self, at: u64) -> usize {
        let (mut slot, mut rest) = (0, at);
        let mut step = self.weights.len().next_power_of_two();
        while step > 0 {
            if let Some(sum) = self.sums.get(slot + step)
                && *sum <= rest
            {
                slot += step;
                rest -= sum;
            }
            step /= 2;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_unit_of_weight_leads_to_its_slot(
            mut weights in prop::collection::vec(0..=5_u16, 1..40),
            changes in prop::collection::vec((0..40_usize, 0..=5_u16), 0..100),
        ) {
            let mut shares = Shares::new(weights.clone());
            for (slot, weight) in changes {
                shares.set(slot, weight);
                if let Some(held) = weights.get_mut(slot) {
                    *held = weight;
                }
            }
            let expected: Vec<usize> =
                weights.iter().enumerate().flat_map(|(slot, weight)| vec![slot; usize::from(*weight)]).collect();
            let found: Vec<usize> = (0..shares.total).map(|at| shares.find(at)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
