//! `status`: the whole node at a glance.

mod instances;
mod report;
mod screen;
mod table;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::cli::StatusArgs;
use crate::failure::Failure;
use crate::node::Node;
use crate::peer::Peer;
use report::Report;
use screen::Style;

/// How often `--watch` shows it again.
const REFRESH: Duration = Duration::from_secs(1);
/// Clears the terminal from its top left corner on.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints the state of the node, once or again and again. Fails if a daemon cannot be reached, after showing the others.
pub(crate) async fn run(node: &Node, args: &StatusArgs) -> Result<(), Failure> {
    let &StatusArgs { json, watch, ref peer, ports, ref user } = args;
    let mut out = io::stdout();
    let is_terminal = out.is_terminal();
    loop {
        let report = match peer {
            None => Report::gather(node).await,
            Some(host) => {
                Report::gather_from(&Peer::find(node, host.clone(), ports, user.clone()).await?).await
            }
        };
        let text = if json { report.to_json() } else { screen::render(&report, Style::of_stdout()) };
        if watch && is_terminal {
            out.write_all(CLEAR.as_bytes())?;
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
        if !watch {
            return report.outcome();
        }
        tokio::time::sleep(REFRESH).await;
    }
}
