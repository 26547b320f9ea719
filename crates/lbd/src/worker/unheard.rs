//! Connections that end before they have a request or a session.

use std::time::SystemTime;

use config::Mode;

use super::Worker;
use super::client_text::ClientText;
use super::failure::Failure;
use super::frontend::Frontend;
use super::presence::Presence;
use crate::shared::access_log::{CookieStates, REQUEST_LINE_MAX, Record, Times};

/// Counts and logs one that did not begin as it has to. `received` is what it said.
pub(super) fn settle(
    worker: &Worker,
    frontend: &Frontend,
    presence: &Presence,
    failure: Failure,
    received: &[u8],
) {
    let (counters, rules) = (frontend.counters(), frontend.rules());
    counters.bytes_in.add(received.len() as u64);
    if let Some(reason) = failure.refusal() {
        counters.refused.inc();
        worker.counters().refuse(reason);
    }
    let line = received.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    let (client, total) = (presence.client(), presence.accepted().elapsed());
    worker.log(
        rules.access_log,
        &Record {
            request_id: None,
            client,
            client_text: ClientText::new(client).with_port(),
            received: SystemTime::now().checked_sub(total).unwrap_or(SystemTime::UNIX_EPOCH),
            frontend: frontend.name(),
            tls: presence.tls(),
            backend: frontend.name(),
            server: None,
            times: Times { total, ..Times::default() },
            status: None,
            bytes: 0,
            termination: failure.termination(),
            cookie: CookieStates::NONE,
            concurrency: [worker.counters().connections.get(), counters.connections.get(), 0, 0],
            retries: 0,
            redispatched: false,
            queued_behind: 0,
            request: (rules.mode == Mode::Http).then(|| &line[..line.len().min(REQUEST_LINE_MAX)]),
        },
    );
}
