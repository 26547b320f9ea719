//! A worker's own side of a frontend's routes.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use config::{Action, RequestId};
use route::{Request, Table};

use super::http::answer::Own;
use super::http::edits::Edits;
use super::http::ids::Ids;
use super::upstream::service::Backend;
use crate::shared::counters::{PerWorker, RouteCounters};
use crate::shared::routing;

/// The backends of a worker, by name.
pub(crate) type Backends = HashMap<String, Rc<Backend>>;

/// Where the requests of a frontend go.
#[derive(Debug)]
pub(crate) struct Routes {
    table: Option<Table>,
    /// What becomes of the requests of each route.
    targets: Box<[Target]>,
    /// Where all others go.
    default: Target,
    /// What lbd's own answers of some statuses say.
    errors: HashMap<u16, Arc<[u8]>>,
    /// Whether a request has a name, and in which field the client may give it one.
    names_requests: bool,
    id: Option<RequestId>,
    taken: Arc<PerWorker<RouteCounters>>,
    worker: usize,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// It goes there, with these edits.
    Backend(Rc<Backend>, Option<Rc<Edits>>),
    /// It is answered here; a session ends.
    Own(Rc<Own>),
}

impl Routes {
    pub(crate) fn new(frontend: &routing::Frontend, backends: &Backends, worker: usize) -> Self {
        let config = &frontend.config;
        let errors: HashMap<u16, Arc<[u8]>> =
            config.errors.iter().map(|(status, page)| (*status, page.content.clone())).collect();
        let deny = |status: u16| Target::Own(Rc::new(Own::deny(status, errors.get(&status))));
        let nowhere = deny(404);
        let id = config.request_id.as_ref();
        let edited = |name: &str, of_route: Option<&config::Edits>| {
            let of_backend = frontend.backend_edits.get(name).map(|edits| &**edits);
            Edits::new(id, [config.edits.as_deref(), of_route, of_backend])
        };
        // Thousands of routes may lead to one backend. They share all but edits of their own.
        let names: HashSet<&str> = config.backends().collect();
        let shared: HashMap<&str, Target> = names
            .into_iter()
            .filter_map(|name| Some((name, Target::Backend(backends.get(name)?.clone(), edited(name, None)))))
            .collect();
        let backend = |name: &String, of_route: Option<&config::Edits>| match shared.get(name.as_str()) {
            Some(Target::Backend(backend, _)) if of_route.is_some() => {
                Target::Backend(backend.clone(), edited(name, of_route))
            }
            Some(target) => target.clone(),
            None => nowhere.clone(),
        };
        let target = |route: &config::Route| match &route.action {
            Action::Backend(name) => backend(name, route.edits.as_deref()),
            Action::Redirect(to) => Target::Own(Rc::new(Own::redirect(to))),
            Action::Respond(answer) => Target::Own(Rc::new(Own::respond(answer))),
            Action::Deny(status) => deny(*status),
        };
        let targets: Box<[Target]> = config.routes.list().iter().map(target).collect();
        let default = config.backend.as_ref().map_or_else(|| nowhere.clone(), |name| backend(name, None));
        let names_request = |target: &Target| match target {
            Target::Backend(_, edits) => edits.as_ref().is_some_and(|edits| edits.names_request),
            Target::Own(_) => false,
        };
        Self {
            table: config.routes.table().cloned(),
            names_requests: id.is_some() || targets.iter().chain([&default]).any(names_request),
            id: id.cloned(),
            targets,
            default,
            taken: frontend.taken.clone(),
            worker,
            errors,
        }
    }

    /// What is looked up; none where there are no routes.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// Appends what a request is known by, where somebody wants to know it: what the client calls it, if that counts, or else
    /// something `made`. `lines` are the field lines of its head.
    pub(crate) fn name_request(&self, lines: &[u8], made: &Ids, out: &mut Vec<u8>) {
        if !self.names_requests {
            return;
        }
        let accepted = self.id.as_ref().filter(|id| id.accept);
        match accepted.and_then(|id| edit::accepted_id(lines, &id.field)) {
            Some(id) => out.extend_from_slice(id),
            None => edit::push_id(made.next(), out),
        }
    }

    /// What becomes of a request for which the table chose this. It is counted.
    pub(crate) fn take(&self, chosen: Option<usize>) -> Target {
        if self.table.is_some() {
            self.taken.of(self.worker).count(chosen);
        }
        chosen.and_then(|route| self.targets.get(route)).unwrap_or(&self.default).clone()
    }

    /// What an answer of lbd's own with that status says, if the file has it.
    pub(crate) fn error_page(&self, status: u16) -> Option<&[u8]> {
        self.errors.get(&status).map(|page| &page[..])
    }

    /// What becomes of a session, of which nothing is known but where it is from.
    pub(crate) fn of_session(&self, request: &Request<'_>) -> Target {
        self.take(self.table.as_ref().and_then(|table| table.choose(request)))
    }
}
