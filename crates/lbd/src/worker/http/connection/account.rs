//! What a request did: counted and logged when it is over.

use balance::{Belongs, ServerId, Written};
use tokio::time::Instant;

use super::{Arrived, Connection};
use crate::shared::access_log::{CookieStates, Record, Termination, Times};
use crate::shared::counters::StickyCounters;
use crate::worker::failure::Failure;
use crate::worker::http::exchange::Meter;
use crate::worker::upstream::connect::Attempts;
use crate::worker::upstream::service::{Backend, Seat, Stickiness};

/// What one request did, for the log and the counters.
#[derive(Default)]
pub(super) struct Account {
    pub(super) meter: Meter,
    pub(super) attempts: Attempts,
    pub(super) seat: Option<Seat>,
    /// How a request ended that lbd has answered itself, as its routes say.
    pub(super) own: Option<Termination>,
    /// What its cookies said of its server, where clients stay with theirs.
    pub(super) stickiness: Option<Stickiness>,
}

impl Account {
    /// Whether the server that took the request, or would have, is the one of its cookie.
    fn is_followed(&self, own: Option<ServerId>) -> bool {
        own.is_some() && self.seat.as_ref().is_none_or(|seat| own == Some(seat.id))
    }

    /// Counts what the cookies of the request said, and what the response did.
    fn count_cookies(&self, counters: &StickyCounters) {
        let Some(Stickiness { belongs, own, .. }) = self.stickiness else { return };
        let said = match belongs {
            Belongs::Nowhere => &counters.absent,
            Belongs::Unknown => &counters.unknown,
            Belongs::Idle | Belongs::Old => &counters.expired,
            Belongs::To(_) if self.is_followed(own) => &counters.followed,
            Belongs::To(_) => &counters.dead,
        };
        said.inc();
        match self.meter.cookie.get() {
            Some(Written::New) => counters.new.inc(),
            Some(Written::Renewed) => counters.renewed.inc(),
            None => {}
        }
    }

    /// The letters of the log.
    fn cookie(&self) -> CookieStates {
        let Some(Stickiness { belongs, own, .. }) = self.stickiness else { return CookieStates::NONE };
        let request = match belongs {
            Belongs::Nowhere => b'N',
            Belongs::Unknown => b'I',
            Belongs::Idle => b'E',
            Belongs::Old => b'O',
            Belongs::To(_) if self.is_followed(own) => b'V',
            Belongs::To(_) => b'D',
        };
        let response = match self.meter.cookie.get() {
            Some(Written::New) => b'I',
            Some(Written::Renewed) => b'U',
            None => b'N',
        };
        CookieStates([request, response])
    }

    /// A request goes out again, to another server, because its connection was closed without an answer.
    pub(super) fn repeat(&mut self, backend: &Backend) {
        if let Some(seat) = self.seat.take() {
            self.attempts.again(backend, &seat);
        }
    }
}

impl Connection {
    /// What has failed, if it has not failed because the connection was ended.
    pub(super) fn unless_cut(&self, failure: Failure, account: &Account) -> Failure {
        match self.presence.deadline().take_cut() {
            Some(cut) => Failure::of_cut(cut, account.meter.progress.get().has_started()),
            None => failure,
        }
    }

    /// Counts and logs a request that has ended, perhaps without a backend.
    pub(super) fn settle(
        &self,
        arrived: &Arrived,
        backend: Option<&Backend>,
        account: &Account,
        failure: Option<Failure>,
    ) {
        let Account { meter, attempts, seat, own, .. } = account;
        let (bytes_in, bytes_out, status) = (meter.bytes_in.get(), meter.bytes_out.get(), meter.status.get());
        let (now, taken) = (Instant::now(), attempts.taken());
        let times = Times {
            request: Some(arrived.received - arrived.begun),
            queue: taken.queue_time,
            connect: taken.connect_time,
            response: meter
                .begun
                .get()
                .zip(meter.answered.get())
                .map(|(begun, answered)| answered.saturating_duration_since(begun)),
            total: now - arrived.begun,
        };

        // Zero stands for never.
        let last = self.worker.clock.millis_at(now) + 1;

        let front = self.frontend.counters();
        front.bytes_in.add(bytes_in);
        front.bytes_out.add(bytes_out);
        if let Some(status) = status {
            front.responses.record(status);
        }
        if let Some(reason) = failure.and_then(Failure::refusal) {
            front.refused.inc();
            self.worker.counters().refuse(reason);
        }
        let server = seat.as_ref().map(|seat| seat.server.counters());
        for counters in backend.map(Backend::counters).into_iter().chain(server) {
            counters.bytes_in.add(bytes_in);
            counters.bytes_out.add(bytes_out);
            if let Some(status) = status {
                counters.responses.record(status);
            }
            match failure {
                Some(failure) if failure.is_bad_response() => {
                    counters.response_errors.inc();
                    self.worker.failures.notify_one();
                    if meter.progress.get().has_started() {
                        counters.server_aborts.inc();
                    }
                }
                Some(failure) if failure.is_clients() => counters.client_aborts.inc(),
                _ => {}
            }
            if let Some(time) = times.queue {
                counters.queue_time.record(crate::shared::millis(time));
            }
            if let Some(time) = times.connect {
                counters.connect_time.record(crate::shared::millis(time));
            }
            if let Some(time) = times.response {
                counters.response_time.record(crate::shared::millis(time));
            }
            counters.total_time.record(crate::shared::millis(times.total));
            counters.last_request.set(last);
        }
        if let Some(server) = server {
            server.requests.inc();
            if failure.is_none() && status.is_some_and(|status| status >= 500) {
                server.server_errors.inc();
                self.worker.failures.notify_one();
            }
        }
        if let Some(backend) = backend {
            account.count_cookies(&backend.counters().sticky);
        }
        if let Some((backend, answered)) = backend.zip(meter.answered.get()) {
            backend.counters().latency.record(answered - arrived.received);
        }

        let all = self.worker.counters().connections.get();
        self.log(&Record {
            client: self.presence.client(),
            client_text: self.client_text.with_port(),
            received: arrived.wall,
            frontend: self.frontend.name(),
            tls: self.presence.tls(),
            backend: backend.map_or(self.frontend.name(), |backend| &backend.name),
            server: seat.as_ref().map(|seat| &*seat.server.name),
            times,
            status,
            bytes: bytes_out,
            termination: failure.map_or(own.unwrap_or(Termination::NORMAL), Failure::termination),
            cookie: account.cookie(),
            concurrency: [
                all,
                front.connections.get(),
                backend.map_or(0, |backend| backend.counters().in_flight.get()),
                server.map_or(0, |server| server.in_flight.get()),
            ],
            retries: taken.retries,
            redispatched: taken.redispatched,
            queued_behind: taken.queued_behind,
            request: Some(&self.request_line),
            request_id: self.logged_id(),
        });
    }

    pub(super) fn log(&self, record: &Record<'_>) {
        self.worker.log(self.frontend.rules().access_log, record);
    }
}
