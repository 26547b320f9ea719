//! What lbd holds of healthd's verdicts: the latest of each server, kept when healthd goes away.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use balance::AdminState;
use config::LbConfig;
use health::Status;
use wire::Verdict;

use crate::shared::millis;

/// A server's backend and name.
pub type ServerKey = (String, String);

/// A difference of the configurations that lasts longer is no reload under way.
const RELOADING: Duration = Duration::from_secs(3);

/// The verdicts that routing stands on.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// By backend and server.
    held: HashMap<String, HashMap<String, Held>>,
    /// The servers of lbd's own configuration. healthd may run another one.
    own: HashMap<String, HashMap<String, Own>>,
    /// Since when healthd has told of another configuration than lbd's.
    differs: Option<Instant>,
    /// Since when healthd is connected, or not.
    connected: Option<Connection>,
    /// Snapshots received.
    snapshots: u64,
    /// When healthd last said anything.
    heard: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    up: bool,
    since: Instant,
}

/// A server as lbd's own configuration has it.
#[derive(Clone, Copy, Debug)]
struct Own {
    /// Its address, unless it is given by name.
    literal: Option<SocketAddr>,
    port: u16,
    /// Whether it is to be checked.
    checked: bool,
}

impl Own {
    fn new(backend: &config::Backend, server: &config::Server) -> Self {
        let checked = backend.check_of(server).is_some() && server.state != AdminState::Maint;
        Self { literal: server.address.literal(), port: server.address.port, checked }
    }

    /// Whether what is told of that address is about somebody else.
    fn is_elsewhere(self, told: SocketAddr) -> bool {
        told.port() != self.port || self.literal.is_some_and(|own| own != told)
    }
}

/// A verdict and when it came.
#[derive(Clone, Debug)]
pub struct Held {
    verdict: Verdict,
    received: Instant,
    /// Since when the server has been as the verdict says. A healthd that has just started does not know.
    since: Instant,
}

impl Held {
    /// What has been told just now, after what was held of the server.
    fn new(old: Option<&Self>, verdict: Verdict, now: Instant) -> Self {
        let told = now.checked_sub(Duration::from_millis(verdict.since_ms)).unwrap_or(now);
        let goes_on = old.filter(|old| old.status() == verdict.status && old.verdict.downs >= verdict.downs);
        let since = goes_on.map_or(told, |old| old.since.min(told));
        Self { verdict, received: now, since }
    }

    /// The verdict with its ages as of `now`.
    pub fn at(&self, now: Instant) -> Verdict {
        let later = millis(now.saturating_duration_since(self.received));
        let mut verdict = self.verdict.clone();
        verdict.since_ms = millis(now.saturating_duration_since(self.since));
        if verdict.status == Status::Down {
            verdict.downtime_ms = verdict.downtime_ms.saturating_add(later).max(verdict.since_ms);
        }
        if let Some(check) = &mut verdict.check {
            check.age_ms = check.age_ms.saturating_add(later);
        }
        verdict
    }

    /// Up, down, or not known.
    pub fn status(&self) -> Status {
        self.verdict.status
    }

    /// Whether healthd has looked for the server's address, in vain perhaps.
    pub fn is_resolved(&self) -> bool {
        self.verdict.address.is_some()
            || self.verdict.resolve_error.is_some() && self.verdict.status != Status::Unknown
    }

    /// Where the server's name leads.
    pub fn address(&self) -> Option<SocketAddr> {
        self.verdict.address
    }
}

impl Verdicts {
    /// These are lbd's own servers from now on.
    pub fn adopt(&mut self, config: &LbConfig) {
        let servers = |backend: &config::Backend| {
            backend.servers.iter().map(|server| (server.name.clone(), Own::new(backend, server))).collect()
        };
        self.own = config.backends.iter().map(|backend| (backend.name.clone(), servers(backend))).collect();
    }

    /// Replaces everything by a snapshot, but for servers of lbd's own that healthd does not check, or not there: they keep
    /// their last verdicts. `unknown` never overrides a verdict: healthd may just have started.
    pub fn replace(&mut self, verdicts: impl IntoIterator<Item = Verdict>, now: Instant) {
        let before = std::mem::take(&mut self.held);
        for verdict in verdicts {
            let own = self.own(&verdict);
            let old = before.get(&verdict.backend).and_then(|servers| servers.get(&verdict.server));
            let servers = self.held.entry(verdict.backend.clone()).or_default();
            servers.insert(verdict.server.clone(), judge(own, old, verdict, now));
        }
        for (backend, mut servers) in before {
            let Some(own) = self.own.get(&backend) else { continue };
            servers.retain(|server, _| own.contains_key(server));
            let held = self.held.entry(backend).or_default();
            for (server, old) in servers {
                held.entry(server).or_insert(old);
            }
        }
        self.snapshots += 1;
    }

