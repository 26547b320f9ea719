//! `routes`: the routes of frontends, and how often each was taken.

use std::io::Write;

use crate::failure::Failure;
use crate::node::Node;
use crate::table::table;

/// Prints the routes of a frontend, or of all of them.
pub(crate) async fn run(node: &Node, frontend: Option<&str>) -> Result<(), Failure> {
    let command = match frontend {
        Some(name) => format!("show routes {name}"),
        None => "show routes".to_owned(),
    };
    let answer = node.text("lbd", &command).await?;
    let Some(table) = table(&answer) else { return Err(Failure::Refused(format!("lbd: {}", answer.trim()))) };
    Ok(write!(std::io::stdout(), "{table}")?)
}
