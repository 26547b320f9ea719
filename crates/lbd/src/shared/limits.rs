//! Limits that all workers share: how many connections or requests there may be at once, and how many there are. Requests that
//! are too many wait in a [`Queue`], connections in the backlog.
//!
//! Nobody pays for a limit that is not configured: where there is none, there is no [`Places`] to look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::shared::queue::Queue;

/// How many there may be at once, and how many there are. On cache lines of its own, as all workers write to it.
#[derive(Debug)]
#[repr(align(128))]
pub struct Places {
    taken: AtomicU64,
    most: AtomicU64,
    /// Whether those who wait get any.
    open: AtomicBool,
    waiters: Waiters,
}

/// Who waits for a place.
#[derive(Debug)]
enum Waiters {
    /// Whoever comes first when there is room.
    Any(Notify),
    /// Those of a queue, in its order.
    Queue(Arc<Queue>),
}

impl Default for Places {
    fn default() -> Self {
        Self::new(Waiters::Any(Notify::new()))
    }
}

impl Places {
    fn new(waiters: Waiters) -> Self {
        Self {
            taken: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            open: AtomicBool::new(true),
            waiters,
        }
    }

    /// The places at a server whose backend has this queue. No limit yet.
    pub fn queued(queue: Arc<Queue>) -> Self {
        Self::new(Waiters::Queue(queue))
    }

    /// Allows for that many at once; none: for any number. Those beyond a lower limit stay until they have ended.
    pub fn limit_to(self: &Arc<Self>, most: Option<u32>) {
        let most = most.map_or(u64::MAX, u64::from);
        if self.most.swap(most, SeqCst) != most {
            self.call();
        }
    }

    /// Whether those who wait get a place here: a server that takes no requests has none for them.
    pub fn set_open(self: &Arc<Self>, open: bool) {
        if self.open.swap(open, SeqCst) != open {
            self.call();
        }
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.taken.load(SeqCst) >= self.most.load(SeqCst)
    }

    /// A place, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let most = self.most.load(SeqCst);
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(SeqCst, SeqCst, more).ok().map(|_| Place(self.clone()))
    }

    /// Waits until there is room, which somebody else may be quicker to take.
    pub async fn room(&self) {
        let Waiters::Any(freed) = &self.waiters else { return };
        loop {
            let freed = freed.notified();
            if !self.is_full() {
                return;
            }
            freed.await;
        }
    }

    /// How many are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(SeqCst)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    /// One place less is taken.
    pub(crate) fn add_room(&self) {
        let before = self.taken.fetch_sub(1, SeqCst);
        debug_assert!(before > 0, "each place is given back once");
    }

    /// The place that is being given back, for somebody else. None where there are more than there may be.
    pub(crate) fn hand_on(self: &Arc<Self>) -> Option<Place> {
        (self.taken.load(SeqCst) <= self.most.load(SeqCst)).then(|| Place(self.clone()))
    }

    /// There may be room now.
    fn call(self: &Arc<Self>) {
        match &self.waiters {
            Waiters::Any(freed) => freed.notify_waiters(),
            Waiters::Queue(queue) => queue.serve(self),
        }
    }
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Place {
    /// Which places it is one of.
    pub fn is_of(&self, places: &Arc<Places>) -> bool {
        Arc::ptr_eq(&self.0, places)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match &self.0.waiters {
            Waiters::Any(freed) => {
                self.0.add_room();
                freed.notify_waiters();
            }
            Waiters::Queue(queue) => queue.give_back(&self.0),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_limit_that_is_raised_lets_the_next_ones_in() {
        let places = Arc::new(Places::default());
        places.limit_to(Some(1));
        runtime().block_on(async {
            let _held = places.take().unwrap();
            let mut admission = Admission::ask(std::iter::once(places.clone()));
            let raise = async { places.limit_to(None) };
            tokio::join!(admission.complete(), raise);
            assert_eq!(places.taken(), 2);
        });
        assert_eq!(places.taken(), 0);
    }
}
