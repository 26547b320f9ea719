//! Connections that a proxy in front passes on: each begins with a header that says who the client is (PROXY protocol).

use std::future::poll_fn;
use std::time::Duration;

use proxy_protocol::{Decoded, Header, decode};

use super::Worker;
use super::failure::Failure;
use super::frontend::Frontend;
use super::leaving::Impatience;
use super::net::buffer::Buffer;
use super::net::listener::Arrival;
use super::presence::Presence;
use super::unheard;

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
        let mut impatience = Impatience::default();
        let received = poll_fn(|cx| {
            let received = worker.requests.poll_read(cx, &mut arrival.client.reader());
            if received.is_pending() && !arrival.owes_request {
                impatience.look(worker, presence, || arrival.client.round_trip(), cx);
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
        unheard::settle(self.worker, self.frontend, self.presence, failure, received);
    }
}
