//! What holds in every course of events.

use std::collections::BTreeMap;
use std::time::Duration;

use anycast::{Action, Input, Service, Settings, State};
use proptest::prelude::*;
use vrrp::{TrackerRule, Weight};

const NAMES: [&str; 2] = ["lbd", "backend nginx"];
/// Nobody waits for longer than the last doubling of the longest hold-down below.
const LONGEST: Duration = Duration::from_secs(32 * 10 + 5);

fn settings() -> impl Strategy<Value = Settings> {
    let rule = |name: &str| TrackerRule { name: name.to_owned(), weight: Weight::Fault };
    (0_usize..=2, 0_u64..=5, 0_u64..=10).prop_map(move |(trackers, withdraw, hold_down)| Settings {
        trackers: NAMES[..trackers].iter().map(|name| rule(name)).collect(),
        withdraw: Duration::from_secs(withdraw),
        hold_down: Duration::from_secs(hold_down),
    })
}

fn input() -> impl Strategy<Value = Input> {
    let tracker = (0_usize..2, any::<bool>(), any::<bool>()).prop_map(|(name, good, planned)| {
        Input::Tracker { name: NAMES[name].to_owned(), good, planned: planned && !good }
    });
    prop_oneof![
        8 => tracker,
        4 => Just(Input::Woken),
        1 => Just(Input::Withdraw),
        1 => Just(Input::Announce),
        1 => settings().prop_map(Input::Reload),
    ]
}

/// The world as the actions make it.
#[derive(Default)]
struct World {
    /// Whether the addresses are there.
    announced: bool,
    /// When they were last taken away, and how long routers had at that time to learn it.
    gone: Option<(Duration, Duration)>,
}

impl World {
    fn act(&mut self, actions: &[Action], before: State, after: State, settings: &Settings, now: Duration) {
        let mut state = before;
        for action in actions {
            match action {
                Action::Announce => {
                    assert!(!self.announced, "announced twice");
                    self.announced = true;
                    if let Some((gone, withdraw)) = self.gone {
                        assert!(now >= gone + withdraw, "routers have not learned that it was gone");
                    }
                }
                Action::Withdraw => {
                    self.announced = false;
                    self.gone = Some((now, settings.withdraw));
                }
                Action::Transition(transition) => {
                    assert_eq!(transition.from, state);
                    assert_ne!(transition.from, transition.to, "{transition}");
                    state = transition.to;
                }
            }
        }
        assert_eq!(state, after, "every change is told");
        assert_eq!(self.announced, after == State::Announced);
    }
}

proptest! {
    #[test]
    fn addresses_are_where_the_state_says_and_come_back_no_sooner_than_they_may(
        first in settings(),
        holding in any::<bool>(),
        course in prop::collection::vec((0_u64..8, input()), 1..60),
    ) {
        let mut settings = first.clone();
        let mut service = Service::new(first);
        let mut reports: BTreeMap<String, bool> = BTreeMap::new();
        let mut withdrawn = false;
        let mut world = World::default();
        let mut now = Duration::from_secs(100);
        let actions = service.handle(Input::Start { holding }, now);
        world.act(&actions, State::Init, service.state(), &settings, now);
        for (pause, input) in course {
            now += Duration::from_secs(pause);
            let before = service.state();
            match &input {
                Input::Tracker { name, good, .. } => _ = reports.insert(name.clone(), *good),
                Input::Reload(new) => {
                    settings = new.clone();
                    reports.retain(|name, _| settings.trackers.iter().any(|rule| rule.name == *name));
                }
                Input::Withdraw => withdrawn = true,
                Input::Announce => withdrawn = false,
                _ => {}
            }
            let actions = service.handle(input, now);
            world.act(&actions, before, service.state(), &settings, now);
            let fails = |rule: &TrackerRule| reports.get(&rule.name) == Some(&false);
            if service.state() == State::Announced {
                prop_assert!(!settings.trackers.iter().any(fails), "{service:?}");
            }
            prop_assert_eq!(withdrawn, matches!(service.state(), State::Leaving | State::Withdrawn));
        }
        // Fit and wanted, it is announced within a bounded time, and stays.
        for name in NAMES {
            service.handle(Input::Tracker { name: name.to_owned(), good: true, planned: false }, now);
        }
        service.handle(Input::Announce, now);
        let end = now + LONGEST;
        while let Some(deadline) = service.next_deadline() {
            prop_assert!(deadline <= end, "{service:?}");
            service.handle(Input::Woken, deadline.max(now));
        }
        prop_assert_eq!(service.state(), State::Announced);
        // However it stands, a stop leaves nothing.
        let actions = service.handle(Input::Stop, end);
        prop_assert_eq!(&actions[..1], &[Action::Withdraw]);
        prop_assert_eq!(service.state(), State::Init);
    }

    #[test]
    fn a_fault_is_followed_by_good_trackers_for_the_hold_down(
        settings in settings(),
        blips in prop::collection::vec((1_u64..30, 1_u64..30), 1..20),
    ) {
        prop_assume!(!settings.trackers.is_empty());
        let tracker = |good| Input::Tracker { name: NAMES[0].to_owned(), good, planned: false };
        let mut service = Service::new(settings.clone());
        let mut now = Duration::from_secs(100);
        for name in NAMES {
            service.handle(Input::Tracker { name: name.to_owned(), good: true, planned: false }, now);
        }
        service.handle(Input::Start { holding: false }, now);
        let mut faulty = false;
        let mut well_since = now;
        for (well, ill) in blips {
            let end = now + Duration::from_secs(well);
            while let Some(deadline) = service.next_deadline().filter(|deadline| *deadline < end) {
                now = deadline;
                let actions = service.handle(Input::Woken, now);
                if actions.contains(&Action::Announce) && faulty {
                    prop_assert!(now - well_since >= settings.hold_down);
                    faulty = false;
                }
            }
            now = end;
            faulty |= service.state() == State::Announced;
            service.handle(tracker(false), now);
            prop_assert_eq!(service.state(), State::Fault);
            now += Duration::from_secs(ill);
            well_since = now;
            let at_once = service.handle(tracker(true), now).contains(&Action::Announce);
            prop_assert!(!at_once || settings.hold_down.is_zero());
            faulty &= !at_once;
        }
    }
}

/// A tracker that is ill each other second for an hour: routers hear of it a few times, and not 1,800 times.
#[test]
fn flapping_reaches_few_routers() {
    let rule = TrackerRule { name: "lbd".to_owned(), weight: Weight::Fault };
    let mut service = Service::new(Settings {
        trackers: vec![rule],
        withdraw: Duration::from_secs(2),
        hold_down: Duration::from_secs(5),
    });
    let mut announced = 0;
    let mut tell = |service: &mut Service, input, now| {
        let actions = service.handle(input, now);
        announced += usize::from(actions.contains(&Action::Announce));
    };
    let tracker = |good| Input::Tracker { name: "lbd".to_owned(), good, planned: false };
    let mut now = Duration::from_secs(100);
    service.handle(tracker(true), now);
    tell(&mut service, Input::Start { holding: false }, now);
    for second in 0..3600_u32 {
        now += Duration::from_secs(1);
        if let Some(deadline) = service.next_deadline().filter(|deadline| *deadline <= now) {
            tell(&mut service, Input::Woken, deadline);
        }
        // Nine seconds of ten it is well: long enough for the first hold-down, and not for the second.
        tell(&mut service, tracker(second % 10 != 0), now);
    }
    assert!((1..=3).contains(&announced), "{announced}");
}
