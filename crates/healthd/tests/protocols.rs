//! Checks of real databases, mail and TLS servers, beside HAProxy's, and of servers that lie.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

#[path = "protocols/haproxy.rs"]
mod haproxy;
#[path = "protocols/lies.rs"]
mod lies;
#[path = "protocols/mysql.rs"]
mod mysql;
#[path = "protocols/postgres.rs"]
mod postgres;
#[path = "protocols/proxy.rs"]
mod proxy;
#[path = "protocols/redis.rs"]
mod redis;
#[path = "protocols/smtp.rs"]
mod smtp;
#[path = "protocols/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use config::{Check, CheckProxy, CheckTls, Probe, ServerAddress, ServerCheck};
use health::{CheckCode, CheckResult, Timing};
use healthd::probe::{Probed, Prober, Target};
use testkit::wait_for;

/// Short enough to be waited for where a server says nothing.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What one check finds.
fn check(probe: &Probe, address: SocketAddr) -> CheckResult {
    let timing = Timing { timeout: TIMEOUT, ..Timing::default() };
    let prober = Prober::new(&Check {
        probe: probe.clone(),
        timing,
        port: None,
        send_proxy: CheckProxy::Auto,
        over_tls: CheckTls::Auto,
    })
    .unwrap();
    let server = ServerAddress { host: config::Host::Ip(address.ip()), port: address.port() };
    let target = Target::new(&server, None, &ServerCheck::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(prober.run(&target, address)) {
        Probed::Server(result) => result,
        Probed::Starved(result) => panic!("out of resources: {result:?}"),
    }
}

/// What a check finds once the server is as it is to be.
fn finds(probe: &Probe, address: SocketAddr, code: CheckCode, text: &str) {
    let mut last = None;
    let what = format!("{code} {text:?} by {probe:?}");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for(&what, || {
            let result = check(probe, address);
            let fits = result.code == code && result.text.contains(text);
            last = Some(result);
            fits.then_some(())
        });
    }));
    assert!(found.is_ok(), "{what}, not {last:?}");
}