    /// Takes one changed verdict. Returns whether routing is concerned: most verdicts only tell of another good check.
    pub fn update(&mut self, verdict: Verdict, now: Instant) -> bool {
        let own = self.own(&verdict);
        let held = self.held.get_mut(&verdict.backend).and_then(|servers| servers.get_mut(&verdict.server));
        let Some(held) = held else {
            let servers = self.held.entry(verdict.backend.clone()).or_default();
            servers.insert(verdict.server.clone(), judge(own, None, verdict, now));
            return true;
        };
        let concern = |held: &Held| (held.status(), held.address(), held.is_resolved());
        let before = concern(held);
        *held = judge(own, Some(held), verdict, now);
        before != concern(held)
    }

    /// Forgets what was said of a server that is gone: one that comes back is looked at anew.
    pub fn forget(&mut self, backend: &str, server: &str) {
        if let Some(servers) = self.held.get_mut(backend) {
            servers.remove(server);
        }
    }

    /// What lbd's own configuration has of the server of a verdict.
    fn own(&self, verdict: &Verdict) -> Option<Own> {
        self.own.get(&verdict.backend)?.get(&verdict.server).copied()
    }

    /// Notes whether healthd runs the same configuration as lbd.
    pub fn compare(&mut self, same: bool, now: Instant) {
        self.differs = if same { None } else { self.differs.or(Some(now)) };
    }

    /// How long healthd has been running another configuration; none while that may be a reload under way.
    pub fn differs_for(&self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.differs?);
        (age >= RELOADING).then_some(age)
    }

    /// The verdict on a server.
    pub fn get(&self, backend: &str, server: &str) -> Option<&Held> {
        self.held.get(backend)?.get(server)
    }

    /// Notes that the connection to healthd came or went.
    pub fn set_connected(&mut self, up: bool, now: Instant) {
        if !up {
            self.differs = None;
        }
        if self.connected.is_none_or(|connection| connection.up != up) {
            self.connected = Some(Connection { up, since: now });
        }
    }

    /// Notes that healthd said something.
    pub fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// How long ago healthd last said anything; none before it first did.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.saturating_duration_since(heard))
    }

    /// Whether healthd is connected.
    pub fn is_connected(&self) -> bool {
        self.connected.is_some_and(|connection| connection.up)
    }

    /// How long healthd has been away; none while it is there, and before it was first seen.
    pub fn stale_for(&self, now: Instant) -> Option<Duration> {
        let connection = self.connected.filter(|connection| !connection.up && self.snapshots > 0)?;
        Some(now.saturating_duration_since(connection.since))
    }
}

/// What is held of a server when healthd says something new. A verdict on another address than lbd's own is about
/// somebody else, and says nothing of this one. Neither does it that healthd checks none where lbd wants a check.
fn judge(own: Option<Own>, old: Option<&Held>, new: Verdict, now: Instant) -> Held {
    let elsewhere = own.zip(new.address).is_some_and(|(own, told)| own.is_elsewhere(told));
    let unlooked = own.is_some_and(|own| own.checked) && new.status == Status::Unchecked;
    match old {
        Some(old) if elsewhere => old.clone(),
        None if elsewhere => {
            let address = own.and_then(|own| own.literal);
            Held::new(None, Verdict { status: Status::Unknown, address, check: None, ..new }, now)
        }
        // Unknown overrides nothing.
        old if unlooked => {
            let old = old.filter(|old| old.status() != Status::Unchecked);
            merge(old, Verdict { status: Status::Unknown, ..new }, now)
        }
        old => merge(old, new, now),
    }
}

