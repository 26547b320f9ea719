//! `track` of an instance, and of an anycast service.

use std::ops::RangeInclusive;
use std::time::Duration;

use vrrp::Weight;

use super::read::{argv, interface, ip};
use crate::read::{Section, Value, quoted};
use crate::scalar::{self, Problem};
use crate::{Command, TrackTarget, TrackTiming, Tracker};

const MAX_TRACKERS: usize = 32;

/// What is the same for all trackers of one owner.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// When lbd counts as hung, unless told otherwise, and that in words.
    pub(crate) hung_after: (Duration, &'static str),
    /// Whether there is a priority that trackers may move.
    pub(crate) weights: bool,
}

/// The trackers of an instance or service; lbd, unless others are given.
pub(crate) fn read(s: &mut Section<'_>, manner: Manner) -> Vec<Tracker> {
    let value = s.value("track", "a list of lbd, backend, interface, command and gateway", "[lbd]");
    if !value.is_given() {
        // Read all the same, for the list of keys.
        value.section(|s| tracker(s, manner, false));
        return vec![lbd(manner.hung_after.0)];
    }
    let mut trackers: Vec<Tracker> = Vec::new();
    for item in value.items() {
        let Some(tracker) = one(&item, manner) else { continue };
        if trackers.iter().any(|known| known.name == tracker.name) {
            item.error(format_args!("is {} a second time", quoted(&tracker.name)));
        }
        trackers.push(tracker);
    }
    if trackers.len() > MAX_TRACKERS {
        value.error(format_args!("has {} elements; at most {MAX_TRACKERS} are allowed", trackers.len()));
    }
    trackers
}

fn lbd(hung_after: Duration) -> Tracker {
    Tracker { name: "lbd".to_owned(), weight: Weight::Fault, target: TrackTarget::Lbd { hung_after } }
}

fn one(item: &Value<'_>, manner: Manner) -> Option<Tracker> {
    if item.is_scalar() {
        return item.scalar(|text| match text {
            "lbd" => Ok(lbd(manner.hung_after.0)),
            other => Err(Problem::NoneOf { word: other.to_owned(), words: vec!["lbd"] }),
        });
    }
    item.section(|s| tracker(s, manner, true))
}

/// A tracker as a mapping: the key that says what is looked at, and options beside it.
fn tracker(s: &mut Section<'_>, manner: Manner, given: bool) -> Option<Tracker> {
    const NONE: &str = "none";
    let lbd = s.value("lbd", "a mapping", NONE);
    let hung_after = lbd.section(|s| {
        const HUNG: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);
        let (default, in_words) = manner.hung_after;
        s.duration_or("hung_after", default, in_words, HUNG)
    });
    let backend = s.value("backend", "the name of a backend in lb.yaml", NONE);
    let interface_key = s.value("interface", "an interface's name", NONE);
    let command = s.value("command", "a program's absolute path, or a list of it and its arguments", NONE);
    let gateway = s.value("gateway", "an address, or default for that of the default route", NONE);
    let targets = [&lbd, &backend, &interface_key, &command, &gateway];
    if targets.iter().filter(|value| value.is_given()).count() > 1 {
        s.error([], "names several things; each element of the list is about one of them");
    }
    let at_least = s.number("at_least", 1, 1..=10_000);
    if s.has(&["at_least"]) && given && !backend.is_given() {
        s.error(["at_least"], "counts the usable servers of a backend, and no backend is named");
    }
    let weight = if manner.weights { weight(s) } else { Weight::Fault };
    let name = s
        .value("name", "a name for messages", "made of what is tracked")
        .scalar(|text| scalar::name(text).map(|()| text.to_owned()).map_err(Problem::Because));
    let interval = if gateway.is_given() { Duration::from_secs(1) } else { Duration::from_secs(2) };
    let timing = timing(s, interval);
    let privileged = s.yes_or_no("privileged", false);
    let target = if lbd.is_given() {
        TrackTarget::Lbd { hung_after }
    } else if backend.is_given() {
        let name =
            backend.scalar(|text| scalar::name(text).map(|()| text.to_owned()).map_err(Problem::Because))?;
        TrackTarget::Backend { name, at_least }
    } else if interface_key.is_given() {
        TrackTarget::Interface(interface_key.scalar(interface)?)
    } else if command.is_given() {
        TrackTarget::Command { command: Command { argv: argv(&command), privileged }, timing }
    } else if gateway.is_given() {
        let address = gateway.scalar(|text| if text == "default" { Ok(None) } else { ip(text).map(Some) })?;
        TrackTarget::Gateway { address, timing }
    } else {
        if given {
            s.error([], "names none of lbd, backend, interface, command and gateway");
        }
        return None;
    };
    Some(Tracker { name: name.unwrap_or_else(|| target.usual_name()), weight, target })
}

/// keepalived's number, from -253 to 253.
fn weight(s: &mut Section<'_>) -> Weight {
    const MOST: i16 = 253;
    s.value("weight", "a number from -253 to 253", "0: no mastership while it fails")
        .scalar(|text| {
            let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
            match scalar::number(digits, &(0..=MOST)) {
                Ok(number) => Ok(Weight::from_number(sign * number)),
                Err(Problem::Because(_)) if sign < 0 => {
                    Problem::meant(format_args!("-{}", digits.trim_start_matches('0')))
                }
                Err(problem) => Err(problem),
            }
        })
        .unwrap_or_default()
}

fn timing(s: &mut Section<'_>, interval: Duration) -> TrackTiming {
    const TIME: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60 * 60);
    let interval = s.duration_or("interval", interval, "2s, for a gateway 1s", TIME);
    let timeout = s.duration_or("timeout", interval, "interval", TIME);
    if timeout > interval {
        let [timeout, interval] = [timeout, interval].map(scalar::show_duration);
        s.error(
            ["timeout"],
            format_args!("has a timeout of {timeout}, longer than its interval of {interval}"),
        );
    }
    TrackTiming { interval, timeout, rise: s.number("rise", 2, 1..=100), fall: s.number("fall", 2, 1..=100) }
}
