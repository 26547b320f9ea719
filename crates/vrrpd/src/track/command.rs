//! A command: good while it exits with 0.

use config::{Command, TrackTiming};
use tokio::time::{MissedTickBehavior, interval};

use super::verdict::Verdict;
use super::{Reporter, TrackerId};
use crate::child;

/// Runs a command for ever.
pub(super) async fn run(id: TrackerId, command: Command, timing: TrackTiming, mut reporter: Reporter) {
    let mut verdict = Verdict::new(timing.rise, timing.fall);
    let mut ticks = interval(timing.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ended = child::run(&command, &[], timing.timeout).await;
        let text = match ended.lines.first() {
            Some(line) => format!("{}: {line}", ended.text),
            None => ended.text,
        };
        let good = verdict.take(ended.good);
        reporter.report(&id, good, text).await;
    }
}
