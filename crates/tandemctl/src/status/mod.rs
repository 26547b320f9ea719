//! `status`: both nodes of a pair at a glance.

mod instances;
mod other;
mod report;
mod screen;
mod services;
mod table;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::cli::StatusArgs;
use crate::failure::Failure;
use crate::node::Node;
use other::Other;
use report::Report;
use screen::Style;

/// How often `--watch` shows it again.
const REFRESH: Duration = Duration::from_secs(1);
/// Clears the terminal from its top left corner on.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints the state of both nodes, once or again and again. Fails if a daemon that is asked for cannot be reached, after showing
/// the others.
pub(crate) async fn run(node: &Node, args: &StatusArgs) -> Result<(), Failure> {
    let mut out = io::stdout();
    let is_terminal = out.is_terminal();
    loop {
        let here = Report::gather(node).await;
        let other = Other::find(&here, args).await;
        let text = match args.json {
            true => json(&here, &other),
            false => screen::render(&here, &other, Style::of_stdout()),
        };
        if args.watch && is_terminal {
            out.write_all(CLEAR.as_bytes())?;
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
        if !args.watch {
            return here.outcome().and(other.outcome());
        }
        tokio::time::sleep(REFRESH).await;
    }
}

/// One line: this node, and as `peer` the other one, where one is shown.
fn json(here: &Report, other: &Other) -> String {
    let mut json = here.to_json();
    if let Some(report) = other.report() {
        json["peer"] = report.to_json();
    }
    format!("{json}\n")
}
