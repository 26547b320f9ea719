//! Priorities and weights of SRV records (RFC 2782), as ranks and weights that are the same as long as they mean the same.

use std::collections::BTreeMap;

/// The largest weight.
const LARGEST: u32 = 256;

/// What a member has of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// How many lower priorities there are: 0 is used first.
    pub rank: usize,
    /// From 1 to 256, relative to the others of its rank.
    pub weight: u16,
}

/// What each of these priorities and weights comes to beside the others, in their order.
///
/// Weights are cut down to what they have in common: some give each of n members 100/n, and a change of all weights with each that
/// joins would move more than has to move. A weight of 0 is the smallest share there is.
pub fn ranked(records: &[(u16, u16)]) -> Vec<Ranked> {
    let mut classes: BTreeMap<u16, (u32, u32)> = BTreeMap::new();
    for (priority, weight) in records {
        let weight = u32::from(*weight).max(1);
        let (common, most) = classes.entry(*priority).or_insert((weight, weight));
        *common = divisor(*common, weight);
        *most = weight.max(*most);
    }
    let ranks: BTreeMap<u16, (usize, u32, u32)> = classes
        .into_iter()
        .enumerate()
        .map(|(rank, (priority, (common, most)))| (priority, (rank, common, most / common)))
        .collect();
    let rank_of = |(priority, weight): &(u16, u16)| {
        let (rank, common, most) = ranks.get(priority).copied().unwrap_or((0, 1, 1));
        let weight = u32::from(*weight).max(1) / common;
        let fits = if most > LARGEST { (weight * LARGEST / most).max(1) } else { weight };
        Ranked { rank, weight: u16::try_from(fits).unwrap_or(u16::MAX) }
    };
    records.iter().map(rank_of).collect()
}

/// The greatest common divisor.
fn divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(records: &[(u16, u16)]) -> Vec<(usize, u16)> {
        ranked(records).into_iter().map(|ranked| (ranked.rank, ranked.weight)).collect()
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        for (records, expected) in [
            (&[(10, 33), (10, 33), (10, 33)][..], &[(0, 1), (0, 1), (0, 1)][..]),
            (&[(10, 25), (10, 25)], &[(0, 1), (0, 1)]),
            (&[(0, 0), (0, 0)], &[(0, 1), (0, 1)]),
            (&[(0, 0), (0, 10), (0, 20)], &[(0, 1), (0, 10), (0, 20)]),
            (&[(20, 5), (10, 60), (10, 20), (5000, 9)], &[(1, 1), (0, 3), (0, 1), (2, 1)]),
            (&[(1, 65535), (1, 1)], &[(0, 256), (0, 1)]),
            (&[(1, 60000), (1, 30000), (1, 1)], &[(0, 256), (0, 128), (0, 1)]),
            (&[], &[]),
        ] {
            assert_eq!(shares(records), expected, "{records:?}");
        }
    }
}
