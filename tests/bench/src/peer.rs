//! The proxies: each as its users run it, with one thread, on the same processor, before the same servers.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use testkit::{Addresses, Authority, CertificateKey, Program, binary};

use crate::cpu::{Processors, pinned};
use crate::load::this_program;
use crate::origin::{Origin, server};
use crate::program::{self, lines};
use crate::work::{Kind, Way};

/// The routes of `haproxy-routes` and `lbd-routes` (`lbd-route` has the last alone), each for a host and a path; the last one is what the load asks for.
const ROUTES: usize = 1000;

/// The name in the proxies' certificate.
pub(crate) const SERVER_NAME: &str = "bench";
/// The file of whoever vouches for it.
pub(crate) const AUTHORITY: &str = "ca.pem";

/// How long a proxy may take to serve.
const START: Duration = Duration::from_secs(20);

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    tunnels: SocketAddr,
    /// Where bytes are carried: to the servers, and to the one that echoes.
    tcp: SocketAddr,
    tcp_echo: SocketAddr,
    /// Where TLS ends.
    tls: SocketAddr,
    processes: Vec<Running>,
}

impl Peer {
    /// The processes that do its work.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Running::pid).collect()
    }

    /// Where it takes this kind of work.
    pub(crate) fn address_for(&self, kind: Kind, way: Way) -> SocketAddr {
        match (kind, way) {
            (Kind::Tunnel, Way::Tcp) => self.tcp_echo,
            (Kind::Tunnel, _) => self.tunnels,
            (_, Way::Http) => self.address,
            (_, Way::Https | Way::Http2 { .. }) => self.tls,
            (_, Way::Tcp) => self.tcp,
        }
    }
}

/// A process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process whose standard output, its access log, is read by another one on the load's processor, as a log
/// collector does.
pub(crate) fn spawn(
    name: &str,
    mut command: Command,
    dir: &Path,
    processors: Processors,
) -> anyhow::Result<Running> {
    let mut reader = pinned(processors.load, "cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start cat")?;
    let log = reader.stdin.take().context("a pipe was asked for")?;
    let errors = File::create(dir.join(format!("{name}.err")))?;
    let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
    // The reader ends when the proxy does, and nobody waits for it: it is gone with this program at the latest.
    Ok(Running(child.with_context(|| format!("cannot start {name}"))?))
}

/// Starts a proxy by its name, and waits until it serves.
pub(crate) fn start(
    name: &str,
    addresses: &Addresses,
    origin: &Origin,
    servers: usize,
    dir: &Path,
    processors: Processors,
) -> anyhow::Result<Peer> {
    let place = match name {
        "haproxy" => 10,
        "haproxy-log" => 11,
        "nginx" => 12,
        "relay" => 13,
        "lbd" => 14,
        "lbd-before" => 15,
        "haproxy-routes" => 16,
        "lbd-routes" => 17,
        "lbd-route" => 18,
        "bare" => 19,
        _ => bail!(
            "there is no proxy \"{name}\"; there is haproxy, haproxy-log, haproxy-routes, nginx, bare, relay, lbd, lbd-before, lbd-route, lbd-routes"
        ),
    };
    let plan = Plan {
        address: addresses.socket(place, 8080),
        tunnels: addresses.socket(place, 8081),
        admin: addresses.socket(place, 8082),
        healthd_admin: addresses.socket(place, 8083),
        // The relay carries bytes, and nothing else.
        tcp: addresses.socket(place, if name == "relay" { 8080 } else { 8084 }),
        tcp_echo: addresses.socket(place, 8085),
        tls: addresses.socket(place, 8086),
        certificate: dir.join("bench.pem"),
        servers: (0..servers).map(server).collect(),
        echo: origin.echo,
    };
    let parent = dir;
    let dir = parent.join(format!("{name}-{servers}"));
    fs::create_dir(&dir)?;
    if !plan.certificate.exists() {
        let authority = Authority::new();
        fs::copy(authority.issue("bench.pem", &[SERVER_NAME], CertificateKey::Ecdsa), &plan.certificate)?;
        fs::copy(authority.ca_file(), parent.join(AUTHORITY))?;
    }
    let now = |daemon| Ok(binary(daemon));
    let commands = match name {
        "haproxy" => vec![haproxy(&plan, false, 0, &dir, processors)?],
        "haproxy-log" => vec![haproxy(&plan, true, 0, &dir, processors)?],
        "haproxy-routes" => vec![haproxy(&plan, false, ROUTES, &dir, processors)?],
        "nginx" => vec![nginx(&plan, &dir, processors)?],
        "relay" => vec![relay(&plan, processors)?],
        "bare" => vec![bare(&plan, processors)?],
        "lbd-before" => lbd(&plan, program::before, (0, false), &dir, processors)?,
        "lbd-route" => lbd(&plan, now, (1, true), &dir, processors)?,
        "lbd-routes" => lbd(&plan, now, (ROUTES, true), &dir, processors)?,
        _ => lbd(&plan, now, (0, true), &dir, processors)?,
    };
    let Plan { address, tunnels, tcp, tcp_echo, tls, .. } = plan;
    let mut peer =
        Peer { name: name.to_owned(), address, tunnels, tcp, tcp_echo, tls, processes: Vec::new() };
    for (number, command) in commands.into_iter().enumerate() {
        peer.processes.push(spawn(&format!("{name}-{number}"), command, &dir, processors)?);
    }
    wait_for_service(&mut peer, &dir)?;
    Ok(peer)
}

