//! The planned handover, as the control thread steers it: lbd drains, the virtual addresses leave this node, and then lbd
//! goes on, or ends.
//!
//! A handover begins with a request of vrrpd's. An lbd that is to stop, and that vrrpd follows, says that it is `leaving`, and is
//! asked to drain as soon as that keeps nobody waiting twice. While lbd drains it is as good as ready: the addresses stay until it
//! is done. A stop says then that it is `stopping`, which makes them leave; after a request the answer does. Every wait that
//! keeps clients waiting is bounded by `lbd.handover_timeout`.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use wire::LifeState;

use super::{App, lock};
use crate::control::{drain, relatives};
use crate::shared::command::Command;

/// How often a stopping lbd looks whether anybody still follows it.
const FOLLOWED_TICK: Duration = Duration::from_millis(5);
/// How long it serves on for vrrpd to ask it to drain, which takes 1.25 s where this node has just become master.
const UNASKED: Duration = Duration::from_millis(1500);

/// A part of a handover that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold new connections, and finish requests in flight.
    Drain,
    /// The virtual addresses have left this node.
    Released,
    /// The virtual addresses stay on this node: nobody takes them.
    Kept,
}

/// A step, and where to tell that it is done.
#[derive(Debug)]
pub struct HandoverRequest {
    /// What is asked for.
    pub step: Step,
    /// What was done.
    pub done: oneshot::Sender<String>,
}

/// Where a handover stands.
#[derive(Default)]
pub(super) enum Handover {
    /// There is none.
    #[default]
    None,
    /// Requests in flight are being finished; those who asked wait.
    Draining { work: Pin<Box<dyn Future<Output = String> + Send>>, asked: Vec<oneshot::Sender<String>> },
    /// Nothing is in flight, and new connections are held until then at most.
    Held { until: Instant, outcome: String },
}

/// What becomes of a handover by itself.
pub(super) enum Advance {
    /// Nothing is in flight any more, or the time for it is over.
    Drained(String),
    /// Nobody has said that the addresses have left.
    Forgotten,
}

impl Handover {
    /// The next event of the handover: none ever, without one. Cancel safe.
    pub(super) async fn next(&mut self) -> Advance {
        match self {
            Self::None => pending().await,
            Self::Draining { work, .. } => Advance::Drained(work.await),
            Self::Held { until, .. } => {
                sleep_until(*until).await;
                Advance::Forgotten
            }
        }
    }

    /// Whoever asked learns the outcome.
    fn hold(&mut self, patience: Duration, outcome: String) {
        let held = Self::Held { until: Instant::now() + patience, outcome: outcome.clone() };
        if let Self::Draining { asked, .. } = std::mem::replace(self, held) {
            for done in asked {
                // Who asked may have gone.
                let _ = done.send(outcome.clone());
            }
        }
    }
}

impl App {
    /// Takes a step that was asked for while lbd serves.
    pub(super) fn take_handover_request(&mut self, HandoverRequest { step, done }: HandoverRequest) {
        match step {
            Step::Drain if self.is_starting() => {
                let _ = done.send("lbd has taken no connections yet".to_owned());
            }
            Step::Drain => {
                self.drain();
                self.wait_for_drain(done);
            }
            Step::Released | Step::Kept => {
                if !matches!(self.handover, Handover::None) {
                    let outcome = match step {
                        Step::Kept => "nobody takes the virtual addresses",
                        _ => "the virtual addresses have left this node",
                    };
                    tracing::info!("{outcome}: lbd takes new connections again");
                    self.resume();
                }
                let _ = done.send("lbd takes new connections".to_owned());
            }
        }
    }

    /// Takes the step that comes by itself while lbd serves.
    pub(super) fn advance_handover(&mut self, advance: Advance) {
        match advance {
            Advance::Drained(outcome) => {
                tracing::info!("{outcome}; new connections are held until the virtual addresses have left");
                self.handover.hold(self.handover_timeout(), outcome);
            }
            Advance::Forgotten => {
                tracing::warn!(
                    waited = ?self.handover_timeout(),
                    "nobody has said that the virtual addresses have left this node: lbd takes new connections again"
                );
                self.resume();
            }
        }
    }

