//! Limits that all workers share: how many connections or requests there are at once, and who waits for a place.
//!
//! Nobody pays for a limit that is not configured: where there is none, there is no [`Places`] to look at.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

/// How often the first of a queue looks for a place unasked: a server that connections failed to is trusted again after some
/// time, and nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many there may be at once, and how many there are. On cache lines of its own, as all workers write to it.
#[derive(Debug)]
#[repr(align(128))]
pub struct Places {
    taken: AtomicU64,
    most: AtomicU64,
    /// Told when a place is given back, or the limit changes.
    freed: Arc<Notify>,
}

impl Places {
    /// No limit yet. `freed` may be shared with others that the same ones wait for.
    pub fn new(freed: Arc<Notify>) -> Self {
        Self { taken: AtomicU64::new(0), most: AtomicU64::new(u64::MAX), freed }
    }

    /// Allows for that many at once; none: for any number. Those beyond a lower limit stay until they have ended.
    pub fn limit_to(&self, most: Option<u32>) {
        let most = most.map_or(u64::MAX, u64::from);
        if self.most.swap(most, AcqRel) != most {
            self.freed.notify_waiters();
        }
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.taken.load(Acquire) >= self.most.load(Acquire)
    }

    /// A place, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let most = self.most.load(Acquire);
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(AcqRel, Acquire, more).ok().map(|_| Place(self.clone()))
    }

    /// Waits until there is room, which somebody else may be quicker to take.
    pub async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if !self.is_full() {
                return;
            }
            freed.await;
        }
    }
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, AcqRel);
        self.0.freed.notify_waiters();
    }
}

/// The places that a connection needs before it is served.
#[derive(Debug)]
pub struct Admission(Vec<(Arc<Places>, Option<Place>)>);

impl Admission {
    /// Takes what is there at once.
    pub fn ask(limits: impl Iterator<Item = Arc<Places>>) -> Self {
        let ask = |places: Arc<Places>| {
            let place = places.take();
            (places, place)
        };
        Self(limits.map(ask).collect())
    }

    /// Waits for the rest: another worker may have been quicker.
    pub async fn complete(&mut self) {
        for (places, place) in &mut self.0 {
            while place.is_none() {
                places.room().await;
                *place = places.take();
            }
        }
    }
}

/// The requests that wait because each server they could go to is full, in the order in which they came.
#[derive(Debug)]
pub struct Queue {
    waiting: AtomicU64,
    most: AtomicU64,
    refused: AtomicU64,
    /// Whoever holds it is the first; it goes from one to the next in order.
    first: Semaphore,
    freed: Arc<Notify>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: AtomicU64::new(0),
            most: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            first: Semaphore::new(1),
            freed: Arc::default(),
        }
    }
}

impl Queue {
    /// What the servers' [`Places`] tell when a place is given back.
    pub fn freed(&self) -> Arc<Notify> {
        self.freed.clone()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Acquire)
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

    /// The first looks for a place again: servers have changed.
    pub fn look_again(&self) {
        self.freed.notify_waiters();
    }

    /// Queues up behind the others, unless `max` wait already.
    pub fn enter(&self, max: u32) -> Option<Waiting<'_>> {
        let more = |waiting| (waiting < u64::from(max)).then_some(waiting + 1);
        let before = self.waiting.fetch_update(AcqRel, Acquire, more).ok()?;
        self.most.fetch_max(before + 1, Relaxed);
        Some(Waiting { queue: self, before })
    }
}

/// A request's stand in a queue, left when it is dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    /// How many were there before it.
    pub before: u64,
}

impl Waiting<'_> {
    /// Waits for its turn, and then until `find` finds what it waits for.
    pub async fn until<T>(&self, mut find: impl FnMut() -> Option<T>) -> T {
        // It is never closed.
        let _first = self.queue.first.acquire().await;
        loop {
            let freed = pin!(self.queue.freed.notified());
            if let Some(found) = find() {
                return found;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, freed).await;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// Threads with a runtime each, as workers are, that take and give back places for as long as it takes.
    #[test]
    fn no_limit_is_ever_exceeded_and_nobody_is_forgotten() {
        let queue = Queue::default();
        let places = Arc::new(Places::new(queue.freed()));
        places.limit_to(Some(2));
        let inside = AtomicU64::new(0);
        let served = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let request = || async {
                        let place = queue.enter(64).unwrap().until(|| places.take()).await;
                        assert!(inside.fetch_add(1, AcqRel) < 2);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, AcqRel);
                        drop(place);
                        served.fetch_add(1, AcqRel);
                    };
                    runtime().block_on(async {
                        for _ in 0..100 {
                            tokio::join!(request(), request(), request(), request());
                        }
                    });
                });
            }
        });
        assert_eq!((served.load(Acquire), queue.waiting(), places.taken.load(Acquire)), (1600, 0, 0));
        assert!(queue.most() <= 16);
    }

    #[test]
    fn who_came_first_goes_first_and_who_leaves_frees_its_stand() {
        let queue = Queue::default();
        let places = Arc::new(Places::new(queue.freed()));
        places.limit_to(Some(1));
        let order = Mutex::new(Vec::new());
        runtime().block_on(async {
            let held = places.take().unwrap();
            assert!(places.take().is_none());
            let request = |number| {
                let waiting = queue.enter(3).unwrap();
                let (order, places) = (&order, &places);
                async move {
                    let place = waiting.until(|| places.take()).await;
                    order.lock().unwrap().push(number);
                    place
                }
            };
            let (first, second, third) = (request(1), request(2), request(3));
            assert!(queue.enter(3).is_none(), "it is full");
            {
                let mut second = pin!(second);
                assert!(futures_are_pending(second.as_mut()).await);
            }
            assert_eq!(queue.waiting(), 2, "the second has left");
            drop(held);
            let all = async { (drop(first.await), drop(third.await)) };
            all.await;
        });
        assert_eq!(*order.lock().unwrap(), [1, 3]);
        assert_eq!((queue.waiting(), queue.most()), (0, 3));
    }

    async fn futures_are_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
        tokio::time::timeout(Duration::ZERO, future).await.is_err()
    }

    #[test]
    fn a_limit_that_is_raised_lets_the_next_ones_in() {
        let places = Arc::new(Places::new(Arc::default()));
        places.limit_to(Some(1));
        runtime().block_on(async {
            let _held = places.take().unwrap();
            let mut admission = Admission::ask(std::iter::once(places.clone()));
            let raise = async { places.limit_to(None) };
            tokio::join!(admission.complete(), raise);
            assert_eq!(places.taken.load(Acquire), 2);
        });
        assert_eq!(places.taken.load(Acquire), 0);
    }
}
