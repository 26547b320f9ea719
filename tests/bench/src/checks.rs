//! What health checks cost: healthd beside HAProxy, each with many servers and no traffic.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use testkit::{Addresses, Program, binary, is_installed};

use crate::cpu::{Processors, Used, resident_kib};
use crate::origin::{Origin, server};
use crate::peer::{Running, spawn};
use crate::program::{self, lines};
use crate::report::median;

/// How long checks take to spread over their interval after the start.
const SETTLE: Duration = Duration::from_secs(8);

#[derive(Debug, Args)]
pub(crate) struct Checks {
    /// Servers, each checked every 2 s.
    #[arg(long, default_value_t = 5000)]
    servers: usize,
    /// Rounds; what is reported is their median.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

impl Checks {
    pub(crate) fn main(self) -> anyhow::Result<()> {
        for program in ["haproxy", "nginx", "taskset"] {
            anyhow::ensure!(is_installed(program), "{program} is not installed; `make bench` installs it");
        }
        let processors = Processors::choose()?;
        crate::args::raise_descriptor_limit()?;
        let dir = tempfile::tempdir()?;
        let addresses = Addresses::claim();
        let _origin = Origin::start(&addresses, dir.path(), processors)?;
        let servers: Vec<_> = (0..self.servers).map(server).collect();
        let checkers = [
            ("haproxy", haproxy(&servers, &addresses, dir.path(), processors)?),
            ("healthd", healthd(&servers, &addresses, dir.path(), processors)?),
        ];
        println!(
            "{} servers, a check of `GET /100` each 2 s; medians of {} rounds of {} s.\n\n\
             | checker | CPU a check, us | of one processor | memory, MiB |\n|---|---|---|---|",
            self.servers, self.rounds, self.seconds
        );
        for (name, command) in checkers {
            let running = spawn(name, command, dir.path(), processors)?;
            self.measure(name, &running)?;
        }
        Ok(())
    }

    /// One after the other: both at once would have their checks in each other's way.
    fn measure(&self, name: &str, checker: &Running) -> anyhow::Result<()> {
        let pids = [checker.pid()];
        sleep(SETTLE);
        let mut shares = Vec::new();
        for _ in 0..self.rounds {
            let before = Used::by(&pids)?;
            sleep(Duration::from_secs(self.seconds.into()));
            let used = Used::by(&pids)?.since(before);
            shares.push((used.user + used.system).as_secs_f64() / f64::from(self.seconds));
        }
        let share = median(shares);
        let checks_a_second = self.servers as f64 / 2.0;
        println!(
            "| {name} | {:.1} | {:.1} % | {:.1} |",
            share * 1e6 / checks_a_second,
            share * 100.0,
            resident_kib(&pids)? as f64 / 1024.0
        );
        Ok(())
    }
}

fn haproxy(
    servers: &[SocketAddr],
    addresses: &Addresses,
    dir: &Path,
    processors: Processors,
) -> anyhow::Result<Command> {
    let servers = lines(servers, |number, address| format!("    server s{number} {address} check inter 2s"));
    let config = format!(
        "global\n    nbthread 1\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 5s\n    \
         timeout server 5s\nfrontend web\n    bind {}\n    default_backend web\nbackend web\n    option httpchk GET /100\n{servers}",
        addresses.socket(10, 8080)
    );
    program::haproxy(&config, dir, processors.proxy)
}

fn healthd(
    servers: &[SocketAddr],
    addresses: &Addresses,
    dir: &Path,
    processors: Processors,
) -> anyhow::Result<Command> {
    let servers = lines(servers, |number, address| format!("      s{number}: {address}"));
    let config = format!(
        "frontends:\n  web: {{ bind: [\"{}\"], backend: web }}\nbackends:\n  web:\n    \
         check: {{ http: {{ path: /100, expect: 200 }}, interval: 2s }}\n    servers:\n{servers}healthd: {{ admin: {{ bind: \"{}\" }} }}\n",
        addresses.socket(11, 8080),
        addresses.socket(11, 8083)
    );
    program::tandem(&binary(Program::Healthd), &config, dir, processors.proxy)
}
