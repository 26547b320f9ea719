//! Seats for connections, so that nobody is shut out by those who only sit there.
//!
//! A connection is silent until it has asked for something. One silent connection too many, and the one that has been silent
//! for longest makes room. Whoever asks gets a seat of another kind: when these are all taken, the one that has rested for
//! longest between its requests makes room. So nobody who has asked ever makes room for somebody who has not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The seats of a listener, or of those of its clients that are to have seats of their own.
#[derive(Debug)]
pub struct Seats {
    /// The most connections that have asked for nothing yet.
    silent_max: usize,
    /// The most connections that have.
    asked_max: usize,
    state: Mutex<State>,
}

/// Who sits where. The numbers only grow, so that the first of a map has been in it for longest.
#[derive(Debug, Default)]
struct State {
    last: u64,
    silent: BTreeMap<u64, Arc<Notify>>,
    resting: BTreeMap<u64, Arc<Notify>>,
    working: usize,
}

/// The seat of a connection, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    place: Mutex<Place>,
    /// Told when the seat is given to somebody else.
    given: Arc<Notify>,
}

/// Where a connection sits. A number that is in its map no more means that the seat was given to somebody else.
#[derive(Clone, Copy, Debug)]
enum Place {
    Silent(u64),
    Working,
    Resting(u64),
}

impl Seats {
    /// Seats for so many connections of either kind.
    pub fn new(silent_max: usize, asked_max: usize) -> Arc<Self> {
        Arc::new(Self { silent_max, asked_max, state: Mutex::default() })
    }

    /// Seats a new connection: there is always room.
    pub fn take(self: &Arc<Self>) -> Seat {
        let given = Arc::new(Notify::new());
        let mut state = self.lock();
        if state.silent.len() >= self.silent_max {
            give_up(&mut state.silent);
        }
        let number = state.number();
        state.silent.insert(number, given.clone());
        drop(state);
        Seat { seats: self.clone(), place: Mutex::new(Place::Silent(number)), given }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn leave(&mut self, place: Place) {
        match place {
            Place::Silent(number) => _ = self.silent.remove(&number),
            Place::Resting(number) => _ = self.resting.remove(&number),
            Place::Working => self.working -= 1,
        }
    }
}

/// Takes the seat of whoever has had it for longest; false if nobody has one.
fn give_up(seated: &mut BTreeMap<u64, Arc<Notify>>) -> bool {
    let oldest = seated.pop_first();
    if let Some((_, given)) = &oldest {
        given.notify_one();
    }
    oldest.is_some()
}

impl Seat {
    /// The connection asks for something. False if there is no room for it, as all others are at work for theirs.
    #[must_use]
    pub fn ask(&self) -> bool {
        let mut place = self.place();
        let mut state = self.seats.lock();
        let has_room = match &*place {
            Place::Silent(_) => false,
            Place::Working => true,
            // One whose room was given away needs room as a newcomer does.
            Place::Resting(number) => state.resting.contains_key(number),
        };
        let is_full = state.resting.len() + state.working >= self.seats.asked_max;
        if !has_room && is_full && !give_up(&mut state.resting) {
            return false;
        }
        state.leave(*place);
        state.working += 1;
        *place = Place::Working;
        true
    }

    /// The connection has got what it asked for.
    pub fn rest(&self) {
        let mut place = self.place();
        if matches!(*place, Place::Working) {
            let mut state = self.seats.lock();
            state.leave(*place);
            let number = state.number();
            state.resting.insert(number, self.given.clone());
            *place = Place::Resting(number);
        }
    }

    /// Waits until the connection has to make room. Never while it is at work. Cancel safe.
    pub async fn given_up(&self) {
        // It may have asked for something just after it was told.
        while !self.is_given_up() {
            self.given.notified().await;
        }
    }

    fn is_given_up(&self) -> bool {
        let place = self.place();
        let state = self.seats.lock();
        match &*place {
            Place::Silent(number) => !state.silent.contains_key(number),
            Place::Resting(number) => !state.resting.contains_key(number),
            Place::Working => false,
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let place = *self.place();
        self.seats.lock().leave(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silent_makes_room_for_whoever_comes() {
        let seats = Seats::new(2, 1);
        let (asked, first, second) = (seats.take(), seats.take(), seats.take());
        assert!(asked.is_given_up() && !first.is_given_up());
        assert!(asked.ask() && !asked.is_given_up(), "it asked before it was gone");
        asked.rest();
        let third = seats.take();
        assert!(first.is_given_up() && !second.is_given_up() && !third.is_given_up());
        drop(first);
        drop(second);
        let fourth = seats.take();
        assert!(!third.is_given_up() && !fourth.is_given_up(), "there was room");
        assert!(!asked.is_given_up(), "who has asked makes no room for the silent");
    }

    #[test]
    fn who_asks_gets_the_seat_of_the_longest_rested() {
        let seats = Seats::new(9, 2);
        let all = [(); 4].map(|()| seats.take());
        assert!(all[0].ask() && all[1].ask());
        assert!(!all[2].ask(), "everybody is at work");
        all[1].rest();
        all[0].rest();
        assert!(all[1].ask());
        all[1].rest();
        assert!(all[2].ask());
        assert_eq!([0, 1, 2, 3].map(|n: usize| all[n].is_given_up()), [true, false, false, false]);
        assert!(all[3].ask());
        assert!(all[1].is_given_up() && !all[2].is_given_up());
    }

    #[test]
    fn who_asks_after_its_seat_was_given_away_is_one_too_many_no_more_than_a_newcomer() {
        let seats = Seats::new(9, 2);
        let all = [(); 4].map(|()| seats.take());
        for seat in &all[..2] {
            assert!(seat.ask());
            seat.rest();
        }
        assert!(all[2].ask() && all[3].ask(), "both make room");
        assert!(!all[0].ask() && !all[1].ask(), "and there is none for them while the others work");
        all[2].rest();
        assert!(all[0].ask());
        assert!(all[2].is_given_up());
        let state = seats.lock();
        assert_eq!((state.resting.len(), state.working), (0, 2));
    }

    #[test]
    fn seats_come_back() {
        let seats = Seats::new(1, 1);
        for _ in 0..3 {
            let seat = seats.take();
            assert!(seat.ask());
            assert!(!seats.take().ask());
            seat.rest();
            assert!(seats.take().ask(), "a rested one makes room");
        }
        let state = seats.lock();
        assert_eq!((state.silent.len(), state.resting.len(), state.working), (0, 0, 0));
    }
}
