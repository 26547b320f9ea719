//! The command line.

use std::path::PathBuf;

use balance::Weight;
use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Looks into the daemons of this node, and tells them what to do
///
/// Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 69 a daemon cannot be reached; 78 bad configuration.
#[derive(Debug, Parser)]
#[command(name = "tandemctl", version, verbatim_doc_comment)]
pub(crate) struct Cli {
    /// Directory of the daemons' sockets
    #[arg(long, global = true, value_name = "DIR", env = "TANDEM_RUN_DIR", default_value = "/run/tandem")]
    pub(crate) run_dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the daemons, frontends, backends and servers of this node
    Status {
        /// Print JSON, for scripts
        #[arg(long)]
        json: bool,
        /// Show it again every second, until interrupted
        #[arg(long, short)]
        watch: bool,
    },
    /// Send no new requests to a server; those in flight are finished, and it is still checked
    Drain {
        /// The server, as BACKEND/SERVER, or as SERVER where only one backend has a server of that name
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
    /// Let a server take requests again, for as long as it is healthy
    Ready {
        /// The server, as BACKEND/SERVER, or as SERVER where only one backend has a server of that name
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
    /// Take a server out of service: no new requests, and its health does not count
    Maint {
        /// The server, as BACKEND/SERVER, or as SERVER where only one backend has a server of that name
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
    /// Change a server's share of the requests
    Weight {
        /// The server, as BACKEND/SERVER, or as SERVER where only one backend has a server of that name
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
        /// From 0 to 256, relative to the other servers' weights; 0 means no new requests
        #[arg(value_parser = parse_weight)]
        weight: Weight,
    },
    /// Let every daemon read its configuration again; one that is wrong is refused, and changes nothing
    Reload,
    /// Check configuration files without starting anything
    Check {
        /// Configuration files, such as lb.yaml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print each file with every default filled in
        #[arg(long)]
        effective: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn parse_weight(word: &str) -> Result<Weight, String> {
    word.parse()
        .ok()
        .and_then(Weight::new)
        .ok_or_else(|| format!("a weight is a number from 0 to {}", Weight::MAX))
}
