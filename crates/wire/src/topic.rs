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

    /// Panics unless each item has one place in the order, which is that of its last change, and nothing else has one.
    #[cfg(test)]
    fn check_invariants(&self) {
        let placed: BTreeMap<u64, &Key> =
            self.items.iter().map(|(key, (change, _))| (*change, key)).collect();
        assert!(
            placed.len() == self.items.len()
                && placed.into_iter().eq(self.order.iter().map(|(at, key)| (*at, key)))
        );
        assert!(self.order.keys().next_back().is_none_or(|last| *last <= self.change));
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
    use proptest::prelude::*;

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

    /// What happens to a topic of a few items, with two subscribers.
    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, u64),
        ReplaceAll(Vec<(u8, u64)>),
        CatchUp(usize),
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let item = || (0..6_u8, any::<u64>());
        prop_oneof![
            6 => item().prop_map(|(name, value)| Step::Set(name, value)),
            1 => prop::collection::vec(item(), 0..6).prop_map(Step::ReplaceAll),
            4 => (0..2_usize).prop_map(Step::CatchUp),
            1 => (0..2_usize).prop_map(Step::Leave),
        ]
    }

    /// An item that shows which one it is.
    fn named((name, value): &(u8, u64)) -> Item {
        let usable = BTreeMap::from([(name.to_string(), 0)]);
        Item::Liveness(Liveness { state: LifeState::Ready, tick_age_ms: *value, usable })
    }

    #[derive(Default)]
    struct Subscriber {
        position: Option<Position>,
        knows: BTreeMap<String, u64>,
    }

    impl Subscriber {
        fn catch_up(&mut self, topic: &Topic<(u8, u64)>) {
            let (news, position) = topic.since(self.position);
            self.position = Some(position);
            let items = match news {
                News::Snapshot(items) => {
                    self.knows.clear();
                    items
                }
                News::Changes(items) => items,
            };
            for item in items {
                let Item::Liveness(Liveness { tick_age_ms, usable, .. }) = item else { continue };
                self.knows.extend(usable.into_keys().map(|name| (name, tick_age_ms)));
            }
        }
    }

    proptest! {
        #[test]
        fn who_catches_up_knows_what_is_so_whatever_was_missed(steps in prop::collection::vec(step(), 0..80)) {
            let key = |item: &(u8, u64)| (Arc::from(item.0.to_string()), Arc::from(""));
            let topic = Topic::new(TopicName::Liveness, key, named);
            let mut is: BTreeMap<String, u64> = BTreeMap::new();
            let mut subscribers = [(); 2].map(|()| Subscriber::default());
            for step in steps {
                match step {
                    Step::Set(name, value) => {
                        topic.set((name, value));
                        is.insert(name.to_string(), value);
                    }
                    Step::ReplaceAll(items) => {
                        is = items.iter().map(|(name, value)| (name.to_string(), *value)).collect();
                        topic.replace_all(items);
                    }
                    Step::CatchUp(at) => {
                        subscribers[at].catch_up(&topic);
                        prop_assert_eq!(&subscribers[at].knows, &is);
                        let again = topic.since(subscribers[at].position).0;
                        prop_assert_eq!(again, News::Changes(Vec::new()), "nothing is told twice");
                    }
                    Step::Leave(at) => subscribers[at] = Subscriber::default(),
                }
                topic.lock().check_invariants();
            }
        }
    }
}
