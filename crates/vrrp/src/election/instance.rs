//! The state machine. [`Instance::handle`] is the table of RFC 9568 section 6.4: one line for each state and input.

use super::trackers::{Standing, Trackers};
use super::types::{Action, Cause, Heard, Input, Preemption, Settings, State, Transition};
use crate::units::{AdvertInterval, Moment, Priority, RELEASE_INTERVAL, Version};

/// A master answers at most so many adverts in an interval at once: a flood of them must not become a flood of answers.
const ANSWERS_IN_AN_INTERVAL: u32 = 8;

/// How often the silence of a master is not believed because somebody answers for its addresses. Each time is an interval.
const CLAIMS: u8 = 3;

/// This router's part in one virtual router.
#[derive(Clone, Debug)]
pub struct Instance {
    settings: Settings,
    trackers: Trackers,
    /// The configured priority as the trackers leave it.
    priority: Priority,
    state: State,
    /// Whether the virtual addresses are on the interface.
    holding: bool,
    /// When to act if nothing is heard: the end of the Adver_Timer as master, and of the Active_Down_Timer (RFC 3768:
    /// Master_Down_Timer) as backup. Meaningless in Init and Fault.
    deadline: Moment,
    backup: Backup,
    /// Mastership was given away on request, at this priority: with no higher one it is not taken back by preemption.
    yielded: Option<Priority>,
    /// As master: before this moment no more adverts are answered.
    quiet_until: Moment,
    /// The latest advert of another master that may be a recording.
    doubted: Option<Doubted>,
}

/// An advert that is believed when somebody also answers for the addresses.
#[derive(Clone, Copy, Debug)]
struct Doubted {
    heard: Heard,
    /// Until when a claim of an address confirms it: its sender sends the next one long before.
    until: Moment,
}

/// What a backup knows.
#[derive(Clone, Debug)]
struct Backup {
    /// The interval of the master: RFC 9568 calls it Active_Adver_Interval.
    interval: AdvertInterval,
    /// Why this router is master if the deadline passes.
    expecting: Cause,
    /// From when on a master of lower priority may be preempted.
    preempt_from: Option<Moment>,
    /// The loop woke up late and the deadline was put off for it, which is done once.
    put_off: bool,
    /// How often the deadline was put off because somebody answers for the addresses.
    claims: u8,
}

impl Instance {
    /// An instance that has not started.
    pub fn new(settings: Settings) -> Self {
        let backup = Backup::new(settings.interval, Cause::MasterSilent);
        Self {
            trackers: Trackers::new(settings.trackers.clone()),
            priority: settings.priority,
            state: State::Init,
            holding: false,
            deadline: Moment::ZERO,
            backup,
            yielded: None,
            quiet_until: Moment::ZERO,
            doubted: None,
            settings,
        }
    }

