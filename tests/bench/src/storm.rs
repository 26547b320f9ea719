//! What a storm of verdicts costs: many servers, of which a third goes and comes again and again, while clients of another
//! backend are served. And how soon the first request is answered after a cold start.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use testkit::{Addresses, Process, Program, binary, is_installed};
use tokio::sync::watch;
use wire::client::{Follower, News, Update};
use wire::{Item, TopicName};

use crate::cpu::{Processors, Used};
use crate::load::{self, Outcome};
use crate::origin::{Origin, server};
use crate::peer::{Running, serves, spawn};
use crate::program::{self, lines};
use crate::work::{Kind, Way, Work};

/// How long the fickle servers stay as they are.
const EPISODE: Duration = Duration::from_secs(2);
/// How long checks take to have found everything after the start.
const SETTLE: Duration = Duration::from_secs(8);
/// How often lbd is to show that it lives, as `timing: fast` wants it.
const PING: Duration = Duration::from_millis(80);
/// Where fickle servers listen.
const FICKLE: u16 = 8002;

#[derive(Debug, Args)]
pub(crate) struct Storm {
    /// Frontends, with a backend each.
    #[arg(long, default_value_t = 300)]
    backends: usize,
    /// Servers of each backend, each checked every 2 s; a third of them is fickle, but for the first backend's.
    #[arg(long, default_value_t = 10)]
    servers: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The proxies, by name.
    #[arg(long, value_delimiter = ',', default_value = "haproxy,lbd")]
    peers: Vec<String>,
}

/// A proxy at work.
struct Subject {
    processes: Vec<Running>,
    address: SocketAddr,
}

/// What was measured of one.
struct Figures {
    first_request: Duration,
    calm: Outcome,
    kept: Outcome,
    new: Outcome,
    /// Processor time a second during the storm, beside what the calm load cost.
    used: f64,
}

impl Storm {
    pub(crate) fn main(self) -> anyhow::Result<()> {
        for program in ["wrk", "haproxy", "nginx", "taskset"] {
            anyhow::ensure!(is_installed(program), "{program} is not installed; `make bench` installs it");
        }
        let processors = Processors::choose()?;
        crate::args::raise_descriptor_limit()?;
        let dir = tempfile::tempdir()?;
        let addresses = Addresses::claim();
        let _origin = Origin::start(&addresses, dir.path(), processors)?;
        let fickle = self.all().filter(|(.., address)| address.port() == FICKLE).count();
        println!(
            "{} frontends and backends, {} servers checked each 2 s, of which {fickle} go or come each {} s; \
             clients of one that stays, on 32 kept connections and on new ones.\n\n\
             | proxy | first request, s | p99 calm, ms | p99 kept, ms | p99 new, ms | CPU in the storm |\n|---|---|---|---|---|---|",
            self.backends,
            self.backends * self.servers,
            EPISODE.as_secs(),
        );
        let mut told = Vec::new();
        for name in &self.peers {
            let own = dir.path().join(name);
            std::fs::create_dir(&own)?;
            let (figures, watched) = self.measure(name, &addresses, &own, processors)?;
            let ms = |outcome: Outcome| outcome.p99.as_secs_f64() * 1e3;
            println!(
                "| {name} | {:.2} | {:.1} | {:.1} | {:.1} | {:.0} % |",
                figures.first_request.as_secs_f64(),
                ms(figures.calm),
                ms(figures.kept),
                ms(figures.new),
                figures.used * 100.0
            );
            told.extend(watched);
        }
        for line in told {
            println!("\n{line}");
        }
        Ok(())
    }

    /// Every server: its backend, its number there, and its address.
    fn all(&self) -> impl Iterator<Item = (usize, usize, SocketAddr)> {
        let servers = self.servers;
        (0..self.backends * servers).map(move |number| {
            let (backend, mut address) = (number / servers, server(number));
            if number % 3 == 2 && backend > 0 {
                address.set_port(FICKLE);
            }
            (backend, number % servers, address)
        })
    }

