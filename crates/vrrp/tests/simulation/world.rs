//! Routers on a network that loses, delays, repeats and splits, in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use vrrp::{Action, Cause, Heard, Input, Instance, Moment, Priority, Settings, State};

/// SplitMix64: the same seed gives the same course of events, on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// A duration below `bound`.
    pub(crate) fn duration(&mut self, bound: Duration) -> Duration {
        let nanoseconds = u64::try_from(bound.as_nanos()).unwrap().max(1);
        Duration::from_nanos(self.next() % nanoseconds)
    }
}

/// How a router is kept from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Its loop hangs: packets wait in the socket.
    Hung,
    /// Its loop hangs and its socket overflows.
    Deaf,
    /// Its machine is paused: packets are lost and its clock stands still.
    Paused,
}

pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) instance: Instance,
    pub(crate) alive: bool,
    pub(crate) holding: bool,
    pub(crate) trackers_good: bool,
    /// It handed mastership over at this priority, and has not been master since.
    pub(crate) yielded: Option<Priority>,
    /// Routers of the same side hear each other.
    pub(crate) side: usize,
    /// Which clock it signs by: adverts of another clock are doubtful.
    pub(crate) clock: usize,
    /// An announcement was made a moment ago, and whether another one has to follow it: the driver lets time pass between two.
    announced: Option<bool>,
    /// For which deadline it has asked who has the addresses.
    probed: Option<Moment>,
    stall: Option<Stall>,
    /// How far its clock is behind the world's.
    behind: Duration,
    inbox: Vec<Input>,
}

/// A station that sends to the virtual addresses.
#[derive(Default)]
pub(crate) struct Neighbour {
    /// It hears the routers of the same side.
    pub(crate) side: usize,
    /// Who has the addresses, as far as it was told.
    pub(crate) believes: Option<usize>,
}

/// What happens at a moment of the world.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An advert arrives: receiver, sender, and its priority.
    Arrival { to: usize, from: usize, priority: u8 },
    /// A router repeats that it has the addresses, if it has.
    Repeat { from: usize },
    /// An announcement arrives: neighbour, and router.
    Announcement { to: usize, from: usize },
    /// A router hears that another one has the addresses: an announcement, or an answer to its question.
    Claim { to: usize, from: usize, answers: bool },
    /// A stall ends that began at this moment.
    StallEnds { node: usize, began: Moment },
    /// A killed router is started again.
    Restart { node: usize },
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) random: Random,
    pub(crate) now: Moment,
    pub(crate) nodes: Vec<Node>,
    pub(crate) neighbours: [Neighbour; 2],
    /// Per cent of adverts lost.
    pub(crate) loss: usize,
    /// Per cent of adverts that arrive twice.
    pub(crate) duplication: usize,
    /// The longest way of an advert. Shorter ways overtake.
    pub(crate) max_delay: Duration,
    /// Every transition: when, whose, and the words of it.
    pub(crate) transitions: Vec<(Moment, usize, String)>,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    sent: u64,
}

impl World {
    pub(crate) fn new(seed: u64, random: Random, max_delay: Duration, settings: Vec<Settings>) -> Self {
        let nodes = settings.into_iter().map(|settings| Node {
            instance: Instance::new(settings.clone()),
            settings,
            alive: false,
            holding: false,
            trackers_good: true,
            yielded: None,
            side: 0,
            clock: 0,
            announced: None,
            probed: None,
            stall: None,
            behind: Duration::ZERO,
            inbox: Vec::new(),
        });
        Self {
            seed,
            random,
            // No clock starts at zero.
            now: Duration::from_secs(1_000_000),
            nodes: nodes.collect(),
            neighbours: [Neighbour::default(), Neighbour { side: 1, ..Neighbour::default() }],
            loss: 0,
            duplication: 0,
            max_delay,
            transitions: Vec::new(),
            events: BinaryHeap::new(),
            sent: 0,
        }
    }

    /// Fails with everything that is needed to find out why.
    #[track_caller]
    pub(crate) fn check(&self, holds: bool, what: &str) {
        if holds {
            return;
        }
        let last = self.transitions.len().saturating_sub(20);
        let course: String = self.transitions[last..]
            .iter()
            .map(|(at, node, text)| format!("  {at:?} router {node}: {text}\n"))
            .collect();
        let routers: String = self
            .nodes
            .iter()
            .map(|node| {
                format!(
                    "  {} alive {} holding {} {:?}\n",
                    node.instance.state(),
                    node.alive,
                    node.holding,
                    node.settings
                )
            })
            .collect();
        panic!("{what}\nat {:?}; replay with VRRP_SEED={}\n{course}{routers}", self.now, self.seed);
    }