    /// The state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The priority of the election: the configured one as the trackers leave it.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// When to hand in [`Input::Woken`], if nothing happens before.
    pub const fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Backup | State::Master => Some(self.deadline),
            State::Init | State::Fault => None,
        }
    }

    /// Whether the deadline means that a master has fallen silent. Then it is worth asking the network before it whether
    /// somebody still has the addresses; an answer is [`Input::Claimed`].
    pub fn expects_silence(&self) -> bool {
        self.state == State::Backup && self.backup.expecting == Cause::MasterSilent
    }

    /// Takes one input at `now`, and says what to do in which order.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        match (self.state, input) {
            // Trackers and configuration are kept in every state; `reassess` has their part of the table.
            (_, Input::Tracker { name, good, planned }) => {
                self.trackers.report(&name, good);
                self.reassess(
                    if planned { Cause::TrackerEnds } else { Cause::TrackerFailed },
                    now,
                    &mut actions,
                );
            }
            (_, Input::Reload(settings)) => self.reload(settings, now, &mut actions),

            // 6.4.1 Initialize.
            (State::Init, Input::Start { holding }) => {
                self.holding = holding;
                self.join(Cause::Started, now, &mut actions);
            }
            (
                State::Init,
                Input::Stop
                | Input::Release
                | Input::Claimed
                | Input::Advert(_)
                | Input::Doubted(_)
                | Input::Woken,
            ) => {}

            // 6.4.2 Backup. An advert is not compared by address here.
            (State::Backup, Input::Advert(heard)) => self.backup_hears(heard, now, &mut actions),
            (State::Backup, Input::Woken) => self.backup_wakes(now, &mut actions),
            (State::Backup, Input::Doubted(heard)) => self.doubt(heard, now),
            (State::Backup, Input::Claimed) => self.backup_hears_claim(now, &mut actions),
            (State::Backup, Input::Release) => {}
            (State::Backup, Input::Stop) => {
                self.resign(&mut actions);
                self.go(State::Init, Cause::Stopped, &mut actions);
            }

            // 6.4.3 Active.
            (State::Master, Input::Advert(heard)) => self.master_hears(heard, now, &mut actions),
            (State::Master, Input::Woken) if now >= self.deadline => self.advertise(now, &mut actions),
            (State::Master, Input::Woken) => {}
            (State::Master, Input::Doubted(heard)) => self.master_doubts(heard, now, &mut actions),
            (State::Master, Input::Claimed) => self.master_hears_claim(now, &mut actions),
            // An owner would take everything back at the next advert.
            (State::Master, Input::Release) if self.priority == Priority::OWNER => {}
            (State::Master, Input::Release) => self.hand_over(now, &mut actions),
            (State::Master, Input::Stop) => {
                self.release(&mut actions);
                self.go(State::Init, Cause::Stopped, &mut actions);
            }

            // Not of the RFC: deaf until the trackers recover.
            (State::Fault, Input::Stop) => self.go(State::Init, Cause::Stopped, &mut actions),
            (
                State::Fault,
                Input::Release | Input::Claimed | Input::Advert(_) | Input::Doubted(_) | Input::Woken,
            ) => {}

            // Started already.
            (State::Backup | State::Master | State::Fault, Input::Start { .. }) => {}
        }
        self.check_invariants();
        actions
    }

    /// A master has the addresses, and has given nothing away. Whoever takes no part in the election has none. Nobody stands
    /// with the priority that means an end, and no claim puts a takeover off for longer than was decided.
    fn check_invariants(&self) {
        debug_assert!(self.state != State::Master || self.holding && self.yielded.is_none(), "{self:?}");
        debug_assert!(!matches!(self.state, State::Init | State::Fault) || !self.holding, "{self:?}");
        debug_assert!(self.priority != Priority::RELEASE, "{self:?}");
        debug_assert!(self.backup.claims <= CLAIMS, "{self:?}");
    }

    /// Enters the election, or Fault.
    fn join(&mut self, cause: Cause, now: Moment, actions: &mut Vec<Action>) {
        match self.trackers.standing(self.settings.priority) {
            Standing::Fault(tracker) => {
                self.resign(actions);
                self.go(State::Fault, Cause::TrackerFailed(tracker), actions);
            }
            // 6.4.1: the owner does not wait.
            Standing::Fit(priority) if priority == Priority::OWNER => {
                self.priority = priority;
                self.become_master(cause, now, actions);
            }
            Standing::Fit(priority) => {
                self.priority = priority;
                let interval = self.settings.interval;
                let (expecting, wait) = if self.holding {
                    // A living master is heard within an interval. Waiting less than master-down, this router is back before a
                    // backup takes over.
                    let skew = self.settings.version.skew(priority, interval);
                    (Cause::Resumed, interval.duration().saturating_add(skew))
                } else {
                    (Cause::MasterSilent, self.settings.version.master_down(priority, interval))
                };
                self.backup = Backup::new(interval, expecting);
                self.deadline = now.saturating_add(wait);
                self.go(State::Backup, cause, actions);
            }
        }
    }

    fn backup_hears(&mut self, heard: Heard, now: Moment, actions: &mut Vec<Action>) {
        let Heard { source, priority, interval } = heard;
        if source == self.settings.own_address {
            return;
        }
        if priority == Priority::RELEASE {
            // The second of two such adverts changes nothing: the wait has begun.
            if self.backup.expecting != Cause::MasterReleased {
                let Settings { version, strict, .. } = self.settings;
                let wait = version.release_skew(self.priority, self.backup.interval, strict);
                self.deadline = now.saturating_add(wait);
                self.backup.expecting = Cause::MasterReleased;
                self.backup.put_off = false;
            }
            return;
        }
        // Somebody else is master now: addresses that a crash left here would be there twice.
        self.drop_addresses(actions);
        if priority < self.priority && self.may_preempt(now) {
            self.backup.expecting = Cause::Preempted { master: source, priority };
            return;
        }
        if priority >= self.priority {
            self.backup.preempt_from = None;
        }
        self.follow(interval, now);
    }

    /// Whether a master of lower priority, heard now, may be preempted.
    fn may_preempt(&mut self, now: Moment) -> bool {
        if self.priority == Priority::OWNER {
            return true;
        }
        match self.settings.preemption {
            Preemption::Off => false,
            Preemption::After(_) if self.yielded.is_some_and(|given| self.priority <= given) => false,
            Preemption::After(delay) => {
                now >= *self.backup.preempt_from.get_or_insert(now.saturating_add(delay))
            }
        }
    }

    /// Waits for the silence of a master that was heard just now, in its interval.
    fn follow(&mut self, interval: AdvertInterval, now: Moment) {
        self.backup.interval = interval;
        self.backup.expecting = Cause::MasterSilent;
        self.backup.put_off = false;
        self.backup.claims = 0;
        self.deadline = now.saturating_add(self.settings.version.master_down(self.priority, interval));
    }

    /// Keeps what may be a recording for the moment, in which a claim confirms it. A farewell could not be: nobody answers
    /// after one.
    fn doubt(&mut self, heard: Heard, now: Moment) {
        if heard.source != self.settings.own_address && heard.priority != Priority::RELEASE {
            let until = now.saturating_add(self.settings.version.master_down(Priority::MIN, heard.interval));
            self.doubted = Some(Doubted { heard, until });
        }
    }

    /// What a claim of an address confirms now.
    fn confirmed(&mut self, now: Moment, actions: &mut Vec<Action>) -> Option<Heard> {
        let Doubted { heard, .. } = self.doubted.take().filter(|doubted| now <= doubted.until)?;
        actions.push(Action::Vouch(heard.source));
        Some(heard)
    }

    /// A master that answers for its addresses, but sends no adverts: only its VRRP daemon is gone, and may come back. One
    /// that sends adverts, too, is a living one whose clock is another. It is not preempted, since it would not believe this
    /// router either.
    fn backup_hears_claim(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if let Some(heard) = self.confirmed(now, actions) {
            self.drop_addresses(actions);
            self.follow(heard.interval, now);
        } else if self.expects_silence() && self.backup.claims < CLAIMS {
            self.backup.claims += 1;
            self.deadline = self.deadline.saturating_add(self.backup.interval.duration());
        }
    }

    fn backup_wakes(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(late) = now.checked_sub(self.deadline) else { return };
        let interval = self.backup.interval;
        // A loop that slept through an interval has also not listened. It listens first, once.
        if late > interval.duration() && !self.backup.put_off {
            self.backup.put_off = true;
            self.deadline = now.saturating_add(self.settings.version.master_down(self.priority, interval));
            return;
        }
        self.become_master(self.backup.expecting.clone(), now, actions);
    }

    /// What would end this mastership needs a claim beside; anything else is answered as always.
    fn master_doubts(&mut self, heard: Heard, now: Moment, actions: &mut Vec<Action>) {
        if heard.source == self.settings.own_address || !self.yields_to(heard) {
            self.master_hears(heard, now, actions);
            return;
        }
        self.doubt(heard, now);
        if self.may_answer(now) {
            actions.push(Action::Probe);
        }
    }

    fn master_hears_claim(&mut self, now: Moment, actions: &mut Vec<Action>) {
        match self.confirmed(now, actions) {
            Some(heard) if self.yields_to(heard) => self.yield_to(heard, now, actions),
            _ => self.contradict(now, actions),
        }
    }

    /// Whether another master has a better right.
    fn yields_to(&self, Heard { source, priority, .. }: Heard) -> bool {
        let own = self.settings.own_address;
        priority > self.priority || priority == self.priority && source > own
    }

    fn master_hears(&mut self, heard: Heard, now: Moment, actions: &mut Vec<Action>) {
        if heard.source == self.settings.own_address {
            return;
        }
        // Section 7.1 would discard adverts that an owner hears. Between two owners, a mistake, that would leave two masters.
        if self.yields_to(heard) {
            self.yield_to(heard, now, actions);
        } else if heard.priority == Priority::RELEASE {
            if self.may_answer(now) {
                self.advertise(now, actions);
            }
        } else {
            // Another master has told the network that the addresses are elsewhere.
            self.contradict(now, actions);
        }
    }

    fn yield_to(&mut self, heard: Heard, now: Moment, actions: &mut Vec<Action>) {
        let Heard { source, priority, interval } = heard;
        self.drop_addresses(actions);
        // The last word, which the RFC does not have: a winner that was heard first would not know that there was another
        // master, and that neighbours have to be told where the addresses are.
        actions.push(Action::SendAdvert(self.priority));
        self.backup = Backup::new(interval, Cause::MasterSilent);
        self.follow(interval, now);
        self.go(State::Backup, Cause::Outranked { by: source, priority }, actions);
    }

    /// Says that this router is master, and where the addresses are: section 6.4.3 ("immediately send an ADVERTISEMENT to
    /// assert Active state"), and what neighbours need beside.
    fn contradict(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.may_answer(now) {
            self.advertise(now, actions);
        }
        actions.push(Action::SendGratuitous);
    }

    fn may_answer(&mut self, now: Moment) -> bool {
        let may = now >= self.quiet_until;
        if may {
            self.quiet_until = now.saturating_add(self.settings.interval.duration() / ANSWERS_IN_AN_INTERVAL);
        }
        may
    }

    /// Leaves mastership to whoever is there. The slowest successor waits its skew; nobody having come by then, nobody will.
    /// The addresses stay until a successor is heard: without one, they have never left.
    fn hand_over(&mut self, now: Moment, actions: &mut Vec<Action>) {
        actions.extend([Action::SendAdvert(Priority::RELEASE), Action::SendAdvert(Priority::RELEASE)]);
        self.yielded = Some(self.priority);
        let Settings { version, interval, .. } = self.settings;
        self.backup = Backup::new(interval, Cause::Unclaimed);
        let travel = RELEASE_INTERVAL.max(interval.duration() / 8);
        let patience = version.skew(Priority::MIN, interval).saturating_add(travel);
        self.deadline = now.saturating_add(patience);
        self.go(State::Backup, Cause::Released, actions);
    }

    /// Becomes master. The advert comes first: it stops other backups, while the addresses are being added.
    fn become_master(&mut self, cause: Cause, now: Moment, actions: &mut Vec<Action>) {
        self.quiet_until = now;
        self.yielded = None;
        // That master has fallen silent: a claim of the next one must not speak for it.
        self.doubted = None;
        self.advertise(now, actions);
        self.add_addresses(actions);
        self.go(State::Master, cause, actions);
    }

    fn advertise(&mut self, now: Moment, actions: &mut Vec<Action>) {
        actions.push(Action::SendAdvert(self.priority));
        self.deadline = now.saturating_add(self.settings.interval.duration());
    }

    fn add_addresses(&mut self, actions: &mut Vec<Action>) {
        self.holding = true;
        actions.extend([Action::AddAddresses, Action::SendGratuitous]);
    }

    fn drop_addresses(&mut self, actions: &mut Vec<Action>) {
        if self.holding {
            self.holding = false;
            actions.push(Action::RemoveAddresses);
        }
    }

    /// Leaves mastership. The addresses go first: whoever hears of it takes them. Said twice, because a lost advert would cost
    /// the others a whole master-down time.
    fn release(&mut self, actions: &mut Vec<Action>) {
        self.drop_addresses(actions);
        actions.extend([Action::SendAdvert(Priority::RELEASE), Action::SendAdvert(Priority::RELEASE)]);
    }

    /// Takes no part any more without having been master. With addresses of a run that crashed, or that nobody has come for
    /// yet, others still wait for this router's adverts.
    fn resign(&mut self, actions: &mut Vec<Action>) {
        if self.holding {
            self.release(actions);
        }
    }

    fn go(&mut self, to: State, cause: Cause, actions: &mut Vec<Action>) {
        let from = self.state;
        self.state = to;
        actions.push(Action::Transition(Transition { from, to, cause }));
    }

    /// What the trackers and the configured priority mean now. `fault`: the cause, where a tracker makes this router leave.
    fn reassess(&mut self, fault: fn(String) -> Cause, now: Moment, actions: &mut Vec<Action>) {
        match (self.state, self.trackers.standing(self.settings.priority)) {
            (State::Init, _) | (State::Fault, Standing::Fault(_)) => {}
            (State::Fault, Standing::Fit(_)) => self.join(Cause::TrackersRecovered, now, actions),
            (State::Backup, Standing::Fault(tracker)) => {
                self.resign(actions);
                self.go(State::Fault, fault(tracker), actions);
            }
            (State::Master, Standing::Fault(tracker)) => {
                self.release(actions);
                self.go(State::Fault, fault(tracker), actions);
            }
            (State::Backup, Standing::Fit(priority)) => {
                // The wait that runs keeps its three intervals and takes the new skew.
                let skew = |priority| self.settings.version.skew(priority, self.backup.interval);
                if !matches!(self.backup.expecting, Cause::MasterReleased | Cause::Unclaimed) {
                    let (old, new) = (skew(self.priority), skew(priority));
                    self.deadline = self.deadline.saturating_sub(old).saturating_add(new);
                }
                self.priority = priority;
            }
            (State::Master, Standing::Fit(priority)) => {
                // Others learn of it now, not in an interval.
                if self.priority != priority {
                    self.priority = priority;
                    self.advertise(now, actions);
                }
            }
        }
    }

    /// Goes on in the same state wherever the new settings let it: a reload is no reason to flap.
    fn reload(&mut self, settings: Settings, now: Moment, actions: &mut Vec<Action>) {
        let before = self.state;
        self.trackers.reload(settings.trackers.clone());
        self.settings = settings;
        self.reassess(Cause::TrackerFailed, now, actions);
        if self.state != before {
            return;
        }
        match self.state {
            State::Init | State::Fault => {}
            State::Backup => {
                // VRRPv2 has one interval for all; with VRRPv3 the master's counts.
                if self.settings.version == Version::V2 {
                    self.backup.interval = self.settings.interval;
                }
                let wait = self.settings.version.master_down(self.priority, self.backup.interval);
                self.deadline = self.deadline.min(now.saturating_add(wait));
            }
            State::Master => {
                if actions.is_empty() {
                    self.advertise(now, actions);
                }
                self.add_addresses(actions);
            }
        }
    }
}

impl Backup {
    const fn new(interval: AdvertInterval, expecting: Cause) -> Self {
        Self { interval, expecting, preempt_from: None, put_off: false, claims: 0 }
    }
}
