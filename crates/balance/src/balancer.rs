//! One worker's choices among the servers of one backend.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::random::Random;
use crate::tree::{ABSENT, Key, Tree};
use crate::{Algorithm, BackendView, Tick};

/// The length of a turn of weight 1. A server of weight w waits the w-th part of it between its turns.
const TURN: u64 = 1 << 20;
/// How long a server is skipped after a connection to it failed; it doubles while attempts keep failing.
const SUSPECT_MS: u64 = 1_000;
const SUSPECT_MAX_MS: u64 = 10_000;
/// Draws before a random choice falls back to looking at every server.
const DRAWS: usize = 8;

/// A server, for as long as requests are in flight there; it stays valid across views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    slot: u32,
    generation: u32,
}

/// Servers that a request was already sent to in vain.
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
}

/// Picks servers, and remembers what is in flight at each and which of them failed.
#[derive(Clone, Debug)]
pub struct Balancer {
    view: Arc<BackendView>,
    /// Servers of the view and, until their last request has ended, those that left it.
    slots: Vec<Slot>,
    /// The slot of each server of the view.
    placed: Vec<u32>,
    /// By slot: the next turn (roundrobin), or the load and the last turn (leastconn).
    tree: Tree,
    /// Cumulated weights of the usable servers, and their slots (random).
    shares: Vec<(u64, u32)>,
    random: Random,
    /// Counts picks, so that equals take turns.
    picks: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    /// Its place in the view; none once the server has left it.
    place: Option<usize>,
    in_flight: u64,
    suspicion: Option<Suspicion>,
    /// When its next turn is, in virtual time (roundrobin).
    turn: u64,
    last_pick: u64,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    until: Tick,
    period_ms: u64,
}

impl Balancer {
    /// A balancer over a view. The seed makes workers start at different points.
    pub fn new(view: Arc<BackendView>, seed: u64) -> Self {
        let empty = Arc::new(BackendView::new(view.algorithm, Vec::new()));
        let mut balancer = Self {
            view: empty,
            slots: Vec::new(),
            placed: Vec::new(),
            tree: Tree::default(),
            shares: Vec::new(),
            random: Random::new(seed),
            picks: 0,
        };
        balancer.adopt(view);
        if let Some(first) =
            usize::try_from(seed).ok().and_then(|seed| seed.checked_rem(balancer.view.usable()))
        {
            for _ in 0..first {
                balancer.pick(IpAddr::from([0, 0, 0, 0]), &Tried::default(), Tick::default());
            }
        }
        balancer
    }

    /// Goes on with another view. Turns, requests in flight and suspicions stay with the servers' names; a suspicion ends
    /// when the server's address or health has changed.
    pub fn adopt(&mut self, view: Arc<BackendView>) {
        let before = std::mem::replace(&mut self.view, view);
        let old_slots: HashMap<&str, (usize, u32)> = before
            .servers
            .iter()
            .enumerate()
            .zip(&self.placed)
            .map(|((place, server), slot)| (server.name.as_str(), (place, *slot)))
            .collect();
        // A server that comes, or comes back, takes its turn from now on: it has nothing to catch up with.
        let now = self.now();
        for slot in &mut self.slots {
            slot.place = None;
        }
        let view = self.view.clone();
        let mut placed = Vec::with_capacity(view.servers.len());
        for (place, server) in view.servers.iter().enumerate() {
            let slot = match old_slots.get(server.name.as_str()) {
                Some((old_place, slot)) => {
                    let old = &before.servers[*old_place];
                    let held = &mut self.slots[*slot as usize];
                    if old.address != server.address || old.health != server.health {
                        held.suspicion = None;
                    }
                    if !old.is_usable() || old.weight != server.weight {
                        held.turn = now + turn(server.weight.get()) / 2;
                    }
                    *slot
                }
                None => self.free_slot(now + turn(server.weight.get()) / 2),
            };
            self.slots[slot as usize].place = Some(place);
            placed.push(slot);
        }
        self.placed = placed;
        self.tree = Tree::new((0..self.slots.len()).map(|slot| self.key(slot)).collect());
        self.shares.clear();
        let mut sum = 0;
        for (server, slot) in view.servers.iter().zip(&self.placed) {
            if server.is_usable() {
                sum += u64::from(server.weight.get());
                self.shares.push((sum, *slot));
            }
        }
    }

