//! `sessions`: who is connected, to which server, since when.

use std::io::Write;

use crate::failure::Failure;
use crate::node::Node;
use crate::table::table;

/// Prints the client connections with a backend or server, or all of them.
pub(crate) async fn run(node: &Node, whose: Option<&str>) -> Result<(), Failure> {
    let command = match whose {
        Some(whose) => format!("show sess {whose}"),
        None => "show sess".to_owned(),
    };
    let answer = node.text("lbd", &command).await?;
    let Some(table) = table(&answer) else { return Err(Failure::Refused(format!("lbd: {}", answer.trim()))) };
    Ok(write!(std::io::stdout(), "{table}")?)
}
