//! One worker's choices among the servers of one backend.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::pool::{Pool, Question};
use crate::random::Random;
use crate::slot::{ServerId, Slots};
use crate::suspicion::Suspicion;
use crate::tournament::Tournament;
use crate::turn::Turn;
use crate::{BackendView, ServerView, Tick, Tried, Unpicked};

/// Picks servers, and remembers what is in flight at each and which of them failed.
///
/// It belongs to one worker thread and is told of everything by calls: [`Balancer::pick`], then [`Balancer::begin`] and
/// [`Balancer::end`] around the request, [`Balancer::succeeded`] or [`Balancer::failed`] when connecting has ended, and
/// [`Balancer::adopt`] when the backend has changed. None of them but `adopt` allocates or looks at every server (but see
/// [`Balancer::pick`] for [`Algorithm::Source`](crate::Algorithm::Source)).
///
/// Usable servers are in one of two pools, the trusted and the suspected. A choice is made among the trusted first.
#[derive(Clone, Debug)]
pub struct Balancer {
    view: Arc<BackendView>,
    slots: Slots,
    /// The slot of each server of the view.
    placed: Vec<usize>,
    trusted: Pool,
    suspected: Pool,
    /// When each server of the suspected pool returns to the trusted one, to be probed.
    due: Tournament<Tick>,
    /// The virtual time of turns: the latest that was taken.
    turn: Turn,
    random: Random,
}

impl Balancer {
    /// A balancer over a view. The seed makes workers start with different servers and draw different numbers; workers
    /// numbered from zero are spread well by their numbers.
    pub fn new(view: Arc<BackendView>, seed: u64) -> Self {
        let algorithm = view.algorithm;
        let mut balancer = Self {
            view: Arc::new(BackendView::new(algorithm, Vec::new())),
            slots: Slots::default(),
            placed: Vec::new(),
            trusted: Pool::new(algorithm, 0),
            suspected: Pool::new(algorithm, 0),
            due: Tournament::new(0),
            turn: Turn::start(seed),
            random: Random::new(seed),
        };
        balancer.adopt(view);
        balancer
    }

    /// Goes on with another view. Turns, requests in flight and suspicions stay with the servers' names; a suspicion ends
    /// when the server's address or health has changed. Requests in flight at a server that left are still counted, and found
    /// again if it returns before they have ended.
    pub fn adopt(&mut self, view: Arc<BackendView>) {
        let before = std::mem::replace(&mut self.view, view);
        let known: BTreeMap<&str, usize> =
            before.servers.iter().map(|server| server.name.as_str()).zip(0..).collect();
        let names = self.view.servers.iter().map(|server| server.name.as_str());
        self.placed = self.slots.place(names);
        for ((server, pace), slot) in self.view.servers.iter().zip(&self.view.paces).zip(&self.placed) {
            let held = &mut self.slots[*slot];
            held.pace(pace.share, pace.phase, self.turn);
            let old = known.get(server.name.as_str()).and_then(|place| before.servers.get(*place));
            let is_changed = |old: &ServerView| old.address != server.address || old.health != server.health;
            if old.is_none_or(is_changed) {
                held.suspicion = None;
            }
            if old.is_none_or(|old| is_changed(old) || !old.is_usable()) {
                held.skip_turns(self.turn);
            }
        }
        self.trusted = Pool::new(self.view.algorithm, self.slots.len());
        self.suspected = self.trusted.clone();
        self.due = Tournament::new(self.slots.len());
        for place in 0..self.placed.len() {
            self.sort_in(self.placed[place]);
        }
    }

    /// The server for the next request of a client. None if no server is usable.
    ///
    /// A server that was tried is picked only if every usable one was; one that is suspected only if all others are suspected
    /// or tried. The cost is logarithmic in the number of servers, but for `source`: there it is constant unless many
    /// servers are unusable or suspected, since the ring is walked to the first that is not.
    pub fn pick(&mut self, client: IpAddr, tried: &Tried, now: Tick) -> Option<ServerId> {
        self.pick_below_limits(client, tried, &Tried::default(), now).ok()
    }

    /// The same, where some servers have as many requests as they may.
    ///
    /// A full server is passed over for another that would do as well, but never for a tried or suspected one: that would
    /// turn a short wait into a failure.
    ///
    /// # Errors
    /// When no server is usable, or all that would be picked from are full.
    pub fn pick_below_limits(
        &mut self,
        client: IpAddr,
        tried: &Tried,
        full: &Tried,
        now: Tick,
    ) -> Result<ServerId, Unpicked> {
        self.end_periods(now);
        let chosen = self
            .choose(client, tried, full)
            .or_else(|| self.choose(client, &Tried::default(), full))
            .ok_or(Unpicked::NoneUsable)?;
        let slot = chosen.ok_or(Unpicked::AllFull)?;
        self.turn = self.turn.max(self.slots[slot].next_turn());
        let turn = self.turn;
        let held = &mut self.slots[slot];
        held.take_turn(turn);
        match &mut held.suspicion {
            // Nobody knows yet how it is: this request finds out, and others keep away until it has.
            Some(suspicion) if suspicion.is_over(now) => {
                suspicion.probe(now);
                self.sort_in(slot);
            }
            _ => self.update(slot),
        }
        Ok(self.slots.id(slot))
    }