    /// Hands over before a stop: returns when the virtual addresses have left, as far as lbd can know.
    pub(super) async fn hand_over(&mut self) {
        if matches!(self.handover, Handover::None) {
            self.wait_to_be_asked().await;
        }
        self.drain();
        // Drained on request before: what came since is nothing new.
        while !matches!(self.handover, Handover::Held { .. }) {
            tokio::select! {
                advance = self.handover.next() => self.advance_handover(advance),
                Some(request) = self.handovers.recv() => match request.step {
                    Step::Drain => self.wait_for_drain(request.done),
                    // Of an earlier handover: nobody has been told yet that the addresses are to leave.
                    Step::Released | Step::Kept => drop(request.done.send("lbd stops".to_owned())),
                }
            }
        }
        self.set_life(LifeState::Stopping);
        let forgotten = sleep(self.handover_timeout());
        tokio::pin!(forgotten);
        while self.liveness.subscribers() > 0 {
            tokio::select! {
                Some(request) = self.handovers.recv() => {
                    let _ = request.done.send("lbd stops".to_owned());
                    match request.step {
                        Step::Drain => {}
                        Step::Released => {
                            tracing::info!("the virtual addresses have left this node");
                            return;
                        }
                        Step::Kept => {
                            tracing::warn!("nobody takes the virtual addresses: clients wait for the next lbd");
                            return;
                        }
                    }
                }
                () = sleep(FOLLOWED_TICK) => {}
                () = &mut forgotten => {
                    tracing::warn!(
                        waited = ?self.handover_timeout(),
                        "nobody has said that the virtual addresses have left this node: clients may have to wait for the next lbd"
                    );
                    return;
                }
            }
        }
    }

    /// vrrpd knows when to drain: clients that another node has held until a moment ago come first. Who does not ask is not waited
    /// for.
    async fn wait_to_be_asked(&mut self) {
        tracing::info!("lbd is to stop, and serves on until vrrpd has it drain");
        self.set_life(LifeState::Leaving);
        let unasked = sleep(UNASKED);
        tokio::pin!(unasked);
        while self.liveness.subscribers() > 0 {
            tokio::select! {
                Some(request) = self.handovers.recv() => match request.step {
                    Step::Drain => {
                        self.drain();
                        return self.wait_for_drain(request.done);
                    }
                    Step::Released | Step::Kept => drop(request.done.send("lbd stops".to_owned())),
                },
                () = sleep(FOLLOWED_TICK) => {}
                () = &mut unasked => return,
            }
        }
    }

    /// Begins to drain, unless that has been done.
    fn drain(&mut self) {
        if !matches!(self.handover, Handover::None) {
            return;
        }
        self.call_off_upgrade("a handover begins");
        let patience = self.handover_timeout();
        tracing::info!(at_most = ?patience, "lbd drains: new connections are held, requests in flight finish");
        self.set_life(LifeState::Draining);
        let workers = self.workers.iter().map(|worker| worker.commands.clone()).collect();
        let counters = lock(&self.state).registry().worker.clone();
        let listening = self.bound.keys().copied().collect();
        let own = drain::drain(workers, counters, listening, patience);
        let beside = relatives::drain(self.life.context().own_dir(), patience);
        let work = Box::pin(async { tokio::join!(own, beside).0 });
        self.handover = Handover::Draining { work, asked: Vec::new() };
    }

    /// Tells `done` as soon as nothing is in flight, which may be now. That somebody asks again shows that the addresses are
    /// still about to leave.
    fn wait_for_drain(&mut self, done: oneshot::Sender<String>) {
        let patience = self.handover_timeout();
        match &mut self.handover {
            Handover::Draining { asked, .. } => asked.push(done),
            Handover::Held { until, outcome } => {
                *until = Instant::now() + patience;
                let _ = done.send(outcome.clone());
            }
            Handover::None => {}
        }
    }

    fn resume(&mut self) {
        for worker in &self.workers {
            if let Err(error) = worker.tell(Command::Resume) {
                // It ends, or hangs, and shows that itself.
                tracing::error!("a worker does not follow: {error:#}");
            }
        }
        self.set_life(LifeState::Ready);
        if let Handover::Draining { asked, .. } = std::mem::take(&mut self.handover) {
            for done in asked {
                let _ = done.send("the handover was called off".to_owned());
            }
        }
    }

    pub(super) fn handover_timeout(&self) -> Duration {
        lock(&self.state).config().lbd.handover_timeout
    }
}
