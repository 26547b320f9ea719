//! The engine. One that is named joins at once, as its checks decide whether it gets requests. What is hard is to tell who is gone
//! from who was left out:
//!
//! ```text
//!   answer ── fewer than `min` ──> nobody leaves for `hold`; empty for longer: all do
//!      │
//!      └── lacks a member ── the answer is whole ───────────────> it leaves
//!                        ├── and is smaller than the last one ──> it leaves with the third that lacks it
//!                        └── may be a part of the whole ────────> it leaves when it would have come up by now
//! ```
//! Large sets are told in parts by some name servers: a few records of many, others each time. Such an answer is known by what it
//! does: it is as large as the one before though it lacks something, or it names again what another one lacked. With a part of 1/n of
//! the whole in each answer, a member that is still there is missing from 10 n in a row once in 20,000 times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A moment: the time since some start that is the same for all.
pub type Moment = Duration;

/// So many answers in a row have to lack a member, if nothing speaks for parts.
const ANSWERS: usize = 3;
/// So many times as many as it takes to see the whole once, if something does.
const ROUNDS: usize = 10;
/// For so long it is remembered that answers are parts, and who has left.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// What decides who is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The most members.
    pub max: usize,
    /// Answers that name fewer are doubted.
    pub min: usize,
    /// For how long.
    pub hold: Duration,
    /// Whether each answer names all, so that who is not named is gone.
    pub whole: bool,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<K, V> {
    /// Who was named, in the order in which they are preferred where they are too many. The first of a name counts.
    pub named: Vec<(K, V)>,
    /// Whether the answer was cut off, so that there is more.
    pub cut_off: bool,
}

/// What an answer changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<K, V> {
    /// Who has come.
    pub joined: Vec<(K, V)>,
    /// Of whom something else is said than before.
    pub changed: Vec<(K, V)>,
    /// Who has gone.
    pub left: Vec<K>,
}

/// Who belongs to a backend.
#[derive(Clone, Debug)]
pub struct Membership<K, V> {
    rules: Rules,
    members: BTreeMap<K, Held<V>>,
    /// Who has left a while ago, and when. At most as many as there may be members.
    gone: BTreeMap<K, Moment>,
    /// How many the last answer named.
    size: usize,
    /// When last one was named again that an answer had lacked.
    returned: Option<Moment>,
    /// Since when answers have named fewer than `min`.
    doubted: Option<Moment>,
    /// How many more the last answer named than there is room for.
    surplus: usize,
}

#[derive(Clone, Debug)]
struct Held<V> {
    said: V,
    /// How many answers in a row have lacked it.
    missed: usize,
    /// Whether the first of those may have been a part of the whole.
    in_part: bool,
}

impl<V> Held<V> {
    const fn new(said: V) -> Self {
        Self { said, missed: 0, in_part: false }
    }
}

impl<K, V> Changes<K, V> {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.changed.is_empty() && self.left.is_empty()
    }
}

impl<K: Ord + Clone, V: Eq + Clone> Membership<K, V> {
    /// Begins with the members that are known from before.
    pub fn new(rules: Rules, known: impl IntoIterator<Item = (K, V)>) -> Self {
        let members: BTreeMap<_, _> = known.into_iter().map(|(key, said)| (key, Held::new(said))).collect();
        let mut made = Self {
            rules,
            members,
            gone: BTreeMap::new(),
            size: 0,
            returned: None,
            doubted: None,
            surplus: 0,
        };
        while made.members.len() > rules.max {
            made.members.pop_last();
        }
        made.size = made.members.len();
        made
    }

    /// The members, in the order of their names.
    pub fn members(&self) -> impl Iterator<Item = (&K, &V)> {
        self.members.iter().map(|(key, held)| (key, &held.said))
    }

    /// How many members the last answer lacked.
    pub fn missing(&self) -> usize {
        self.members.values().filter(|held| held.missed > 0).count()
    }

    /// How many more the last answer named than there is room for.
    pub fn surplus(&self) -> usize {
        self.surplus
    }

