//! What is held of one name: its addresses, who of its users has which, and for how long it has been gone. Pure: answers and the
//! time come in.
//!
//! | lookup | addresses | error | gone |
//! |---|---|---|---|
//! | addresses of a family | those of that family | none | no |
//! | none of one family, addresses of the other | that family's go | none | no |
//! | one family not answered, addresses of the other | that family's stay | none | no |
//! | a denial of every family held | stay for `hold`, then go | its reason | when they go |
//! | silence, SERVFAIL and the like | stay | its reason | as before |
//!
//! A denial counts if a name server that knew the name last is among those who deny it: another one that never knew it must
//! not take a server down while the one that does is away.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lookup::{Answer, Failure};
use super::slots::Slots;
use super::{Group, Resolved};

/// What is held of one name.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The last answers, IPv4 and IPv6; kept while questions fail.
    families: [Vec<IpAddr>; 2],
    /// Both of them.
    addresses: Vec<IpAddr>,
    groups: HashMap<Group, Slots>,
    error: Option<Arc<str>>,
    /// The name servers that gave an address last.
    known_by: BTreeSet<SocketAddr>,
    /// Since when the name servers say that there is no address.
    denied: Option<Instant>,
    /// The denial has lasted for too long.
    gone: bool,
    truncated: bool,
    /// When the name is asked for next; none before the first question has ended.
    next: Option<Instant>,
    resolved: u64,
    failed: u64,
}

impl Held {
    /// Takes what a lookup found at `now`; the next one is `next`.
    pub(super) fn learn(
        &mut self,
        outcome: Result<Answer, Failure>,
        now: Instant,
        next: Instant,
        hold: Duration,
    ) {
        self.next = Some(next);
        match outcome {
            Ok(answer) => self.answered(answer),
            Err(failure) => self.failed(failure, now, hold),
        }
    }

    fn answered(&mut self, answer: Answer) {
        self.resolved += 1;
        self.error = None;
        self.denied = None;
        self.gone = false;
        self.truncated = answer.truncated;
        self.known_by = answer.by;
        for (held, family) in self.families.iter_mut().zip(answer.families) {
            if let Some(addresses) = family {
                *held = addresses;
            }
        }
        self.spread();
    }

    fn failed(&mut self, failure: Failure, now: Instant, hold: Duration) {
        self.failed += 1;
        self.error = Some(Arc::from(failure.text));
        let held = self.families.iter().zip(failure.absent);
        let denied = if self.addresses.is_empty() {
            failure.absent == [true, true]
        } else {
            // Of servers that are not asked any more nothing can be expected.
            let mut knew = self.known_by.intersection(&failure.asked).peekable();
            let by_those = knew.peek().is_none() || knew.any(|server| failure.by.contains(server));
            by_those && held.into_iter().all(|(held, absent)| absent || held.is_empty())
        };
        if !denied {
            return;
        }
        let since = *self.denied.get_or_insert(now);
        self.gone = now.saturating_duration_since(since) >= hold;
        if self.gone {
            self.families = [Vec::new(), Vec::new()];
            self.spread();
        }
    }

    /// Makes one list of both families, and gives each user one of it.
    fn spread(&mut self) {
        self.addresses = self.families.concat();
        for slots in self.groups.values_mut() {
            slots.assign(&self.addresses);
        }
    }

    /// When the name, last asked for at `asked`, is to be asked for again: at `next`, unless a denial will have lasted for
    /// `hold` before. That is confirmed at once, but with one question: where it remains without an answer, another one so soon
    /// would only be a burden on the name servers.
    pub(super) fn due(&self, asked: Instant, soonest: Instant, next: Instant, hold: Duration) -> Instant {
        let final_at =
            self.denied.filter(|_| !self.gone && !self.addresses.is_empty()).map(|since| since + hold);
        final_at.filter(|at| *at > asked).map_or(next, |at| at.max(soonest).min(next))
    }

    pub(super) fn add(&mut self, group: &Group, slot: u64) {
        self.groups.entry(group.clone()).or_default().add(slot, &self.addresses);
    }

    pub(super) fn remove(&mut self, group: &Group, slot: u64) {
        if self.groups.get_mut(group).is_some_and(|slots| !slots.remove(slot)) {
            self.groups.remove(group);
        }
    }

    /// What the name means to one of its users.
    pub(super) fn resolved_for(&self, group: &Group, slot: u64) -> Resolved {
        Resolved {
            address: self.groups.get(group).and_then(|slots| slots.get(slot)),
            error: self.error.clone(),
            denied: self.denied.is_some(),
            asked: self.next.is_some(),
        }
    }

    /// See [`Slots::candidates`].
    pub(super) fn candidates(&self, group: &Group, slot: u64) -> Vec<IpAddr> {
        self.groups.get(group).map(|slots| slots.candidates(slot, &self.addresses)).unwrap_or_default()
    }

    /// See [`Slots::choose`].
    pub(super) fn choose(&mut self, group: &Group, slot: u64, address: IpAddr) {
        if let Some(slots) = self.groups.get_mut(group) {
            slots.choose(slot, address, &self.addresses);
        }
    }

    pub(super) fn addresses(&self) -> &Vec<IpAddr> {
        &self.addresses
    }

