//! A worker's own side of a frontend's routes.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use config::Action;
use route::{Request, Table};

use super::http::answer::Own;
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
    taken: Arc<PerWorker<RouteCounters>>,
    worker: usize,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// It goes there.
    Backend(Rc<Backend>),
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
        let backend =
            |name: &String| backends.get(name).cloned().map_or_else(|| nowhere.clone(), Target::Backend);
        let target = |route: &config::Route| match &route.action {
            Action::Backend(name) => backend(name),
            Action::Redirect(to) => Target::Own(Rc::new(Own::redirect(to))),
            Action::Respond(answer) => Target::Own(Rc::new(Own::respond(answer))),
            Action::Deny(status) => deny(*status),
        };
        Self {
            table: config.routes.table().cloned(),
            targets: config.routes.list().iter().map(target).collect(),
            default: config.backend.as_ref().map_or_else(|| nowhere.clone(), backend),
            taken: frontend.taken.clone(),
            worker,
            errors,
        }
    }

    /// What is looked up; none where there are no routes.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.table.as_ref()
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
