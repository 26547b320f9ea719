//! What holds for every course of answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use membership::{Answer, Membership, Moment, Rules};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

const HOLD: Duration = Duration::from_secs(30);

fn rules(max: usize, min: usize, whole: bool) -> Rules {
    Rules { max, min, hold: HOLD, whole }
}

fn seconds(seconds: u64) -> Moment {
    Moment::from_secs(seconds)
}

fn answer(named: impl IntoIterator<Item = u32>) -> Answer<u32, ()> {
    Answer { named: named.into_iter().map(|name| (name, ())).collect(), cut_off: false }
}

fn members<V: Eq + Clone>(membership: &Membership<u32, V>) -> BTreeSet<u32> {
    membership.members().map(|(key, _)| *key).collect()
}

/// A membership of whom an answer has named these.
fn of(rules: Rules, named: impl IntoIterator<Item = u32>) -> Membership<u32, ()> {
    let mut membership = Membership::new(rules, []);
    membership.handle(answer(named), seconds(0));
    membership
}

fn answers() -> impl Strategy<Value = Vec<(BTreeSet<u32>, bool, u64)>> {
    vec((btree_set(0..20_u32, 0..12), any::<bool>(), 0..40_u64), 0..40)
}

proptest! {
    #[test]
    fn changes_lead_from_one_picture_to_the_next_within_the_bounds(
        answers in answers(), max in 1..15_usize, min in 0..3_usize, whole in any::<bool>(),
    ) {
        let mut membership = Membership::new(rules(max, min, whole), []);
        let mut picture = BTreeMap::new();
        let mut now = seconds(0);
        let mut in_each: BTreeSet<u32> = answers.first().map(|(named, ..)| named.clone()).unwrap_or_default();
        for (named, cut_off, later) in answers {
            now += seconds(later);
            let before = members(&membership);
            in_each = in_each.intersection(&named).copied().collect();
            let size = named.len();
            let list = named.iter().map(|name| (*name, later % 2)).collect();
            let changes = membership.handle(Answer { named: list, cut_off }, now);
            for key in &changes.left {
                prop_assert!(picture.remove(key).is_some() && !named.contains(key), "who is named does not leave");
            }
            for (key, said) in changes.joined.iter().chain(&changes.changed) {
                picture.insert(*key, *said);
            }
            let shown: BTreeSet<u32> = picture.keys().copied().collect();
            prop_assert!(membership.members().eq(&picture), "what is said of each is told with the changes");
            prop_assert!(shown.len() <= max);
            let kept: BTreeSet<u32> = in_each.intersection(&before).copied().collect();
            prop_assert!(kept.is_subset(&shown), "who was in each answer stays");
            if shown.len() < max {
                prop_assert!(named.is_subset(&shown), "where there is room, who is named joins at once");
            }
            if whole && size >= min {
                prop_assert!(shown.is_subset(&named), "a whole answer is all there is");
            }
            prop_assert_eq!(membership.missing(), shown.difference(&named).count());
        }
    }

    #[test]
    fn nobody_leaves_within_hold_of_an_empty_answer(
        empty in vec(0..10_u64, 1..10), whole in any::<bool>(), size in 1..50_u32,
    ) {
        let mut membership = of(rules(100, 1, whole), 0..size);
        let mut now = seconds(1);
        let first = now;
        for later in empty {
            let before = members(&membership).len();
            let changes = membership.handle(answer([]), now);
            let held = now - first < HOLD;
            prop_assert_eq!(changes.left.len(), if held { 0 } else { before });
            prop_assert_eq!(members(&membership).len(), if held { size as usize } else { 0 });
            prop_assert_eq!(membership.deadline(), Some(first + HOLD));
            now += seconds(later);
        }
    }

    /// Each answer names some of many, as a window that moves or at random.
    #[test]
    fn answers_that_are_parts_take_nobody_out(
        whole in 4..60_u32, part in 2..20_u32, step in 1..20_u32, seed in any::<u64>(), at_random in any::<bool>(),
    ) {
        let part = part.min(whole);
        let mut random = seed | 1;
        let mut membership = Membership::new(rules(100, 1, false), []);
        let mut left = 0;
        for number in 0..2000_u32 {
            let named: BTreeSet<u32> = if at_random {
                let mut named = BTreeSet::new();
                while named.len() < part as usize {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    named.insert(u32::try_from(random % u64::from(whole)).unwrap_or(0));
                }
                named
            } else {
                (0..part).map(|offset| (number * step + offset) % whole).collect()
            };
            left += membership.handle(answer(named), seconds(u64::from(number) * 5)).left.len();
        }
        // 2,000 answers, each with up to 60 chances of 1 in 20,000.
        prop_assert!(left <= 20, "{} left", left);
        if !at_random {
            prop_assert_eq!(left, 0);
        }
    }

    #[test]
    fn who_is_gone_leaves_in_the_end(whole in any::<bool>(), stay in 1..40_u32, gone in 1..40_u32) {
        let mut membership = of(rules(100, 1, whole), 0..stay + gone);
        let mut answers = 0;
        while members(&membership).len() > stay as usize {
            membership.handle(answer(0..stay), seconds(5 + answers));
            answers += 1;
            prop_assert!(answers <= 3, "three smaller answers say so");
        }
        prop_assert_eq!(members(&membership), (0..stay).collect::<BTreeSet<_>>());
    }
}