    pub(super) fn error(&self) -> Option<&Arc<str>> {
        self.error.as_ref()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.truncated
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Questions that were answered, and those that were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.resolved, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lookup::FailureKind;
    use super::*;

    const HOLD: Duration = Duration::from_secs(30);

    struct Name {
        held: Held,
        start: Instant,
        group: Group,
    }

    impl Name {
        fn new() -> Self {
            let (mut held, group) = (Held::default(), Group { backend: "app".into(), port: 80 });
            held.add(&group, 0);
            Self { held, start: Instant::now(), group }
        }

        fn learn(&mut self, second: u64, outcome: Result<Answer, Failure>) {
            let now = self.start + Duration::from_secs(second);
            self.held.learn(outcome, now, now, HOLD);
        }

        /// The second in which a name that was asked for in this one is asked for again, which is one to ten later.
        fn due(&self, asked: u64) -> u64 {
            let at = |second| self.start + Duration::from_secs(second);
            (self.held.due(at(asked), at(asked + 1), at(asked + 10), HOLD) - self.start).as_secs()
        }

        fn address(&self) -> Option<String> {
            self.held.resolved_for(&self.group, 0).address.map(|ip| ip.to_string())
        }
    }

    fn server(number: u8) -> SocketAddr {
        ([10, 0, 0, number], 53).into()
    }

    /// An answer of server 1; `-` is a family that was not answered.
    fn answer(v4: &str, v6: &str) -> Result<Answer, Failure> {
        let family = |text: &str| {
            (text != "-").then(|| text.split_whitespace().map(|ip| ip.parse().unwrap()).collect())
        };
        Ok(Answer {
            families: [family(v4), family(v6)],
            ttl: Duration::ZERO,
            by: [server(1)].into(),
            truncated: false,
        })
    }

    fn denial(absent: [bool; 2], by: &[u8]) -> Result<Answer, Failure> {
        let by = by.iter().map(|number| server(*number)).collect();
        let asked = [server(1), server(2)].into();
        Err(Failure { kind: FailureKind::NxDomain, text: "no such host".into(), absent, by, asked })
    }

    fn silence() -> Result<Answer, Failure> {
        denial([false, false], &[])
    }

    #[test]
    fn a_denied_name_is_gone_after_hold_and_not_before() {
        let mut name = Name::new();
        name.learn(0, answer("10.9.0.1", ""));
        name.learn(100, denial([true, true], &[1]));
        assert_eq!(name.address().as_deref(), Some("10.9.0.1"));
        assert_eq!([100, 121, 130].map(|asked| name.due(asked)), [110, 130, 140], "confirmed, but once");
        name.learn(129, denial([true, true], &[1]));
        assert!(!name.held.is_gone());
        name.learn(130, denial([true, true], &[1]));
        assert!(name.held.is_gone());
        assert_eq!(name.address(), None);
        name.learn(131, silence());
        assert!(name.held.is_gone(), "silence brings nothing back");
        name.learn(132, answer("10.9.0.2", ""));
        assert_eq!((name.address().as_deref(), name.held.is_gone()), (Some("10.9.0.2"), false));
    }

    #[test]
    fn an_answer_begins_the_hold_anew_and_silence_neither_shortens_nor_ends_it() {
        let mut name = Name::new();
        name.learn(0, answer("10.9.0.1", ""));
        name.learn(10, denial([true, true], &[1]));
        name.learn(20, answer("10.9.0.1", ""));
        name.learn(45, denial([true, true], &[1]));
        for second in 46..200 {
            name.learn(second, silence());
            assert_eq!(name.address().as_deref(), Some("10.9.0.1"), "timeouts and SERVFAIL keep the address");
        }
        name.learn(200, denial([true, true], &[1]));
        assert_eq!(name.address(), None);
    }

    #[test]
    fn a_server_that_never_knew_the_name_cannot_deny_it() {
        let mut name = Name::new();
        name.learn(0, answer("10.9.0.1", ""));
        for second in [10, 100, 1000] {
            name.learn(second, denial([true, true], &[2]));
            assert_eq!(name.address().as_deref(), Some("10.9.0.1"));
        }
        name.learn(2000, denial([true, true], &[1, 2]));
        name.learn(2030, denial([true, true], &[1, 2]));
        assert_eq!(name.address(), None);
    }

    #[test]
    fn each_family_counts_for_itself() {
        let mut name = Name::new();
        name.learn(0, answer("10.9.0.1", "fd00::1"));
        name.learn(1, answer("10.9.0.2", "-"));
        assert_eq!(
            *name.held.addresses(),
            ["10.9.0.2".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]
        );
        name.learn(2, answer("-", "fd00::2"));
        assert_eq!(
            *name.held.addresses(),
            ["10.9.0.2".parse::<IpAddr>().unwrap(), "fd00::2".parse().unwrap()]
        );
        name.learn(3, answer("10.9.0.2", ""));
        assert_eq!(*name.held.addresses(), ["10.9.0.2".parse::<IpAddr>().unwrap()]);
        // Nobody answers for AAAA, and there never was any: what is known of A decides.
        name.learn(4, denial([true, false], &[1]));
        name.learn(34, denial([true, false], &[1]));
        assert!(name.held.is_gone());
        name.learn(40, answer("10.9.0.2", "fd00::2"));
        name.learn(41, denial([true, false], &[1]));
        name.learn(99, denial([true, false], &[1]));
        assert!(!name.held.is_gone(), "the IPv6 address was not denied");
    }

    #[test]
    fn a_name_that_was_never_known_has_a_reason_and_no_address() {
        let mut name = Name::new();
        name.learn(0, silence());
        assert!(!name.held.resolved_for(&name.group, 0).denied);
        name.learn(1, denial([true, true], &[1]));
        let resolved = name.held.resolved_for(&name.group, 0);
        assert_eq!((resolved.address, resolved.denied, resolved.asked), (None, true, true));
        assert_eq!(resolved.error.as_deref(), Some("no such host"));
    }
}
