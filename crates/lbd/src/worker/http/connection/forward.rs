//! Answering one request: from a server, or with what became of the attempt.

use std::rc::Rc;

use balance::Key;
use config::Mode;
use edit::Context;
use http1::{Body, BodyReader, Forward, Method};
use tokio::time::Instant;

use super::account::Account;
use super::opening::Opening;
use super::upgraded::Upgraded;
use super::{After, Connection, Request};
use crate::worker::failure::Failure;
use crate::worker::http::answer;
use crate::worker::http::edits::{Edits, ResponseEdits};
use crate::worker::http::exchange::{Ended, Exchange, Upload};
use crate::worker::http::key::key;
use crate::worker::http::turns::{Progress, Turns};
use crate::worker::net::buffer::Buffer;
use crate::worker::upstream::connect::{self, Caller};
use crate::worker::upstream::idle::{Reuse, ServerConnection};
use crate::worker::upstream::patience::Patience;
use crate::worker::upstream::service::{Backend, InFlight, Stickiness, Wanted};

/// What a server made of a request.
enum Forwarded {
    /// The response went to the client.
    Answered(After),
    /// It switched protocols; what it sent behind its head is here.
    Switched(Box<ServerConnection>, Buffer),
}

impl Connection {
    /// Has a server of a backend answer a request.
    pub(super) async fn answer_from(
        &mut self,
        backend: Rc<Backend>,
        edits: Option<&Edits>,
        request: Request,
    ) -> After {
        let mut account = Account::default();
        let in_flight = InFlight::new(&backend);
        backend.earn_retries();
        let result = match self.forward(&request, &backend, edits, &mut account).await {
            Ok(Forwarded::Answered(after)) => Ok(after),
            Ok(Forwarded::Switched(server, early)) => {
                let arrived = request.arrived;
                self.upgraded = Some(Box::new(Upgraded {
                    server: *server,
                    early,
                    arrived,
                    backend,
                    account,
                    _in_flight: in_flight,
                }));
                return After::Upgrade;
            }
            Err(failure) => Err(failure),
        };
        if let Some(seat) = &account.seat {
            seat.leave();
        }
        self.presence.waits();
        let (after, failure) = match result.map_err(|failure| self.unless_cut(failure, &account)) {
            Ok(after) => (after, None),
            Err(failure) => (self.answer_failure(failure, &request, &account).await, Some(failure)),
        };
        self.settle(&request.arrived, Some(&backend), &account, failure);
        drop(in_flight);
        self.give_empty_input();
        after
    }

