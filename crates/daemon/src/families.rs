//! Metric families that are read at each scrape, so that no series outlives what it is about: of each family its name, its
//! help, its labels, and where its values come from.
//!
//! They are written as text one by one, each when the client has room for it: with thousands of servers a scrape is megabytes
//! of text, and to hold all of it, or to let everything else wait meanwhile, would cost more than the metrics are worth.

use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::time::Duration;

use wire::{Histogram, LifeState};

/// A family of metrics. `S` is what one scrape looks at.
pub struct Family<S> {
    /// Its name.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    read: Read<S>,
}

/// Where a family's values come from.
enum Read<S> {
    Counter(fn(&S) -> Samples<'_>),
    Gauge(fn(&S) -> Samples<'_>),
    Histogram(fn(&S) -> Samples<'_, Histogram>),
}

/// Values, each with those of its labels.
pub type Samples<'a, V = f64> = Vec<(Vec<Cow<'a, str>>, V)>;

/// Numbers that only grow.
pub const fn counter<S>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&S) -> Samples<'_>,
) -> Family<S> {
    Family { name, help, labels, read: Read::Counter(read) }
}

/// Numbers.
pub const fn gauge<S>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&S) -> Samples<'_>,
) -> Family<S> {
    Family { name, help, labels, read: Read::Gauge(read) }
}

/// Times in seconds.
pub const fn histogram<S>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&S) -> Samples<'_, Histogram>,
) -> Family<S> {
    Family { name, help, labels, read: Read::Histogram(read) }
}

impl<S> Family<S> {
    /// The kind in the exposition format.
    pub fn kind(&self) -> &'static str {
        match self.read {
            Read::Counter(_) => "counter",
            Read::Gauge(_) => "gauge",
            Read::Histogram(_) => "histogram",
        }
    }

    /// The family in the text format of Prometheus; nothing if it has no values.
    pub fn write(&self, seen: &S) -> String {
        match self.read {
            Read::Counter(read) | Read::Gauge(read) => self.write_all(&read(seen), |text, labels, value| {
                self.line(text, "", labels, None, value);
            }),
            Read::Histogram(read) => self.write_all(&read(seen), |text, labels, times| {
                for (bound, count) in &times.buckets {
                    self.line(text, "_bucket", labels, Some(&(number(*bound) / 1e6)), count);
                }
                self.line(text, "_bucket", labels, Some(&"+Inf"), &times.count);
                self.line(text, "_sum", labels, None, &(number(times.sum_us) / 1e6));
                self.line(text, "_count", labels, None, &times.count);
            }),
        }
    }

    fn write_all<V>(
        &self,
        samples: &Samples<'_, V>,
        write: impl Fn(&mut String, &[Cow<'_, str>], &V),
    ) -> String {
        let mut text = String::new();
        if !samples.is_empty() {
            // Writing to a string cannot fail.
            _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", self.name, self.help, self.name, self.kind());
        }
        for (labels, value) in samples {
            write(&mut text, labels, value);
        }
        text
    }

    /// A line; `bound` is that of a histogram's bucket.
    fn line(
        &self,
        text: &mut String,
        suffix: &str,
        labels: &[Cow<'_, str>],
        bound: Option<&dyn Display>,
        value: &impl Display,
    ) {
        text.push_str(self.name);
        text.push_str(suffix);
        let mut between = '{';
        for (name, value) in self.labels.iter().zip(labels) {
            text.push(between);
            text.push_str(name);
            text.push_str("=\"");
            push_escaped(text, value);
            text.push('"');
            between = ',';
        }
        if let Some(bound) = bound {
            _ = write!(text, "{between}le=\"{bound}\"");
            between = ',';
        }
        if between == ',' {
            text.push('}');
        }
        _ = writeln!(text, " {value}");
    }
}

/// Appends the value of a label, in which the format has backslash, quote and line's end escaped.
fn push_escaped(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// The table that `docs/metrics.md` has of families.
pub fn table<S>(families: &[Family<S>]) -> String {
    let row = |family: &Family<S>| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, help, kind, labels) = (family.name, family.help, family.kind(), labels.join(" "));
        format!("| `{name}` | {kind} | {labels} | {help} |\n")
    };
    let rows: String = families.iter().map(row).collect();
    format!("| name | kind | labels | meaning |\n|---|---|---|---|\n{rows}")
}

/// A value without labels.
pub fn one<'a, V>(value: V) -> Samples<'a, V> {
    vec![(Vec::new(), value)]
}

/// 1 for `current`, 0 for the other words, each with its word as the label.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>, current: &str) -> Samples<'a> {
    words.into_iter().map(|word| (vec![word.into()], flag(word == current))).collect()
}

/// 1 for the state that a daemon is in, 0 for the others.
pub fn life<'a>(state: LifeState) -> Samples<'a> {
    use LifeState::{Draining, Leaving, Ready, Starting, Stopping};
    let all = [Starting, Ready, Leaving, Draining, Stopping];
    one_of(all.map(LifeState::word), state.word())
}

/// 1 for true, 0 for false.
pub fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

/// Milliseconds as seconds.
pub fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// Prometheus knows only floating-point numbers: above 2^53 the last digits are lost.
pub fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let family = gauge("tandem_x", "A help.", &["a", "b"], |name: &String| {
            vec![(vec![name.into(), "z".into()], 0.5)]
        });
        let text = family.write(&"back\\slash \"quoted\"\nü".to_owned());
        assert_eq!(
            text,
            "# HELP tandem_x A help.\n# TYPE tandem_x gauge\ntandem_x{a=\"back\\\\slash \\\"quoted\\\"\\nü\",b=\"z\"} 0.5\n"
        );
        let none = counter("tandem_none", "A help.", &[], |_: &()| Vec::new());
        assert_eq!(none.write(&()), "");
    }
}
