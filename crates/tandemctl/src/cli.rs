//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use balance::Weight;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::http::Login;
use crate::load::LoadArgs;
use crate::time::duration;

/// The longest that lbd waits before it ends what is with a server.
const CLOSE_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Looks into the daemons of this node, and tells them what to do
///
/// Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 69 a daemon cannot be reached; 78 bad configuration.
#[derive(Debug, Parser)]
#[command(name = "tandemctl", version, verbatim_doc_comment)]
pub(crate) struct Cli {
    /// Directory of the daemons' directories, which hold their sockets
    #[arg(long, global = true, value_name = "DIR", env = "TANDEM_RUN_DIR", default_value = "/run/tandem")]
    pub(crate) run_dir: PathBuf,
    /// Ask the lbd of this process, which finishes what it has after an upgrade, instead of the one that serves
    #[arg(long, global = true, value_name = "PID")]
    pub(crate) process: Option<u32>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the daemons, virtual addresses, frontends, backends and servers of this node, and of the other one
    ///
    /// The other node is the one that vrrpd heard last, or that `--peer` names; it is asked through the admin addresses of its daemons.
    Status(StatusArgs),
    /// Send no new requests to a server; those in flight are finished, and it is still checked
    Drain {
        /// The server, as BACKEND/SERVER, or as SERVER where only one backend has a server of that name
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
        /// End what is still with it after that time, such as 30s or 5m; `ready` takes that back
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        close_after: Option<Duration>,
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
        /// End what is still with it after that time, such as 30s or 5m; `ready` takes that back
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        close_after: Option<Duration>,
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
    /// Limit a server's requests at once; what is too much for it goes to others, or waits
    Maxconn {
        /// The server, as BACKEND/SERVER, or as SERVER where only one backend has a server of that name
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
        /// Requests at once, of all workers together; 0 means no limit
        maxconn: u32,
    },
    /// Show the routes of frontends, and how often each was taken
    Routes {
        /// The frontend; all of them if left out
        #[arg(value_parser = parse_name)]
        frontend: Option<String>,
    },
    /// Show the certificates that are presented, and how many days are left to them
    Certificates {
        /// The frontend; all of them if left out
        #[arg(value_parser = parse_name)]
        frontend: Option<String>,
    },
    /// Show client connections: who they are with, since when, and what they carried
    Sessions {
        /// Those with a backend, or a server of it, only
        #[arg(value_name = "BACKEND[/SERVER]", value_parser = parse_path)]
        whose: Option<String>,
    },
    /// End client connections at once, whatever they are at
    #[command(subcommand)]
    Shutdown(Shutdown),
    /// Give the virtual addresses to another node, and withdraw anycast services, without losing a request
    ///
    /// Services stay withdrawn until `announce`, or until vrrpd starts again. Exit code 1 if this node has nothing to give, or nobody
    /// takes it.
    Handover {
        /// The instance or service, as vrrp.yaml names it; all of them if left out
        name: Option<String>,
    },
    /// Announce anycast services again, after a handover, or without waiting for the end of a hold-down
    ///
    /// Exit code 1 if none is fit.
    Announce {
        /// The service, as vrrp.yaml names it; all of them if left out
        service: Option<String>,
    },
    /// Let every daemon read its configuration again; one that is wrong is refused, and changes nothing
    Reload,
    /// Take a new release of lbd into use, while the old one serves: it is relieved when the new one does, and finishes what it has
    ///
    /// The program at the path from which lbd was started is started beside it, with the same arguments. If it cannot serve within 7 s,
    /// nothing changes, and the exit code is 1. Needs an lbd that systemd has started.
    Upgrade,
    /// Check configuration files without starting anything, each alone and all together
    ///
    /// Give the vrrp.yaml of all nodes and their lb.yaml: what does not fit together is told too.
    Check {
        /// Configuration files, such as lb.yaml and vrrp.yaml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print each file with every default filled in
        #[arg(long)]
        effective: bool,
    },
    /// Send a steady load, each request on a connection of its own, and say how many were lost and for how long
    ///
    /// Exit code 1 if any was lost.
    Load(LoadArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
}

/// What is to be ended.
#[derive(Debug, Subcommand)]
pub(crate) enum Shutdown {
    /// Many sessions
    #[command(subcommand)]
    Sessions(Sessions),
    /// One client connection
    Session {
        /// What `tandemctl sessions` calls it, such as 0-17
        #[arg(value_parser = parse_name)]
        id: String,
    },
}

/// Whose sessions are to be ended.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// The sessions and requests that are with a server
    Server {
        /// The server, as BACKEND/SERVER, or as SERVER where only one backend has a server of that name
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
}

/// What `status` shows, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
    /// Show it again every second, until interrupted
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// The other node, and fail if it does not answer; without HOST the one that vrrpd heard last
    #[arg(long, value_name = "HOST", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "that is how clap tells `--peer` from no `--peer`")]
    pub(crate) peer: Option<Option<String>>,
    /// Show this node alone
    #[arg(long, conflicts_with = "peer")]
    pub(crate) alone: bool,
    #[command(flatten)]
    pub(crate) ports: Ports,
    /// Who asks another node whose pages want a password
    #[arg(long, value_name = "NAME:PASSWORD", env = "TANDEM_USER", hide_env_values = true)]
    pub(crate) user: Option<Login>,
}

/// The ports of another node's admin addresses.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Ports {
    /// Port of the other node's lbd
    #[arg(long, value_name = "PORT", default_value_t = 8404)]
    pub(crate) lbd_port: u16,
    /// Port of the other node's healthd
    #[arg(long, value_name = "PORT", default_value_t = 8406)]
    pub(crate) healthd_port: u16,
    /// Port of the other node's vrrpd
    #[arg(long, value_name = "PORT", default_value_t = 8407)]
    pub(crate) vrrpd_port: u16,
}

/// A name is one word on the socket.
fn parse_name(word: &str) -> Result<String, String> {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match !word.is_empty() && word.bytes().all(usual) {
        true => Ok(word.to_owned()),
        false => Err("a name has letters, digits, \"-\", \"_\" and \".\"".to_owned()),
    }
}

/// A backend's name, or a server's behind it.
fn parse_path(word: &str) -> Result<String, String> {
    word.split('/').try_for_each(|name| parse_name(name).map(drop))?;
    Ok(word.to_owned())
}

fn parse_time(word: &str) -> Result<Duration, String> {
    duration(word, Duration::ZERO..=CLOSE_AFTER_MAX)
}

fn parse_weight(word: &str) -> Result<Weight, String> {
    word.parse()
        .ok()
        .and_then(Weight::new)
        .ok_or_else(|| format!("a weight is a number from 0 to {}", Weight::MAX))
}