    /// Routers that run as master.
    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.is(*node, State::Master)).collect()
    }

    pub(crate) fn is(&self, node: usize, state: State) -> bool {
        self.nodes[node].alive && self.nodes[node].instance.state() == state
    }

    /// Starts a router, with whatever a crash has left.
    pub(crate) fn start(&mut self, node: usize) {
        let router = &mut self.nodes[node];
        if router.alive {
            return;
        }
        router.alive = true;
        router.yielded = None;
        router.instance = Instance::new(router.settings.clone());
        let (good, holding) = (router.trackers_good, router.holding);
        self.report(node, good);
        self.handle(node, Input::Start { holding });
    }

    /// The process dies. Its addresses stay.
    pub(crate) fn kill(&mut self, node: usize) {
        let router = &mut self.nodes[node];
        router.alive = false;
        router.stall = None;
        router.inbox.clear();
    }

    /// The machine dies, and its addresses with it.
    pub(crate) fn cut_off(&mut self, node: usize) {
        self.kill(node);
        self.nodes[node].holding = false;
    }

    pub(crate) fn restart_after(&mut self, node: usize, wait: Duration) {
        self.schedule(self.now + wait, Event::Restart { node });
    }

    /// Stops in good order, unless its loop hangs: then it is killed.
    pub(crate) fn stop(&mut self, node: usize) {
        if self.nodes[node].alive && self.nodes[node].stall.is_none() {
            self.input(node, Input::Stop);
            self.check(!self.nodes[node].holding, "a stop leaves no address");
        }
        self.kill(node);
    }

    /// Somebody asks it to leave mastership to another router.
    pub(crate) fn hand_over(&mut self, node: usize) {
        self.input(node, Input::Release);
    }

    pub(crate) fn report(&mut self, node: usize, good: bool) {
        self.nodes[node].trackers_good = good;
        self.input(node, Input::Tracker { name: "lbd".to_owned(), good, planned: false });
    }

    pub(crate) fn stall(&mut self, node: usize, stall: Stall, length: Duration) {
        if self.nodes[node].alive && self.nodes[node].stall.is_none() {
            self.nodes[node].stall = Some(stall);
            self.schedule(self.now + length, Event::StallEnds { node, began: self.now });
        }
    }

    /// Runs until `end`.
    pub(crate) fn run_until(&mut self, end: Moment) {
        loop {
            let wake = self.next_wake();
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            match (wake, event) {
                (Some((at, node)), event) if at <= end && event.is_none_or(|event| at < event) => {
                    self.now = self.now.max(at);
                    if self.nodes[node].probed.is_none() && self.nodes[node].instance.expects_silence() {
                        self.nodes[node].probed = self.deadline(node);
                        self.probe(node);
                    } else {
                        self.handle(node, Input::Woken);
                    }
                }
                (_, Some(at)) if at <= end => {
                    self.now = self.now.max(at);
                    if let Some(Reverse((_, _, event))) = self.events.pop() {
                        self.happen(event);
                    }
                }
                _ => break,
            }
        }
        self.now = end;
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// When a router acts next, by the world's clock.
    pub(crate) fn deadline(&self, node: usize) -> Option<Moment> {
        let router = &self.nodes[node];
        let runs = router.alive && router.stall.is_none();
        runs.then(|| router.instance.next_deadline()).flatten().map(|deadline| deadline + router.behind)
    }

    fn next_wake(&self) -> Option<(Moment, usize)> {
        let wake = |node: usize| {
            let deadline = self.deadline(node)?;
            let router = &self.nodes[node];
            let asks = router.probed.is_none() && router.instance.expects_silence();
            Some((if asks { deadline - self.max_delay * 2 } else { deadline }, node))
        };
        (0..self.nodes.len()).filter_map(wake).min()
    }

    fn schedule(&mut self, at: Moment, event: Event) {
        self.sent += 1;
        self.events.push(Reverse((at, self.sent, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival { to, from, priority } => {
                if self.nodes[to].alive && self.nodes[to].side == self.nodes[from].side {
                    let Settings { own_address: source, interval, .. } = self.nodes[from].settings;
                    let heard = Heard { source, priority: Priority::from_wire(priority), interval };
                    let differ = self.nodes[to].clock != self.nodes[from].clock;
                    self.input(to, if differ { Input::Doubted(heard) } else { Input::Advert(heard) });
                }
            }
            Event::Repeat { from } => {
                let again = self.nodes[from].announced.take() == Some(true);
                if self.nodes[from].alive && self.nodes[from].holding {
                    self.tell(from);
                    if again {
                        self.announced(from);
                    }
                }
            }
            Event::Announcement { to, from } => {
                if self.nodes[from].side == self.neighbours[to].side {
                    self.neighbours[to].believes = Some(from);
                }
            }
            Event::Claim { to, from, answers } => {
                let hears = self.nodes[to].side == self.nodes[from].side && self.nodes[from].holding;
                // As the driver does: a backup heeds answers to its own question alone.
                let asked = self.nodes[to].probed.is_some() && self.nodes[to].instance.expects_silence();
                if hears && (answers && asked || self.is(to, State::Master)) {
                    self.input(to, Input::Claimed);
                }
            }
            Event::Restart { node } => self.start(node),
            Event::StallEnds { node, began } => {
                let router = &mut self.nodes[node];
                // A router that was killed has no stall to end.
                if let Some(stall) = router.stall.take() {
                    if stall == Stall::Paused {
                        router.behind += self.now - began;
                    }
                    // As the driver does: first what was heard, then the clock.
                    for input in std::mem::take(&mut router.inbox) {
                        self.handle(node, input);
                    }
                    self.handle(node, Input::Woken);
                }
            }
        }
    }

    /// An input reaches a router, now or when its loop runs again.
    fn input(&mut self, node: usize, input: Input) {
        let router = &mut self.nodes[node];
        match (router.stall, &input) {
            _ if !router.alive => {}
            (None, _) => self.handle(node, input),
            (Some(Stall::Deaf | Stall::Paused), Input::Advert(_)) => {}
            (Some(_), _) => router.inbox.push(input),
        }
    }

    /// The router acts. Every change of state has exactly one transition with its one cause, and comes in the right order.
    fn handle(&mut self, node: usize, input: Input) {
        let router = &mut self.nodes[node];
        let before = router.instance.state();
        let text = format!("{input:?}");
        let deadline = router.instance.next_deadline();
        let actions = router.instance.handle(input, self.now - router.behind);
        let after = router.instance.state();
        if router.instance.next_deadline() != deadline {
            router.probed = None;
        }
        let transitions: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Transition(transition) => Some(transition.clone()),
                _ => None,
            })
            .collect();
        self.check(
            transitions.len() == usize::from(before != after),
            "one transition for each change of state",
        );
        for transition in transitions {
            self.check((transition.from, transition.to) == (before, after), "a transition tells the truth");
            let expected = match transition.cause {
                Cause::Started | Cause::TrackersRecovered => true,
                Cause::Stopped => after == State::Init,
                Cause::TrackerFailed(_) | Cause::TrackerEnds(_) => after == State::Fault,
                Cause::Outranked { .. } | Cause::Released => {
                    before == State::Master && after == State::Backup
                }
                Cause::MasterSilent
                | Cause::MasterReleased
                | Cause::Preempted { .. }
                | Cause::Resumed
                | Cause::Unclaimed => before == State::Backup && after == State::Master,
            };
            self.check(expected, &format!("{text} is no reason for {transition}"));
            let router = &mut self.nodes[node];
            if after == State::Master {
                router.yielded = None;
            } else if transition.cause == Cause::Released {
                router.yielded = Some(router.instance.priority());
            }
            self.transitions.push((self.now, node, transition.to_string()));
        }
        for action in actions {
            match action {
                Action::SendAdvert(priority) => self.send(node, priority),
                Action::AddAddresses => self.nodes[node].holding = true,
                Action::RemoveAddresses => self.nodes[node].holding = false,
                Action::SendGratuitous => {
                    self.check(self.nodes[node].holding, "only the holder tells where the addresses are");
                    self.announce(node);
                }
                Action::Probe => self.probe(node),
                Action::Vouch(_) | Action::Transition(_) => {}
            }
        }
        let holding = self.nodes[node].holding;
        self.check(after != State::Master || holding, "a master holds the addresses");
        self.check(
            !matches!(after, State::Init | State::Fault) || !holding || before == after,
            "others drop them",
        );
    }

    /// Announces the addresses now and once more, or after what was announced a moment ago.
    fn announce(&mut self, from: usize) {
        if let Some(again) = &mut self.nodes[from].announced {
            *again = true;
        } else {
            self.tell(from);
            self.announced(from);
        }
    }

    fn announced(&mut self, from: usize) {
        self.nodes[from].announced = Some(false);
        self.schedule(self.now + self.max_delay, Event::Repeat { from });
    }

    /// Neighbours and other routers hear who has the addresses, each in its time.
    fn tell(&mut self, from: usize) {
        for to in 0..self.neighbours.len() {
            let delay = self.random.duration(self.max_delay);
            self.schedule(self.now + delay, Event::Announcement { to, from });
        }
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let delay = self.random.duration(self.max_delay);
            self.schedule(self.now + delay, Event::Claim { to, from, answers: false });
        }
    }

    /// Asks who has the addresses. Whoever has them answers, also with its VRRP daemon dead.
    fn probe(&mut self, to: usize) {
        for from in (0..self.nodes.len()).filter(|from| *from != to) {
            let delay = self.random.duration(self.max_delay * 2);
            self.schedule(self.now + delay, Event::Claim { to, from, answers: true });
        }
    }

    fn send(&mut self, from: usize, priority: Priority) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let copies = 1 + usize::from(self.random.percent(self.duplication));
            for _ in 0..copies {
                if !self.random.percent(self.loss) {
                    let delay = self.random.duration(self.max_delay);
                    let priority = priority.get();
                    self.schedule(self.now + delay, Event::Arrival { to, from, priority });
                }
            }
        }
    }
}
