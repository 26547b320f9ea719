//! Any sequence of operations, beside a model that is too simple to be wrong.

use std::collections::BTreeMap;

use crate::{AdminState, Algorithm, Health, Key, ServerId, ServerView, Tick, Tried, Unpicked};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Bench, server};

#[derive(Clone, Debug)]
enum Step {
    /// Names in order, each with a weight and what makes it unusable, if anything.
    Adopt(Vec<(u8, u16, Trouble)>),
    /// One of the servers changes.
    Change(Index, u16, Trouble),
    /// A request that goes on until an `End`, after so many attempts to connect that fail.
    Request {
        client: u8,
        failures: usize,
    },
    /// A request that meets servers which are full, by the bits of their places.
    Limited {
        client: u8,
        full: u8,
    },
    End(Index),
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    Down,
    Drained,
    Unresolved,
    Moved,
}

fn step() -> impl Strategy<Value = Step> {
    let trouble = prop_oneof![
        6 => Just(Trouble::None),
        1 => Just(Trouble::Down),
        1 => Just(Trouble::Drained),
        1 => Just(Trouble::Unresolved),
        1 => Just(Trouble::Moved),
    ];
    let row = (0..8_u8, 0..4_u16, trouble.clone());
    prop_oneof![
        2 => prop::collection::vec(row, 0..8).prop_map(|mut rows| {
            let mut seen = std::collections::BTreeSet::new();
            rows.retain(|(name, ..)| seen.insert(*name));
            Step::Adopt(rows)
        }),
        4 => (any::<Index>(), 0..4_u16, trouble).prop_map(|(which, weight, trouble)| Step::Change(which, weight, trouble)),
        10 => (any::<u8>(), 0..5_usize).prop_map(|(client, failures)| Step::Request { client, failures }),
        5 => (any::<u8>(), any::<u8>()).prop_map(|(client, full)| Step::Limited { client, full }),
        8 => any::<Index>().prop_map(Step::End),
        4 => (0..4_000_u64).prop_map(Step::Wait),
    ]
}

/// A few of the requests have none.
fn key(client: u8) -> Key {
    if client < 32 { Key::Missing } else { Key::Client([10, 0, 0, client].into()) }
}

fn view(rows: &[(u8, u16, Trouble)]) -> Vec<ServerView> {
    rows.iter().map(|(name, weight, trouble)| troubled(&format!("s{name}"), *weight, *trouble)).collect()
}

fn troubled(name: &str, weight: u16, trouble: Trouble) -> ServerView {
    let mut server = server(name, weight);
    match trouble {
        Trouble::None => {}
        Trouble::Down => server.health = Health::Down,
        Trouble::Drained => server.admin = AdminState::Drain,
        Trouble::Unresolved => server.address = None,
        Trouble::Moved => server.address = Some("127.0.0.2:80".parse().unwrap()),
    }
    server
}

/// What is true of the servers, by name.
struct Model {
    bench: Bench,
    now: u64,
    /// In flight.
    requests: Vec<(String, ServerId)>,
    /// Until when it is skipped, for how long, and whether a probe is out.
    suspicions: BTreeMap<String, (u64, u64, bool)>,
}

