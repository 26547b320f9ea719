//! Whether what was seen is what was promised. Figures count, but for those of a moment: in a line that has an address, a
//! time or a duration, any figures will do. `...` stands for anything.

const UNITS: [&str; 4] = ["ms", "s", "m", "h"];
/// As the logs of HAProxy have them, in 23/Nov/2026.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The promised lines that nobody has seen.
pub fn missing<'a>(promised: &'a str, seen: &str) -> Vec<&'a str> {
    let lines: Vec<String> = seen.lines().map(plain).collect();
    let general: Vec<String> = lines.iter().map(|line| without_figures(line)).collect();
    let was_seen = |line: &&str| {
        let line = plain(line);
        if is_of_a_moment(&line) {
            let wanted = without_figures(&line);
            general.iter().any(|seen| shows(seen, &wanted))
        } else {
            lines.iter().any(|seen| shows(seen, &line))
        }
    };
    promised.lines().filter(|line| !was_seen(line)).collect()
}

/// Whether all parts of a wanted line are there, in their order.
fn shows(seen: &str, wanted: &str) -> bool {
    wanted.split("...").try_fold(seen, |rest, part| Some(rest.split_once(part)?.1)).is_some()
}

/// Without the spaces that align columns.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line has an address (192.0.2.1), a time (13:24:27.815, 2026-11-23T13:24:27Z) or a duration (26s, 375 ms).
fn is_of_a_moment(line: &str) -> bool {
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let is_made_of = |word: &str, separator: char, count: usize| {
        let parts: Vec<&str> = word.split(separator).collect();
        let ends_with_digit = |part: &&str| part.ends_with(|c: char| c.is_ascii_digit());
        parts.len() >= count && parts[..count - 1].iter().all(ends_with_digit)
    };
    let words: Vec<&str> = line.split(' ').map(|word| word.trim_end_matches([',', ')'])).collect();
    words.iter().enumerate().any(|(index, word)| {
        let before = index.checked_sub(1).map_or("", |index| words[index]).trim_start_matches('(');
        let amount = UNITS.iter().find_map(|unit| word.strip_suffix(unit));
        is_made_of(word, '.', 4)
            || is_made_of(word, ':', 4)
            || word.ends_with('Z') && is_made_of(word, '-', 3)
            || amount.is_some_and(|amount| is_number(if amount.is_empty() { before } else { amount }))
    })
}

/// Every figure that is no part of a name becomes `#`, a word of figures with its unit too, or `-` for none, and so do several
/// of them in a row. A date with a time, which has a T between figures, is no name.
fn without_figures(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ') {
        let month = MONTHS.iter().map(|month| format!("/{month}/")).find(|month| word.contains(month));
        let word = month.map_or_else(|| word.to_owned(), |month| word.replace(&month, "/1/"));
        let mut general = String::new();
        let mut last = ' ';
        for c in word.chars() {
            let goes_on = general.ends_with('#');
            let is_figure = if goes_on {
                c.is_ascii_digit() || ".:/,".contains(c)
            } else {
                c.is_ascii_digit() && (!last.is_ascii_alphanumeric() || general.ends_with("#T"))
            };
            if !is_figure {
                general.push(c);
            } else if !goes_on {
                general.push('#');
            }
            last = c;
        }
        if general == "-" || general.strip_prefix('#').is_some_and(|unit| UNITS.contains(&unit)) {
            "#".clone_into(&mut general);
        }
        if general != "#" || words.last().is_none_or(|last| last != "#") {
            words.push(general);
        }
    }
    words.join(" ")
}

#[test]
fn figures_of_a_moment_may_differ_and_others_may_not() {
    let seen = "Failed       0\n  nginx1  DOWN  6s  L4TOUT 2s  1   0  3  -  172.23.0.3:80\nlb.yaml:18:7: error: no\n\
                172.20.0.100 is on lb1\nmaster (took 5.1 ms)\n2026-11-23T13:40:30.452182Z  INFO server is UP\n\
                172.23.0.1:54990 [23/Nov/2026:13:24:27.815] web nginx/nginx2 200\n";
    for kept in [
        "Failed 0",
        "nginx1 DOWN 16s L4TOUT 1s 9 8 7ms 172.20.1.77:80",
        "lb.yaml:18:7: error: no",
        "nginx1  DOWN       1m  L4TOUT 2s",
        "lb.yaml:18:7: ...: no",
        "10.0.0.1 is on lb1",
        "master (took 12 ms)",
        "2027-01-02T03:04:05.6789Z  INFO server is UP",
        "10.0.0.1:1 [01/Dec/2026:01:02:03.004] web nginx/nginx2 200",
    ] {
        assert!(missing(kept, seen).is_empty(), "{kept}");
    }
    for broken in
        ["Failed 1", "nginx1 UP 16s L4TOUT 2s", "lb.yaml:15:7: error: no", "nginx1 DOWN 6s L4CON 2s"]
    {
        assert_eq!(missing(broken, seen), [broken]);
    }
}
