//! Which servers have just come up, and how much of their share they get.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::{AdminState, Health, ServerView, Throttle};

/// A share grows in so many steps: each gives the workers another routing.
const STEPS: u32 = 20;

/// The servers of all backends: which were in service when last looked at, and since when those that warm up are.
#[derive(Debug, Default)]
pub struct Warmups(HashMap<String, Backend>);

#[derive(Debug, Default)]
struct Backend {
    /// In the order of the configuration.
    stands: Vec<Stand>,
    /// When the first of them is to get another share.
    due: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Stand {
    name: Arc<str>,
    in_service: bool,
    warming: Option<Warming>,
}

#[derive(Clone, Copy, Debug)]
struct Warming {
    since: Instant,
    takes: Duration,
    /// What the routing says.
    shown: Throttle,
}

impl Warming {
    /// How much of its share a server gets; none when it is warm.
    fn throttle(&self, now: Instant) -> Option<Throttle> {
        let per_cent = (self.step(now) + 1) * 100 / u128::from(STEPS);
        u8::try_from(per_cent).ok().filter(|per_cent| *per_cent <= 100).map(Throttle::per_cent)
    }

    /// When it gets another share than at `now`.
    fn next(&self, now: Instant) -> Instant {
        let step = u32::try_from(self.step(now)).unwrap_or(u32::MAX);
        self.since + self.takes / STEPS * step.saturating_add(1)
    }

    fn step(&self, now: Instant) -> u128 {
        let elapsed = now.saturating_duration_since(self.since).as_nanos();
        elapsed / (self.takes / STEPS).as_nanos().max(1)
    }
}

impl Warmups {
    /// Looks at a backend's servers, each with the time that it takes, and throttles those that warm up.
    ///
    /// A server warms up that was out of service when last looked at, unless `starting`. Where no other server has its full
    /// share none is throttled: the requests have to go somewhere.
    pub fn apply(
        &mut self,
        backend: &str,
        servers: &mut [ServerView],
        takes: impl Iterator<Item = Option<Duration>>,
        starting: bool,
        now: Instant,
    ) {
        let Some(held) = self.0.get_mut(backend) else {
            self.0.insert(backend.to_owned(), Backend::default());
            return self.apply(backend, servers, takes, starting, now);
        };
        let before = std::mem::take(&mut held.stands);
        let is_same = |(stand, server): (&Stand, &ServerView)| stand.name == server.name;
        let in_order = before.len() == servers.len() && before.iter().zip(&*servers).all(is_same);
        let by_name: HashMap<&str, &Stand> = match in_order {
            true => HashMap::new(),
            false => before.iter().map(|stand| (&*stand.name, stand)).collect(),
        };
        let mut stands = Vec::with_capacity(servers.len());
        for (place, (server, takes)) in servers.iter().zip(takes).enumerate() {
            let in_service = is_in_service(server);
            let old = if in_order { before.get(place) } else { by_name.get(&*server.name).copied() };
            let has_come = !starting && old.is_some_and(|old| !old.in_service);
            let warming = match (in_service, takes) {
                (true, Some(takes)) if has_come => Some(Warming { since: now, takes, shown: Throttle::NONE }),
                (true, Some(takes)) => {
                    old.and_then(|old| old.warming).map(|warming| Warming { takes, ..warming })
                }
                _ => None,
            };
            let warming =
                warming.and_then(|warming| Some(Warming { shown: warming.throttle(now)?, ..warming }));
            stands.push(Stand { name: server.name.clone(), in_service, warming });
        }
        let is_warm = |stand: &Stand| stand.in_service && stand.warming.is_none();
        if !stands.iter().any(is_warm) {
            stands.iter_mut().for_each(|stand| stand.warming = None);
        }
        for (server, stand) in servers.iter_mut().zip(&stands) {
            server.throttle = stand.warming.map_or(Throttle::NONE, |warming| warming.shown);
        }
        held.due = stands.iter().filter_map(|stand| Some(stand.warming?.next(now))).min();
        held.stands = stands;
    }

