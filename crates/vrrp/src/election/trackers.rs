//! Trackers: what else the right to be master depends on, by keepalived's rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::units::Priority;

/// What a tracker does to the priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// While it fails the router takes no part at all. keepalived's weight 0, and the default.
    #[default]
    Fault,
    /// Added while it is good.
    WhileGood(u8),
    /// Subtracted while it fails.
    WhileFailing(u8),
}

impl Weight {
    /// keepalived's number: 0 is a fault, above is added while good, below is subtracted while failing.
    pub const fn from_number(weight: i16) -> Self {
        match weight {
            0 => Self::Fault,
            1.. => Self::WhileGood(saturate(weight.unsigned_abs())),
            _ => Self::WhileFailing(saturate(weight.unsigned_abs())),
        }
    }

    /// keepalived's number.
    pub fn number(self) -> i16 {
        match self {
            Self::Fault => 0,
            Self::WhileGood(weight) => weight.into(),
            Self::WhileFailing(weight) => -i16::from(weight),
        }
    }
}

/// More than the whole range of priorities makes no difference.
const fn saturate(weight: u16) -> u8 {
    if weight > 255 { 255 } else { weight.to_le_bytes()[0] }
}

/// One tracker as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerRule {
    /// Its name, unique in the instance.
    pub name: String,
    /// What it does.
    pub weight: Weight,
}

/// Where the trackers leave the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes part, with this priority.
    Fit(Priority),
    /// It takes no part, because of this tracker.
    Fault(String),
}

/// The trackers of an instance and how they are. A tracker that has not reported yet fails: nobody becomes master on
/// a guess. One that a reload brings changes nothing before it has reported: nobody stops being master on a guess, either.
#[derive(Clone, Debug, Default)]
pub struct Trackers {
    rules: Vec<TrackerRule>,
    reports: BTreeMap<String, bool>,
    /// Brought by a reload, without a report yet.
    neutral: BTreeSet<String>,
}

impl Trackers {
    /// Trackers that have not reported yet.
    pub fn new(rules: Vec<TrackerRule>) -> Self {
        Self { rules, reports: BTreeMap::new(), neutral: BTreeSet::new() }
    }

    /// Takes new rules. Reports of trackers that no rule names any more are forgotten.
    pub fn reload(&mut self, rules: Vec<TrackerRule>) {
        let has = |rules: &[TrackerRule], name: &str| rules.iter().any(|rule| rule.name == name);
        self.reports.retain(|name, _| has(&rules, name));
        self.neutral.retain(|name| has(&rules, name));
        let new = rules.iter().map(|rule| &rule.name);
        let new = new.filter(|name| !has(&self.rules, name) && !self.reports.contains_key(*name));
        self.neutral.extend(new.cloned());
        self.rules = rules;
    }

    /// Notes a report. One of a tracker without a rule changes nothing until a reload brings the rule.
    pub fn report(&mut self, name: &str, good: bool) {
        self.reports.insert(name.to_owned(), good);
        self.neutral.remove(name);
    }

    /// How a tracker is, if it counts yet.
    fn is_good(&self, rule: &TrackerRule) -> Option<bool> {
        let reported = self.reports.get(&rule.name).copied();
        if self.neutral.contains(&rule.name) { None } else { Some(reported.unwrap_or(false)) }
    }

