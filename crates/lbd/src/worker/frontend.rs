//! A worker's own side of a frontend.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use config::{AccessLog, ClientTimeouts, Mode};
use http1::{ForwardedFields, ForwardedFor, Limits};
use route::Networks;

use super::routes::{Backends, Routes};
use crate::shared::counters::{FrontendCounters, PerWorker};
use crate::shared::limits::Places;
use crate::shared::routing;

/// A frontend, as one worker serves it. Connections hold on to it across reloads.
#[derive(Debug)]
pub(crate) struct Frontend {
    name: Box<str>,
    rules: Cell<Rules>,
    routes: RefCell<Rc<Routes>>,
    /// Whose connections begin with a PROXY header.
    proxies: RefCell<Networks>,
    retired: Cell<bool>,
    counters: Arc<PerWorker<FrontendCounters>>,
    /// Its client connections, where they are limited.
    places: RefCell<Option<Arc<Places>>>,
    worker: usize,
}

/// What a connection needs of its frontend's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    /// Whether clients may speak HTTP/2.
    pub(crate) http2: bool,
    pub(crate) timeouts: ClientTimeouts,
    pub(crate) limits: Limits,
    /// The longest body of a request.
    pub(crate) body_max: u64,
    pub(crate) forwarded_for: ForwardedFor,
    pub(crate) forwarded: ForwardedFields,
    /// Whether the log has what requests are known by.
    pub(crate) logs_request_ids: bool,
    pub(crate) access_log: AccessLog,
}

impl Rules {
    fn of(config: &config::Frontend) -> Self {
        Self {
            mode: config.mode,
            http2: config.http2,
            timeouts: config.timeouts,
            limits: Limits {
                request_line: config.limits.request_line,
                head: config.limits.head,
                fields: config.limits.fields,
            },
            body_max: config.limits.body.unwrap_or(u64::MAX),
            forwarded_for: match config.forwarded_for {
                config::ForwardedFor::Append => ForwardedFor::Append,
                config::ForwardedFor::Replace => ForwardedFor::Replace,
                config::ForwardedFor::Off => ForwardedFor::Off,
            },
            forwarded: config.forwarded,
            logs_request_ids: config.request_id.is_some(),
            access_log: config.access_log,
        }
    }
}

impl Frontend {
    pub(crate) fn new(routing: &routing::Frontend, backends: &Backends, worker: usize) -> Self {
        Self {
            name: routing.config.name.as_str().into(),
            rules: Cell::new(Rules::of(&routing.config)),
            routes: RefCell::new(Rc::new(Routes::new(routing, backends, worker))),
            proxies: RefCell::new(Networks::new(&routing.config.accept_proxy)),
            retired: Cell::new(false),
            counters: routing.counters.clone(),
            places: RefCell::new(routing.places.clone()),
            worker,
        }
    }

    /// Takes the frontend as it is now. Requests in flight keep what they began with. Whether it has another mode.
    pub(crate) fn adopt(&self, routing: &routing::Frontend, backends: &Backends) -> bool {
        let before = self.rules.replace(Rules::of(&routing.config));
        self.places.replace(routing.places.clone());
        self.proxies.replace(Networks::new(&routing.config.accept_proxy));
        self.routes.replace(Rc::new(Routes::new(routing, backends, self.worker)));
        before.mode != routing.config.mode
    }

    pub(crate) fn places(&self) -> Option<Arc<Places>> {
        self.places.borrow().clone()
    }

    /// The frontend is gone from the configuration: its connections end after the request in flight.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
    }

    /// Whether it is still there, and speaks HTTP: otherwise no request is taken any more.
    pub(crate) fn takes_requests(&self) -> bool {
        !self.retired.get() && self.rules.get().mode == Mode::Http
    }

    /// Whether a connection from there begins with a PROXY header.
    pub(crate) fn expects_introduction(&self, from: IpAddr) -> bool {
        self.proxies.borrow().contains(from)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules.get()
    }

    /// Where its requests go.
    pub(crate) fn routes(&self) -> Rc<Routes> {
        self.routes.borrow().clone()
    }

    /// Whether the server that a TLS client names decides where its session goes.
    pub(crate) fn looks_at_server_names(&self) -> bool {
        let routes = self.routes.borrow();
        self.rules.get().mode == Mode::Tcp && routes.table().is_some_and(|table| table.needs_host())
    }

    pub(crate) fn counters(&self) -> &FrontendCounters {
        self.counters.of(self.worker)
    }
}
