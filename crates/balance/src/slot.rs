//! What a worker remembers of servers, under numbers that stay valid while views come and go.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use crate::pool::{Load, Rank};
use crate::suspicion::Suspicion;
use crate::turn::{Turn, Turns};

/// A server, as one [`Balancer`](crate::Balancer) knows it. It stays valid across views: once the server has left and its last
/// request has ended, it means no server any more, and never another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    slot: u32,
    generation: u32,
}

/// A few servers: those that a request was already sent to in vain, or those that have as many requests as they may.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<ServerId>);

impl Tried {
    /// Adds a server.
    pub fn insert(&mut self, id: ServerId) {
        if !self.contains(id) {
            self.0.push(id);
        }
    }

    /// Whether a server was tried.
    pub fn contains(&self, id: ServerId) -> bool {
        self.0.contains(&id)
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = ServerId> {
        self.0.iter().copied()
    }
}

/// Each is to come once.
impl FromIterator<ServerId> for Tried {
    fn from_iter<I: IntoIterator<Item = ServerId>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

/// What is remembered of one server.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    name: Arc<str>,
    generation: u32,
    /// Its place in the view; none once the server has left it.
    pub(crate) place: Option<usize>,
    pub(crate) in_flight: u64,
    pub(crate) suspicion: Option<Suspicion>,
    weight: u16,
    turns: Turns,
}

impl Slot {
    fn new(name: Arc<str>, generation: u32) -> Self {
        Self {
            name,
            generation,
            place: None,
            in_flight: 0,
            suspicion: None,
            weight: 1,
            turns: Turns::new(1, 0, Turn::default()),
        }
    }

    /// What choices depend on.
    pub(crate) fn rank(&self) -> Rank {
        Rank { load: Load { in_flight: self.in_flight, weight: self.weight.max(1) }, turn: self.turns.next() }
    }

    pub(crate) fn next_turn(&self) -> Turn {
        self.turns.next()
    }

    pub(crate) fn take_turn(&mut self, now: Turn) {
        self.turns.take(now);
    }

    pub(crate) fn skip_turns(&mut self, now: Turn) {
        self.turns.skip_to(now);
    }

    pub(crate) fn pace(&mut self, share: u16, phase: u32, now: Turn) {
        self.weight = share;
        self.turns.pace(share, phase, now);
    }

    /// Whether it may be given to another server.
    fn is_free(&self) -> bool {
        self.place.is_none() && self.in_flight == 0
    }
}

/// The servers of the view and, until their last request has ended, those that left it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(Vec<Slot>);

impl Slots {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn id(&self, slot: usize) -> ServerId {
        // Servers are counted in thousands. A number beyond u32 would be found by nobody.
        ServerId { slot: u32::try_from(slot).unwrap_or(u32::MAX), generation: self.0[slot].generation }
    }

    pub(crate) fn find(&self, id: ServerId) -> Option<usize> {
        let slot = id.slot as usize;
        self.0.get(slot).filter(|held| held.generation == id.generation).map(|_| slot)
    }

    /// Finds the slots of the servers of a view, making new ones where needed. Of servers with the same name, only the first
    /// keeps its slot.
    pub(crate) fn place<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) -> Vec<usize> {
        let mut known: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (slot, held) in self.0.iter_mut().enumerate() {
            if !held.is_free() {
                known.entry(held.name.clone()).or_insert(slot);
            }
            held.place = None;
        }
        let found: Vec<(&Arc<str>, Option<usize>)> = names.map(|name| (name, known.remove(name))).collect();
        for (place, (_, slot)) in found.iter().enumerate() {
            if let Some(slot) = slot {
                self.0[*slot].place = Some(place);
            }
        }
        for left in self.0.iter_mut().filter(|held| held.place.is_none()) {
            left.suspicion = None;
        }
        let mut unused = 0;
        let mut placed = Vec::with_capacity(found.len());
        for (place, (name, slot)) in found.into_iter().enumerate() {
            let slot = slot.unwrap_or_else(|| self.renew(name, &mut unused));
            self.0[slot].place = Some(place);
            placed.push(slot);
        }
        placed
    }

    /// The first free slot from `unused` on, or another one.
    fn renew(&mut self, name: &Arc<str>, unused: &mut usize) -> usize {
        while self.0.get(*unused).is_some_and(|held| !held.is_free()) {
            *unused += 1;
        }
        match self.0.get_mut(*unused) {
            Some(held) => *held = Slot::new(name.clone(), held.generation.wrapping_add(1)),
            None => self.0.push(Slot::new(name.clone(), 0)),
        }
        *unused
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    fn index(&self, slot: usize) -> &Slot {
        &self.0[slot]
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, slot: usize) -> &mut Slot {
        &mut self.0[slot]
    }
}