struct Plan {
    address: SocketAddr,
    tunnels: SocketAddr,
    admin: SocketAddr,
    healthd_admin: SocketAddr,
    tcp: SocketAddr,
    tcp_echo: SocketAddr,
    tls: SocketAddr,
    /// A certificate of ECDSA on P-256, and its key.
    certificate: PathBuf,
    servers: Vec<SocketAddr>,
    echo: SocketAddr,
}

fn wait_for_service(peer: &mut Peer, dir: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    while !serves(peer.address) {
        let ended = peer.processes.iter_mut().any(|process| !matches!(process.0.try_wait(), Ok(None)));
        if ended || start.elapsed() > START {
            let errors = (0..peer.processes.len()).map(|n| dir.join(format!("{}-{n}.err", peer.name)));
            let said: Vec<_> = errors.filter_map(|path| fs::read_to_string(path).ok()).collect();
            bail!("{} does not serve; it said:\n{}", peer.name, said.join("\n"));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

pub(crate) fn serves(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /100 HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        std::io::Result::Ok(start == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// One thread, HTTP checks, finite timeouts, and all else as it comes; with its access log or without.
fn haproxy(
    plan: &Plan,
    log: bool,
    routes: usize,
    dir: &Path,
    processors: Processors,
) -> anyhow::Result<Command> {
    let Plan { address, tunnels, tcp, tcp_echo, tls, echo, .. } = *plan;
    let certificate = plan.certificate.display();
    let (log_to, log_what, tcp_log) = match log {
        true => ("log stdout format raw local0", "log global\n    option httplog", "    option tcplog\n"),
        false => ("", "", ""),
    };
    let servers =
        lines(&plan.servers, |number, address| format!("    server s{number} {address} check inter 2s"));
    let tcp_servers = servers.clone();
    let routes: String = routes_of(plan, routes)
        .map(|(host, path)| {
            format!("    use_backend web if {{ hdr(host),host_only -i {host} }} {{ path_beg {path} }}\n")
        })
        .collect();
    let config = format!(
        "global
    nbthread 1
    maxconn 9400
    {log_to}
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
    timeout http-request 10s
    timeout http-keep-alive 75s
    option forwardfor
    {log_what}
frontend web
    bind {address}
    bind {tls} ssl crt {certificate} alpn h2,http/1.1
{routes}    default_backend web
frontend tunnels
    bind {tunnels}
    default_backend tunnels
backend web
    balance roundrobin
    option httpchk GET /100
{servers}
backend tunnels
    server echo {echo} check inter 2s
listen tcp
    mode tcp
{tcp_log}    bind {tcp}
    balance roundrobin
{tcp_servers}
listen tcp_echo
    mode tcp
{tcp_log}    bind {tcp_echo}
    server echo {echo} check inter 2s
"
    );
    program::haproxy(&config, dir, processors.proxy)
}

/// One process, idle connections to servers kept, no access log; Debian's nginx has no active checks.
fn nginx(plan: &Plan, dir: &Path, processors: Processors) -> anyhow::Result<Command> {
    let Plan { address, tunnels, tcp, tcp_echo, tls, echo, .. } = *plan;
    let certificate = plan.certificate.display();
    let servers = lines(&plan.servers, |_, address| format!("        server {address};"));
    let stream = format!(
        "    upstream tcp {{
{servers}    }}
    server {{ listen {tcp}; proxy_pass tcp; }}
    server {{ listen {tcp_echo}; proxy_pass {echo}; }}
"
    );
    let http = format!(
        "    keepalive_requests 1000000000; keepalive_timeout 75s;
    upstream web {{
{servers}
        keepalive 1024; keepalive_requests 1000000000;
    }}
    upstream tunnels {{ server {echo}; }}
    server {{
        listen {address};
        listen {tls} ssl http2;
        ssl_certificate {certificate}; ssl_certificate_key {certificate}; ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
    server {{
        listen {tunnels};
        location / {{
            proxy_pass http://tunnels; proxy_http_version 1.1;
            proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade;
        }}
    }}
"
    );
    program::nginx(19_000, &http, Some(&stream), dir, processors.proxy)
}

/// So many hosts and starts of paths, of which the last are those of the load.
fn routes_of(plan: &Plan, routes: usize) -> impl Iterator<Item = (String, String)> {
    let last = plan.address.ip().to_string();
    (1..=routes).map(move |number| match number == routes {
        true => (last.clone(), "/100".to_owned()),
        false => (format!("www.site{}.example", number / 10), format!("/service{}/", number % 10)),
    })
}

fn relay(plan: &Plan, processors: Processors) -> anyhow::Result<Command> {
    let to = plan.servers.first().context("there are servers")?;
    let mut command = this_program(processors.proxy)?;
    command.args(["relay", &plan.address.to_string(), &to.to_string()]);
    Ok(command)
}

fn bare(plan: &Plan, processors: Processors) -> anyhow::Result<Command> {
    let to = *plan.servers.first().context("there are servers")?;
    let pairs = [plan.address, to, plan.tcp, to, plan.tcp_echo, plan.echo];
    let mut command = this_program(processors.proxy)?;
    command.arg("bare").args(pairs.map(|address| address.to_string()));
    Ok(command)
}

/// Everything as it comes, access log, metrics and checks included, but for one worker.
fn lbd(
    plan: &Plan,
    program: fn(Program) -> anyhow::Result<PathBuf>,
    (routes, is_new): (usize, bool),
    dir: &Path,
    processors: Processors,
) -> anyhow::Result<Vec<Command>> {
    let Plan { address, tunnels, admin, healthd_admin, tcp, tcp_echo, tls, echo, .. } = plan;
    let servers = lines(&plan.servers, |number, address| format!("      s{number}: {address}"));
    let routes: String = routes_of(plan, routes)
        .map(|(host, path)| format!("      - {{ host: \"{host}\", path: \"{path}*\", backend: web }}\n"))
        .collect();
    let (tcp_frontends, tcp_backends) = match is_new {
        true => (
            format!(
                "  tcp: {{ mode: tcp, bind: [\"{tcp}\"], backend: tcp }}\n  \
                 tcp_echo: {{ mode: tcp, bind: [\"{tcp_echo}\"], backend: tcp_echo }}\n"
            ),
            format!(
                "  tcp:\n    mode: tcp\n    servers:\n{servers}  \
                 tcp_echo: {{ mode: tcp, servers: {{ echo: \"{echo}\" }} }}\n"
            ),
        ),
        false => <(String, String)>::default(),
    };
    let tls = match is_new {
        true => {
            let file = plan.certificate.display();
            format!(", {{ address: \"{tls}\", tls: {{ certificates: [\"{file}\"] }} }}")
        }
        false => String::new(),
    };
    let routes = if routes.is_empty() { routes } else { format!("    routes:\n{routes}") };
    let config = format!(
        "frontends:
  web:
    bind: [\"{address}\"{tls}]
    backend: web
    timeouts: {{ keep_alive: 75s }}
{routes}
  tunnels: {{ bind: [\"{tunnels}\"], backend: tunnels }}
{tcp_frontends}backends:
  web:
    check: {{ http: {{ path: /100, expect: 200 }}, interval: 2s }}
    servers:
{servers}
  tunnels:
    servers: {{ echo: \"{echo}\" }}
{tcp_backends}admin: {{ bind: \"{admin}\" }}
lbd: {{ workers: 1 }}
healthd: {{ admin: {{ bind: \"{healthd_admin}\" }} }}
"
    );
    let daemon = |daemon| program::tandem(&program(daemon)?, &config, dir, processors.proxy);
    Ok(vec![daemon(Program::Healthd)?, daemon(Program::Lbd)?])
}