    /// Forgets the backends that are gone.
    pub fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|backend, _| is_known(backend));
    }

    /// When a server is to get another share than the routing says; none if none warms up.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|backend| backend.due).min()
    }

    /// The backends of which a server is to get another share than the routing says.
    pub fn due_by(&self, now: Instant) -> impl Iterator<Item = &str> {
        let is_due = move |(_, backend): &(&String, &Backend)| backend.due.is_some_and(|due| due <= now);
        self.0.iter().filter(is_due).map(|(name, _)| name.as_str())
    }
}

/// A weight of zero is another matter: whoever changes it decides about the share.
fn is_in_service(server: &ServerView) -> bool {
    let is_out = matches!(server.health, Health::Down | Health::Awaited);
    server.address.is_some() && server.admin == AdminState::Ready && !is_out
}

#[cfg(test)]
mod tests {
    use balance::Weight;

    use super::*;

    struct Bench {
        warmups: Warmups,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { warmups: Warmups::default(), start: Instant::now() }
        }

        /// The per cent of each server, whose health and state is this.
        fn at<const N: usize>(
            &mut self,
            seconds: u64,
            servers: [(Health, AdminState); N],
            starting: bool,
        ) -> [u8; N] {
            let mut servers: Vec<ServerView> = servers
                .into_iter()
                .enumerate()
                .map(|(index, (health, admin))| ServerView {
                    name: format!("s{index}").into(),
                    address: Some(([127, 0, 0, 1], 80).into()),
                    weight: Weight::ONE,
                    throttle: Throttle::NONE,
                    admin,
                    health,
                    backup: None,
                    stands_by: false,
                })
                .collect();
            let takes = std::iter::repeat(Some(Duration::from_secs(20)));
            let now = self.start + Duration::from_secs(seconds);
            self.warmups.apply("b", &mut servers, takes, starting, now);
            let mut shares = servers.iter().map(|server| server.throttle.get());
            std::array::from_fn(|_| shares.next().unwrap())
        }

        fn is_due(&self, seconds: u64) -> bool {
            self.warmups.due().is_some_and(|due| due <= self.start + Duration::from_secs(seconds))
        }
    }

    const UP: (Health, AdminState) = (Health::Up, AdminState::Ready);
    const UNKNOWN: (Health, AdminState) = (Health::Unknown, AdminState::Ready);
    const DOWN: (Health, AdminState) = (Health::Down, AdminState::Ready);
    const DRAIN: (Health, AdminState) = (Health::Up, AdminState::Drain);

    #[test]
    fn a_share_grows_in_steps_from_small_to_full() {
        let mut bench = Bench::new();
        assert_eq!(bench.at(0, [UP, DOWN, DRAIN], false), [100, 100, 100], "they were so from the beginning");
        assert_eq!(bench.at(10, [UP, UP, DRAIN], false), [100, 5, 100]);
        assert!(!bench.is_due(10) && bench.is_due(11));
        assert_eq!(bench.at(11, [UP, UP, UP], false), [100, 10, 5]);
        assert_eq!(bench.at(20, [UP, UP, UP], false), [100, 55, 50]);
        assert_eq!(bench.at(29, [UP, UP, DOWN], false), [100, 100, 100]);
        assert!(bench.is_due(30));
        assert_eq!(bench.at(30, [UP, UP, UP], false), [100, 100, 5]);
        assert_eq!(bench.at(50, [UP, UP, UP], false), [100, 100, 100]);
        assert!(!bench.is_due(1000));
    }

    #[test]
    fn first_verdicts_throttle_nobody() {
        let mut bench = Bench::new();
        bench.at(0, [UNKNOWN, UNKNOWN], true);
        assert_eq!(bench.at(1, [UP, DOWN], true), [100, 100]);
        assert_eq!(bench.at(2, [UP, UP], true), [100, 100]);
    }

    #[test]
    fn nobody_is_throttled_where_nobody_else_has_a_full_share() {
        let mut bench = Bench::new();
        bench.at(0, [DOWN, DOWN], false);
        assert_eq!(bench.at(1, [UP, DOWN], false), [100, 100]);
        assert_eq!(bench.at(2, [UP, UP], false), [100, 5]);
        assert_eq!(bench.at(3, [DOWN, UP], false), [100, 100], "the one that warms up is all there is");
        assert_eq!(bench.at(4, [UP, UP], false), [5, 100]);
        bench.at(5, [DOWN, DOWN], false);
        assert_eq!(bench.at(6, [UP, UP], false), [100, 100], "both at once");
    }
}
