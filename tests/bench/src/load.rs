//! The load: wrk for HTTP, our own for what it cannot do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum as _;
use testkit::{Process, wait_until};

use crate::cpu::{Processors, pinned};
use crate::h2load;
use crate::memory::Held;
use crate::peer::{AUTHORITY, Peer};
use crate::tls_client;
use crate::tunnel;
use crate::work::{Kind, Way, Work};

/// What the load saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
}

/// Runs the load of one kind of work to its end.
pub(crate) fn run(
    work: &Work,
    to: SocketAddr,
    seconds: u64,
    processors: Processors,
    dir: &Path,
) -> anyhow::Result<Outcome> {
    let (connections, duration) = (work.connections.to_string(), format!("{seconds}s"));
    let mut command = pinned(processors.load, "wrk");
    command.args(["--latency", "-t", "1", "-c", &connections, "-d", &duration]);
    let scheme = if work.way == Way::Https { "https" } else { "http" };
    if let Way::Http2 { streams } = work.way {
        return h2load::run(work, to, (streams, seconds), processors, dir);
    }
    match work.kind {
        Kind::Get(path) => _ = command.arg(format!("{scheme}://{to}{path}")),
        Kind::GetOnce(path) => {
            _ = command.args(["-H", "Connection: close"]).arg(format!("{scheme}://{to}{path}"));
        }
        Kind::GetResumed(path) => {
            command = this_program(processors.load)?;
            command.args(["resume", &to.to_string(), path, &connections, &seconds.to_string()]);
            command.arg(dir.join(AUTHORITY));
        }
        Kind::Post(length) => {
            let script = dir.join("post.lua");
            fs::write(&script, format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {length})\n"))?;
            command.arg("-s").arg(script).arg(format!("http://{to}/upload"));
        }
        Kind::Chunks(count) => {
            let script = dir.join("chunks.lua");
            let head = r"POST /upload HTTP/1.1\r\nHost: bench\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunks = format!(r#"string.rep("1;x\r\na\r\n", {count})"#);
            let text = format!(
                "local whole = \"{head}\" .. {chunks} .. \"0\\r\\n\\r\\n\"\nrequest = function() return whole end\n"
            );
            fs::write(&script, text)?;
            command.arg("-s").arg(script).arg(format!("http://{to}/upload"));
        }
        Kind::Tunnel => {
            command = this_program(processors.load)?;
            command.args(["tunnels", &to.to_string(), &connections, &seconds.to_string()]);
        }
    }
    let output = command.output().context("the load does not start")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the load failed: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    parse(&said).with_context(|| format!("the load said:\n{said}"))
}

/// This program again, on one processor.
pub(crate) fn this_program(processor: usize) -> anyhow::Result<Command> {
    let program = std::env::current_exe()?;
    Ok(pinned(processor, program.to_str().context("this program's path is no text")?))
}

/// Reports what our own load has measured, as wrk does.
pub(crate) fn tell(times: &mut [Duration], seconds: u64) -> anyhow::Result<()> {
    let (median, p99) = percentiles(times).context("nothing came back")?;
    println!("  50% {}us\n  99% {}us", median.as_micros(), p99.as_micros());
    println!("  {} requests in {seconds}s\nRequests/sec: {}", times.len(), times.len() as u64 / seconds);
    Ok(())
}

/// The median and the 99th percentile.
pub(crate) fn percentiles(times: &mut [Duration]) -> Option<(Duration, Duration)> {
    times.sort_unstable();
    let at = |per_cent: usize| times.get(times.len() * per_cent / 100).copied();
    at(50).zip(at(99))
}

/// Reads wrk's report, which our own load imitates. A load that met errors measured something else.
fn parse(said: &str) -> anyhow::Result<Outcome> {
    if let Some(line) = said.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx")) {
        bail!("{}", line.trim());
    }
    let after = |mark: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(mark));
        line.map(str::trim).ok_or_else(|| anyhow!("no {mark}"))
    };
    let requests =
        said.lines().find_map(|line| line.trim().split_once(" requests in ")).context("no requests")?.0;
    Ok(Outcome {
        requests: requests.parse()?,
        per_second: after("Requests/sec:")?.parse()?,
        median: duration(after("50%")?)?,
        p99: duration(after("99%")?)?,
    })
}

