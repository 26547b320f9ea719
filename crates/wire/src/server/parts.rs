//! Long lists, split so that each part fits into a line.

use serde::Serialize;

use crate::Answer;
use crate::codec::MAX_LINE;

/// Room for items in a line, whose frame takes the rest.
const ITEMS_MAX: usize = MAX_LINE - 1024;

/// Splits a list so that each part fits into a line; never into nothing. An item that is too long for any line is a
/// part of its own.
pub(super) fn parts<T: Serialize>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut room = ITEMS_MAX;
    for item in items {
        let size = serde_json::to_vec(&item).map_or(0, |json| json.len() + 1);
        if size > room && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            room = ITEMS_MAX;
        }
        room = room.saturating_sub(size);
        part.push(item);
    }
    parts.push(part);
    parts
}

/// Splits an answer that is a list.
pub(super) fn answers(answer: Answer) -> Vec<Answer> {
    match answer {
        Answer::Stat(rows) => parts(rows).into_iter().map(Answer::Stat).collect(),
        Answer::Verdicts(verdicts) => parts(verdicts).into_iter().map(Answer::Verdicts).collect(),
        Answer::Resolvers(names) => parts(names).into_iter().map(Answer::Resolvers).collect(),
        Answer::Instances(all) => parts(all).into_iter().map(Answer::Instances).collect(),
        Answer::Anycast(all) => parts(all).into_iter().map(Answer::Anycast).collect(),
        small @ (Answer::Done(_) | Answer::Subscribed(_) | Answer::Info(_)) => vec![small],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_and_lose_nothing() {
        let items: Vec<String> = (0..5_000).map(|n| "x".repeat(n % 100)).collect();
        let parts = parts(items.clone());
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| serde_json::to_vec(part).unwrap().len() < MAX_LINE));
        assert_eq!(parts.concat(), items);
    }

    #[test]
    fn nothing_is_one_part_and_what_is_too_long_is_alone() {
        assert_eq!(parts(Vec::<u8>::new()), [Vec::<u8>::new()]);
        let huge = "x".repeat(MAX_LINE);
        assert_eq!(parts(vec![huge.clone(), "y".into()]), [vec![huge], vec!["y".into()]]);
    }
}
