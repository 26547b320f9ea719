//! A request that switched protocols: a tunnel, and the accounts at its end.

use std::future::poll_fn;
use std::rc::Rc;

use super::account::Account;
use super::{Arrived, Connection};
use crate::worker::net::buffer::Buffer;
use crate::worker::tcp::relay::{Bounds, Course, Flow, Relay};
use crate::worker::upstream::idle::ServerConnection;
use crate::worker::upstream::service::{Backend, InFlight};

/// What a tunnel needs, and what is left of its request.
pub(super) struct Upgraded {
    pub(super) server: ServerConnection,
    /// What the server sent behind its head.
    pub(super) early: Buffer,
    pub(super) arrived: Arrived,
    pub(super) backend: Rc<Backend>,
    pub(super) account: Account,
    pub(super) _in_flight: InFlight,
}

impl Connection {
    /// Carries bytes until the tunnel ends, and settles the request that it began with.
    pub(super) async fn carry_upgraded(&mut self) {
        let Some(mut upgraded) = self.upgraded.take() else { return };
        // There is no next request.
        self.reserved = None;
        let Upgraded { server, early, arrived, backend, account, .. } = &mut *upgraded;
        let flow = Rc::new(Flow::new());
        if let Some(seat) = &account.seat {
            self.presence.carries(seat, &flow);
        }
        self.presence.let_go(self.worker.counters());
        let bounds = Bounds::alike(self.frontend.rules().timeouts.tunnel);
        let mut relay = Relay::new(self.input.take().unwrap_or_default(), std::mem::take(early));
        let deadline = self.presence.deadline();
        let course = Course { worker: &self.worker, deadline, flow: &flow, bounds: &bounds };
        relay.begin(course);
        let ended = poll_fn(|cx| relay.poll(cx, course, &mut self.client, &mut server.stream)).await;
        account.meter.add(flow.bytes_in(), flow.bytes_out());
        if let Some(seat) = &account.seat {
            seat.leave();
        }
        let failure = ended.err().map(|failure| self.unless_cut(failure, account));
        self.settle(arrived, Some(backend), account, failure);
    }
}
