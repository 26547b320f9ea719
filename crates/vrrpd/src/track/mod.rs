//! Trackers: what else the right to be master, or to be announced, depends on. Each is a task of the main thread that reports to
//! the election.

mod command;
mod gateway;
mod interface;
mod lbd;
mod starved;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use config::{Anycast, Instance, TrackTarget, Tracker};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::order::{Order, Report};
pub use lbd::Watched;

/// Which tracker of which instance or service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackerId {
    /// The instance or service.
    pub owner: String,
    /// The tracker's name.
    pub tracker: String,
}

/// Where trackers report to. Each task has its own.
#[derive(Clone, Debug)]
pub struct Reporter {
    orders: mpsc::Sender<Order>,
    told: BTreeMap<TrackerId, (Report, String)>,
}

impl Reporter {
    /// Reports to the election.
    pub const fn new(orders: mpsc::Sender<Order>) -> Self {
        Self { orders, told: BTreeMap::new() }
    }

    /// Tells whether a tracker is good, and why, unless that has been told.
    pub async fn report(&mut self, id: &TrackerId, good: bool, text: String) {
        self.tell(id, if good { Report::Good } else { Report::Fails }, text).await;
    }

    /// The same, with a word for what ends in good order.
    pub async fn tell(&mut self, id: &TrackerId, report: Report, text: String) {
        if self.told.get(id).is_some_and(|(was, why)| (*was, why) == (report, &text)) {
            return;
        }
        self.told.insert(id.clone(), (report, text.clone()));
        let TrackerId { owner, tracker } = id.clone();
        // A closed channel means that vrrpd stops.
        let _ = self.orders.send(Order::Tracker { owner, tracker, report, text }).await;
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
    others: BTreeMap<TrackerId, (Place, TrackTarget, Task)>,
}

/// Where a tracker looks for what is on a link.
#[derive(Clone, Debug)]
enum Place {
    /// Where the instance takes part.
    Of(Box<Instance>),
    /// Wherever the routes lead: the addresses of a service are on no link.
    Routed,
}

impl Place {
    /// Whether both look for the same interface.
    fn is(&self, other: &Self) -> bool {
        let place = |one: &Self| match one {
            Self::Of(instance) => {
                Some((instance.interface.clone(), instance.addresses.clone(), instance.unicast.clone()))
            }
            Self::Routed => None,
        };
        place(self) == place(other)
    }
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
    pub fn apply(&mut self, instances: &[Instance], services: &[Anycast]) {
        let mut watched = Vec::new();
        let mut before = std::mem::take(&mut self.others);
        let of_instances =
            instances.iter().map(|one| (&one.name, &one.track, Place::Of(Box::new(one.clone()))));
        let of_services = services.iter().map(|one| (&one.name, &one.track, Place::Routed));
        for (owner, track, place) in of_instances.chain(of_services) {
            for Tracker { name, target, .. } in track {
                let id = TrackerId { owner: owner.clone(), tracker: name.clone() };
                match target {
                    TrackTarget::Lbd { .. } | TrackTarget::Backend { .. } => {
                        watched.push(Watched { id, target: target.clone() });
                    }
                    target => {
                        let kept = before.remove(&id).filter(|(of, what, _)| what == target && of.is(&place));
                        let entry = kept.unwrap_or_else(|| {
                            (place.clone(), target.clone(), self.start(id.clone(), place.clone(), target))
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

    fn start(&self, id: TrackerId, place: Place, target: &TrackTarget) -> Task {
        let reporter = self.reporter.clone();
        Task(match target.clone() {
            TrackTarget::Interface(name) => tokio::spawn(interface::watch(id, name, reporter)),
            TrackTarget::Command { command, timing } => {
                tokio::spawn(command::run(id, command, timing, reporter))
            }
            TrackTarget::Gateway { address, timing } => {
                tokio::spawn(gateway::ask(id, place, address, timing, reporter))
            }
            // These share one connection to lbd.
            TrackTarget::Lbd { .. } | TrackTarget::Backend { .. } => tokio::spawn(std::future::ready(())),
        })
    }
}
