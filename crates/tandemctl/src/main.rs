//! tandemctl: looks into the daemons of a node, and tells them what to do.
//!
//! | module | for |
//! |---|---|
//! | `cli` | the command line |
//! | `node` | the daemons' sockets, and why one cannot be reached |
//! | `status` | `tandemctl status`: a table, or JSON |
//! | `peer`, `http` | the daemons of another node, through their admin addresses |
//! | `handover` | gives the virtual addresses to another node, withdraws anycast services and announces them again |
//! | `server` | `drain`, `ready`, `maint`, `weight`, `maxconn`, `shutdown` |
//! | `routes`, `certificates`, `sessions`, `reload`, `upgrade`, `check` | the commands of the same names |
//! | `load` | a steady load, to measure what a fault costs clients |
//! | `table` | an answer in text, put into columns |
//! | `time` | times on the command line |
//! | `failure` | exit codes |

mod check;
mod cli;
mod failure;
mod handover;
mod http;
mod load;
mod node;
mod peer;
mod reload;
mod server;
mod status;
mod table;
mod time;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use balance::AdminState;
use cli::{Cli, Command, Sessions, Shutdown};
use failure::Failure;
use node::Node;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let node = Node::new(cli.run_dir, cli.process);
    match cli.command {
        Command::Status(args) => status::run(&node, &args).await,
        Command::Handover { name } => handover::run(&node, name).await,
        Command::Announce { service } => handover::announce(&node, service).await,
        Command::Drain { server, close_after } => {
            server::set_state(&node, &server, AdminState::Drain, close_after).await
        }
        Command::Ready { server } => server::set_state(&node, &server, AdminState::Ready, None).await,
        Command::Maint { server, close_after } => {
            server::set_state(&node, &server, AdminState::Maint, close_after).await
        }
        Command::Weight { server, weight } => server::set_weight(&node, &server, weight).await,
        Command::Maxconn { server, maxconn } => server::set_maxconn(&node, &server, maxconn).await,
        Command::Certificates { frontend } => {
            table::show(&node, "show certificates", frontend.as_deref()).await
        }
        Command::Routes { frontend } => table::show(&node, "show routes", frontend.as_deref()).await,
        Command::Sessions { whose } => table::show(&node, "show sess", whose.as_deref()).await,
        Command::Shutdown(Shutdown::Sessions(Sessions::Server { server })) => {
            server::shut_down(&node, &server).await
        }
        Command::Shutdown(Shutdown::Session { id }) => server::shut_down_session(&node, &id).await,
        Command::Reload => reload::run(&node).await,
        Command::Upgrade => reload::upgrade(&node).await,
        Command::Check { files, effective } => {
            check::run(&files, effective, &mut io::stdout(), &mut io::stderr())
        }
        Command::Load(args) => load::run(args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tandemctl", &mut io::stdout());
            Ok(())
        }
        Command::Man { directory } => Ok(clap_mangen::generate_to(Cli::command(), directory)?),
    }
}