    /// What the reports make of a configured priority. Weights add up, and the sum is brought into 1 to 254. The address
    /// owner's priority never moves, but a fault takes it out like any other.
    pub fn standing(&self, configured: Priority) -> Standing {
        let failing = |rule: &&TrackerRule| rule.weight == Weight::Fault && self.is_good(rule) == Some(false);
        if let Some(rule) = self.rules.iter().find(failing) {
            return Standing::Fault(rule.name.clone());
        }
        if configured == Priority::OWNER {
            return Standing::Fit(configured);
        }
        let shifts = self.rules.iter().map(|rule| match (rule.weight, self.is_good(rule)) {
            (Weight::WhileGood(weight), Some(true)) => i64::from(weight),
            (Weight::WhileFailing(weight), Some(false)) => -i64::from(weight),
            _ => 0,
        });
        let sum = i64::from(configured.get()) + shifts.sum::<i64>();
        let (min, max) = (Priority::MIN.get(), Priority::MAX.get());
        let clamped = u8::try_from(sum.clamp(i64::from(min), i64::from(max))).unwrap_or(min);
        Standing::Fit(Priority::from_wire(clamped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trackers(weights: &[(i16, bool)]) -> Trackers {
        let name = |index: usize| format!("tracker {index}");
        let rules = weights.iter().enumerate().map(|(index, (weight, _))| TrackerRule {
            name: name(index),
            weight: Weight::from_number(*weight),
        });
        let mut trackers = Trackers::new(rules.collect());
        for (index, (_, good)) in weights.iter().enumerate() {
            trackers.report(&name(index), *good);
        }
        trackers
    }

    #[test]
    fn weights_follow_the_rules_of_keepalived() {
        for (configured, weights, expected) in [
            (100, &[][..], 100),
            (100, &[(0, true)], 100),
            (100, &[(20, true)], 120),
            (100, &[(20, false)], 100),
            (100, &[(-20, true)], 100),
            (100, &[(-20, false)], 80),
            (100, &[(20, true), (-5, false), (0, true)], 115),
            (100, &[(253, true)], 254),
            (100, &[(-253, false)], 1),
            (1, &[(i16::MIN, false)], 1),
            (254, &[(i16::MAX, true), (i16::MAX, true)], 254),
            (255, &[(-253, false)], 255),
        ] {
            let standing = trackers(weights).standing(Priority::from_wire(configured));
            assert_eq!(standing, Standing::Fit(Priority::from_wire(expected)), "{configured} {weights:?}");
        }
    }

    #[test]
    fn a_failing_tracker_without_weight_is_a_fault_even_for_the_owner() {
        for configured in [Priority::DEFAULT, Priority::OWNER] {
            let standing = trackers(&[(20, true), (0, false)]).standing(configured);
            assert_eq!(standing, Standing::Fault("tracker 1".to_owned()));
        }
    }

    #[test]
    fn reports_survive_a_reload_and_silence_at_the_start_is_a_failure() {
        let rule =
            |name: &str, number| TrackerRule { name: name.to_owned(), weight: Weight::from_number(number) };
        let mut trackers = Trackers::new(vec![rule("lbd", 0)]);
        assert_eq!(trackers.standing(Priority::DEFAULT), Standing::Fault("lbd".to_owned()));
        trackers.report("lbd", true);
        trackers.report("unknown", false);
        trackers.reload(vec![rule("lbd", 10), rule("unknown", 0)]);
        assert_eq!(trackers.standing(Priority::DEFAULT), Standing::Fault("unknown".to_owned()));
        trackers.report("unknown", true);
        assert_eq!(trackers.standing(Priority::DEFAULT), Standing::Fit(Priority::from_wire(110)));
    }

    #[test]
    fn a_tracker_that_a_reload_brings_counts_from_its_first_report_on() {
        for (weight, good, bad) in [
            (0, Standing::Fit(Priority::DEFAULT), Standing::Fault("new".to_owned())),
            (20, Standing::Fit(Priority::from_wire(120)), Standing::Fit(Priority::DEFAULT)),
            (-20, Standing::Fit(Priority::DEFAULT), Standing::Fit(Priority::from_wire(80))),
        ] {
            let rule = || TrackerRule { name: "new".to_owned(), weight: Weight::from_number(weight) };
            let mut trackers = Trackers::new(Vec::new());
            for _ in 0..2 {
                trackers.reload(vec![rule()]);
                assert_eq!(trackers.standing(Priority::DEFAULT), Standing::Fit(Priority::DEFAULT));
            }
            for (report, standing) in [(false, bad), (true, good)] {
                trackers.report("new", report);
                assert_eq!(trackers.standing(Priority::DEFAULT), standing);
            }
        }
    }
}
