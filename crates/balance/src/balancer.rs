//! One worker's choices among the servers of one backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pool::{Pool, Question};
use crate::random::Random;
use crate::slot::{ServerId, Slots};
use crate::suspicion::Suspicion;
use crate::tournament::Tournament;
use crate::turn::Turn;
use crate::{BackendView, Key, ServerView, Tick, Tried, Unpicked};

/// If more than one in so many servers have changed, all are sorted anew at once.
const FEW: usize = 16;

/// Picks servers, and remembers what is in flight at each and which of them failed.
///
/// It belongs to one worker thread and is told of everything by calls: [`Balancer::pick`], then [`Balancer::begin`] and
/// [`Balancer::end`] around the request, [`Balancer::succeeded`] or [`Balancer::failed`] when connecting has ended, and
/// [`Balancer::adopt`] when the backend has changed. None of them but `adopt` allocates or looks at every server (but see
/// [`Balancer::pick`] for algorithms that choose by key).
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

/// Which servers are good enough for a request: there are no better ones.
#[derive(Clone, Copy, Debug)]
struct Tier {
    trusted: bool,
    /// Only those that were not tried.
    untried: bool,
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
            trusted: Pool::new(algorithm, None, &[]),
            suspected: Pool::new(algorithm, None, &[]),
            due: Tournament::new(Vec::new()),
            turn: Turn::start(seed),
            random: Random::new(seed),
        };
        balancer.adopt(view);
        balancer
    }

    /// Goes on with another view. Turns, requests in flight and suspicions stay with the servers' names; a suspicion ends
    /// when the server's address or health has changed. Requests in flight at a server that left are still counted, and found
    /// again if it returns before they have ended.
    ///
    /// Returns the places of the servers that have changed, if the view shows the same servers in the same order: then the cost
    /// is that of the changes, and one look at all servers.
    pub fn adopt(&mut self, view: Arc<BackendView>) -> Option<Vec<usize>> {
        let before = std::mem::replace(&mut self.view, view);
        let Some(changed) = self.view.changes_since(&before) else {
            self.adopt_others(&before);
            return None;
        };
        for place in &changed {
            self.follow(*place, before.servers.get(*place));
        }
        if changed.len() > self.placed.len() / FEW {
            self.sort_all();
        } else {
            changed.iter().for_each(|place| self.sort_in(self.placed[*place]));
        }
        Some(changed)
    }

    fn adopt_others(&mut self, before: &BackendView) {
        let known: BTreeMap<&str, &ServerView> =
            before.servers.iter().map(|server| (&*server.name, server)).collect();
        self.placed = self.slots.place(self.view.servers.iter().map(|server| &server.name));
        for place in 0..self.placed.len() {
            let old = known.get(&*self.view.servers[place].name).copied();
            self.follow(place, old);
        }
        self.sort_all();
    }

    /// Takes over what the view says of a server, which was `old` before.
    fn follow(&mut self, place: usize, old: Option<&ServerView>) {
        let (server, pace) = (&self.view.servers[place], self.view.paces[place]);
        let held = &mut self.slots[self.placed[place]];
        held.pace(pace.share, pace.phase, self.turn);
        let is_changed = |old: &ServerView| old.address != server.address || old.health != server.health;
        if old.is_none_or(is_changed) {
            held.suspicion = None;
        }
        if old.is_none_or(|old| is_changed(old) || !old.is_usable()) {
            held.skip_turns(self.turn);
        }
    }

    /// The server for the next request with that key. None if no server is usable.
    ///
    /// A server that was tried is picked only if every usable one was; one that is suspected only if all others are suspected
    /// or tried. The cost is logarithmic in the number of servers, but for `source` and `hash`: there it is constant
    /// unless many servers are unusable, suspected or at their bound, since the ring is walked to the first that is not.
    pub fn pick(&mut self, key: Key, tried: &Tried, now: Tick) -> Option<ServerId> {
        self.pick_below_limits(key, tried, &Tried::default(), now).ok()
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
        key: Key,
        tried: &Tried,
        full: &Tried,
        now: Tick,
    ) -> Result<ServerId, Unpicked> {
        self.end_periods(now);
        let slot = self.choose(key, tried, full)?;
        debug_assert!(self.standing(slot).0, "only servers that are usable are picked");
        // What went where its key leads is nobody's turn.
        if !self.view.algorithm.asks_for_key() || key == Key::Missing {
            self.take_turn(slot);
        }
        self.send_to(slot, now);
        Ok(self.slots.id(slot))
    }

    /// The servers that a request for which all are full had better not wait for, as it would not be sent there now: those
    /// that were tried, and those that are suspected. None if no server is usable.
    pub fn avoided(&mut self, tried: &Tried, now: Tick) -> Option<Tried> {
        self.end_periods(now);
        let tier = self.tier(tried)?;
        let is_avoided = |slot: &&usize| !self.is_in(tier, **slot, tried);
        Some(self.placed.iter().filter(is_avoided).map(|slot| self.slots.id(*slot)).collect())
    }

    /// A server has room for a request that was tried elsewhere in vain, or waited. Whether it may go there now; if so, the
    /// server is picked.
    pub fn claim(&mut self, id: ServerId, tried: &Tried, now: Tick) -> bool {
        self.end_periods(now);
        let tier = self.tier(tried);
        let slot = self.slots.find(id).filter(|slot| tier.is_some_and(|tier| self.is_in(tier, *slot, tried)));
        if let Some(slot) = slot {
            if !self.view.algorithm.asks_for_key() {
                self.take_turn(slot);
            }
            self.send_to(slot, now);
        }
        slot.is_some()
    }

    /// Whether a request of a client that belongs to a server may go there now. It is as with all others where the server is
    /// usable: not where it was tried, or is suspected while others are not.
    pub fn is_open_to_its_own(&mut self, id: ServerId, tried: &Tried, now: Tick) -> bool {
        self.end_periods(now);
        let Some(slot) = self.slots.find(id) else { return false };
        let held = &self.slots[slot];
        let Some(server) = held.place.and_then(|place| self.view.servers.get(place)) else { return false };
        if server.is_usable() {
            return self.tier(tried).is_some_and(|tier| self.is_in(tier, slot, tried));
        }
        // Whoever takes nobody new is in no pool, and in none that it could return to.
        let is_trusted = held.suspicion.is_none_or(|suspicion| suspicion.is_over(now));
        server.takes_its_own() && is_trusted && !tried.contains(id)
    }

    /// The same, and if so, the server is picked. It is nobody's turn: sessions take turns, not their requests.
    pub fn claim_for_its_own(&mut self, id: ServerId, tried: &Tried, now: Tick) -> bool {
        let is_open = self.is_open_to_its_own(id, tried, now);
        if is_open && let Some(slot) = self.slots.find(id) {
            self.send_to(slot, now);
        }
        is_open
    }

    /// A server's turn is over.
    fn take_turn(&mut self, slot: usize) {
        self.turn = self.turn.max(self.slots[slot].next_turn());
        self.slots[slot].take_turn(self.turn);
    }

    /// A request is sent to a server.
    fn send_to(&mut self, slot: usize, now: Tick) {
        match &mut self.slots[slot].suspicion {
            // Nobody knows yet how it is: this request finds out, and others keep away until it has.
            Some(suspicion) if suspicion.is_over(now) => {
                suspicion.probe(now);
                self.sort_in(slot);
            }
            _ => self.update(slot),
        }
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

    /// Which servers a request may be sent to. None if no server is usable.
    fn tier(&self, tried: &Tried) -> Option<Tier> {
        let pools = [(&self.trusted, true), (&self.suspected, false)];
        [true, false].into_iter().find_map(|untried| {
            pools.into_iter().find_map(|(pool, trusted)| {
                let out = tried.iter().filter_map(|id| self.slots.find(id)).filter(|slot| pool.has(*slot));
                let left = if untried { pool.len() - out.count() } else { pool.len() };
                (left > 0).then_some(Tier { trusted, untried })
            })
        })
    }

    fn is_in(&self, tier: Tier, slot: usize, tried: &Tried) -> bool {
        let pool = if tier.trusted { &self.trusted } else { &self.suspected };
        pool.has(slot) && !(tier.untried && tried.contains(self.slots.id(slot)))
    }

    /// Chooses among the servers that the request may be sent to and that are not full.
    fn choose(&mut self, key: Key, tried: &Tried, full: &Tried) -> Result<usize, Unpicked> {
        let tier = self.tier(tried).ok_or(Unpicked::NoneUsable)?;
        let Self { view, slots, placed, trusted, suspected, random, .. } = self;
        let load = |slot: usize| slots[slot].rank().load;
        let question = Question { key, ring: &view.ring, placed, load: &load };
        let pool = if tier.trusted { trusted } else { suspected };
        let hidden = || {
            let tried = tried.iter().filter(|_| tier.untried);
            tried.chain(full.iter()).filter_map(|id| slots.find(id))
        };
        hidden().for_each(|slot| pool.hide(slot));
        let chosen = pool.choose(&question, random);
        hidden().for_each(|slot| pool.show(slot, slots[slot].rank()));
        chosen.ok_or(Unpicked::AllFull)
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
        let (is_usable, until) = self.standing(slot);
        let rank = self.slots[slot].rank();
        self.due.set(slot, until);
        self.trusted.remove(slot);
        self.suspected.remove(slot);
        match until {
            _ if !is_usable => {}
            None => self.trusted.insert(slot, rank),
            Some(_) => self.suspected.insert(slot, rank),
        }
    }

    /// Puts all servers where they belong.
    fn sort_all(&mut self) {
        let standings: Vec<_> = (0..self.slots.len()).map(|slot| self.standing(slot)).collect();
        let (mut trusted, mut suspected) = (vec![None; standings.len()], vec![None; standings.len()]);
        for (slot, (_, until)) in standings.iter().enumerate().filter(|(_, (is_usable, _))| *is_usable) {
            let pool = if until.is_none() { &mut trusted } else { &mut suspected };
            pool[slot] = Some(self.slots[slot].rank());
        }
        let (algorithm, factor) = (self.view.algorithm, self.view.factor);
        self.trusted = Pool::new(algorithm, factor, &trusted);
        self.suspected = Pool::new(algorithm, factor, &suspected);
        self.due = Tournament::new(standings.into_iter().map(|(_, until)| until).collect());
    }

    /// Whether a server is usable, and until when it is suspected.
    fn standing(&self, slot: usize) -> (bool, Option<Tick>) {
        let held = &self.slots[slot];
        let server = held.place.and_then(|place| self.view.servers.get(place));
        let is_usable = server.is_some_and(|server| server.is_usable());
        (is_usable, held.suspicion.map(|suspicion| suspicion.until()).filter(|_| is_usable))
    }

    /// Panics unless what is remembered of each server agrees: usable ones are in one pool, where they can be chosen by what
    /// they have in flight and when their turn is; suspected ones return in time.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        let mut pools = [0, 0];
        for slot in 0..self.slots.len() {
            let held = &self.slots[slot];
            let server = held.place.and_then(|place| self.view.servers.get(place));
            assert_eq!(held.place.and_then(|place| self.placed.get(place)), held.place.and(Some(&slot)));
            assert!(held.place.is_some() || held.suspicion.is_none(), "{held:?}");
            let is_in = [&self.trusted, &self.suspected].map(|pool| pool.has(slot));
            let is_usable = server.is_some_and(|server| server.is_usable());
            assert_eq!(is_in[0] != is_in[1], is_usable, "{held:?}");
            assert!(!is_in[1] || held.suspicion.is_some(), "{held:?}");
            let until = held.suspicion.map(|suspicion| suspicion.until()).filter(|_| is_in[1]);
            assert_eq!(self.due.key(slot), until, "{held:?}");
            for (pool, is_in) in [&self.trusted, &self.suspected].into_iter().zip(is_in) {
                pool.check_invariants(slot, is_in.then(|| held.rank()));
            }
            pools = [pools[0] + usize::from(is_in[0]), pools[1] + usize::from(is_in[1])];
        }
        assert_eq!(pools, [self.trusted.len(), self.suspected.len()]);
    }

    fn update(&mut self, slot: usize) {
        let rank = self.slots[slot].rank();
        self.trusted.update(slot, rank);
        self.suspected.update(slot, rank);
    }
}
