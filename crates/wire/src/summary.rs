//! What a person should know first of all frontends, backends and servers.

use crate::{Condition, RowKind, StatRow, Tone, human};

/// How the servers of one backend stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All servers, but for those that stand by.
    pub servers: usize,
    /// Those that take new requests.
    pub usable: usize,
    /// Those out of service for their health.
    pub down: usize,
    /// Usable ones whose last checks failed.
    pub falling: usize,
    /// Those that their operator took out.
    pub paused: usize,
    /// Backup servers that stand by, ready to join.
    pub standing_by: usize,
    /// Backup servers that take requests.
    pub backups_used: usize,
    /// Whether requests go to those that are down, because no other is left.
    pub last_resort: bool,
}

impl Tally {
    /// Counts the servers of a backend among `rows`.
    pub fn of(backend: &str, rows: &[StatRow]) -> Self {
        let mut tally = Self::default();
        let mut backends = rows.iter().filter(|row| row.kind == RowKind::Backend && row.proxy == backend);
        tally.last_resort = backends.any(|row| row.last_resort);
        for row in rows.iter().filter(|row| row.kind == RowKind::Server && row.proxy == backend) {
            let condition = Condition::of(&row.status);
            if row.stands_by && condition.is_usable() {
                tally.standing_by += 1;
                continue;
            }
            tally.servers += 1;
            tally.backups_used += usize::from(row.backup.is_some() && condition.is_usable());
            tally.usable += usize::from(condition.is_usable());
            tally.down += usize::from(condition.is_down());
            tally.falling += usize::from(matches!(condition, Condition::Falling { .. }));
            tally.paused += usize::from(condition.tone() == Tone::Paused);
        }
        tally
    }
}

/// What a backup server of that level does: `backup`, `backup 2, stands by`.
pub fn backup(level: u8, stands_by: bool) -> String {
    let number = if level > 1 { format!(" {level}") } else { String::new() };
    format!("backup{number}{}", if stands_by { ", stands by" } else { "" })
}

/// Why verdicts may be out of date, by what lbd says of its link to healthd: `on verdicts 4 s old`.
pub fn doubt(link: &str) -> Option<String> {
    match link {
        "connected" => None,
        "never reached" => Some("unchecked, as healthd was never reached".to_owned()),
        _ => match link.strip_prefix("lost ").and_then(|age| age.strip_suffix(" ago")) {
            Some(age) => Some(format!("on verdicts {age} old")),
            None => Some("and healthd runs another configuration".to_owned()),
        },
    }
}

/// One line, and how good or bad it is: `3 of 3 servers usable`, `nginx: 1 of 3 servers DOWN, on verdicts 4 s old`.
///
/// The worst of the backends are named; the others are well. `doubt` is of the verdicts that this stands on.
pub fn headline(rows: &[StatRow], doubt: Option<String>) -> (Tone, String) {
    let (tone, line) = standing(rows);
    match doubt {
        Some(doubt) => (tone.max(Tone::Warning), format!("{line}, {doubt}")),
        None => (tone, line),
    }
}

