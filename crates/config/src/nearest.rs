//! The word that was probably meant.

/// The candidate that `word` is most probably a misspelling of, unless none is near.
///
/// Near is at most one edit in three letters, where an edit is a letter too many, missing, wrong, or swapped with
/// its neighbour; case and the difference between `-` and `_` count for nothing. The first of equals wins.
///
/// ```
/// assert_eq!(config::nearest("ballance", ["balance", "check"]), Some("balance"));
/// assert_eq!(config::nearest("colour", ["balance", "check"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word);
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = folded(candidate);
            let allowed = word.len().max(other.len()).div_ceil(3);
            let near = word.len().abs_diff(other.len()) <= allowed;
            let edits = if near { distance(&word, &other) } else { usize::MAX };
            // As many edits as letters would make any short word near to any other.
            (edits <= allowed && edits < word.len().min(other.len())).then_some((edits, candidate))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Longer words are not compared: the time is quadratic.
const LONGEST: usize = 256;

fn folded(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).take(LONGEST + 1).collect()
}

/// Optimal string alignment: Levenshtein's distance with swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_word() {
        let words = ["roundrobin", "leastconn", "source", "random"];
        for (typed, meant) in [
            ("round-robin", Some("roundrobin")),
            ("RoundRobin", Some("roundrobin")),
            ("leastcon", Some("leastconn")),
            ("soruce", Some("source")),
            ("rnadom", Some("random")),
            ("uri", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }

    #[test]
    fn the_nearest_wins_and_short_words_are_not_all_alike() {
        assert_eq!(nearest("nginx3", ["nginx1", "nginx3"]), Some("nginx3"));
        assert_eq!(nearest("nginx9", ["nginx1", "nginx2"]), Some("nginx1"));
        assert_eq!(nearest("a", ["b", "c"]), None);
        assert_eq!(nearest(&"x".repeat(10_000), ["x"]), None);
    }

    #[test]
    fn distances_count_swaps_once() {
        let count = |a: &str, b: &str| distance(&folded(a), &folded(b));
        assert_eq!(count("ab", "ba"), 1);
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", ""), 3);
    }
}
