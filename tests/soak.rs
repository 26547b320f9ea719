//! Soaks: mixed work by HTTP/1.1 and HTTP/2, with TLS and without, for as long as `SOAK_SECONDS` says, while servers die and come
//! back, configurations and certificates change, and healthd is killed; and another in which lbd hands over, is restarted and is
//! killed. `scripts/soak` runs them for minutes; without being told each takes 15 s.
//!
//! Nothing may be lost but what was in flight on a process that was killed. Every request has a target of its own. One that fails
//! is excused if lbd's access log shows it on a server that was killed between the request's first byte and its end; or if lbd was
//! killed between them, or the request met nobody who listens before the next lbd did. What an lbd that was killed took with it
//! cannot be more than clients had under way at once.
//!
//! What is planned loses no request. A handover ends idle connections at once, and a client whose request crosses that end repeats it,
//! as RFC 9112 section 9.3.1 has it; nothing else makes it repeat one. An lbd that stops does not wait for tunnels that began meanwhile.
//! Nor does one that leaves wait for long until a new client says the next word of its TLS handshake, or its first request behind it: on a
//! busy machine some client takes longer. lbd has seen no request then, and none of an answer was sent.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use testkit::{Authority, EchoServer, Footprint, LogLine, Stack, get};

#[path = "soak/chaos.rs"]
mod chaos;
#[path = "soak/work.rs"]
mod work;

use chaos::{Chaos, Death, Outage, Span};
use work::{Failure, Work};

/// How long it takes unless `SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 15;
/// How often it says how it goes.
const REPORT: Duration = Duration::from_secs(5);
/// By how much memory and descriptors may differ between the second quarter and the last, in per cent, and beside that.
const DRIFT: (u64, u64, u64) = (10, 2 << 10, 16);

#[test]
fn nothing_is_lost_and_nothing_grows() {
    let mut soak = Soak::start(chaos::AROUND_LBD);
    let samples = soak.run();
    let whole = soak.start.elapsed();
    let stack = soak.assert_nothing_lost();
    let metrics = get(stack.config.admin, "/metrics").text();
    assert!(metrics.contains("\ntandem_lbd_access_log_dropped_total 0\n"), "the log is not whole");
    assert_flat(whole, &samples);
}

#[test]
fn an_lbd_that_leaves_takes_nothing_with_it_unless_it_is_killed() {
    let mut soak = Soak::start(chaos::TO_LBD);
    soak.run();
    soak.assert_nothing_lost();
}

/// Work, and what happens meanwhile.
struct Soak {
    stack: Stack,
    _echoes: Vec<EchoServer>,
    /// What lbd held before.
    before: Footprint,
    work: Work,
    chaos: Chaos,
    start: Instant,
}

impl Soak {
    fn start(events: &'static [chaos::Event]) -> Self {
        let authority = Authority::new();
        let (stack, echoes) = chaos::stack(&authority);
        let before = stack.footprint_at_rest();
        let work = Work::start(&stack, &authority.ca_file());
        Self {
            stack,
            _echoes: echoes,
            before,
            work,
            chaos: Chaos::new(events, authority),
            start: Instant::now(),
        }
    }

    /// Goes on for as long as it is to take, and until everything has happened once. What lbd held meanwhile.
    fn run(&mut self) -> Vec<(Duration, Footprint)> {
        let seconds = match std::env::var("SOAK_SECONDS") {
            Ok(text) => text.parse().expect("SOAK_SECONDS is a number of seconds"),
            Err(_) => SECONDS,
        };
        let (mut samples, mut reported) = (Vec::new(), Duration::ZERO);
        while self.start.elapsed() < Duration::from_secs(seconds) || !self.chaos.was_complete() {
            let what = self.chaos.next(&mut self.stack, &self.work);
            let now = self.stack.footprint();
            samples.push((self.start.elapsed(), now));
            if self.start.elapsed() >= reported + REPORT {
                reported = self.start.elapsed();
                eprintln!(
                    "{:5} s: {}; {} failed; lbd has {} KiB and {} descriptors; {what}",
                    reported.as_secs(),
                    self.work.progress(),
                    self.work.failures(),
                    now.memory_kib,
                    now.descriptors + now.pipes
                );
            }
        }
        samples
    }