    fn measure(
        &self,
        name: &str,
        addresses: &Addresses,
        dir: &Path,
        processors: Processors,
    ) -> anyhow::Result<(Figures, Option<String>)> {
        let mut fickle = Some(start_fickle(dir, processors)?);
        sleep(Duration::from_secs(1));
        let begun = Instant::now();
        let subject = self.start(name, addresses, dir, processors)?;
        while !serves(subject.address) {
            let said = || std::fs::read_to_string(dir.join(format!("{name}-0.err"))).unwrap_or_default();
            anyhow::ensure!(
                begun.elapsed() < Duration::from_secs(30),
                "{name} does not serve; it said:\n{}",
                said()
            );
            sleep(Duration::from_millis(5));
        }
        let first_request = begun.elapsed();
        sleep(SETTLE);
        let pids: Vec<u32> = subject.processes.iter().map(Running::pid).collect();
        let load = |kind, seconds| {
            let work =
                Work { name: "storm", about: "", servers: 0, connections: 32, idle: 0, kind, way: Way::Http };
            load::run(&work, subject.address, seconds, processors, dir)
        };
        let calm = load(Kind::Get("/100"), self.seconds)?;
        let watch = (name == "lbd").then(|| Watch::start(dir));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (dir, seconds) = (dir.to_owned(), self.seconds);
        let storm = std::thread::spawn(move || -> anyhow::Result<()> {
            while ended.recv_timeout(EPISODE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                fickle = match fickle.take() {
                    Some(process) => {
                        drop(process);
                        None
                    }
                    None => Some(start_fickle(&dir, processors)?),
                };
            }
            Ok(())
        });
        sleep(EPISODE);
        let before = Used::by(&pids)?;
        let start = Instant::now();
        let kept = load(Kind::Get("/100"), seconds)?;
        let new = load(Kind::GetOnce("/100"), seconds)?;
        let used = Used::by(&pids)?.since(before);
        let used = (used.user + used.system).as_secs_f64() / start.elapsed().as_secs_f64();
        drop(end);
        storm.join().map_err(|_| anyhow::anyhow!("the storm broke off"))??;
        Ok((Figures { first_request, calm, kept, new, used }, watch.map(Watch::stop)))
    }

    fn start(
        &self,
        name: &str,
        addresses: &Addresses,
        dir: &Path,
        processors: Processors,
    ) -> anyhow::Result<Subject> {
        let place = if name == "haproxy" { 20 } else { 21 };
        let address = |backend: usize| {
            let port = u16::try_from(10_000 + backend).unwrap_or(u16::MAX);
            addresses.socket(place, port)
        };
        let commands = match name {
            "haproxy" => vec![self.haproxy(address, dir, processors)?],
            "lbd" => {
                let config = self.lb(address);
                [Program::Healthd, Program::Lbd]
                    .map(|daemon| program::tandem(&binary(daemon), &config, dir, processors.proxy))
                    .into_iter()
                    .collect::<anyhow::Result<_>>()?
            }
            _ => anyhow::bail!("there is no proxy \"{name}\"; there is haproxy, lbd"),
        };
        let commands = commands.into_iter().enumerate();
        let processes =
            commands.map(|(number, command)| spawn(&format!("{name}-{number}"), command, dir, processors));
        Ok(Subject { processes: processes.collect::<anyhow::Result<_>>()?, address: address(0) })
    }

    fn haproxy(
        &self,
        address: impl Fn(usize) -> SocketAddr,
        dir: &Path,
        processors: Processors,
    ) -> anyhow::Result<Command> {
        let mut config =
            "global\n    nbthread 1\n    maxconn 4000\ndefaults\n    mode http\n    timeout connect 5s\n    \
                          timeout client 50s\n    timeout server 50s\n    option forwardfor\n"
                .to_owned();
        for backend in 0..self.backends {
            let servers = self.of(backend);
            config += &format!(
                "frontend f{backend}\n    bind {}\n    default_backend b{backend}\nbackend b{backend}\n    \
                 option httpchk GET /100\n{}",
                address(backend),
                lines(&servers, |number, address| format!(
                    "    server s{number} {address} check inter 2s fall 1 rise 1"
                ))
            );
        }
        program::haproxy(&config, dir, processors.proxy)
    }