    /// The server for the next request of a client. A server that was tried, or that is suspected, is picked only if no
    /// other is left, a tried one never while any other is usable. None if no server is usable.
    pub fn pick(&mut self, client: IpAddr, tried: &Tried, now: Tick) -> Option<ServerId> {
        let slot = self
            .pick_where(client, |balancer, slot| {
                !tried.contains(balancer.id(slot)) && !balancer.is_suspect(slot, now)
            })
            .or_else(|| self.pick_where(client, |balancer, slot| !tried.contains(balancer.id(slot))))
            .or_else(|| self.pick_where(client, |_, _| true))?;
        let held = &mut self.slots[slot];
        // The period is over and nobody knows yet: this request finds out, and others keep away until it has.
        if let Some(suspicion) = &mut held.suspicion
            && suspicion.until <= now
        {
            suspicion.until = now.after(suspicion.period_ms);
        }
        self.picks += 1;
        held.last_pick = self.picks;
        let place = held.place?;
        held.turn = held.turn.saturating_add(turn(self.view.servers[place].weight.get()));
        self.rekey(slot);
        Some(self.id(slot))
    }

    /// A request went to the server.
    pub fn begin(&mut self, id: ServerId) {
        if let Some(slot) = self.slot(id) {
            self.slots[slot].in_flight += 1;
            self.rekey(slot);
        }
    }

    /// A request at the server has ended.
    pub fn end(&mut self, id: ServerId) {
        if let Some(slot) = self.slot(id) {
            let held = &mut self.slots[slot];
            held.in_flight = held.in_flight.saturating_sub(1);
            self.rekey(slot);
        }
    }

    /// Requests in flight at the server.
    pub fn in_flight(&self, id: ServerId) -> u64 {
        self.slot(id).map_or(0, |slot| self.slots[slot].in_flight)
    }

    /// A connection to the server was made: it is not suspected any more.
    pub fn succeeded(&mut self, id: ServerId) {
        if let Some(slot) = self.slot(id) {
            self.slots[slot].suspicion = None;
        }
    }

    /// A connection to the server failed: it is skipped for a while, each time for longer.
    pub fn failed(&mut self, id: ServerId, now: Tick) {
        if let Some(slot) = self.slot(id) {
            let held = &mut self.slots[slot].suspicion;
            let period_ms = held.map_or(SUSPECT_MS, |held| (held.period_ms * 2).min(SUSPECT_MAX_MS));
            *held = Some(Suspicion { until: now.after(period_ms), period_ms });
        }
    }

    /// Whether the server is skipped because connections to it failed.
    pub fn suspected(&self, id: ServerId, now: Tick) -> bool {
        self.slot(id).is_some_and(|slot| self.is_suspect(slot, now))
    }

    /// The server's place in the view; none once it has left it.
    pub fn index_of(&self, id: ServerId) -> Option<usize> {
        self.slots[self.slot(id)?].place
    }

    fn pick_where(&mut self, client: IpAddr, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        match self.view.algorithm {
            Algorithm::Roundrobin | Algorithm::Leastconn => self.pick_smallest(fits),
            Algorithm::Source => {
                let view = self.view.clone();
                let usable = view.ring.walk(client).filter(|place| view.servers[*place].is_usable());
                usable.map(|place| self.placed[place] as usize).find(|slot| fits(self, *slot))
            }
            Algorithm::Random => self.pick_random(fits),
        }
    }

    /// The first in the tournament that fits; those before it sit out this one.
    fn pick_smallest(&mut self, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let first = self.tree.winner()?;
        if fits(self, first) {
            return Some(first);
        }
        let mut sitting_out = Vec::new();
        let found = loop {
            let Some(slot) = self.tree.winner() else { break None };
            if fits(self, slot) {
                break Some(slot);
            }
            sitting_out.push(slot);
            self.tree.set(slot, ABSENT);
        };
        for slot in sitting_out {
            self.rekey(slot);
        }
        found
    }

