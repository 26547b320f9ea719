//! What the main thread tells the election's thread.

use std::time::Duration;

use config::{Anycast, Instance};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long the election may take for an order.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);
/// How long it may take for a handover: with adverts a second apart it knows after 1.1 s that nobody takes over.
pub(crate) const HANDOVER: Duration = Duration::from_secs(8);

/// An order to the election's thread. The channel is bounded; the election takes one order at a time.
#[derive(Debug)]
pub enum Order {
    /// A tracker reports: at its first look, and whenever the result or its text changes.
    Tracker {
        /// The instance or service.
        owner: String,
        /// The tracker's name.
        tracker: String,
        /// How it is.
        report: Report,
        /// What it saw, in words.
        text: String,
    },
    /// These are the instances from now on. What need not change keeps running.
    Reload {
        /// As configured.
        instances: Vec<Instance>,
        /// The anycast services beside them.
        services: Vec<Anycast>,
        /// Told when all are in force.
        done: oneshot::Sender<()>,
    },
    /// Give the addresses to another router, and stay a backup.
    Release {
        /// Of these instances.
        instances: Vec<String>,
        /// Told when others have the addresses, or when nobody takes them; of the instances that were master.
        done: oneshot::Sender<Vec<Release>>,
    },
    /// Withdraw anycast services until they are asked for.
    Withdraw {
        /// These.
        services: Vec<String>,
        /// Told when the addresses are gone; which had been announced.
        done: oneshot::Sender<Vec<String>>,
    },
    /// Announce anycast services again.
    Announce {
        /// These.
        services: Vec<String>,
        /// Told when that is decided: of each where it stands.
        done: oneshot::Sender<Vec<(String, anycast::State)>>,
    },
    /// Tell when everything ordered before is done.
    Settle {
        /// Told then.
        done: oneshot::Sender<()>,
    },
    /// Leave every election in good order, and end.
    Stop {
        /// Told when no address is held any more.
        done: oneshot::Sender<()>,
    },
}

/// How a tracker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Good.
    Good,
    /// It fails.
    Fails,
    /// It fails, because what it looks at was told to end.
    Ends,
}

impl Report {
    /// Whether it is good.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good)
    }
}

/// What became of [`Order::Release`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The instance.
    pub instance: String,
    /// Nobody took the addresses, and they are where they were.
    pub kept: bool,
}

/// Gives an order, and waits until it has been carried out, for so long at most.
///
/// # Errors
/// Why that is not known.
pub async fn give<T>(
    orders: &mpsc::Sender<Order>,
    order: Order,
    done: oneshot::Receiver<T>,
    patience: Duration,
) -> Result<T, Undone> {
    let mut taken = false;
    let obeyed = async {
        orders.send(order).await.map_err(|_| Undone::Ended)?;
        taken = true;
        done.await.map_err(|_| Undone::Ended)
    };
    let outcome = timeout(patience, obeyed).await;
    outcome.unwrap_or(Err(if taken { Undone::Late(patience) } else { Undone::Busy(patience) }))
}

/// Why nothing is known of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Undone {
    /// There is nobody to give it to.
    #[error("the election has ended")]
    Ended,
    /// It could not be given.
    #[error("the election takes no orders within {} s", .0.as_secs())]
    Busy(Duration),
    /// It has been given, and will be carried out.
    #[error("the election does not answer within {} s; it goes on with it", .0.as_secs())]
    Late(Duration),
}

/// Where an instance or service stands, for its hook.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Its name.
    pub owner: String,
    /// `INSTANCE`, as keepalived has it, or `ANYCAST`.
    pub kind: &'static str,
    /// Its state, as the hook is told.
    pub state: &'static str,
    /// Whether this node serves clients in that state.
    pub serves: bool,
    /// Its priority, as the trackers leave it; 0 where there is none.
    pub priority: u8,
    /// Whom to tell.
    pub notify: config::Notify,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_taken_and_what_was_not_are_told_apart() {
        let soon = Duration::from_millis(1);
        let (orders, mut obeyed) = mpsc::channel(1);
        let settle = async || {
            let (done, settled) = oneshot::channel();
            give(&orders, Order::Settle { done }, settled, soon).await
        };
        assert_eq!(settle().await, Err(Undone::Late(soon)), "nobody answers");
        assert_eq!(settle().await, Err(Undone::Busy(soon)), "the first one waits still");
        obeyed.close();
        assert_eq!(settle().await, Err(Undone::Ended));
    }
}
