//! Connections that a proxy in front passes on: each begins with a header that says who the client is (PROXY protocol).

use std::future::poll_fn;
use std::time::{Duration, SystemTime};

use config::Mode;
use proxy_protocol::{Decoded, Header, decode};

use super::Worker;
use super::client_text::ClientText;
use super::failure::Failure;
use super::frontend::Frontend;
use super::leaving::Leaving;
use super::net::buffer::Buffer;
use super::net::listener::Arrival;
use super::presence::Presence;
use crate::shared::access_log::{CookieStates, REQUEST_LINE_MAX, Record, Times};

/// How long the header may take: a proxy sends it at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection whose header is awaited.
struct Introduction<'a> {
    worker: &'a Worker,
    frontend: &'a Frontend,
    presence: &'a Presence,
    /// What was received and not yet used.
    input: Buffer,
}

/// Reads the header, and makes the connection that of the client which it names. None of a connection that is over: whoever does
/// not begin as it has to is not answered.
pub(super) async fn hear(
    worker: &Worker,
    frontend: &Frontend,
    presence: &Presence,
    mut arrival: Arrival,
) -> Option<Arrival> {
    let mut introduction = Introduction { worker, frontend, presence, input: Buffer::default() };
    presence.deadline().set(PATIENCE);
    match introduction.read(&mut arrival).await {
        Ok(header) => {
            if let Header::Proxied { source, destination } = header {
                presence.introduce(source, destination);
            }
            arrival.input = introduction.rest();
            Some(arrival)
        }
        Err(failure) => {
            introduction.settle(failure);
            introduction.rest();
            None
        }
    }
}

impl Introduction<'_> {
    async fn read(&mut self, arrival: &mut Arrival) -> Result<Header, Failure> {
        self.first_bytes(arrival).await?;
        loop {
            match decode(self.input.filled()) {
                Ok(Some(Decoded { header, len })) => {
                    self.input.consume(len);
                    return Ok(header);
                }
                Ok(None) => {}
                Err(fault) => return Err(Failure::Proxy(fault)),
            }
            match self.presence.deadline().guard(self.input.fill(&mut arrival.client.reader())).await {
                Ok(Ok(n)) if n > 0 => {}
                Ok(_) => return Err(Failure::ClientClosed),
                Err(_) => return Err(self.late()),
            }
        }
    }

    /// Why it was not waited for any longer.
    fn late(&self) -> Failure {
        match () {
            () if self.presence.deadline().is_cut() => Failure::Cut(false),
            () if self.worker.is_leaving() => Failure::ClientClosed,
            () => Failure::ProxyTimeout,
        }
    }

    /// Waits for the first bytes, and holds no buffer meanwhile. A worker that leaves has less patience.
    async fn first_bytes(&mut self, arrival: &mut Arrival) -> Result<(), Failure> {
        let (worker, presence) = (self.worker, self.presence);
        let mut leaving = Leaving::No;
        let received = poll_fn(|cx| {
            let received = worker.requests.poll_read(cx, &mut arrival.client.reader());
            if received.is_pending() {
                let now = worker.leaving();
                if now != leaving && now != Leaving::No && !arrival.owes_request {
                    leaving = now;
                    presence.deadline().set(leaving.grace(Some(presence.accepted().elapsed())));
                }
                presence.wake_with(cx.waker());
            }
            received
        });
        match presence.deadline().guard(received).await {
            Ok(Ok(first)) if !first.is_empty() => {
                self.input = first.keep();
                Ok(())
            }
            Ok(_) => Err(Failure::ClientClosed),
            Err(_) => Err(self.late()),
        }
    }

    /// What has come behind the header. An empty buffer goes back.
    fn rest(&mut self) -> Option<Buffer> {
        let rest = std::mem::take(&mut self.input);
        if !rest.is_empty() {
            return Some(rest);
        }
        self.worker.requests.give(rest);
        None
    }

    /// Counts and logs a connection that did not begin as it has to.
    fn settle(&self, failure: Failure) {
        let received = self.input.filled();
        if received.is_empty() && failure == Failure::ClientClosed {
            // It only looked whether somebody listens.
            return;
        }
        let (counters, rules) = (self.frontend.counters(), self.frontend.rules());
        counters.bytes_in.add(received.len() as u64);
        if let Some(reason) = failure.refusal() {
            counters.refused.inc();
            self.worker.counters().refuse(reason);
        }
        let line = received.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
        let line = line.unwrap_or_default();
        let (client, total) = (self.presence.client(), self.presence.accepted().elapsed());
        self.worker.log(
            rules.access_log,
            &Record {
                request_id: None,
                client,
                client_text: ClientText::new(client).with_port(),
                received: SystemTime::now().checked_sub(total).unwrap_or(SystemTime::UNIX_EPOCH),
                frontend: self.frontend.name(),
                backend: self.frontend.name(),
                server: None,
                times: Times { total, ..Times::default() },
                status: None,
                bytes: 0,
                termination: failure.termination(),
                cookie: CookieStates::NONE,
                concurrency: [self.worker.counters().connections.get(), counters.connections.get(), 0, 0],
                retries: 0,
                redispatched: false,
                queued_behind: 0,
                request: (rules.mode == Mode::Http).then(|| &line[..line.len().min(REQUEST_LINE_MAX)]),
            },
        );
    }
}
