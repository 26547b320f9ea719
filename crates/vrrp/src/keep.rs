//! Connections that outlive a handover: who keeps some, and who passes packets on to whom. Pure.
//!
//! A router that gives the addresses to another goes on serving the connections that it has. The new master has no socket for their
//! packets, so it passes them on to whoever says that it keeps some. All of that is soft: it is said again each second, and
//! forgotten where it is not.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::packet::Kind;
use crate::units::{Moment, Priority};

/// How often who keeps connections says so.
const SAID: Duration = Duration::from_secs(1);
/// How long it is believed: three times may be missed.
const BELIEVED: Duration = Duration::from_millis(3500);
/// How long a new master resets no connection whose packets it does not know, where the last master is alive: what it keeps it may
/// not have said yet.
const MUTE: Duration = Duration::from_secs(1);
/// Others that may keep connections at once. A virtual router has a handful of routers.
const KEEPERS: usize = 8;

/// One router's part in it.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// How long connections are kept; none: not at all, and nobody is passed anything.
    bound: Option<Duration>,
    part: Part,
    /// Others that keep connections, and until when they are believed to.
    keepers: BTreeMap<IpAddr, Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Neither has the addresses nor keeps anything.
    None,
    /// Is master.
    Serves { mute_until: Option<Moment> },
    /// Was master.
    Keeps(Kept),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// When it ends at the latest.
    until: Moment,
    /// When to say so next.
    say: Moment,
    /// Until when somebody is believed to pass packets on.
    passed_until: Moment,
    /// Those counted last, if they have been counted.
    connections: Option<u64>,
    /// Whether the world was told.
    is_told: bool,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Mastership is about to be given away.
    Leaves,
    /// Another router has the addresses now.
    Left,
    /// This router has the addresses now. `peacefully`: from one that is alive.
    Serves {
        /// Whether the last master may keep connections.
        peacefully: bool,
    },
    /// This router takes no part any more, or could not serve.
    Ends,
    /// Another router has said something; 0 is the priority of who keeps nothing any more.
    Heard {
        /// Who.
        source: IpAddr,
        /// What.
        kind: Kind,
        /// With which priority.
        priority: Priority,
    },
    /// So many connections of the addresses are here.
    Counted(u64),
    /// The deadline has come.
    Woken,
    /// The configuration has changed.
    Reload {
        /// How long connections are kept.
        bound: Option<Duration>,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say this to the others; with priority 0 where nothing is kept any more. That this router keeps something it says when what
    /// [`Keeper::plan`] asks for is so: it would reset what others pass on.
    Say {
        /// What.
        kind: Kind,
        /// Whether it is the last word.
        last: bool,
    },
    /// Tell the world.
    Tell(News),
}

/// What the world may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// This router keeps connections.
    Keeps(u64),
    /// It keeps none any more, of so many that were left.
    KeepsNone(End, u64),
    /// This router passes packets on to another.
    PassesTo(IpAddr),
    /// It does so no more.
    PassesNoMore(IpAddr),
}

/// Why nothing is kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All have ended.
    NothingLeft,
    /// Their time is over.
    Bound,
    /// No master passes packets on.
    NobodyPasses,
    /// The addresses are here again.
    Back,
    /// This router takes no part any more.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingLeft => "all have ended",
            Self::Bound => "keep_connections is over",
            Self::NobodyPasses => "the master does not pass packets on: set keep_connections on all routers",
            Self::Back => "the addresses are here again",
            Self::Stopped => "this router takes no part any more",
        })
    }
}

/// What packets of the addresses are subject to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The addresses are to be on this router, unknown to its neighbours, for the connections that are here.
    pub keeps: bool,
    /// No connection is to be reset for being unknown here.
    pub mute: bool,
    /// Where packets go of which this router knows nothing.
    pub passes_to: Vec<IpAddr>,
}

impl Keeper {
    /// One that has nothing to do with anything yet.
    pub const fn new(bound: Option<Duration>) -> Self {
        Self { bound, part: Part::None, keepers: BTreeMap::new() }
    }

    /// Connections that are kept, once they have been counted.
    pub fn kept(&self) -> Option<u64> {
        match &self.part {
            Part::Keeps(kept) => kept.connections,
            Part::None | Part::Serves { .. } => None,
        }
    }

    /// What packets are subject to.
    pub fn plan(&self) -> Plan {
        match &self.part {
            Part::None => Plan::default(),
            Part::Keeps(_) => Plan { keeps: true, mute: true, passes_to: Vec::new() },
            Part::Serves { mute_until } => Plan {
                keeps: false,
                mute: mute_until.is_some() || !self.keepers.is_empty(),
                passes_to: self.keepers.keys().copied().collect(),
            },
        }
    }

