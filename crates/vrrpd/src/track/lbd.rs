//! lbd, and the backends that it has: one subscription to its liveness for all trackers.
//!
//! The kernel closes the socket of an lbd that dies, whatever it dies of, and this end hears of it at once. One that hangs
//! sends no pings; one whose workers hang says so in its pings.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use config::TrackTarget;
use wire::client::{ClientError, Follower, News, PINGS_MISSED, Update};
use wire::{Item, LifeState, Liveness, TopicName};

use super::{Reporter, TrackerId};
use crate::handover;

/// How long a silent lbd is believed to live where only its backends are tracked.
const PATIENCE: Duration = Duration::from_millis(750);

/// A tracker of lbd or of one of its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Who is to be told.
    pub id: TrackerId,
    /// [`TrackTarget::Lbd`] or [`TrackTarget::Backend`].
    pub target: TrackTarget,
}

/// What is known of lbd.
#[derive(Clone, Debug)]
enum Seen {
    /// Nothing yet.
    Nothing,
    /// It is not there, or as good as that, for this reason.
    Gone(String),
    /// It is there; how long its slowest worker has not ticked.
    Alive(Liveness, Duration),
}

/// Follows lbd, and reports for all trackers.
pub(super) async fn follow(socket: PathBuf, watched: Vec<Watched>, mut reporter: Reporter) {
    // There is one lbd, so the most impatient tracker decides when its silence means that it hangs.
    let patience = watched.iter().filter_map(|one| match one.target {
        TrackTarget::Lbd { hung_after } => Some(hung_after),
        _ => None,
    });
    let patience = patience.min().unwrap_or(PATIENCE);
    let mut lbd = Follower::new(&socket, "vrrpd", TopicName::Liveness, patience / PINGS_MISSED);
    let mut seen = Seen::Nothing;
    let mut released = false;
    loop {
        seen = match lbd.next().await {
            News::Connected(_) => {
                released = false;
                continue;
            }
            News::Disconnected(ClientError::TimedOut) => {
                Seen::Gone(format!("lbd hangs: it has said nothing for {patience:?}"))
            }
            News::Disconnected(error) => Seen::Gone(format!("lbd is gone: {error}")),
            News::Update(Update::Snapshot(items)) => items.into_iter().find_map(liveness).map_or(seen, alive),
            News::Update(Update::Event(item)) => liveness(item).map_or(seen, alive),
            News::Update(Update::Ping(ping)) => match seen {
                Seen::Alive(liveness, _) => {
                    Seen::Alive(liveness, Duration::from_millis(ping.tick_age_ms.unwrap_or(0)))
                }
                other => other,
            },
        };
        for one in &watched {
            let (good, text) = judge(&one.target, &seen);
            reporter.report(&one.id, good, text).await;
        }
        // lbd waits for this before it closes its listeners: until then nobody is refused.
        let stops = matches!(&seen, Seen::Alive(liveness, _) if liveness.state == LifeState::Stopping);
        if stops && !released {
            released = true;
            let instances: BTreeSet<_> = watched.iter().map(|one| one.id.instance.clone()).collect();
            let instances = instances.into_iter().collect();
            tokio::spawn(handover::let_go(socket.clone(), reporter.clone(), instances));
        }
    }
}

fn liveness(item: Item) -> Option<Liveness> {
    match item {
        Item::Liveness(liveness) => Some(liveness),
        Item::Verdict(_) | Item::Instance(_) => None,
    }
}

fn alive(liveness: Liveness) -> Seen {
    let age = Duration::from_millis(liveness.tick_age_ms);
    Seen::Alive(liveness, age)
}

/// Whether a tracker is good, and why.
fn judge(target: &TrackTarget, seen: &Seen) -> (bool, String) {
    let (liveness, age) = match seen {
        Seen::Nothing => return (false, "lbd has not been reached yet".to_owned()),
        Seen::Gone(why) => return (false, why.clone()),
        Seen::Alive(liveness, age) => (liveness, *age),
    };
    match target {
        // Its servers are of use to nobody then.
        TrackTarget::Backend(_) if liveness.state == LifeState::Stopping => {
            (false, "lbd is stopping".to_owned())
        }
        TrackTarget::Backend(name) => match liveness.usable.get(name) {
            Some(0) => (false, format!("backend {name} has no usable server")),
            Some(1) => (true, format!("backend {name} has 1 usable server")),
            Some(usable) => (true, format!("backend {name} has {usable} usable servers")),
            None => (false, format!("lbd has no backend {name}")),
        },
        TrackTarget::Lbd { hung_after } if age > *hung_after => {
            // Without the age, which would be news at each ping.
            (false, format!("lbd hangs: a worker has not moved for more than {hung_after:?}"))
        }
        _ => match liveness.state {
            LifeState::Ready => (true, "lbd is ready".to_owned()),
            LifeState::Draining => (true, "lbd drains: it finishes requests before a handover".to_owned()),
            LifeState::Starting => (false, "lbd is starting".to_owned()),
            LifeState::Stopping => (false, "lbd is stopping".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn seen(state: LifeState, age: u64) -> Seen {
        let usable = BTreeMap::from([("full".to_owned(), 2), ("empty".to_owned(), 0)]);
        alive(Liveness { state, tick_age_ms: age, usable })
    }

    #[test]
    fn lbd_is_good_while_it_serves() {
        let target = TrackTarget::Lbd { hung_after: Duration::from_millis(240) };
        for (seen, good) in [
            (Seen::Nothing, false),
            (Seen::Gone("closed".to_owned()), false),
            (seen(LifeState::Starting, 0), false),
            (seen(LifeState::Ready, 240), true),
            (seen(LifeState::Ready, 241), false),
            (seen(LifeState::Draining, 0), true),
            (seen(LifeState::Stopping, 0), false),
        ] {
            assert_eq!(judge(&target, &seen).0, good, "{seen:?}");
        }
    }

    #[test]
    fn a_backend_is_good_while_it_has_a_usable_server() {
        for (name, good) in [("full", true), ("empty", false), ("unknown", false)] {
            let target = TrackTarget::Backend(name.to_owned());
            assert_eq!(judge(&target, &seen(LifeState::Ready, 0)).0, good);
            assert!(!judge(&target, &seen(LifeState::Stopping, 0)).0);
        }
    }
}
