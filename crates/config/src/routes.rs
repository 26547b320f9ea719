//! The routes of a frontend: which requests they are for, and what becomes of those.

use std::fmt;

use route::{Conditions, Table, TooLarge};

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
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It goes to the backend of that name, which exists.
    Backend(String),
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
    pub fn label(&self, place: usize) -> impl fmt::Display {
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
