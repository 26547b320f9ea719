//! Publishing: the state of a topic, which subscribers catch up with at their own pace.
//!
//! A topic holds each item once, with the number of its last change. A subscriber remembers the number it has caught up
//! with, and asks for what changed since: a slow one gets the latest state of each item and nothing in between. So nobody
//! is waited for, and memory is bounded by the number of items.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{Item, TopicName};

/// How far a subscriber has caught up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Counts replacements of all items.
    pub generation: u64,
    /// Counts changes.
    pub change: u64,
}

/// What a subscriber has missed.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Everything, replacing what was known.
    Snapshot(Vec<Item>),
    /// The items that changed, in the order of their last changes.
    Changes(Vec<Item>),
}

/// A topic as subscribers see it.
pub trait Feed: Send + Sync + 'static {
    /// Which topic it is.
    fn name(&self) -> TopicName;
    /// What happened since a position; with none, a snapshot. Also the position that is then reached.
    fn since(&self, position: Option<Position>) -> (News, Position);
    /// Told at every change.
    fn changes(&self) -> watch::Receiver<()>;
}

/// What identifies an item within its topic.
pub type Key = (Arc<str>, Arc<str>);

type Render<T> = Box<dyn Fn(&T) -> Item + Send + Sync>;

/// A topic as its daemon sees it. Items are kept as `T` and rendered when they are sent, so that ages are right then.
pub struct Topic<T> {
    name: TopicName,
    key: fn(&T) -> Key,
    render: Render<T>,
    state: Mutex<State<T>>,
    changed: watch::Sender<()>,
}

struct State<T> {
    generation: u64,
    change: u64,
    items: BTreeMap<Key, (u64, T)>,
    /// The last change of each item, ascending.
    order: BTreeMap<u64, Key>,
}

impl<T: Send + 'static> Topic<T> {
    /// An empty topic.
    pub fn new(
        name: TopicName,
        key: fn(&T) -> Key,
        render: impl Fn(&T) -> Item + Send + Sync + 'static,
    ) -> Self {
        let state = State { generation: 1, change: 0, items: BTreeMap::new(), order: BTreeMap::new() };
        let (render, state) = (Box::new(render), Mutex::new(state));
        Self { name, key, render, state, changed: watch::Sender::new(()) }
    }

    /// An item is as it is now.
    pub fn set(&self, item: T) {
        let key = (self.key)(&item);
        let mut state = self.lock();
        state.set(key, item);
        drop(state);
        self.changed.send_replace(());
    }

    /// These are all items: subscribers get a new snapshot.
    pub fn replace_all(&self, items: impl IntoIterator<Item = T>) {
        let items: Vec<_> = items.into_iter().map(|item| ((self.key)(&item), item)).collect();
        let mut state = self.lock();
        state.generation += 1;
        state.items.clear();
        state.order.clear();
        for (key, item) in items {
            state.set(key, item);
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// All items as they are now.
    pub fn items(&self) -> Vec<Item> {
        self.lock().items.values().map(|(_, item)| (self.render)(item)).collect()
    }

    /// How many subscribers it has.
    pub fn subscribers(&self) -> usize {
        self.changed.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn set(&mut self, key: Key, item: T) {
        self.change += 1;
        let change = self.change;
        if let Some((old, _)) = self.items.insert(key.clone(), (change, item)) {
            self.order.remove(&old);
        }
        self.order.insert(change, key);
    }
}

impl<T: Send + 'static> Feed for Topic<T> {
    fn name(&self) -> TopicName {
        self.name
    }

    fn since(&self, position: Option<Position>) -> (News, Position) {
        let state = self.lock();
        let reached = Position { generation: state.generation, change: state.change };
        let news = match position {
            Some(position) if position.generation == state.generation => {
                let keys = state.order.range(position.change + 1..).map(|(_, key)| key);
                let items = keys.filter_map(|key| state.items.get(key));
                News::Changes(items.map(|(_, item)| (self.render)(item)).collect())
            }
            _ => News::Snapshot(state.items.values().map(|(_, item)| (self.render)(item)).collect()),
        };
        (news, reached)
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LifeState, Liveness};

    fn liveness(tick_age_ms: u64) -> Item {
        Item::Liveness(Liveness { state: LifeState::Ready, tick_age_ms, usable: BTreeMap::new() })
    }

    #[test]
    fn a_slow_subscriber_gets_the_latest_state_once() {
        let topic = Topic::new(TopicName::Liveness, |_| Key::default(), |age: &u64| liveness(*age));
        topic.set(1);
        let (news, position) = topic.since(None);
        assert_eq!(news, News::Snapshot(vec![liveness(1)]));
        topic.set(2);
        topic.set(3);
        let (news, position) = topic.since(Some(position));
        assert_eq!(news, News::Changes(vec![liveness(3)]));
        assert_eq!(topic.since(Some(position)).0, News::Changes(vec![]));
        topic.replace_all([4]);
        assert_eq!(topic.since(Some(position)).0, News::Snapshot(vec![liveness(4)]));
    }
}
