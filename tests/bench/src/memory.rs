//! What connections hold while they do nothing, and what is left of a crowd: `scripts/bench memory`.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use clap::{Args, ValueEnum};
use testkit::{Addresses, is_installed};

use crate::cpu::{Processors, resident_kib};
use crate::load;
use crate::origin::Origin;
use crate::peer::{self, Peer};

/// How long a proxy is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// The proxies, by name.
    #[arg(long, value_delimiter = ',', default_value = "haproxy,nginx,lbd")]
    peers: Vec<String>,
    /// Idle connections between requests.
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// Idle connections under TLS.
    #[arg(long, default_value_t = 4000)]
    tls: usize,
    /// Idle upgraded connections.
    #[arg(long, default_value_t = 2000)]
    tunnels: usize,
    /// Idle sessions in TCP mode.
    #[arg(long, default_value_t = 4000)]
    sessions: usize,
    /// Clients that stop in the middle of an upload: the crowd.
    #[arg(long, default_value_t = 1000)]
    uploads: usize,
    /// Seconds after which a crowd that has left is looked for.
    #[arg(long, default_value_t = 60)]
    rest: u64,
}

/// What connections are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Held {
    /// After a request and its response.
    Idle,
    /// The same under TLS.
    Tls,
    /// In a tunnel that has carried a message each way.
    Tunnel,
    /// In a session in TCP mode that has carried a message each way.
    Session,
    /// In the middle of an upload.
    Upload,
}

/// Resident memory in KiB: before anybody came, while they were there, and after they left.
#[derive(Clone, Copy, Debug)]
struct Resident {
    before: u64,
    peak: u64,
    after: u64,
}

impl Memory {
    pub(crate) fn main(self) -> anyhow::Result<()> {
        for program in ["haproxy", "nginx", "taskset"] {
            anyhow::ensure!(is_installed(program), "{program} is not installed; `make bench` installs it");
        }
        let processors = Processors::choose()?;
        crate::args::raise_descriptor_limit()?;
        let dir = tempfile::tempdir()?;
        let addresses = Addresses::claim();
        let origin = Origin::start(&addresses, dir.path(), processors)?;
        println!(
            "Resident memory with {} idle connections, {} under TLS, {} idle tunnels and {} sessions in TCP mode that have carried a message, \
             and a crowd of {} clients in the middle of an upload; what of the crowd's memory is back {} s after it left.\n\n\
             | proxy | an idle connection, kB | under TLS, kB | a tunnel, kB | a session, kB | at rest, MiB | the crowd's peak, MiB | back |\n\
             |---|---|---|---|---|---|---|---|",
            self.idle, self.tls, self.tunnels, self.sessions, self.uploads, self.rest
        );
        for name in &self.peers {
            // Each begins anew: what one kind has left behind would serve the next.
            let measure = |held, count, rest| {
                let dir = dir.path().join(format!("{name}-{held:?}"));
                std::fs::create_dir(&dir)?;
                let peer = peer::start(name, &addresses, &origin, 3, &dir, processors)?;
                resident(&peer, held, count, rest, &dir, processors)
            };
            let idle = measure(Held::Idle, self.idle, 0)?;
            let tls = measure(Held::Tls, self.tls, 0)?;
            let tunnels = measure(Held::Tunnel, self.tunnels, 0)?;
            let sessions = measure(Held::Session, self.sessions, 0)?;
            let crowd = measure(Held::Upload, self.uploads, self.rest)?;
            let each = |resident: Resident, count: usize| {
                resident.peak.saturating_sub(resident.before) as f64 * 1.024 / count.max(1) as f64
            };
            let grown = crowd.peak.saturating_sub(crowd.before).max(1) as f64;
            println!(
                "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0}% |",
                each(idle, self.idle),
                each(tls, self.tls),
                each(tunnels, self.tunnels),
                each(sessions, self.sessions),
                crowd.before as f64 / 1024.0,
                crowd.peak as f64 / 1024.0,
                crowd.peak.saturating_sub(crowd.after) as f64 / grown * 100.0
            );
        }
        Ok(())
    }
}

fn resident(
    peer: &Peer,
    held: Held,
    count: usize,
    rest: u64,
    dir: &Path,
    processors: Processors,
) -> anyhow::Result<Resident> {
    let kib = || {
        sleep(SETTLE);
        resident_kib(&peer.pids())
    };
    // Whatever the first connections need once exists before.
    drop(load::start_holding(peer, held, 20, processors, dir)?);
    let before = kib()?;
    let connections = load::start_holding(peer, held, count, processors, dir)?;
    let peak = kib()?;
    drop(connections);
    sleep(Duration::from_secs(rest));
    Ok(Resident { before, peak, after: kib()? })
}