#[test]
fn a_member_that_is_replaced_leaves_later_than_one_that_is_not() {
    let mut membership = of(rules(10, 1, false), [1, 2, 3]);
    let mut answers = 1;
    while membership.handle(answer([2, 3, 4]), seconds(answers)).left.is_empty() {
        answers += 1;
    }
    assert_eq!(answers, 20, "four members by three make two parts, ten times");
    assert_eq!(members(&membership), [2, 3, 4].into());
}

#[test]
fn one_that_comes_back_shows_that_answers_are_parts() {
    let mut membership = of(rules(10, 1, false), [1, 2, 3, 4]);
    membership.handle(answer([1, 2, 3]), seconds(1));
    assert!(!membership.is_told_in_parts(seconds(1)));
    membership.handle(answer([1, 2, 4]), seconds(2));
    assert!(membership.is_told_in_parts(seconds(2)));
    for second in 3..10 {
        assert!(membership.handle(answer([1, 2]), seconds(second)).left.is_empty());
    }
    assert!(!membership.is_told_in_parts(seconds(2 + 3600)));
}

#[test]
fn what_was_cut_off_may_lack_anything() {
    let mut membership = of(rules(10, 1, false), [1, 2, 3, 4]);
    for second in 1..20 {
        let cut_off = Answer { named: vec![(1, ()), (2, ())], cut_off: true };
        assert_eq!(membership.handle(cut_off, seconds(second)).left, []);
    }
}

#[test]
fn too_few_are_doubted_and_those_that_come_join_all_the_same() {
    let mut membership = of(rules(10, 3, true), [1, 2, 3]);
    let changes = membership.handle(answer([7]), seconds(10));
    assert_eq!((changes.joined.len(), changes.left), (1, vec![]));
    assert_eq!(membership.missing(), 3);
    assert_eq!(membership.handle(answer([7]), seconds(39)).left, []);
    assert_eq!(membership.handle(answer([7]), seconds(40)).left, [1, 2, 3]);
    membership.handle(answer([7, 8, 9]), seconds(41));
    assert_eq!(membership.doubted(), None);
}

#[test]
fn who_is_there_stays_where_others_are_too_many() {
    let mut membership = of(rules(2, 1, false), [5, 6]);
    let changes = membership.handle(answer([1, 2, 5, 6, 7]), seconds(1));
    assert!(changes.is_empty());
    assert_eq!((membership.surplus(), members(&membership)), (3, [5, 6].into()));
    let mut whole = of(rules(2, 1, true), [5, 6]);
    let changes = whole.handle(answer([1, 2, 5]), seconds(1));
    assert_eq!((changes.left, changes.joined), (vec![6], vec![(1, ())]));
}

#[test]
fn members_from_before_are_kept_until_an_answer_says_otherwise() {
    let known = (0..5).map(|key| (key, ()));
    let mut membership = Membership::new(rules(3, 1, true), known);
    assert_eq!(members(&membership), [0, 1, 2].into(), "no more than may be");
    assert_eq!(membership.handle(answer([1, 2]), seconds(0)).left, [0]);
    let said =
        |membership: &Membership<u32, u8>| membership.members().map(|(_, said)| *said).collect::<Vec<_>>();
    let mut membership = Membership::new(rules(3, 1, true), [(1, 1)]);
    let changes = membership.handle(Answer { named: vec![(1, 2), (1, 3)], cut_off: false }, seconds(0));
    assert_eq!((changes.changed, said(&membership)), (vec![(1, 2)], vec![2]), "the first of a name counts");
}
