//! Connections that begin with TLS: the handshake, before there is anything to serve.
//!
//! A handshake costs a hundred times what a request does, and anybody may begin one. So a worker goes on with one at a time, and
//! looks after everything else between two: a flood of them makes handshakes wait, and requests no longer than for one.

use std::future::poll_fn;

use certificates::ClientCertificate;
use rustls::{CommonState, HandshakeKind};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Worker;
use super::failure::Failure;
use super::frontend::Frontend;
use super::leaving::Impatience;
use super::net::io::Io;
use super::net::listener::Arrival;
use super::net::tls::Tls;
use super::presence::Presence;
use super::unheard;
use crate::shared::listen;
use crate::shared::tls::{Agreed, Terminator};

/// Whose turn it is to compute.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Turns {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// Does one step when it is its turn, and lets everything else go on before the next one's.
    pub(super) async fn take<T>(&self, step: impl FnOnce() -> T) -> T {
        // It is never closed.
        let _turn = self.0.acquire().await;
        let done = step();
        tokio::task::yield_now().await;
        done
    }
}

/// Why a handshake fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFault {
    /// What came is no TLS.
    Malformed,
    /// There is no version, cipher or the like that both sides know.
    Incompatible,
    /// No certificate has the name that the client asks for.
    NoCertificate,
    /// The client's own certificate is missing, or not to be trusted.
    ClientCertificate,
    /// The client gave it up and said so: it may not trust our certificate.
    Alert,
}

/// What an error of rustls means for the connection.
fn failure_of(error: &rustls::Error) -> Failure {
    use rustls::Error;
    Failure::Handshake(match error {
        Error::AlertReceived(_) => HandshakeFault::Alert,
        Error::PeerIncompatible(_) => HandshakeFault::Incompatible,
        Error::NoCertificatesPresented
        | Error::InvalidCertificate(_)
        | Error::InvalidCertRevocationList(_) => HandshakeFault::ClientCertificate,
        // What rustls says where its resolver has none.
        Error::General(_) => HandshakeFault::NoCertificate,
        // What is ours, and not the client's.
        Error::Other(_) | Error::FailedToGetRandomBytes => return Failure::Shortage,
        _ => HandshakeFault::Malformed,
    })
}

impl HandshakeFault {
    /// What it is counted under.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Malformed => "tls_malformed",
            Self::Incompatible => "tls_incompatible",
            Self::NoCertificate => "tls_no_certificate",
            Self::ClientCertificate => "tls_client_certificate",
            Self::Alert => "tls_alert",
        }
    }
}

/// Shakes hands with a client. None of a connection that is over.
pub(super) async fn shake(
    worker: &Worker,
    frontend: &Frontend,
    presence: &Presence,
    terminator: &Terminator,
    arrival: Arrival,
) -> Option<Arrival> {
    let Arrival { client, peer, port, input, server_name, owes_request } = arrival;
    let due = Instant::now() + frontend.rules().timeouts.handshake;
    presence.deadline().set_at(due);
    let begun = client.begin_tls(input, terminator.server(), worker.tls.clone());
    let counters = &frontend.counters().tls;
    let mut heard = false;
    let failure = match begun.as_ref().map(Io::tls) {
        Ok(Some(tls)) => {
            let handshake = go_on(worker, presence, tls, due, owes_request, &mut heard);
            match presence.deadline().guard(handshake).await {
                Ok(Ok(())) => {
                    let agreed = tls.agreed(Agreed::of);
                    presence.agreed(agreed, tls.agreed(shown));
                    if agreed.is_some_and(Agreed::is_tls12) {
                        counters.tls12.inc();
                    }
                    let kind = tls.agreed(|agreed| agreed.handshake_kind());
                    if kind == Some(HandshakeKind::Resumed) { &counters.resumed } else { &counters.full }
                        .inc();
                    let client = begun.ok()?;
                    return Some(Arrival { client, peer, port, input: None, server_name, owes_request });
                }
                Ok(Err(failure)) => failure,
                Err(_) if presence.deadline().is_cut() => Failure::Cut(false),
                Err(_) if worker.is_leaving() => Failure::ClientClosed,
                Err(_) => Failure::HandshakeTimeout,
            }
        }
        Ok(None) | Err(_) => Failure::Shortage,
    };
    // Whoever says nothing only looks whether somebody listens.
    if heard || failure != Failure::ClientClosed {
        counters.failed.inc();
        unheard::settle(worker, frontend, presence, failure, &[]);
    }
    None
}

/// What the client's certificate says, which rustls has verified: now, or in the handshake of the session that goes on.
fn shown(session: &CommonState) -> Option<ClientCertificate> {
    ClientCertificate::read(session.peer_certificates()?.first()?)
}

async fn go_on(
    worker: &Worker,
    presence: &Presence,
    client: &Tls,
    due: Instant,
    owes_request: bool,
    heard: &mut bool,
) -> Result<(), Failure> {
    let mut impatience = Impatience::default();
    loop {
        let more = poll_fn(|cx| {
            let more = client.poll_handshake(cx);
            if more.is_pending() && !owes_request {
                impatience.look(worker, presence, || listen::round_trip(client.socket()), cx);
            }
            more
        });
        match more.await {
            Ok(false) => return Ok(()),
            Ok(true) => *heard = true,
            Err(_) => return Err(Failure::ClientClosed),
        }
        impatience.pause(presence, due);
        let step = worker.handshakes.take(|| client.shake_hands()).await;
        step.map_err(|error| failure_of(&error))?;
        presence.has_the_word();
    }
}