fn merge(old: Option<&Held>, mut new: Verdict, now: Instant) -> Held {
    match old {
        Some(old) if new.status == Status::Unknown && old.status() != Status::Unknown => {
            let old = old.at(now);
            new = Verdict { address: new.address.or(old.address), resolve_error: new.resolve_error, ..old };
        }
        // A name that has not been asked for yet leads where it led.
        Some(old) if new.address.is_none() && new.resolve_error.is_none() => new.address = old.address(),
        Some(_) | None => {}
    }
    Held::new(old, new, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: Status, address: Option<&str>) -> Verdict {
        Verdict {
            backend: "nginx".into(),
            server: "nginx1".into(),
            status,
            address: address.map(|address| address.parse().unwrap()),
            resolve_error: None,
            check: None,
            streak: 0,
            rise: 2,
            fall: 3,
            since_ms: 0,
            failed_checks: 0,
            downs: 0,
            downtime_ms: 0,
            admin_state: None,
            member: None,
        }
    }

    #[test]
    fn a_restarted_healthd_flaps_nothing() {
        let start = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.replace([verdict(Status::Down, Some("192.0.2.1:80"))], start);
        verdicts.set_connected(false, start + Duration::from_secs(1));
        assert_eq!(verdicts.stale_for(start + Duration::from_secs(5)), Some(Duration::from_secs(4)));

        let later = start + Duration::from_secs(10);
        verdicts.set_connected(true, later);
        verdicts.replace([verdict(Status::Unknown, None)], later);
        let held = verdicts.get("nginx", "nginx1").unwrap();
        assert_eq!(held.status(), Status::Down);
        assert_eq!(held.address(), Some("192.0.2.1:80".parse().unwrap()));
        assert_eq!(held.at(later).downtime_ms, 10_000);

        assert!(verdicts.update(verdict(Status::Up, Some("192.0.2.9:80")), later));
        assert!(!verdicts.update(verdict(Status::Up, Some("192.0.2.9:80")), later));
        assert_eq!(verdicts.get("nginx", "nginx1").unwrap().status(), Status::Up);
    }

    #[test]
    fn a_server_has_been_as_it_is_for_longer_than_a_new_healthd_knows() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let since = |verdicts: &Verdicts, now| verdicts.get("nginx", "nginx1").unwrap().at(now).since_ms;
        let told = |status, downs, since_ms| Verdict { downs, since_ms, ..verdict(status, None) };
        let mut verdicts = Verdicts::default();
        verdicts.replace([told(Status::Up, 2, 5000)], start);
        assert_eq!(since(&verdicts, at(10)), 15_000);

        verdicts.replace([told(Status::Unknown, 0, 0)], at(10));
        verdicts.update(told(Status::Up, 0, 0), at(12));
        assert_eq!(since(&verdicts, at(20)), 25_000);
        verdicts.update(told(Status::Down, 1, 0), at(20));
        assert_eq!(since(&verdicts, at(21)), 1000);

        verdicts.replace([told(Status::Unknown, 0, 0)], at(30));
        verdicts.update(told(Status::Down, 1, 0), at(31));
        let held = verdicts.get("nginx", "nginx1").unwrap().at(at(40));
        assert_eq!((held.since_ms, held.downtime_ms), (20_000, 20_000));
        verdicts.replace([told(Status::Down, 2, 3000)], at(50));
        assert_eq!(since(&verdicts, at(50)), 3000, "it was up in between");
    }

    /// A configuration with one server of that name, at 192.0.2.1.
    fn own(server: &str) -> LbConfig {
        own_at(server, "192.0.2.1:80")
    }

    fn own_at(server: &str, address: &str) -> LbConfig {
        let text = format!(
            "frontends: {{ web: {{ bind: [\"127.0.0.1:80\"], backend: nginx }} }}\n\
             backends: {{ nginx: {{ servers: {{ {server}: \"{address}\" }} }} }}"
        );
        config::parse("lb.yaml", &text).unwrap().config
    }

    #[test]
    fn a_restarted_healthd_takes_no_address_from_an_unchecked_server_and_a_gone_name_does() {
        let now = Instant::now();
        let mut verdicts = Verdicts::default();
        let address = Some("192.0.2.1:80".parse().unwrap());
        verdicts.replace([verdict(Status::Unchecked, Some("192.0.2.1:80"))], now);
        verdicts.replace([verdict(Status::Unchecked, None)], now);
        assert_eq!(verdicts.get("nginx", "nginx1").unwrap().address(), address);
        let gone = Verdict { resolve_error: Some("no such host".into()), ..verdict(Status::Unchecked, None) };
        assert!(verdicts.update(gone, now));
        let held = verdicts.get("nginx", "nginx1").unwrap();
        assert_eq!((held.address(), held.is_resolved()), (None, true));
    }

    #[test]
    fn a_snapshot_forgets_servers_that_are_gone() {
        let now = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.replace([verdict(Status::Up, None)], now);
        verdicts.adopt(&own("other"));
        verdicts.replace([], now);
        assert!(verdicts.get("nginx", "nginx1").is_none());
    }

    #[test]
    fn a_server_of_ones_own_keeps_its_last_verdict_when_healthd_checks_others() {
        let now = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.adopt(&own("nginx1"));
        verdicts.replace([verdict(Status::Down, Some("192.0.2.1:80"))], now);
        let status = |verdicts: &Verdicts| verdicts.get("nginx", "nginx1").map(Held::status);
        verdicts.replace([], now);
        assert_eq!(status(&verdicts), Some(Status::Down), "healthd has it no more");
        verdicts.replace([verdict(Status::Up, Some("192.0.2.9:80"))], now);
        assert!(!verdicts.update(verdict(Status::Up, Some("192.0.2.9:80")), now));
        assert_eq!(status(&verdicts), Some(Status::Down), "healthd has it elsewhere");
        assert!(verdicts.update(verdict(Status::Up, Some("192.0.2.1:80")), now));
        assert_eq!(status(&verdicts), Some(Status::Up));
    }

    #[test]
    fn a_server_of_ones_own_that_healthd_does_not_check_keeps_its_last_verdict() {
        let now = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.adopt(&own("nginx1"));
        let status = |verdicts: &Verdicts| verdicts.get("nginx", "nginx1").map(Held::status);
        verdicts.replace([verdict(Status::Unchecked, Some("192.0.2.1:80"))], now);
        assert_eq!(status(&verdicts), Some(Status::Unknown));
        verdicts.update(verdict(Status::Down, Some("192.0.2.1:80")), now);
        assert!(!verdicts.update(verdict(Status::Unchecked, Some("192.0.2.1:80")), now));
        assert_eq!(status(&verdicts), Some(Status::Down));
    }

    #[test]
    fn another_port_is_somebody_else_also_for_a_name() {
        let now = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.adopt(&own_at("nginx1", "nginx1.example:80"));
        verdicts.replace([verdict(Status::Up, Some("192.0.2.1:81"))], now);
        let held = verdicts.get("nginx", "nginx1").unwrap();
        assert_eq!((held.status(), held.address()), (Status::Unknown, None));
        verdicts.replace([verdict(Status::Down, Some("192.0.2.1:80"))], now);
        verdicts.replace([verdict(Status::Up, Some("192.0.2.1:81"))], now);
        let held = verdicts.get("nginx", "nginx1").unwrap();
        assert_eq!((held.status(), held.address()), (Status::Down, Some("192.0.2.1:80".parse().unwrap())));
    }

    #[test]
    fn a_verdict_on_somebody_else_leaves_a_server_unknown_of_which_there_was_none() {
        let now = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.adopt(&own("nginx1"));
        for status in [Status::Down, Status::Up] {
            verdicts.replace([verdict(status, Some("192.0.2.9:80"))], now);
            let held = verdicts.get("nginx", "nginx1").unwrap();
            assert_eq!(
                (held.status(), held.address()),
                (Status::Unknown, Some("192.0.2.1:80".parse().unwrap()))
            );
        }
        assert!(verdicts.update(verdict(Status::Down, Some("192.0.2.1:80")), now));
        assert_eq!(verdicts.get("nginx", "nginx1").unwrap().status(), Status::Down);
    }

    #[test]
    fn a_name_that_healthd_finds_gone_concerns_routing_though_it_never_had_an_address() {
        let now = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.replace([verdict(Status::Unchecked, None)], now);
        let gone = Verdict { resolve_error: Some("no such host".into()), ..verdict(Status::Unchecked, None) };
        assert!(verdicts.update(gone.clone(), now), "lbd may have found an address by itself");
        assert!(!verdicts.update(gone, now));
    }

    #[test]
    fn a_difference_is_told_when_it_lasts() {
        let start = Instant::now();
        let mut verdicts = Verdicts::default();
        verdicts.compare(false, start);
        assert_eq!(verdicts.differs_for(start), None, "a reload may be under way");
        let later = start + Duration::from_secs(4);
        verdicts.compare(false, later);
        assert_eq!(verdicts.differs_for(later), Some(Duration::from_secs(4)));
        verdicts.compare(true, later);
        assert_eq!(verdicts.differs_for(later + Duration::from_secs(9)), None);
    }
}
