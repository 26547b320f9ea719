//! The queue of a backend: requests of all workers that wait because each server they could go to is full.
//!
//! A place that is given back is handed to the first who may have it, and never lies about where somebody newly come could be
//! quicker. What each of them may have is its own matter: it keeps away from servers that it was sent to in vain, or that its
//! worker suspects. So nobody waits behind somebody who waits for something else, and a request that finds room at a server
//! takes it at once: had anybody waited for it, there would be none.
//!
//! The lock is for those who wait, and for whoever gives a place back while somebody does.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::shared::limits::{Place, Places};

/// How often a request that keeps away from some servers looks at them again: one that connections failed to is trusted again
/// after some time, and nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The requests that wait for a place at a server of one backend, in the order in which they came.
#[derive(Debug, Default)]
pub struct Queue {
    line: Mutex<Line>,
    /// How many are in the line. Who gives a place back looks here first.
    waiting: AtomicU64,
    most: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// By number, and so in the order in which they came.
    stands: BTreeMap<u64, Stand>,
    /// What was handed to those who have yet to see it. They stand in the line no more.
    handed: HashMap<u64, Place>,
}

/// One who waits.
#[derive(Debug)]
struct Stand {
    worker: usize,
    /// The servers that it would not go to.
    avoids: Vec<Arc<Places>>,
    /// Whether it is to look around: servers have changed.
    looks: bool,
    waker: Option<Waker>,
}

impl Line {
    /// The first who may have one of these places.
    fn first_for(&self, places: &Arc<Places>) -> Option<u64> {
        let may = |stand: &Stand| !stand.avoids.iter().any(|avoided| Arc::ptr_eq(avoided, places));
        self.stands.iter().find(|(_, stand)| may(stand)).map(|(number, _)| *number)
    }

    /// Hands a place over. Whom to wake then, without the lock.
    fn hand(&mut self, number: u64, place: Place) -> Option<Waker> {
        let stand = self.stands.remove(&number);
        self.handed.insert(number, place);
        self.check_invariants();
        stand.and_then(|stand| stand.waker)
    }

    /// Nobody stands in the line who has a place, and nobody has a number that is still to be given out.
    fn check_invariants(&self) {
        debug_assert!(self.stands.keys().all(|number| !self.handed.contains_key(number)));
        let last = [self.stands.keys().next_back(), self.handed.keys().max()];
        debug_assert!(last.into_iter().flatten().all(|number| *number < self.next));
    }
}

impl Queue {
    /// Requests that wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(SeqCst)
    }

    /// The most that waited at once.
    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }

    /// Requests that found it too long, or waited for too long.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Counts a request that found it too long, or waited for too long.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Queues up a request of a worker behind the others, unless `max` wait already.
    ///
    /// Only then is it certain to be handed what is given back: whoever waits has to look once more for what was before.
    pub fn enter(&self, worker: usize, max: u32, avoids: Vec<Arc<Places>>) -> Option<Waiting<'_>> {
        let mut line = self.lock();
        let before = line.stands.len() as u64;
        if before >= u64::from(max) {
            return None;
        }
        let number = line.next;
        line.next += 1;
        line.stands.insert(number, Stand { worker, avoids, looks: false, waker: None });
        self.count(&line);
        self.most.fetch_max(before + 1, Relaxed);
        Some(Waiting { queue: self, number, worker, before })
    }

    /// Has a worker's requests look again where they could go: servers have changed.
    pub fn look_again(&self, worker: usize) {
        if self.waiting() == 0 {
            return;
        }
        let mut line = self.lock();
        let stands = line.stands.values_mut().filter(|stand| stand.worker == worker);
        let wakers: Vec<Waker> = stands
            .filter_map(|stand| {
                stand.looks = true;
                stand.waker.take()
            })
            .collect();
        drop(line);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes a place back: for the first who may have it, or for whoever comes.
    pub(crate) fn give_back(&self, places: &Arc<Places>) {
        if self.waiting() == 0 {
            places.add_room();
            // Somebody may have entered meanwhile, and have seen no room yet.
            return self.serve(places);
        }
        let mut line = self.lock();
        let first = if places.is_open() { line.first_for(places) } else { None };
        let waker = match first.and_then(|number| Some((number, places.hand_on()?))) {
            Some((number, place)) => line.hand(number, place),
            None => {
                places.add_room();
                None
            }
        };
        self.count(&line);
        drop(line);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Hands out all the room that there is at a server.
    pub(crate) fn serve(&self, places: &Arc<Places>) {
        if self.waiting() == 0 {
            return;
        }
        let mut line = self.lock();
        let mut wakers = Vec::new();
        while places.is_open()
            && let Some(number) = line.first_for(places)
            && let Some(place) = places.take()
        {
            wakers.extend(line.hand(number, place));
        }
        self.count(&line);
        drop(line);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn count(&self, line: &Line) {
        self.waiting.store(line.stands.len() as u64, SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's stand in a queue. It is left when this is dropped, and what was handed to it meanwhile goes to the next.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    number: u64,
    worker: usize,
    /// How many were there before it.
    pub before: u64,
}

impl Waiting<'_> {
    /// Waits for a place. None: it is time to look around, and to [`Waiting::stay`] if that was in vain.
    pub async fn place(&self) -> Option<Place> {
        let avoids = self.queue.lock().stands.get(&self.number).is_some_and(|stand| !stand.avoids.is_empty());
        let handed = poll_fn(|cx| {
            let mut line = self.queue.lock();
            if let Some(place) = line.handed.remove(&self.number) {
                return Poll::Ready(Some(place));
            }
            match line.stands.get_mut(&self.number) {
                Some(stand) if !stand.looks => {
                    match &mut stand.waker {
                        Some(waker) => waker.clone_from(cx.waker()),
                        none => *none = Some(cx.waker().clone()),
                    }
                    Poll::Pending
                }
                _ => Poll::Ready(None),
            }
        });
        if avoids { tokio::time::timeout(LOOK_AGAIN, handed).await.unwrap_or(None) } else { handed.await }
    }

    /// Stays where it is in the line, and keeps away from these servers from now on.
    pub fn stay(&self, avoids: Vec<Arc<Places>>) {
        let mut line = self.queue.lock();
        if !line.handed.contains_key(&self.number) {
            let stand = Stand { worker: self.worker, avoids, looks: false, waker: None };
            line.stands.insert(self.number, stand);
            self.queue.count(&line);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        line.stands.remove(&self.number);
        let handed = line.handed.remove(&self.number);
        self.queue.count(&line);
        drop(line);
        // Goes through the lock itself.
        drop(handed);
    }
}

#[cfg(test)]
mod tests;