    /// When to hand in [`Input::Woken`], if nothing happens before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let own = match &self.part {
            Part::None => None,
            Part::Serves { mute_until } => *mute_until,
            Part::Keeps(kept) => Some(kept.until.min(kept.say).min(kept.passed_until)),
        };
        own.into_iter().chain(self.keepers.values().copied()).min()
    }

    /// Takes one input at `now`, and says what to do in which order.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        let before = self.plan().passes_to;
        match input {
            Input::Reload { bound } => self.reload(bound, now, &mut actions),
            Input::Ends => self.end(End::Stopped, Part::None, &mut actions),
            // It may be configured later.
            Input::Serves { .. } if self.bound.is_none() => self.part = Part::Serves { mute_until: None },
            Input::Left if self.bound.is_none() => self.part = Part::None,
            _ if self.bound.is_none() => {}
            Input::Leaves => {
                // Packets of connections that begin at the successor may be passed on to here.
                self.part = Part::Serves { mute_until: Some(now.saturating_add(BELIEVED)) };
                actions.push(Action::Say { kind: Kind::Keeps, last: false });
            }
            Input::Left => self.leave(now, &mut actions),
            Input::Serves { peacefully } => {
                let mute_until = peacefully.then(|| now.saturating_add(MUTE));
                self.end(End::Back, Part::Serves { mute_until }, &mut actions);
            }
            Input::Heard { source, kind, priority } => self.hear(source, kind, priority, now, &mut actions),
            Input::Counted(connections) => self.count(connections, &mut actions),
            Input::Woken => self.wake(now, &mut actions),
        }
        let after = self.plan().passes_to;
        let more = after.iter().filter(|to| !before.contains(to)).copied().map(News::PassesTo);
        let fewer = before.iter().filter(|to| !after.contains(to)).copied().map(News::PassesNoMore);
        actions.extend(more.chain(fewer).map(Action::Tell));
        self.check_invariants();
        actions
    }

    /// Nobody passes packets on to others and keeps the addresses for itself at once, and nothing is done that is not configured.
    fn check_invariants(&self) {
        let plan = self.plan();
        debug_assert!(!plan.keeps || plan.passes_to.is_empty(), "{self:?}");
        debug_assert!(plan.mute || !plan.keeps && plan.passes_to.is_empty(), "{self:?}");
        debug_assert!(self.bound.is_some() || plan == Plan::default() && self.keepers.is_empty(), "{self:?}");
        debug_assert!(self.keepers.len() <= KEEPERS, "{self:?}");
    }

    fn leave(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(bound) = self.bound.filter(|_| !matches!(self.part, Part::Keeps(_))) else { return };
        self.part = Part::Keeps(Kept {
            until: now.saturating_add(bound),
            say: now.saturating_add(SAID),
            passed_until: now.saturating_add(BELIEVED),
            connections: None,
            is_told: false,
        });
        actions.push(Action::Say { kind: Kind::Keeps, last: false });
    }

    fn hear(
        &mut self,
        source: IpAddr,
        kind: Kind,
        priority: Priority,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        match (kind, &mut self.part) {
            (Kind::Passes, Part::Keeps(kept)) => kept.passed_until = now.saturating_add(BELIEVED),
            (Kind::Keeps, _) if priority == Priority::RELEASE => _ = self.keepers.remove(&source),
            (Kind::Keeps, part) if self.keepers.contains_key(&source) || self.keepers.len() < KEEPERS => {
                if matches!(part, Part::Serves { .. }) {
                    actions.push(Action::Say { kind: Kind::Passes, last: false });
                }
                self.keepers.insert(source, now.saturating_add(BELIEVED));
            }
            (Kind::Advertisement | Kind::Keeps | Kind::Passes, _) => {}
        }
    }

    fn count(&mut self, connections: u64, actions: &mut Vec<Action>) {
        let Part::Keeps(kept) = &mut self.part else { return };
        kept.connections = Some(connections);
        if connections == 0 {
            self.end(End::NothingLeft, Part::None, actions);
        } else if !std::mem::replace(&mut kept.is_told, true) {
            actions.push(Action::Tell(News::Keeps(connections)));
        }
    }

    fn wake(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.keepers.retain(|_, until| *until > now);
        match &mut self.part {
            Part::None => {}
            Part::Serves { mute_until } => *mute_until = mute_until.filter(|until| *until > now),
            Part::Keeps(kept) if kept.until <= now => self.end(End::Bound, Part::None, actions),
            Part::Keeps(kept) if kept.passed_until <= now => {
                self.end(End::NobodyPasses, Part::None, actions);
            }
            Part::Keeps(kept) if kept.say <= now => {
                kept.say = now.saturating_add(SAID);
                actions.push(Action::Say { kind: Kind::Keeps, last: false });
            }
            Part::Keeps(_) => {}
        }
    }

    /// Plays another part. Whoever passed something on to this router need not any more.
    fn end(&mut self, end: End, part: Part, actions: &mut Vec<Action>) {
        if let Part::Keeps(kept) = std::mem::replace(&mut self.part, part) {
            actions.push(Action::Say { kind: Kind::Keeps, last: true });
            if kept.is_told {
                actions.push(Action::Tell(News::KeepsNone(end, kept.connections.unwrap_or(0))));
            }
        }
    }

    fn reload(&mut self, bound: Option<Duration>, now: Moment, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.bound, bound) == bound {
            return;
        }
        match (bound, &mut self.part) {
            (Some(bound), Part::Keeps(kept)) => kept.until = kept.until.min(now.saturating_add(bound)),
            (Some(_), _) => {}
            (None, Part::Serves { mute_until }) => {
                *mute_until = None;
                self.keepers.clear();
            }
            (None, _) => {
                self.end(End::Bound, Part::None, actions);
                self.keepers.clear();
            }
        }
    }
}