impl Model {
    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Adopt(rows) => self.adopt(view(&rows)),
            Step::Change(which, weight, trouble) => {
                let mut servers = self.bench.view.servers.clone();
                if !servers.is_empty() {
                    let server = &mut servers[which.index(self.bench.view.servers.len())];
                    *server = troubled(&server.name, weight, trouble);
                    self.adopt(servers);
                }
            }
            Step::Wait(millis) => self.now += millis,
            Step::End(index) => {
                if !self.requests.is_empty() {
                    let (_, id) = self.requests.swap_remove(index.index(self.requests.len()));
                    self.bench.balancer.end(id);
                }
            }
            Step::Request { client, failures } => self.request(client, failures)?,
            Step::Limited { client, full } => self.limited(client, full)?,
        }
        self.check()
    }

    fn adopt(&mut self, servers: Vec<ServerView>) {
        let before = self.bench.view.servers.clone();
        self.suspicions.retain(|name, _| {
            let find = |servers: &[ServerView]| servers.iter().find(|server| *server.name == **name).cloned();
            find(&before)
                .zip(find(&servers))
                .is_some_and(|(old, new)| old.address == new.address && old.health == new.health)
        });
        self.bench.adopt(servers);
    }

    fn request(&mut self, client: u8, failures: usize) -> Result<(), TestCaseError> {
        let mut tried = Tried::default();
        let mut tried_names = Vec::new();
        for attempt in 0..=failures {
            let Some(id) = self.bench.balancer.pick(key(client), &tried, Tick::from_millis(self.now)) else {
                prop_assert_eq!(self.bench.view.usable(), 0);
                return Ok(());
            };
            let name = self.bench.name(id).to_owned();
            self.check_pick(&name, &tried_names)?;
            self.probe(self.bench.balancer.index_of(id).expect("it is in the view"));
            if attempt < failures {
                self.bench.balancer.failed(id, Tick::from_millis(self.now));
                self.fail(&name);
                tried.insert(id);
                tried_names.push(name);
            } else {
                self.bench.balancer.begin(id);
                self.bench.balancer.succeeded(id);
                self.suspicions.remove(&name);
                self.requests.push((name, id));
            }
        }
        Ok(())
    }

    /// Only who is full is passed over, and only for somebody who would do as well; whoever all are full for may claim
    /// each of those that it does not keep away from.
    fn limited(&mut self, client: u8, full: u8) -> Result<(), TestCaseError> {
        let now = Tick::from_millis(self.now);
        let places = 0..self.bench.view.servers.len();
        let is_full = |place: &usize| full >> place & 1 == 1;
        let id_at = |bench: &Bench, place| bench.balancer.id_at(place).expect("it is in the view");
        let full_ids: Tried = places.clone().filter(is_full).map(|place| id_at(&self.bench, place)).collect();
        let tried = Tried::default();
        let good: Vec<usize> = {
            let usable = |place: &usize| self.bench.view.servers[*place].is_usable();
            let trusted = |place: &usize| !self.skipped(&self.bench.view.servers[*place].name);
            let some: Vec<usize> = places.clone().filter(usable).filter(trusted).collect();
            if some.is_empty() { places.clone().filter(usable).collect() } else { some }
        };
        match self.bench.balancer.pick_below_limits(key(client), &tried, &full_ids, now) {
            Ok(id) => {
                let place = self.bench.balancer.index_of(id).expect("it is in the view");
                prop_assert!(good.contains(&place) && !is_full(&place), "{place} of {good:?}");
                self.probe(place);
            }
            Err(Unpicked::NoneUsable) => prop_assert!(good.is_empty()),
            Err(Unpicked::AllFull) => {
                prop_assert!(!good.is_empty() && good.iter().all(is_full), "{good:?}");
                let avoided = self.bench.balancer.avoided(&tried, now).expect("one is usable");
                for place in places {
                    let id = id_at(&self.bench, place);
                    prop_assert_eq!(avoided.contains(id), !good.contains(&place));
                }
                let place = good[usize::from(client) % good.len()];
                prop_assert!(self.bench.balancer.claim(id_at(&self.bench, place), &tried, now));
                self.probe(place);
            }
        }
        Ok(())
    }

    /// A request goes to a server; if that was suspected, it finds out, and others keep away meanwhile.
    fn probe(&mut self, place: usize) {
        let name = self.bench.view.servers[place].name.to_string();
        if let Some((until, period, probing)) = self.suspicions.get_mut(&name)
            && *until <= self.now
        {
            (*until, *probing) = (self.now + *period, true);
        }
    }

    fn check_pick(&self, name: &str, tried: &[String]) -> Result<(), TestCaseError> {
        let usable =
            || self.bench.view.servers.iter().filter(|server| server.is_usable()).map(|server| &*server.name);
        prop_assert!(usable().any(|usable| usable == name), "{} is not usable", name);
        let fresh = || usable().filter(|usable| !tried.iter().any(|tried| tried == usable));
        prop_assert!(!tried.iter().any(|tried| tried == name) || fresh().count() == 0, "{} was tried", name);
        if self.skipped(name) && fresh().count() > 0 {
            prop_assert!(fresh().all(|fresh| self.skipped(fresh)), "{} is suspected", name);
        }
        Ok(())
    }

    fn skipped(&self, name: &str) -> bool {
        self.suspicions.get(name).is_some_and(|(until, ..)| *until > self.now)
    }

    fn fail(&mut self, name: &str) {
        let period = match self.suspicions.get(name) {
            None => 1_000,
            Some((until, period, probing)) if *probing || *until <= self.now => (period * 2).min(10_000),
            Some(_) => return,
        };
        self.suspicions.insert(name.to_owned(), (self.now + period, period, false));
    }

    fn check(&self) -> Result<(), TestCaseError> {
        self.bench.balancer.check_invariants();
        for (name, id) in &self.requests {
            let expected = self.requests.iter().filter(|(other, _)| other == name).count();
            prop_assert_eq!(self.bench.balancer.in_flight(*id), expected as u64, "in flight at {}", name);
            let suspected = self.bench.balancer.suspected(*id, Tick::from_millis(self.now));
            prop_assert_eq!(suspected, self.skipped(name), "suspicion against {}", name);
            let place = self.bench.view.servers.iter().position(|server| *server.name == **name);
            prop_assert_eq!(self.bench.balancer.index_of(*id), place, "place of {}", name);
        }
        Ok(())
    }
}

fn follows_the_model(algorithm: Algorithm, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let bench = Bench::of(algorithm, &[1, 2, 1]);
    let mut model = Model { bench, now: 0, requests: Vec::new(), suspicions: BTreeMap::new() };
    for step in steps {
        model.run(step)?;
    }
    let ids: Vec<ServerId> = model.requests.drain(..).map(|(_, id)| id).collect();
    for id in &ids {
        model.bench.balancer.end(*id);
    }
    prop_assert!(ids.iter().all(|id| model.bench.balancer.in_flight(*id) == 0), "nothing is left in flight");
    Ok(())
}

proptest! {
    #[test]
    fn roundrobin(steps in prop::collection::vec(step(), 0..120)) {
        follows_the_model(Algorithm::Roundrobin, steps)?;
    }

    #[test]
    fn leastconn(steps in prop::collection::vec(step(), 0..120)) {
        follows_the_model(Algorithm::Leastconn, steps)?;
    }

    #[test]
    fn source(steps in prop::collection::vec(step(), 0..60)) {
        follows_the_model(Algorithm::Source, steps)?;
    }

    #[test]
    fn hash(steps in prop::collection::vec(step(), 0..60)) {
        follows_the_model(Algorithm::Hash, steps)?;
    }

    #[test]
    fn random(steps in prop::collection::vec(step(), 0..120)) {
        follows_the_model(Algorithm::Random, steps)?;
    }
}
