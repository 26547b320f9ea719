//! What the main thread tells the election's thread.

use std::time::Duration;

use config::Instance;
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
        /// The instance.
        instance: String,
        /// The tracker's name.
        tracker: String,
        /// Whether it is good.
        good: bool,
        /// What it saw, in words.
        text: String,
    },
    /// These are the instances from now on. What need not change keeps running.
    Reload {
        /// As configured.
        instances: Vec<Instance>,
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

/// Where an instance stands, for its hook.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The instance.
    pub instance: String,
    /// Its state.
    pub to: vrrp::State,
    /// Its priority, as the trackers leave it.
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