    fn lb(&self, address: impl Fn(usize) -> SocketAddr) -> String {
        let mut config = "frontends:\n".to_owned();
        for backend in 0..self.backends {
            config += &format!(
                "  f{backend}: {{ bind: [\"{}\"], access_log: off, backend: b{backend} }}\n",
                address(backend)
            );
        }
        config += "backends:\n";
        for backend in 0..self.backends {
            let servers = self.of(backend);
            config += &format!(
                "  b{backend}:\n    check: {{ http: {{ path: /100, expect: 200 }}, interval: 2s, fall: 1, rise: 1 }}\n    \
                 servers:\n{}",
                lines(&servers, |number, address| format!("      s{number}: {address}"))
            );
        }
        let ports = [9_001, 9_002].map(|port| SocketAddr::new(address(0).ip(), port));
        config
            + &format!(
                "admin: {{ bind: \"{}\" }}\nlbd: {{ workers: 1 }}\nhealthd: {{ admin: {{ bind: \"{}\" }} }}\n",
                ports[0], ports[1]
            )
    }

    fn of(&self, backend: usize) -> Vec<SocketAddr> {
        self.all().filter(|(of, ..)| *of == backend).map(|(.., address)| address).collect()
    }
}

fn start_fickle(dir: &Path, processors: Processors) -> anyhow::Result<Process> {
    let own = dir.join("fickle");
    std::fs::create_dir_all(&own)?;
    let http =
        format!("    server {{ listen 0.0.0.0:{FICKLE} backlog=4096; location / {{ return 200 ok; }} }}\n");
    Ok(Process::spawn("fickle", program::nginx(4_000, &http, None, &own, processors.load)?, &own))
}

/// Follows both daemons as others do: how late pings are, and how far routing is behind healthd's word.
struct Watch {
    end: watch::Sender<()>,
    thread: std::thread::JoinHandle<anyhow::Result<String>>,
}

impl Watch {
    fn start(dir: &Path) -> Self {
        let (end, ended) = watch::channel(());
        let dir = dir.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(follow(&dir, ended))
        });
        Self { end, thread }
    }

    fn stop(self) -> String {
        drop(self.end);
        match self.thread.join() {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => format!("what followed lbd failed: {error:#}"),
            Err(_) => "what followed lbd broke off".to_owned(),
        }
    }
}

async fn follow(dir: &Path, mut ended: watch::Receiver<()>) -> anyhow::Result<String> {
    let mut lbd = Follower::new(&wire::socket(dir, "lbd"), "bench", TopicName::Liveness, PING);
    let mut healthd =
        Follower::new(&wire::socket(dir, "healthd"), "bench", TopicName::Verdicts, Duration::from_secs(1));
    let (mut pinged, mut latest, mut lost) = (None::<Instant>, Duration::ZERO, 0);
    // Servers that are up by healthd's word, and by lbd's routing; since when the two differ.
    let mut up = std::collections::HashSet::new();
    let (mut usable, mut apart, mut behind) = (0, None::<Instant>, Duration::ZERO);
    loop {
        tokio::select! {
            _ = ended.changed() => break,
            news = lbd.next() => match news {
                News::Update(Update::Ping(_)) => {
                    let gap = pinged.replace(Instant::now()).map_or(PING, |before| before.elapsed());
                    latest = latest.max(gap.saturating_sub(PING));
                }
                News::Update(Update::Snapshot(items)) => usable = items.iter().map(sum).sum(),
                News::Update(Update::Event(item)) => usable = sum(&item),
                News::Disconnected(_) => lost += 1,
                News::Connected(_) => {}
            },
            news = healthd.next() => {
                let items = match news {
                    News::Update(Update::Snapshot(items)) => items,
                    News::Update(Update::Event(item)) => vec![item],
                    _ => continue,
                };
                for verdict in items.into_iter().filter_map(Item::into_verdict) {
                    let is_up = verdict.status == health::Status::Up;
                    let key = (verdict.backend, verdict.server);
                    if is_up { up.insert(key) } else { up.remove(&key) };
                }
            }
        }
        // As long as verdicts come in one is always a little behind the other: what counts is how long that lasts.
        match usable == up.len() {
            true => apart = None,
            false => behind = behind.max(apart.get_or_insert_with(Instant::now).elapsed()),
        }
    }
    Ok(format!(
        "lbd in the storm: pings at most {:.0} ms late, {lost} times taken for hung or gone; routing and healthd's word were at \
         most {:.0} ms apart at a time.",
        latest.as_secs_f64() * 1e3,
        behind.as_secs_f64() * 1e3
    ))
}

fn sum(item: &Item) -> usize {
    match item {
        Item::Liveness(liveness) => liveness.usable.values().map(|count| *count as usize).sum(),
        _ => 0,
    }
}
