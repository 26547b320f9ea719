//! The summary of a load: a line to read, or JSON.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::request::Lost;
use super::tally::Summary;

/// Writes the summary: one line, and one more for the titles if they were wanted.
pub(crate) fn write(summary: &Summary, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    if as_json {
        return writeln!(out, "{}", json(summary));
    }
    let Summary { sent, ok, lost, gap, latency, titles } = summary;
    write!(out, "sent {sent}, ok {ok}, lost {}", sent - ok)?;
    if !lost.is_empty() {
        let kinds: Vec<String> = lost.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        write!(out, " ({})", kinds.join(", "))?;
    }
    write!(out, "; longest gap {} ms at {:.2} s", gap.length.as_millis(), gap.at.as_secs_f64())?;
    if let Some([median, p99, max]) = latency {
        write!(out, "; latency p50 {}, p99 {}, max {} ms", Ms(*median), Ms(*p99), Ms(*max))?;
    }
    writeln!(out)?;
    if !titles.is_empty() {
        let shares: Vec<String> = titles.iter().map(|(title, count)| format!("{title}: {count}")).collect();
        writeln!(out, "{}", shares.join(", "))?;
    }
    Ok(())
}

fn json(summary: &Summary) -> serde_json::Value {
    let Summary { sent, ok, lost, gap, latency, titles } = summary;
    let lost_by: serde_json::Map<_, _> =
        lost.iter().map(|(kind, count)| (kind.to_string(), json!(count))).collect();
    json!({
        "sent": sent,
        "ok": ok,
        "lost": sent - ok,
        "lost_by": lost_by,
        "longest_gap_ms": ms(gap.length),
        "longest_gap_at_ms": ms(gap.at),
        "latency_ms": latency.map(|[median, p99, max]| json!({ "p50": ms(median), "p99": ms(p99), "max": ms(max) })),
        "titles": titles,
    })
}

/// Milliseconds with three decimals.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Milliseconds to read: decimals where they tell something.
struct Ms(Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = if self.0 < Duration::from_millis(10) { 1 } else { 0 };
        write!(f, "{:.decimals$}", self.0.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => write!(f, "refused"),
            Self::Unreachable => write!(f, "unreachable"),
            Self::TimedOut => write!(f, "timed out"),
            Self::Broken => write!(f, "broken off"),
            Self::Malformed => write!(f, "malformed"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::NotSent => write!(f, "not sent"),
            Self::Local => write!(f, "not possible here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tally::Gap;
    use super::*;

    fn written(as_json: bool) -> String {
        let summary = Summary {
            sent: 1000,
            ok: 997,
            lost: BTreeMap::from([(Lost::Refused, 2), (Lost::Status(503), 1)]),
            gap: Gap { length: Duration::from_micros(12_345), at: Duration::from_millis(4_510) },
            latency: Some([612, 1_904, 1_012_300].map(Duration::from_micros)),
            titles: BTreeMap::from([("NGINX Instance 1".into(), 500), ("NGINX Instance 2".into(), 497)]),
        };
        let mut out = Vec::new();
        write(&summary, as_json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_says_it_all() {
        assert_eq!(
            written(false),
            "sent 1000, ok 997, lost 3 (2 refused, 1 status 503); longest gap 12 ms at 4.51 s; \
             latency p50 0.6, p99 1.9, max 1012 ms\nNGINX Instance 1: 500, NGINX Instance 2: 497\n"
        );
    }

    #[test]
    fn json_has_the_same_figures() {
        let value: serde_json::Value = serde_json::from_str(&written(true)).unwrap();
        assert_eq!(value["lost"], 3);
        assert_eq!(value["lost_by"]["status 503"], 1);
        assert_eq!(value["longest_gap_ms"], 12.345);
        assert_eq!(value["latency_ms"]["max"], 1012.3);
    }
}
