//! `reload`: every daemon reads its configuration again. `upgrade`: lbd does with another release.

use std::io::Write;

use wire::{Answer, Request};

use crate::failure::Failure;
use crate::node::{DAEMONS, Node};

/// Asks each daemon in turn and prints its answer. Fails if one refused or could not be reached; the others are asked all
/// the same, but for healthd where lbd refused: both read one file, and are to run the same.
pub(crate) async fn run(node: &Node) -> Result<(), Failure> {
    let mut failures: Vec<u8> = Vec::new();
    let mut refused = false;
    for daemon in DAEMONS.into_iter().filter(|daemon| node.has(daemon)) {
        if daemon == "healthd" && refused {
            writeln!(std::io::stdout(), "healthd: not asked, as lbd has refused the file")?;
            continue;
        }
        match reload(node, daemon).await {
            Ok(done) => writeln!(std::io::stdout(), "{daemon}: {done}")?,
            Err(failure) => {
                refused |= daemon == "lbd" && matches!(failure, Failure::Refused(_));
                failure.report();
                failures.push(failure.code());
            }
        }
    }
    // A refusal says more than an absence, and has the smaller code.
    failures.into_iter().min().map_or(Ok(()), |code| Err(Failure::Told(code)))
}

/// Has another lbd serve in the place of the one that does, and prints who that is.
pub(crate) async fn upgrade(node: &Node) -> Result<(), Failure> {
    let mut connection = node.connect("lbd").await?;
    match connection.ask(Request::Upgrade).await? {
        Answer::Done(done) => Ok(writeln!(std::io::stdout(), "lbd: {done}")?),
        other => Err(connection.unexpected(&other)),
    }
}

async fn reload(node: &Node, daemon: &'static str) -> Result<String, Failure> {
    let mut connection = node.connect(daemon).await?;
    match connection.ask(Request::Reload).await? {
        Answer::Done(done) => Ok(done),
        other => Err(connection.unexpected(&other)),
    }
}