fn standing(rows: &[StatRow]) -> (Tone, String) {
    let backends: Vec<(&str, Tally)> = rows
        .iter()
        .filter(|row| row.kind == RowKind::Backend)
        .map(|row| (row.proxy.as_str(), Tally::of(&row.proxy, rows)))
        .collect();
    let named = |tone, line: fn(&Tally) -> Option<String>| {
        let lines: Vec<String> =
            backends.iter().filter_map(|(name, tally)| Some(format!("{name}: {}", line(tally)?))).collect();
        (!lines.is_empty()).then(|| (tone, lines.join("; ")))
    };
    named(Tone::Bad, |tally| {
        (tally.usable == 0).then(|| match tally.last_resort {
            true => "every server is DOWN, and used all the same".into(),
            false => "no usable server, clients get 503".into(),
        })
    })
    .or_else(|| {
        named(Tone::Warning, |tally| {
            (tally.down > 0).then(|| {
                let down = format!("{} DOWN", human::part(tally.down, tally.servers, "server"));
                if tally.backups_used > 0 { format!("{down}, backup servers serve") } else { down }
            })
        })
    })
    .or_else(|| {
        named(Tone::Warning, |tally| {
            (tally.falling > 0)
                .then(|| format!("{} fail checks", human::part(tally.falling, tally.servers, "server")))
        })
    })
    .or_else(|| named(Tone::Warning, |tally| (tally.backups_used > 0).then(|| "backup servers serve".into())))
    .unwrap_or_else(|| {
        let sum = |of: fn(&Tally) -> usize| backends.iter().map(|(_, tally)| of(tally)).sum::<usize>();
        let of_all = human::part(sum(|tally| tally.usable), sum(|tally| tally.servers), "server");
        let usable = format!("{of_all} usable");
        let usable = match sum(|tally| tally.standing_by) {
            0 => usable,
            standing_by => format!("{usable}, {standing_by} standing by"),
        };
        match sum(|tally| tally.paused) {
            0 => (Tone::Good, usable),
            paused => (Tone::Paused, format!("{usable}, {paused} in drain or maint")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(backends: &[(&str, &[&str])]) -> Vec<StatRow> {
        let mut rows = Vec::new();
        for (backend, statuses) in backends {
            let row = StatRow { kind: RowKind::Server, proxy: (*backend).into(), ..StatRow::default() };
            rows.extend(statuses.iter().map(|status| StatRow { status: (*status).into(), ..row.clone() }));
            rows.push(StatRow { kind: RowKind::Backend, ..row });
        }
        rows
    }

    #[test]
    fn the_worst_is_said_first() {
        type Backends = &'static [(&'static str, &'static [&'static str])];
        let cases: [(Backends, Tone, &str); 7] = [
            (&[("a", &["UP", "UP"]), ("b", &["no check"])], Tone::Good, "3 of 3 servers usable"),
            (&[("a", &["UP", "DRAIN"])], Tone::Paused, "1 of 2 servers usable, 1 in drain or maint"),
            (&[("a", &["UP", "UP 2/3"])], Tone::Warning, "a: 1 of 2 servers fail checks"),
            (&[("a", &["UP", "DOWN 1/2"]), ("b", &["UP"])], Tone::Warning, "a: 1 of 2 servers DOWN"),
            (
                &[("a", &["UP", "DOWN"]), ("b", &["DOWN", "UP"])],
                Tone::Warning,
                "a: 1 of 2 servers DOWN; b: 1 of 2 servers DOWN",
            ),
            (&[("a", &["UP", "DOWN"]), ("b", &["MAINT"])], Tone::Bad, "b: no usable server, clients get 503"),
            (&[], Tone::Good, "0 of 0 servers usable"),
        ];
        for (backends, tone, line) in cases {
            assert_eq!(headline(&site(backends), None), (tone, line.to_owned()));
        }
        let with_backup = |statuses: &[&str], stands_by| {
            let mut rows = site(&[("a", statuses)]);
            rows[0] = StatRow { backup: Some(1), stands_by, ..rows[0].clone() };
            headline(&rows, None)
        };
        for (statuses, stands_by, tone, line) in [
            (["UP", "UP"], true, Tone::Good, "1 of 1 server usable, 1 standing by"),
            (["DOWN", "UP"], true, Tone::Warning, "a: 1 of 2 servers DOWN"),
            (["UP", "DOWN"], false, Tone::Warning, "a: 1 of 2 servers DOWN, backup servers serve"),
            (["UP", "MAINT"], false, Tone::Warning, "a: backup servers serve"),
        ] {
            assert_eq!(with_backup(&statuses, stands_by), (tone, line.to_owned()));
        }
        let mut rows = site(&[("a", &["DOWN", "MAINT"])]);
        rows.iter_mut().for_each(|row| row.last_resort = row.kind == RowKind::Backend);
        let line = "a: every server is DOWN, and used all the same";
        assert_eq!(headline(&rows, None), (Tone::Bad, line.to_owned()));
    }

    #[test]
    fn old_verdicts_are_no_good_news() {
        let told = |statuses: &[&str], link| headline(&site(&[("a", statuses)]), doubt(link));
        assert_eq!(told(&["UP"], "connected").0, Tone::Good);
        let old = (Tone::Warning, "1 of 1 server usable, on verdicts 4 s old".to_owned());
        assert_eq!(told(&["UP"], "lost 4 s ago"), old);
        let unchecked = "1 of 1 server usable, unchecked, as healthd was never reached".to_owned();
        assert_eq!(told(&["no check"], "never reached"), (Tone::Warning, unchecked));
        let (tone, line) = told(&["DOWN"], "connected, with another configuration");
        assert_eq!(tone, Tone::Bad);
        assert!(line.ends_with("clients get 503, and healthd runs another configuration"), "{line}");
    }
}
