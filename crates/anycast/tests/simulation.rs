//! Several nodes, and a router that spreads connections over those that it knows of: whatever happens, in the end it knows of all
//! that are fit and wanted, and of no others; and who has been handed over is sent nothing any more.
//!
//! A failure prints its seed; `ANYCAST_SEED=<seed> cargo test -p anycast --test simulation` runs that course of events alone.

use std::time::Duration;

use anycast::{Action, Input, Service, Settings, State};
use vrrp::{TrackerRule, Weight};

const STEP: Duration = Duration::from_millis(100);
const WITHDRAW: Duration = Duration::from_secs(2);
const HOLD_DOWN: Duration = Duration::from_secs(5);

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

struct Node {
    service: Service,
    /// Whether its addresses are there, and whether the router knows that they are.
    announced: bool,
    known: bool,
    /// When the router learns what has changed.
    news: Option<Duration>,
    fit: bool,
    wanted: bool,
}

impl Node {
    fn tell(&mut self, input: Input, now: Duration, random: &mut Random) {
        for action in self.service.handle(input, now) {
            match action {
                Action::Announce => self.announced = true,
                Action::Withdraw => self.announced = false,
                Action::Transition(_) => continue,
            }
            // A router is told within what it is given, however late it was with earlier news.
            self.news = Some(now + Duration::from_millis(random.below(1900)));
        }
    }

    fn pass_time(&mut self, now: Duration, random: &mut Random) {
        if self.service.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.tell(Input::Woken, now, random);
        }
        if self.news.is_some_and(|news| news <= now) {
            (self.known, self.news) = (self.announced, None);
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut now = Duration::from_secs(100);
    let node = || Node {
        service: Service::new(Settings {
            trackers: vec![TrackerRule { name: "lbd".to_owned(), weight: Weight::Fault }],
            withdraw: WITHDRAW,
            hold_down: HOLD_DOWN,
        }),
        announced: false,
        known: false,
        news: None,
        fit: false,
        wanted: true,
    };
    let mut nodes: Vec<Node> = (0..2 + random.below(4)).map(|_| node()).collect();
    for node in &mut nodes {
        node.tell(Input::Start { holding: false }, now, &mut random);
    }
    let tracker = |good, planned| Input::Tracker { name: "lbd".to_owned(), good, planned };
    for step in 0..1200 {
        now += STEP;
        let is_quiet = step >= 600;
        for node in &mut nodes {
            if !is_quiet && random.below(20) == 0 {
                match random.below(6) {
                    0 => {
                        node.wanted = false;
                        node.tell(Input::Withdraw, now, &mut random);
                    }
                    1 => {
                        node.wanted = true;
                        node.tell(Input::Announce, now, &mut random);
                    }
                    2 => {
                        node.fit = false;
                        let planned = random.below(2) == 0;
                        node.tell(tracker(false, planned), now, &mut random);
                    }
                    _ => {
                        node.fit = true;
                        node.tell(tracker(true, false), now, &mut random);
                    }
                }
            }
            node.pass_time(now, &mut random);
            let is_handed_over = node.service.state() == State::Withdrawn;
            assert!(!(is_handed_over && node.known), "seed {seed}: sent what nobody there takes");
        }
    }
    // The longest hold-down is over for those who have not been unwell since.
    for _ in 0..2400 {
        now += STEP;
        for node in &mut nodes {
            node.pass_time(now, &mut random);
        }
    }
    for node in &nodes {
        assert_eq!(node.known, node.fit && node.wanted, "seed {seed}: {:?}", node.service);
    }
}

#[test]
fn a_router_knows_of_all_that_are_fit_and_of_no_others() {
    let one = std::env::var("ANYCAST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = one.map_or(0..2000, |seed: u64| seed..seed + 1);
    seeds.for_each(run);
}
