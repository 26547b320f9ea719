//! What the benchmark is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args as ClapArgs, Parser, Subcommand};
use testkit::{Addresses, is_installed};

use crate::cpu::Processors;
use crate::origin::Origin;
use crate::peer::{self, Peer};
use crate::report::Report;
use crate::work::{self, Work};

/// Measures what lbd costs, beside others in the same run.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) part: Part,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Requests: processor time, rate, latency and memory of each proxy in each kind of work.
    Run(Run),
    /// Health checks: processor time of healthd and of HAProxy, with many servers.
    Checks(crate::checks::Checks),
    /// Verdicts: what a third of all servers going and coming does to others' clients, to pings and to routing.
    Storm(crate::storm::Storm),
    /// Memory: what an idle connection and a tunnel hold in each proxy, and what a crowd leaves behind.
    Memory(crate::memory::Memory),
    /// The floor: carries bytes between each client and a server, four calls a request, and reads none of them.
    #[command(hide = true)]
    Relay { listen: SocketAddr, to: SocketAddr },
    /// The floor without a runtime.
    #[command(hide = true)]
    Bare { pairs: Vec<SocketAddr> },
    /// A server that switches protocols and echoes.
    #[command(hide = true)]
    Echo { listen: SocketAddr },
    /// Holds connections until it is killed.
    #[command(hide = true)]
    Hold { to: SocketAddr, connections: usize, held: crate::memory::Held, authority: PathBuf },
    /// Sends messages through upgraded connections.
    #[command(hide = true)]
    Tunnels { to: SocketAddr, connections: usize, seconds: u64 },
    /// Resumes TLS sessions, a connection for each request.
    #[command(hide = true)]
    Resume { to: SocketAddr, path: String, connections: usize, seconds: u64, authority: PathBuf },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// The kinds of work, by name; all by default.
    #[arg(long, value_delimiter = ',')]
    work: Vec<String>,
    /// The proxies, by name; all by default. The first is the one that the others are measured by.
    #[arg(long, value_delimiter = ',', default_value = "haproxy,haproxy-log,nginx,relay,lbd")]
    peers: Vec<String>,
    /// Rounds; what is reported is their median.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

impl Run {
    pub(crate) fn main(self) -> anyhow::Result<()> {
        for program in ["wrk", "h2load", "haproxy", "nginx", "taskset"] {
            if !is_installed(program) {
                bail!("{program} is not installed; `make bench` installs it");
            }
        }
        let all = work::all();
        let chosen: Vec<&Work> = if self.work.is_empty() {
            all.iter().collect()
        } else {
            let find = |name: &String| {
                all.iter().find(|work| work.name == name).ok_or_else(|| {
                    let names: Vec<_> = all.iter().map(|work| work.name).collect();
                    anyhow::anyhow!("there is no work \"{name}\"; there is {}", names.join(", "))
                })
            };
            self.work.iter().map(find).collect::<anyhow::Result<_>>()?
        };
        let processors = Processors::choose()?;
        raise_descriptor_limit()?;
        let dir = tempfile::tempdir()?;
        let addresses = Addresses::claim();
        let origin = Origin::start(&addresses, dir.path(), processors)?;
        let mut report = Report::new(&self.peers, self.rounds, self.seconds);
        for servers in [3, 10, 100, 1000] {
            let work: Vec<_> = chosen.iter().copied().filter(|work| work.servers == servers).collect();
            if work.is_empty() {
                continue;
            }
            let start =
                |name: &String| peer::start(name, &addresses, &origin, servers, dir.path(), processors);
            let peers = self.peers.iter().map(start).collect::<anyhow::Result<Vec<Peer>>>()?;
            for round in 1..=self.rounds {
                for work in &work {
                    for peer in &peers {
                        if !work.suits(&peer.name) {
                            continue;
                        }
                        eprint!("\r\x1b[Kround {round} of {}: {}, {}", self.rounds, work.name, peer.name);
                        report.add(
                            work,
                            &peer.name,
                            work.measure(peer, self.seconds, processors, dir.path())?,
                        );
                    }
                }
            }
            eprint!("\r\x1b[K");
        }
        print!("{}", report.markdown(&chosen));
        Ok(())
    }
}

/// Thousands of connections are held, by this process's children too.
pub(crate) fn raise_descriptor_limit() -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(())
}
