//! The load of HTTP/2: nghttp2's h2load.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cpu::{Processors, pinned};
use crate::load::{Outcome, percentiles};
use crate::work::{Kind, Work};

/// Runs it to its end, with so many streams at once on each connection for so many seconds.
pub(crate) fn run(
    work: &Work,
    to: SocketAddr,
    (streams, seconds): (usize, u64),
    processors: Processors,
    dir: &Path,
) -> anyhow::Result<Outcome> {
    let Kind::Get(path) = work.kind else { bail!("HTTP/2 is measured by GET alone") };
    let log = dir.join("h2load.log");
    let mut command = pinned(processors.load, "h2load");
    command.args([
        "-c",
        &work.connections.to_string(),
        "-m",
        &streams.to_string(),
        "-D",
        &seconds.to_string(),
    ]);
    command.arg(format!("--log-file={}", log.display()));
    let output = command.arg(format!("https://{to}{path}")).output().context("h2load does not start")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let outcome = match output.status.success() {
        true => parse(&said, &fs::read_to_string(&log)?),
        false => Err(anyhow::anyhow!("h2load failed: {}", String::from_utf8_lossy(&output.stderr))),
    };
    let _ = fs::remove_file(&log);
    outcome.with_context(|| format!("h2load said:\n{said}"))
}

/// Reads its report, and its log: a line a request, when it began, its status, and how long it took, all in microseconds. A
/// load that met errors measured something else.
fn parse(said: &str, log: &str) -> anyhow::Result<Outcome> {
    let line = |mark: &str| {
        said.lines().find_map(|line| line.strip_prefix(mark)).with_context(|| format!("no {mark}"))
    };
    let statuses = line("status codes: ")?;
    if !statuses.contains(" 0 3xx, 0 4xx, 0 5xx") {
        bail!("it met errors: {statuses}");
    }
    let requests = statuses.split(' ').next().context("no number of requests")?;
    let rate = line("finished in ")?.split(", ").nth(1).and_then(|rate| rate.strip_suffix(" req/s"));
    let time =
        |line: &str| line.split('\t').nth(2).and_then(|time| time.parse().ok()).map(Duration::from_micros);
    let mut times: Vec<_> = log.lines().filter_map(time).collect();
    let (median, p99) = percentiles(&mut times).context("its log is empty")?;
    Ok(Outcome { requests: requests.parse()?, per_second: rate.context("no rate")?.parse()?, median, p99 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1700000000000000\t200\t400\n1700000000000001\t200\t300\n1700000000000002\t200\t900\n";

    #[test]
    fn its_report_is_read() {
        let said = "finished in 2.00s, 61234.50 req/s, 10.00MB/s\n\
            requests: 122469 total, 123493 started, 122469 done, 122469 succeeded, 0 failed, 0 errored, 0 timeout\n\
            status codes: 122500 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        let outcome = parse(said, LOG).unwrap();
        assert_eq!((outcome.requests, outcome.per_second), (122_500, 61_234.5));
        assert_eq!((outcome.median, outcome.p99), (Duration::from_micros(400), Duration::from_micros(900)));
    }

    #[test]
    fn a_load_that_met_errors_is_none() {
        let said = "finished in 2.00s, 1.00 req/s, 1.00KB/s\nstatus codes: 5 2xx, 0 3xx, 0 4xx, 7 5xx\n";
        assert!(parse(said, LOG).unwrap_err().to_string().contains("7 5xx"));
    }
}