    /// Sends the request to a server, to another one if that fails early, and the response to the client.
    async fn forward(
        &mut self,
        request: &Request,
        backend: &Rc<Backend>,
        edits: Option<&Edits>,
        account: &mut Account,
    ) -> Result<Forwarded, Failure> {
        let rules = self.frontend.rules();
        if rules.mode != Mode::Http {
            // Since it came, its frontend has become one that carries bytes to servers of another kind.
            return Err(Failure::NoServer);
        }
        let head = &request.head;
        if matches!(head.body, Body::Length(length) if length > rules.body_max) {
            return Err(Failure::RequestTooLong);
        }
        let Some(input) = self.input.as_mut() else { return Err(Failure::ClientClosed) };
        let ways = backend.ways();
        let key = match &ways.key {
            Some(part) => key(part, head, input.filled()),
            None => Key::Client(self.presence.client().ip()),
        };
        if let Some(cookie) = &ways.sticky {
            let now = request.arrived.wall;
            let belongs = cookie.read(head.field_lines(input.filled()), now);
            account.stickiness = Some(Stickiness { belongs, own: backend.own(belongs), now });
        }
        let wanted = Wanted { key, own: account.stickiness.and_then(|stickiness| stickiness.own) };
        let mut head_out = self.worker.heads.lend();
        let forward = Forward {
            client: self.client_text.ip(),
            proto: self.scheme.word(),
            port: self.port,
            default_host: &backend.name,
            forwarded_for: rules.forwarded_for,
            forwarded: rules.forwarded,
            close: backend.closes(),
        };
        head.write(input.filled(), &forward, &mut head_out);
        if let Some(cookie) = &ways.sticky {
            cookie.remove(&mut head_out);
        }

        // What has arrived of the body goes out with the head: one write, and still there for another attempt.
        let mut body = BodyReader::new(head.body);
        let step = body.step(&mut input.filled_mut()[head.len..]).map_err(Failure::RequestBody)?;
        let early = &input.filled()[head.len..head.len + step.forward];
        let opening = Opening::new(&self.worker, head_out, early);
        let mut port = itoa::Buffer::new();
        let context = Context {
            request: opening.head(),
            client_ip: self.client_text.ip(),
            client_port: self.client_text.port(),
            scheme: self.scheme.word(),
            port: port.format(self.port),
            request_id: &self.request_id,
            frontend: self.frontend.name(),
            backend: &backend.name,
            server: "",
            tls: self.presence.tls_in_edits(),
        };
        let allowance = rules.body_max.checked_sub(step.data as u64).ok_or(Failure::RequestTooLong)?;
        let received = (head.len + step.consumed) as u64;
        account.meter.bytes_in.set(received);
        input.consume(head.len + step.consumed);
        let editor = edits.and_then(|edits| edits.request.as_ref());
        // What cannot be edited is refused before a server is asked for.
        let mut edited = editor.map(|editor| opening.edited(&self.worker, editor, &context)).transpose()?;
        // Some servers answer what they do not understand with nothing, and only close a connection that is new.
        let plain = http1::has_plain_target(edited.as_ref().unwrap_or(&opening).head());
        let complete = step.done;
        let withheld = head.expects_continue && step.consumed == 0 && input.is_empty();
        if complete {
            if let Some(input) = self.input.take_if(|input| input.is_empty()) {
                self.worker.give_input(input);
            }
        } else if !head.expects_continue {
            // A client that collects small writes sends the rest when it knows that these bytes have arrived, and the kernel
            // would tell it with our answer, or after 40 ms.
            self.client.acknowledge();
        }

        let mut repeated = false;
        loop {
            // A reused connection may close while the request is on its way to it.
            let idempotent = head.method.is_idempotent();
            let reuse = match complete && idempotent {
                _ if repeated || !plain => Reuse::Never,
                true => Reuse::Any,
                false => Reuse::Fresh,
            };
            let attempts = &mut account.attempts;
            let abort_on_close = backend.rules().abort_on_close;
            let patience = Patience { worker: &self.worker, presence: &self.presence };
            let caller = Caller {
                wanted,
                presence: &self.presence,
                connection: &self.client,
                reserved: &mut self.reserved,
            };
            let upstream = tokio::select! {
                biased;
                upstream = connect::acquire(&patience, backend, caller, reuse, attempts) => upstream,
                () = self.client.gone(abort_on_close) => {
                    return Err(Failure::ClientLeft(account.attempts.waits_for()));
                }
            };
            let (mut server, seat, reused) = match upstream {
                Ok(upstream) => upstream,
                Err((failure, seat)) => {
                    account.seat = seat.or(account.seat.take());
                    return Err(failure);
                }
            };
            let context = Context { server: &seat.server.name, ..context };
            if let Some(editor) = editor.filter(|editor| editor.names_server()) {
                match opening.edited(&self.worker, editor, &context) {
                    Ok(renamed) => edited = Some(renamed),
                    Err(failure) => {
                        account.seat = Some(seat);
                        return Err(failure);
                    }
                }
            }
            let start = edited.as_ref().unwrap_or(&opening).bytes();
            let response = edits.and_then(|edits| edits.response.as_ref());
            self.presence.asks(&seat.server);
            let ServerConnection { stream, first_answer, .. } = &mut server;
            let persistent = || {
                // Asked when the answer's head is there; its body may take long.
                first_answer.came();
                head.persistent && !self.worker.is_leaving() && self.frontend.takes_requests()
            };
            let stick = account.stickiness.and_then(|stickiness| backend.stick(&seat, &stickiness));
            let exchange = Exchange {
                deadline: self.presence.deadline(),
                turns: Turns::new(rules.timeouts.client, backend.rules().timeouts.server),
                responses: &self.worker.responses,
                heads: &self.worker.heads,
                pipes: &self.worker.pipes,
                edits: response.map(|editor| ResponseEdits { editor, context }),
                method: head.method,
                version: head.version,
                upgrade: head.upgrade,
                persistent: &persistent,
                abort_on_close,
                dismissible: reused && complete,
                body_allowance: allowance,
                stick: stick.as_ref(),
                meter: &account.meter,
            };
            let input = if complete { None } else { self.input.as_mut() };
            let upload = Upload { head: start, body: &mut body, input, withheld };
            let ended = exchange.run(&mut self.client, stream, upload).await;
            if account.meter.answered.get().is_some() {
                first_answer.came();
            }
            if reused && account.meter.answered.get().is_some() {
                // An answer on an old connection shows as well as a new connection that the server lives.
                seat.reached();
            }
            // What is idempotent may be repeated, and so may what the server has certainly not acted on (RFC 9110 9.2.2).
            // All that was sent of it has to be there still.
            let held = complete || account.meter.bytes_in.get() == received;
            let again = match ended {
                Err(Failure::Dismissed) => true,
                Err(Failure::Unanswered) => {
                    held && (idempotent || account.meter.was_ended() && server.ignored_all())
                }
                _ => false,
            };
            if again && reused {
                // The server closed what was idle, as it may at any time: nobody has failed.
                account.attempts.stay(seat);
                continue;
            }
            account.seat = Some(seat);
            match ended {
                // A server that stops closes those just made, too. Where it may be at fault the budget bounds it.
                Err(_) if again && !repeated && backend.spend_retry() => {
                    repeated = true;
                    account.repeat(backend);
                }
                Err(failure) => return Err(failure),
                Ok(Ended::Complete { client_reusable, server_reusable, uploaded }) => {
                    if server_reusable && let Some(seat) = &account.seat {
                        server.was_answered(account.meter.bytes_sent.get());
                        match head.method {
                            // It would have to be watched first, and is for one client alone.
                            Method::Head if server.is_introduced => {}
                            Method::Head => self.worker.settling.keep(&seat.server, server),
                            _ if server.is_introduced => {
                                self.reserved = seat.server.reserve(server, Instant::now());
                            }
                            _ => {
                                seat.server.keep(server, Instant::now());
                            }
                        }
                    }
                    return Ok(Forwarded::Answered(match client_reusable {
                        true => After::Reuse,
                        false if !uploaded => After::Linger,
                        false if head.persistent => After::Farewell,
                        false => After::Close,
                    }));
                }
                Ok(Ended::Tunnel(early)) => return Ok(Forwarded::Switched(Box::new(server), early)),
            }
        }
    }

    /// Gives the client the answer that a failure calls for, if it can still have one.
    pub(super) async fn answer_failure(
        &mut self,
        failure: Failure,
        request: &Request,
        account: &Account,
    ) -> After {
        let progress = account.meter.progress.get();
        if progress == (Progress::Started { unframed: true }) {
            // The end of this body is the end of the connection: only a reset tells that it is not whole.
            self.client.abort();
        }
        if !progress.allows_answer() {
            // A client whose request is refused behind its response may still be sending.
            return if failure.refusal().is_some() { After::Linger } else { After::Close };
        }
        account.meter.status.set(failure.status());
        let Some(status) = failure.status() else { return After::Close };
        let routes = self.frontend.routes();
        let response =
            answer::response(status, request.head.method == Method::Head, routes.error_page(status));
        drop(routes);
        account.meter.add_out(response.len());
        self.send_last(&response).await
    }
}