    /// A request went to the server.
    pub fn begin(&mut self, id: ServerId) {
        if let Some(slot) = self.slots.find(id) {
            self.slots[slot].in_flight = self.slots[slot].in_flight.saturating_add(1);
            self.update(slot);
        }
    }

    /// A request at the server has ended. Must follow each [`Balancer::begin`] once.
    pub fn end(&mut self, id: ServerId) {
        if let Some(slot) = self.slots.find(id) {
            self.slots[slot].in_flight = self.slots[slot].in_flight.saturating_sub(1);
            self.update(slot);
        }
    }

    /// Requests in flight at the server.
    #[cfg(test)]
    pub(crate) fn in_flight(&self, id: ServerId) -> u64 {
        self.slots.find(id).map_or(0, |slot| self.slots[slot].in_flight)
    }

    /// A connection to the server was made: it is not suspected any more.
    pub fn succeeded(&mut self, id: ServerId) {
        if let Some(slot) = self.slots.find(id)
            && self.slots[slot].suspicion.take().is_some()
        {
            self.slots[slot].skip_turns(self.turn);
            self.sort_in(slot);
        }
    }

    /// A connection to the server failed: it is skipped for a second, and if it fails again after that for longer each time,
    /// up to ten seconds.
    pub fn failed(&mut self, id: ServerId, now: Tick) {
        if let Some(slot) = self.slots.find(id)
            && self.slots[slot].place.is_some()
        {
            let held = &mut self.slots[slot].suspicion;
            *held = Some(Suspicion::after_failure(*held, now));
            self.sort_in(slot);
        }
    }

    /// Whether the server is skipped because connections to it failed.
    #[cfg(test)]
    pub(crate) fn suspected(&self, id: ServerId, now: Tick) -> bool {
        let held = self.slots.find(id).and_then(|slot| self.slots[slot].suspicion);
        held.is_some_and(|suspicion| !suspicion.is_over(now))
    }

    /// The server's place in the view; none once it has left it.
    pub fn index_of(&self, id: ServerId) -> Option<usize> {
        self.slots[self.slots.find(id)?].place
    }

    /// The server at a place of the view.
    pub fn id_at(&self, place: usize) -> Option<ServerId> {
        self.placed.get(place).map(|slot| self.slots.id(*slot))
    }

    /// Chooses among the servers that were not tried: trusted ones, or else suspected ones. None if there are none; none
    /// within if all of them are full.
    fn choose(&mut self, client: IpAddr, tried: &Tried, full: &Tried) -> Option<Option<usize>> {
        let Self { view, slots, placed, trusted, suspected, random, .. } = self;
        let load = |slot: usize| slots[slot].rank().load;
        let question = Question { client, ring: &view.ring, placed, load: &load };
        [trusted, suspected].into_iter().find_map(|pool| {
            for slot in tried.iter().filter_map(|id| slots.find(id)) {
                pool.hide(slot);
            }
            let has_any = !pool.is_empty();
            for slot in full.iter().filter_map(|id| slots.find(id)) {
                pool.hide(slot);
            }
            let chosen = pool.choose(&question, random);
            for slot in tried.iter().chain(full.iter()).filter_map(|id| slots.find(id)) {
                pool.show(slot, slots[slot].rank());
            }
            has_any.then_some(chosen)
        })
    }

    /// Lets servers back among the trusted whose period of suspicion is over: the next request there is the probe.
    fn end_periods(&mut self, now: Tick) {
        while let Some((slot, until)) = self.due.winner()
            && until <= now
        {
            self.due.set(slot, None);
            self.suspected.remove(slot);
            self.slots[slot].skip_turns(self.turn);
            self.trusted.insert(slot, self.slots[slot].rank());
        }
    }

    /// Puts a server into the pool where it belongs, or into none.
    fn sort_in(&mut self, slot: usize) {
        let held = &self.slots[slot];
        let server = held.place.and_then(|place| self.view.servers.get(place));
        let is_usable = server.is_some_and(|server| server.is_usable());
        let until = held.suspicion.map(|suspicion| suspicion.until()).filter(|_| is_usable);
        let rank = held.rank();
        self.due.set(slot, until);
        self.trusted.remove(slot);
        self.suspected.remove(slot);
        match until {
            _ if !is_usable => {}
            None => self.trusted.insert(slot, rank),
            Some(_) => self.suspected.insert(slot, rank),
        }
    }

    fn update(&mut self, slot: usize) {
        let rank = self.slots[slot].rank();
        self.trusted.update(slot, rank);
        self.suspected.update(slot, rank);
    }
}
