//! Trackers: what else the right to be master depends on. Each is a task of the main thread that reports to the election.

mod command;
mod gateway;
mod interface;
mod lbd;
mod starved;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use config::{Instance, TrackTarget};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::order::Order;
pub use lbd::Watched;

/// Which tracker of which instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackerId {
    /// The instance.
    pub instance: String,
    /// The tracker's name.
    pub tracker: String,
}

/// Where trackers report to. Each task has its own.
#[derive(Clone, Debug)]
pub struct Reporter {
    orders: mpsc::Sender<Order>,
    told: BTreeMap<TrackerId, (bool, String)>,
}

impl Reporter {
    /// Reports to the election.
    pub const fn new(orders: mpsc::Sender<Order>) -> Self {
        Self { orders, told: BTreeMap::new() }
    }

    /// Tells how a tracker is, and why, unless that has been told.
    pub async fn report(&mut self, id: &TrackerId, good: bool, text: String) {
        if self.told.get(id).is_some_and(|(was, why)| (*was, why) == (good, &text)) {
            return;
        }
        self.told.insert(id.clone(), (good, text.clone()));
        let TrackerId { instance, tracker } = id.clone();
        // A closed channel means that vrrpd stops.
        let _ = self.orders.send(Order::Tracker { instance, tracker, good, text }).await;
    }

    /// Where orders for the election go.
    pub(crate) const fn orders(&self) -> &mpsc::Sender<Order> {
        &self.orders
    }

    /// Waits until the election has acted on everything that was reported.
    pub async fn settled(&self) {
        let (done, settled) = oneshot::channel();
        if self.orders.send(Order::Settle { done }).await.is_ok() {
            // An election that has ended has settled.
            let _ = settled.await;
        }
    }
}

/// The trackers that run.
#[derive(Debug)]
pub struct Trackers {
    reporter: Reporter,
    board: Arc<Board>,
    lbd_socket: std::path::PathBuf,
    lbd: Option<(Vec<Watched>, Task)>,
    others: BTreeMap<TrackerId, (Instance, TrackTarget, Task)>,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Trackers {
    /// No trackers yet.
    pub fn new(orders: mpsc::Sender<Order>, board: Arc<Board>, lbd_socket: &Path) -> Self {
        let reporter = Reporter::new(orders);
        Self { reporter, board, lbd_socket: lbd_socket.to_owned(), lbd: None, others: BTreeMap::new() }
    }

    /// Runs what is configured. What is configured as before goes on undisturbed.
    pub fn apply(&mut self, instances: &[Instance]) {
        let mut watched = Vec::new();
        let mut before = std::mem::take(&mut self.others);
        for instance in instances {
            for tracker in &instance.track {
                let id = TrackerId { instance: instance.name.clone(), tracker: tracker.name.clone() };
                match &tracker.target {
                    TrackTarget::Lbd { .. } | TrackTarget::Backend(_) => {
                        watched.push(Watched { id, target: tracker.target.clone() });
                    }
                    target => {
                        let kept = before
                            .remove(&id)
                            .filter(|(of, what, _)| what == target && is_same_place(of, instance));
                        let entry = kept.unwrap_or_else(|| {
                            (instance.clone(), target.clone(), self.start(id.clone(), instance, target))
                        });
                        self.others.insert(id, entry);
                    }
                }
            }
        }
        if self.lbd.as_ref().map(|(known, _)| known) != Some(&watched) {
            self.lbd = None;
            if !watched.is_empty() {
                let (socket, reporter, board) =
                    (self.lbd_socket.clone(), self.reporter.clone(), self.board.clone());
                let task = lbd::follow(socket, watched.clone(), reporter, board);
                self.lbd = Some((watched, Task(tokio::spawn(task))));
            }
        }
    }

    fn start(&self, id: TrackerId, instance: &Instance, target: &TrackTarget) -> Task {
        let reporter = self.reporter.clone();
        Task(match target.clone() {
            TrackTarget::Interface(name) => tokio::spawn(interface::watch(id, name, reporter)),
            TrackTarget::Command { command, timing } => {
                tokio::spawn(command::run(id, command, timing, reporter))
            }
            TrackTarget::Gateway { address, timing } => {
                tokio::spawn(gateway::ask(id, instance.clone(), address, timing, reporter))
            }
            // These share one connection to lbd.
            TrackTarget::Lbd { .. } | TrackTarget::Backend(_) => tokio::spawn(std::future::ready(())),
        })
    }
}

/// Whether two configurations of an instance look for the same interface.
fn is_same_place(left: &Instance, right: &Instance) -> bool {
    (&left.interface, &left.addresses, &left.unicast) == (&right.interface, &right.addresses, &right.unicast)
}