/// wrk's way to write a duration: `85.00us`, `1.25ms`, `1.10s`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).context("a duration without a unit")?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        other => bail!("{other} is no unit"),
    };
    Ok(Duration::from_secs_f64(number.parse::<f64>()? * seconds))
}

/// Opens connections in a process of its own, which holds them until it is dropped.
pub(crate) fn start_holding(
    peer: &Peer,
    held: Held,
    connections: usize,
    processors: Processors,
    dir: &Path,
) -> anyhow::Result<Process> {
    let kind = if let Held::Tunnel | Held::Session = held { Kind::Tunnel } else { Kind::Get("/100") };
    let way = match held {
        Held::Session => Way::Tcp,
        Held::Tls => Way::Https,
        Held::Idle | Held::Tunnel | Held::Upload => Way::Http,
    };
    let name = held.to_possible_value().context("each kind has a name")?;
    let mut command = this_program(processors.load)?;
    command.args([
        "hold",
        &peer.address_for(kind, way).to_string(),
        &connections.to_string(),
        name.get_name(),
    ]);
    command.arg(dir.join(AUTHORITY));
    // What it says is its own: another one in this directory has said the same before.
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let mut process = Process::spawn(&format!("hold-{number}"), command, dir);
    wait_until("all connections are held", || {
        process.exited().is_some() || process.stdout().ends_with("held\n")
    });
    anyhow::ensure!(process.exited().is_none(), "the load failed: {}", process.stderr());
    Ok(process)
}

/// Opens connections, brings each as far as it is to be held, and holds them until it is killed.
pub(crate) fn hold(to: SocketAddr, connections: usize, held: Held, authority: &Path) -> anyhow::Result<()> {
    const REQUEST: &[u8] = b"GET /100 HTTP/1.1\r\nHost: bench\r\n\r\n";
    let mut streams = Vec::with_capacity(connections);
    let (client, mut sessions) = (Arc::new(tls_client::client(authority)?), Vec::new());
    let mut buffer = [0; 1024];
    for _ in 0..connections {
        let mut stream = TcpStream::connect(to)?;
        match held {
            Held::Idle => {
                stream.write_all(REQUEST)?;
                anyhow::ensure!(stream.read(&mut buffer)? > 0, "the proxy closed a connection");
            }
            Held::Tls => sessions.push(tls_client::hold(&mut stream, client.clone(), REQUEST)?),
            Held::Tunnel | Held::Session => tunnel::open(&mut stream)?,
            Held::Upload => {
                stream
                    .write_all(b"POST /upload HTTP/1.1\r\nHost: bench\r\nContent-Length: 100000\r\n\r\n")?;
                stream.write_all(&[b'x'; 50_000])?;
            }
        }
        streams.push(stream);
    }
    println!("held");
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_report_is_read() {
        let said = "Running 2s test @ http://127.0.0.1:80/\n  1 threads and 64 connections\n  Thread Stats   Avg\n  \
                    Latency Distribution\n     50%    1.25ms\n     75%    2.00ms\n     99%  850.00us\n  \
                    61234 requests in 2.00s, 15.00MB read\nRequests/sec:  30617.50\n";
        let outcome = parse(said).unwrap();
        assert_eq!((outcome.requests, outcome.per_second), (61_234, 30_617.5));
        assert_eq!((outcome.median, outcome.p99), (Duration::from_micros(1250), Duration::from_micros(850)));
    }

    #[test]
    fn a_load_that_met_errors_is_none() {
        let said = "  Socket errors: connect 0, read 5, write 0, timeout 0\n";
        assert!(parse(said).unwrap_err().to_string().contains("read 5"));
    }
}
