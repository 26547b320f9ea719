//! A mapping with known keys. The keys it accepts are those that its reader asks for.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Place, Report, Value, quoted};
use crate::foreign;
use crate::keys::Key;
use crate::scalar::{self, Problem};
use crate::yaml::{Entry, Kind, Mark};

/// The default of a key that must be given.
const REQUIRED: &str = "required";

/// A mapping with known keys.
pub(crate) struct Section<'a> {
    pub(crate) report: &'a Report,
    entries: &'a [Entry],
    /// The key of the section.
    at: Mark,
    pub(crate) place: Place,
    /// Whether an error has been reported that makes missing keys no error.
    excused: bool,
    known: Vec<&'static str>,
    /// The known keys that must be given and are not, and what they take.
    missing: Vec<(&'static str, String)>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        report: &'a Report,
        entries: &'a [Entry],
        at: Mark,
        place: Place,
        excused: bool,
    ) -> Self {
        Self { report, entries, at, place, excused, known: Vec::new(), missing: Vec::new() }
    }

    /// The value of a key: `expected` says in words what it takes, `default` what its absence means.
    pub(crate) fn value(
        &mut self,
        key: &'static str,
        expected: impl Display,
        default: impl Display,
    ) -> Value<'a> {
        self.known.push(key);
        let place = self.place.key(key);
        let expected = expected.to_string();
        self.report.note(|| Key {
            path: place.pattern().to_owned(),
            takes: expected.clone(),
            default: default.to_string(),
        });
        let entry = self.entry(key);
        Value {
            report: self.report,
            node: entry.map(|entry| &entry.value),
            at: entry.map_or(self.at, Entry::shown_at),
            key_at: entry.map_or(self.at, |entry| entry.at),
            place,
            expected,
            excused: self.excused,
        }
    }

    /// The value of a key that must be given.
    pub(crate) fn required(&mut self, key: &'static str, expected: impl Display) -> Value<'a> {
        let value = self.value(key, expected, REQUIRED);
        if !value.is_given() && !self.excused {
            self.missing.push((key, value.expected.clone()));
        }
        Value { excused: true, ..value }
    }

    /// Whether it is known already why something is missing.
    pub(crate) fn is_excused(&self) -> bool {
        self.excused
    }

    /// The value of a key that may be absent with all that it would have to have.
    pub(crate) fn optional(
        &mut self,
        key: &'static str,
        expected: impl Display,
        default: impl Display,
    ) -> Value<'a> {
        let value = self.value(key, expected, default);
        Value { excused: value.excused || !value.is_given(), ..value }
    }

    /// A mapping with known keys, all of them optional.
    pub(crate) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        self.value(key, "a mapping", "as below").section(read)
    }

    /// A span of time.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        self.duration_or(key, default, scalar::show_duration(default), allowed)
    }

    /// A span of time whose default needs words.
    pub(crate) fn duration_or(
        &mut self,
        key: &'static str,
        default: Duration,
        default_in_words: impl Display,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let (least, most) = (scalar::show_duration(*allowed.start()), scalar::show_duration(*allowed.end()));
        self.value(key, format_args!("a duration from {least} to {most}"), default_in_words)
            .scalar(|text| scalar::duration(text, &allowed))
            .unwrap_or(default)
    }

    /// A number of bytes.
    pub(crate) fn size(&mut self, key: &'static str, default: u32, allowed: RangeInclusive<u32>) -> usize {
        let (least, most) = (u64::from(*allowed.start()), u64::from(*allowed.end()));
        let expected = format!("a size from {} to {}", scalar::show_size(least), scalar::show_size(most));
        self.value(key, expected, scalar::show_size(default.into()))
            .scalar(|text| scalar::size(text, &(least..=most)))
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(default as usize)
    }

    /// A whole number.
    pub(crate) fn number<N>(&mut self, key: &'static str, default: N, allowed: RangeInclusive<N>) -> N
    where
        N: TryFrom<u64> + PartialOrd + Copy + Display,
    {
        self.number_or_none(key, default, allowed).unwrap_or(default)
    }

    /// A whole number, or none where it is not given.
    pub(crate) fn number_or_none<N>(
        &mut self,
        key: &'static str,
        default: impl Display,
        allowed: RangeInclusive<N>,
    ) -> Option<N>
    where
        N: TryFrom<u64> + PartialOrd + Copy + Display,
    {
        self.value(key, format_args!("a number from {} to {}", allowed.start(), allowed.end()), default)
            .scalar(|text| scalar::number(text, &allowed))
    }

    /// A whole number, or none for `off` and where it is not given.
    pub(crate) fn number_or_off<N>(
        &mut self,
        key: &'static str,
        default: impl Display,
        allowed: RangeInclusive<N>,
    ) -> Option<N>
    where
        N: TryFrom<u64> + PartialOrd + Copy + Display,
    {
        let expected = format!("off, or a number from {} to {}", allowed.start(), allowed.end());
        let value = self.value(key, expected, default);
        if value.is_off() { None } else { value.scalar(|text| scalar::number(text, &allowed)) }
    }

    /// A span of time, or none for `off` and `default` where it is not given.
    pub(crate) fn duration_or_off(
        &mut self,
        key: &'static str,
        default: Option<Duration>,
        default_in_words: impl Display,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let (least, most) = (scalar::show_duration(*allowed.start()), scalar::show_duration(*allowed.end()));
        let value =
            self.value(key, format_args!("off, or a duration from {least} to {most}"), default_in_words);
        match () {
            () if value.is_off() => None,
            () => value.scalar(|text| scalar::duration(text, &allowed)).or(default),
        }
    }

    /// One of some words; the first is the default. `off` and `on` can also be written in their other ways.
    pub(crate) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&'static str, T)],
    ) -> T {
        let first = choices.first().map(|(word, _)| *word).unwrap_or_default();
        self.word_or(key, default, first, choices)
    }

    /// True or false.
    pub(crate) fn yes_or_no(&mut self, key: &'static str, default: bool) -> bool {
        self.value(key, "true or false", default)
            .scalar(|text| scalar::boolean(text).ok_or(Problem::Unexpected))
            .unwrap_or(default)
    }

    /// One of some words, with a default that needs words of its own.
    pub(crate) fn word_or<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        default_in_words: &str,
        choices: &[(&'static str, T)],
    ) -> T {
        self.word_given(key, default_in_words, choices).unwrap_or(default)
    }

    /// One of some words; none where it is not given, or is another one.
    pub(crate) fn word_given<T: Copy>(
        &mut self,
        key: &'static str,
        default_in_words: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let words: Vec<&'static str> = choices.iter().map(|(word, _)| *word).collect();
        self.value(key, format_args!("one of {}", words.join(", ")), default_in_words).scalar(|text| {
            let wanted = match scalar::boolean(text) {
                Some(false) => "off",
                Some(true) => "on",
                None => text,
            };
            let found = choices.iter().find(|(word, _)| *word == wanted).map(|(_, choice)| *choice);
            found.ok_or_else(|| Problem::NoneOf { word: text.to_owned(), words })
        })
    }

    /// Where the value of a key below stands, as near as the file has it.
    pub(crate) fn mark(&self, path: &[&str]) -> Mark {
        let mut at = self.at;
        let mut entries = self.entries;
        for key in path {
            let Some(entry) = entries.iter().find(|entry| entry.key == *key) else { break };
            at = entry.shown_at();
            entries = if let Kind::Map(inner) = &entry.value.kind { inner } else { &[] };
        }
        at
    }

    /// Reports something about the section as a whole, or about one of its keys. It may be right with what is not known.
    pub(crate) fn error<const N: usize>(&self, path: [&str; N], problem: impl Display) {
        let is_absent = self.excused && self.entries.is_empty();
        if is_absent || self.entries.iter().any(|entry| entry.value.is_unknown()) {
            return;
        }
        self.report.error(self.mark(&path), format!("{} {problem}", self.place));
    }

    /// Remarks on something doubtful in the section.
    pub(crate) fn warning<const N: usize>(&self, path: [&str; N], doubt: impl Display, help: &str) {
        self.report.warning(self.mark(&path), format!("{} {doubt}", self.place), help);
    }

    /// Whether the file has a key.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        let mut entries = self.entries;
        path.iter().all(|key| {
            let found = entries.iter().find(|entry| entry.key == *key);
            entries = match found.map(|entry| &entry.value.kind) {
                Some(Kind::Map(inner)) => inner,
                _ => &[],
            };
            found.is_some()
        })
    }

    /// Whether the file has none of these keys.
    pub(crate) fn is_empty(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.entry(key).is_none())
    }

    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Reports the keys that nobody asked for, and those that are missing, unless they are only misspelt.
    pub(super) fn finish(mut self) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let (advice, meant) = self.advice(&entry.key);
            self.missing.retain(|(key, _)| Some(*key) != meant);
            self.report
                .error(entry.at, format!("unknown key {} in {}; {advice}", quoted(&entry.key), self.place));
        }
        for (key, expected) in self.missing {
            self.report.error(self.at, format!("{} lacks \"{key}\", {expected}", self.place));
        }
    }

    /// What to do about an unknown key, and the known one that was meant.
    fn advice(&self, key: &str) -> (String, Option<&'static str>) {
        if let Some((name, value)) = key.split_once(':').filter(|(name, _)| self.known.contains(name)) {
            let better = quoted(&format!("{name}: {value}"));
            let meant = self.known.iter().find(|known| **known == name).copied();
            return (format!("a blank is missing after the \":\": {better}"), meant);
        }
        if key.contains("${") {
            return ("variables are replaced in values only".to_owned(), None);
        }
        let foreign = |subject| foreign::meaning(subject, self.place.pattern(), key);
        if let Some(meaning) = self.report.subject().and_then(foreign) {
            return meaning;
        }
        let mut longer = self.known.iter().filter(|known| key.len() > 2 && known.starts_with(key));
        if let (Some(one), None) = (longer.next(), longer.next()) {
            return (format!("did you mean \"{one}\"?"), Some(one));
        }
        if let Some(nearest) = self.report.nearest(key, self.known.iter().copied()) {
            return (format!("did you mean \"{nearest}\"?"), Some(nearest));
        }
        let advice = match (self.report.homes_of(key).as_slice(), self.known.as_slice()) {
            ([], []) => "nothing is expected here".to_owned(),
            ([], [only]) => format!("expected \"{only}\""),
            ([], known) => format!("expected one of {}", known.join(", ")),
            (homes, _) => format!("it belongs in {}", homes.join(" or ")),
        };
        (advice, None)
    }
}
