//! The routes of a frontend: which requests they are for, and what becomes of those.

use std::fmt;
use std::sync::Arc;

use route::{Conditions, Table, TooLarge};

use crate::Edits;

/// The routes of a frontend, in the order of the file: the first that fits counts.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    list: Vec<Route>,
    table: Option<Table>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// What it is called in statistics; its number, from 1, if it has no name.
    pub name: Option<String>,
    /// What a request has to be.
    pub when: Conditions,
    /// What it must not be.
    pub not: Vec<Conditions>,
    /// What becomes of it.
    pub action: Action,
    /// What becomes of heads, between the edits of the frontend and a backend. Default: nothing.
    pub edits: Option<Arc<Edits>>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It goes to the backend of that name, which exists.
    Backend(String),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered.
    Respond(Respond),
    /// It is refused with this status.
    Deny(u16),
}

/// In words: `backend api`, `redirect 302`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(name) => write!(f, "backend {name}"),
            Self::Redirect(to) => write!(f, "redirect {}", to.code),
            Self::Respond(answer) => write!(f, "respond {}", answer.status),
            Self::Deny(status) => write!(f, "deny {status}"),
        }
    }
}

/// Where a client is sent. What is not given is the request's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The scheme. With another one than the request's the port of the request makes no sense, and is left out.
    pub scheme: Option<Scheme>,
    /// The host, and perhaps a port.
    pub host: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The status: 301, 302, 303, 307 or 308.
    pub code: u16,
    /// Whether the request's query goes along.
    pub keeps_query: bool,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// Its status, from 200 to 599.
    pub status: u16,
    /// What its body is.
    pub content_type: String,
    /// Its body; empty where the status has none.
    pub page: Page,
}

/// A body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The file that it was read from, if it was.
    pub file: Option<String>,
    /// What it says.
    pub content: Arc<[u8]>,
}

impl Routes {
    /// Compiles routes.
    ///
    /// # Errors
    /// When they would take too much memory.
    pub fn new(list: Vec<Route>) -> Result<Self, TooLarge> {
        let pure = |route: &Route| route::Route { when: route.when.clone(), not: route.not.clone() };
        let routes: Vec<route::Route> = list.iter().map(pure).collect();
        let table = if routes.is_empty() { None } else { Some(Table::new(&routes)?) };
        Ok(Self { list, table })
    }

    /// All of them.
    pub fn list(&self) -> &[Route] {
        &self.list
    }

    /// What finds the one for a request; none where there are no routes.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// What a route is called, by its place.
    pub fn label(&self, place: usize) -> String {
        match self.list.get(place).and_then(|route| route.name.clone()) {
            Some(name) => name,
            None => (place + 1).to_string(),
        }
    }
}

/// The table follows from the list.
impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}
