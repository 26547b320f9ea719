//! The routes of frontends, and how often each was taken.

use std::fmt::Write;

/// A route of a frontend, or what stands for all that no route fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// The frontend.
    pub frontend: String,
    /// Its name, or its number from 1; `none` of what no route fits.
    pub route: String,
    /// What becomes of its requests, in words: `backend api`, `deny 403`.
    pub action: String,
    /// How many requests, or sessions, have taken it.
    pub taken: u64,
}

/// `show routes [FRONTEND]`: one line for each.
pub fn show_routes(rows: &[RouteRow], frontend: Option<&str>) -> String {
    let mut text = String::from("# frontend route taken action\n");
    for row in rows.iter().filter(|row| frontend.is_none_or(|name| name == row.frontend)) {
        _ = writeln!(text, "{} {} {} {}", row.frontend, row.route, row.taken, row.action);
    }
    text
}