    /// The less loaded of two drawn by weight.
    fn pick_random(&mut self, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let mut drawn: Option<usize> = None;
        for _ in 0..DRAWS {
            let slot = self.draw()?;
            if !fits(self, slot) {
                continue;
            }
            match drawn {
                None => drawn = Some(slot),
                Some(first) if first == slot => {}
                Some(first) => return Some(if self.load(slot) < self.load(first) { slot } else { first }),
            }
        }
        drawn.or_else(|| self.shares.iter().map(|(_, slot)| *slot as usize).find(|slot| fits(self, *slot)))
    }

    fn draw(&mut self) -> Option<usize> {
        let (total, _) = *self.shares.last()?;
        let at = self.random.below(total);
        let place = self.shares.partition_point(|(sum, _)| *sum <= at);
        self.shares.get(place).map(|(_, slot)| *slot as usize)
    }

    /// Requests in flight for each unit of weight, this one included.
    fn load(&self, slot: usize) -> u64 {
        let held = &self.slots[slot];
        let weight = held.place.map_or(0, |place| self.view.servers[place].weight.get());
        (held.in_flight + 1).saturating_mul(turn(weight))
    }

    fn key(&self, slot: usize) -> Key {
        let held = &self.slots[slot];
        let Some(server) = held.place.map(|place| &self.view.servers[place]) else { return ABSENT };
        if !server.is_usable() {
            return ABSENT;
        }
        match self.view.algorithm {
            Algorithm::Leastconn => (self.load(slot), held.last_pick),
            Algorithm::Roundrobin => (held.turn, held.last_pick),
            Algorithm::Source | Algorithm::Random => ABSENT,
        }
    }

    fn rekey(&mut self, slot: usize) {
        let key = self.key(slot);
        if self.tree.key(slot) != key {
            self.tree.set(slot, key);
        }
    }

    /// The virtual time of roundrobin: the earliest turn of a usable server.
    fn now(&self) -> u64 {
        let next = self.tree.winner().filter(|_| self.view.algorithm == Algorithm::Roundrobin);
        next.map_or_else(
            || self.slots.iter().map(|slot| slot.turn).max().unwrap_or(0),
            |slot| self.slots[slot].turn,
        )
    }

    fn is_suspect(&self, slot: usize, now: Tick) -> bool {
        self.slots[slot].suspicion.is_some_and(|suspicion| suspicion.until > now)
    }

    fn id(&self, slot: usize) -> ServerId {
        // Slots are counted by servers, of which there are far fewer than four billion.
        let generation = self.slots[slot].generation;
        ServerId { slot: u32::try_from(slot).unwrap_or(u32::MAX), generation }
    }

    fn slot(&self, id: ServerId) -> Option<usize> {
        let slot = id.slot as usize;
        self.slots.get(slot).filter(|held| held.generation == id.generation).map(|_| slot)
    }

    /// A slot for a new server: one whose server has left and whose last request has ended, or another one.
    fn free_slot(&mut self, turn: u64) -> u32 {
        let fresh =
            |generation| Slot { generation, place: None, in_flight: 0, suspicion: None, turn, last_pick: 0 };
        let placed = |slot: usize| self.placed.iter().any(|placed| *placed as usize == slot);
        let free = self
            .slots
            .iter()
            .enumerate()
            .position(|(slot, held)| held.place.is_none() && held.in_flight == 0 && !placed(slot));
        let slot = match free {
            Some(slot) => {
                self.slots[slot] = fresh(self.slots[slot].generation.wrapping_add(1));
                slot
            }
            None => {
                self.slots.push(fresh(0));
                self.slots.len() - 1
            }
        };
        u32::try_from(slot).unwrap_or(u32::MAX)
    }
}

/// The virtual time between two turns of a server.
fn turn(weight: u16) -> u64 {
    TURN / u64::from(weight.max(1))
}
