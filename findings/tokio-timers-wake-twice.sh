#!/usr/bin/env bash
# tokio 1.54.1, current_thread runtime, Linux: a thread that waits for nothing but an interval of 80 ms is woken about twice for each
# tick, not once. The timer wheel's finest level covers 64 ms: a timer further away lies on a coarser level, and the driver wakes at
# the beginning of its slot only to move it to a finer one. With a timer of the kernel's (timerfd) there is one wake-up a tick. Who
# counts the wake-ups of an idle daemon sees its heartbeat doubled.
#
# Seen: "interval 80 ms: 1.9 wake-ups a tick; timerfd 80 ms: 1.0".
set -euo pipefail

command -v cargo >/dev/null || { echo "cargo is needed" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "wakes"
version = "0.0.0"
edition = "2021"

[dependencies]
nix = { version = "=0.31.3", default-features = false, features = ["time"] }
tokio = { version = "=1.54.1", default-features = false, features = ["rt", "time"] }
TOML
cat >"$work/src/main.rs" <<'RUST'
use std::time::Duration;

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

const PERIOD: Duration = Duration::from_millis(80);
const TICKS: u32 = 50;

/// How often this thread has gone to sleep by itself.
fn sleeps() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let by_tokio = runtime.block_on(async {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.tick().await;
        let before = sleeps();
        for _ in 0..TICKS {
            ticks.tick().await;
        }
        sleeps() - before
    });

    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty()).unwrap();
    timer.set(Expiration::Interval(PERIOD.into()), TimerSetTimeFlags::empty()).unwrap();
    timer.wait().unwrap();
    let before = sleeps();
    for _ in 0..TICKS {
        timer.wait().unwrap();
    }
    let by_kernel = sleeps() - before;
    println!("{by_tokio} {by_kernel} {TICKS}");
}
RUST
(cd "$work" && cargo build --quiet --release >&2)
read -r by_tokio by_kernel ticks < <("$work/target/release/wakes")
awk -v tokio="$by_tokio" -v kernel="$by_kernel" -v ticks="$ticks" 'BEGIN {
    printf "interval 80 ms: %.1f wake-ups a tick; timerfd 80 ms: %.1f\n", tokio / ticks, kernel / ticks
    exit !(tokio >= 1.5 * ticks && tokio <= 2.5 * ticks && kernel <= 1.3 * ticks)
}' || { echo "this is no longer so" >&2; exit 1; }