    /// Since when answers have named fewer than `min`, so that nobody leaves.
    pub fn doubted(&self) -> Option<Moment> {
        self.doubted
    }

    /// Whether answers are known to be parts of the whole.
    pub fn is_told_in_parts(&self, now: Moment) -> bool {
        !self.rules.whole && self.returned.is_some_and(|at| now.saturating_sub(at) < MEMORY)
    }

    /// When to ask again at the latest, as somebody is to leave then unless there is another answer.
    pub fn deadline(&self) -> Option<Moment> {
        self.doubted.map(|since| since.saturating_add(self.rules.hold))
    }

    /// Takes an answer.
    pub fn handle(&mut self, answer: Answer<K, V>, now: Moment) -> Changes<K, V> {
        let Answer { named, cut_off } = answer;
        let mut seen = BTreeSet::new();
        let named: Vec<(K, V)> = named.into_iter().filter(|(key, _)| seen.insert(key.clone())).collect();
        self.note_returns(&seen, now);
        let may_leave = self.is_believed(named.len(), now);
        let left = self.miss(&seen, cut_off, may_leave, now);
        debug_assert!(may_leave || left.is_empty());
        let changes = Changes { left, ..self.take(named) };
        self.size = seen.len();
        debug_assert!(self.members.len() <= self.rules.max);
        changes
    }

    /// Notes that answers are parts where one is named again.
    fn note_returns(&mut self, named: &BTreeSet<K>, now: Moment) {
        self.gone.retain(|_, at| now.saturating_sub(*at) < MEMORY);
        let was_missed = |key: &K| self.members.get(key).is_some_and(|held| held.missed > 0);
        if named.iter().any(|key| was_missed(key) || self.gone.contains_key(key)) {
            self.returned = Some(now);
        }
        for key in named {
            self.gone.remove(key);
            if let Some(held) = self.members.get_mut(key) {
                held.missed = 0;
            }
        }
    }

    /// Whether an answer that names so many is one by which members may leave.
    fn is_believed(&mut self, size: usize, now: Moment) -> bool {
        if size >= self.rules.min {
            self.doubted = None;
            return true;
        }
        let since = *self.doubted.get_or_insert(now);
        now.saturating_sub(since) >= self.rules.hold
    }

    /// Counts who is missing; those that leave.
    fn miss(&mut self, named: &BTreeSet<K>, cut_off: bool, may_leave: bool, now: Moment) -> Vec<K> {
        let in_parts = cut_off || self.is_told_in_parts(now);
        // As many answers as there are parts of this size.
        let parts = self.members.len().div_ceil(named.len().max(1));
        let grows = named.len() >= self.size;
        let (rules, size) = (self.rules, named.len());
        let mut left = Vec::new();
        for (key, held) in self.members.iter_mut().filter(|(key, _)| !named.contains(*key)) {
            if held.missed == 0 {
                held.in_part = cut_off || grows;
            }
            held.missed = held.missed.saturating_add(1);
            let needed = match () {
                () if rules.whole || size == 0 => 1,
                () if in_parts || held.in_part => parts.saturating_mul(ROUNDS),
                () => ANSWERS,
            };
            if may_leave && held.missed >= needed {
                left.push(key.clone());
            }
        }
        for key in &left {
            self.members.remove(key);
            if self.gone.len() < self.rules.max {
                self.gone.insert(key.clone(), now);
            }
        }
        left
    }

    /// Takes in who is named, as far as there is room: who is there stays.
    fn take(&mut self, named: Vec<(K, V)>) -> Changes<K, V> {
        let (mut joined, mut changed) = (Vec::new(), Vec::new());
        self.surplus = 0;
        for (key, said) in named {
            let has_room = self.members.len() < self.rules.max;
            match self.members.get_mut(&key) {
                Some(held) if held.said == said => {}
                Some(held) => {
                    held.said = said.clone();
                    changed.push((key, said));
                }
                None if has_room => {
                    self.members.insert(key.clone(), Held::new(said.clone()));
                    joined.push((key, said));
                }
                None => self.surplus += 1,
            }
        }
        Changes { joined, changed, left: Vec::new() }
    }
}
