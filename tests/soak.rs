//! A soak: mixed work for as long as `SOAK_SECONDS` says, while servers die and come back, configurations change and healthd is
//! killed. `scripts/soak` runs it for minutes; without being told it takes 15 s.
//!
//! Nothing may be lost but what was in flight on a server that was killed. Every request has a target of its own. One that fails
//! is excused only if lbd's access log shows it on a server that was killed between the request's first byte and its end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use testkit::{Authority, Footprint, LogLine, Stack, get};

#[path = "soak/chaos.rs"]
mod chaos;
#[path = "soak/work.rs"]
mod work;

use chaos::{Chaos, Death};
use work::{Failure, Work};

/// How long it takes unless `SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 15;
/// How often it says how it goes.
const REPORT: Duration = Duration::from_secs(5);
/// By how much memory and descriptors may differ between the second quarter and the last, in per cent, and beside that.
const DRIFT: (u64, u64, u64) = (10, 2 << 10, 16);

#[test]
fn nothing_is_lost_and_nothing_grows() {
    let seconds = match std::env::var("SOAK_SECONDS") {
        Ok(text) => text.parse().expect("SOAK_SECONDS is a number of seconds"),
        Err(_) => SECONDS,
    };
    let authority = Authority::new();
    let mut stack = chaos::stack(&authority);
    let before = stack.footprint_at_rest();
    let work = Work::start(&stack, &authority.ca_file());
    let mut chaos = Chaos::new(authority);
    let (start, whole) = (Instant::now(), Duration::from_secs(seconds));
    let (mut samples, mut reported) = (Vec::new(), Duration::ZERO);
    while start.elapsed() < whole {
        let what = chaos.next(&mut stack);
        let now = stack.footprint();
        samples.push((start.elapsed(), now));
        if start.elapsed() >= reported + REPORT {
            reported = start.elapsed();
            eprintln!(
                "{:5} s: {}; {} failed; lbd has {} KiB and {} descriptors; {what}",
                reported.as_secs(),
                work.progress(),
                work.failures(),
                now.memory_kib,
                now.descriptors + now.pipes
            );
        }
    }
    chaos.restore(&mut stack);
    eprintln!("  end: {}", work.progress());
    let failures = work.stop();

    let lost = unexcused(&stack, &failures, &chaos.deaths);
    eprintln!(
        "{} servers were killed; {} requests were in flight on them and failed",
        chaos.deaths.len(),
        failures.len()
    );
    assert!(lost.is_empty(), "lost without an excuse: {lost:#?}");
    let metrics = get(stack.config.admin, "/metrics").text();
    assert!(metrics.contains("\ntandem_lbd_access_log_dropped_total 0\n"), "the log is not whole");
    assert_flat(start.elapsed(), &samples);
    stack.wait_until_calm(before);
}

/// The failures that no death of a server explains.
fn unexcused(stack: &Stack, failures: &[Failure], deaths: &[Death]) -> Vec<String> {
    // Lines are written in batches, but within a tick.
    std::thread::sleep(Duration::from_millis(500));
    let mut servers: HashMap<&str, Option<LogLine>> =
        failures.iter().map(|failure| (failure.target.as_str(), None)).collect();
    let log = BufReader::new(File::open(stack.lbd.stdout_file()).unwrap());
    for line in log.lines().filter_map(|line| LogLine::parse(&line.unwrap())) {
        if let Some(known) = servers.get_mut(line.target.as_str()) {
            *known = Some(line);
        }
    }
    let is_excused = |failure: &Failure, line: &LogLine| {
        deaths.iter().any(|death| {
            death.server == line.server && failure.began <= death.over && failure.ended >= death.begins
        })
    };
    let excuse = |failure: &Failure| {
        servers[failure.target.as_str()].as_ref().is_some_and(|line| is_excused(failure, line))
    };
    let lost = failures.iter().filter(|failure| !excuse(failure));
    lost.map(|failure| {
        let Failure { target, what, began, ended } = failure;
        format!("{target}: {what} after {:?}; in the log: {:?}", *ended - *began, servers[target.as_str()])
    })
    .collect()
}

/// Checks that the last quarter needed no more than the second one, when everything had warmed up.
fn assert_flat(whole: Duration, samples: &[(Duration, Footprint)]) {
    let median = |quarter: u32, of: fn(&Footprint) -> u64| {
        let within = |at: Duration| at >= whole * quarter / 4 && at <= whole * (quarter + 1) / 4;
        let mut values: Vec<_> =
            samples.iter().filter(|(at, _)| within(*at)).map(|(_, now)| of(now)).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    let (percent, memory_kib, descriptors) = DRIFT;
    for (what, of, margin) in [
        ("KiB of memory", (|now| now.memory_kib) as fn(&Footprint) -> u64, memory_kib),
        ("descriptors", |now| (now.descriptors + now.pipes) as u64, descriptors),
    ] {
        // A soak too short to have quarters says nothing about this.
        let (Some(early), Some(late)) = (median(1, of), median(3, of)) else { return };
        eprintln!("{what}: {early} in the second quarter, {late} in the last");
        assert!(late <= early + early * percent / 100 + margin, "{what} grew from {early} to {late}");
    }
}