    /// Ends the work, and sees whether everything that failed is excused, and nothing is left of it.
    fn assert_nothing_lost(mut self) -> Stack {
        self.chaos.restore(&mut self.stack);
        eprintln!("  end: {}", self.work.progress());
        let (failures, repeated) = self.work.stop();
        let Chaos { deaths, outages, handovers, stops, .. } = &self.chaos;
        let late_tunnel = |failure: &&Failure| {
            failure.target.starts_with("/tunnel") && stops.iter().any(|stop| stop.has(failure.began))
        };
        let (late_tunnels, failures): (Vec<_>, Vec<_>) = failures.iter().partition(late_tunnel);
        let by_outage = failures.into_iter().map(|failure| (failure, outage_of(failure, outages)));
        let (with_lbd, others): (Vec<_>, Vec<_>) = by_outage.partition(|(_, outage)| outage.is_some());
        let others: Vec<_> = others.into_iter().map(|(failure, _)| failure).collect();
        let refused = with_lbd.iter().filter(|(failure, _)| failure.refused).count();
        eprintln!(
            "{} servers were killed; {} requests were in flight on them and failed\n\
             {} lbd were killed; {} requests were in flight on them and failed; {refused} met nobody who listens\n\
             {} requests crossed the end of their connection, and were repeated; {} tunnels began at an lbd that stopped",
            deaths.len(),
            others.len(),
            outages.len(),
            with_lbd.len() - refused,
            repeated.len(),
            late_tunnels.len(),
        );
        let wrongly = repeated.iter().filter(|idle| !handovers.iter().any(|handover| handover.meets(idle)));
        let wrongly: Vec<_> = wrongly.map(|idle| idle.over - self.start).collect();
        assert!(wrongly.is_empty(), "connections ended that were wanted, at {wrongly:?}");
        let leaves: Vec<_> = handovers.iter().chain(stops).copied().collect();
        let lost = unexcused(&self.stack, &others, deaths, &leaves, self.start);
        let happened =
            self.chaos.happened.iter().map(|(by, what)| format!("by {:?} {what}", *by - self.start));
        let happened: Vec<_> = happened.collect();
        assert!(lost.is_empty(), "lost without an excuse: {lost:#?}; what has happened: {happened:#?}");
        for (number, outage) in outages.iter().enumerate() {
            let lost: Vec<_> = with_lbd
                .iter()
                .filter(|(failure, excuse)| *excuse == Some(number) && !failure.refused)
                .filter(|(failure, _)| failure.began <= outage.begins)
                .collect();
            assert!(lost.len() <= Work::at_once(), "more than can have been in flight: {lost:#?}");
        }
        self.stack.wait_until_calm(self.before);
        self.stack
    }
}

/// The death of an lbd that explains a failure, if there is one: the request was under way at that moment, or nobody
/// listened.
fn outage_of(failure: &Failure, outages: &[Outage]) -> Option<usize> {
    outages.iter().position(|outage| {
        let end = if failure.refused { outage.back } else { outage.over };
        failure.began <= end && failure.ended >= outage.begins
    })
}

/// The failures that neither the death of a server explains, nor that lbd left before it heard of them.
fn unexcused(
    stack: &Stack,
    failures: &[&Failure],
    deaths: &[Death],
    leaves: &[Span],
    start: Instant,
) -> Vec<String> {
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
    let has_left = |failure: &Failure| {
        let Failure { began: begins, ended: over, .. } = *failure;
        failure.unanswered_by_tls
            && !failure.refused
            && leaves.iter().any(|leave| leave.meets(&Span { begins, over }))
    };
    let excuse = |failure: &Failure| match &servers[failure.target.as_str()] {
        Some(line) => is_excused(failure, line),
        None => has_left(failure),
    };
    let lost = failures.iter().filter(|failure| !excuse(failure));
    lost.map(|failure| {
        let Failure { target, what, began, ended, .. } = failure;
        let (at, after) = (*began - start, *ended - *began);
        format!("{target}: {what} at {at:?} after {after:?}; in the log: {:?}", servers[target.as_str()])
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
