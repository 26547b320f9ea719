//! What happens to the system meanwhile: one thing after the other, in turn.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::{Addresses, Authority, CertificateKey, EchoServer, Follower, SERVER_PORT, Stack, wait_until};

use super::work::Work;

/// A server that was killed, and when.
#[derive(Debug)]
pub struct Death {
    pub server: String,
    pub begins: Instant,
    /// By then its sockets are closed.
    pub over: Instant,
}

/// From when until when something was so.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub begins: Instant,
    pub over: Instant,
}

impl Span {
    pub fn has(&self, moment: Instant) -> bool {
        self.begins <= moment && moment <= self.over
    }

    pub fn meets(&self, other: &Self) -> bool {
        self.begins <= other.over && other.begins <= self.over
    }
}

/// An lbd that was killed, and when.
#[derive(Debug)]
pub struct Outage {
    pub begins: Instant,
    /// By then its sockets are closed.
    pub over: Instant,
    /// From then on the next one listens.
    pub back: Instant,
}

/// What happens, in turn.
pub struct Chaos {
    events: &'static [Event],
    authority: Authority,
    turn: usize,
    /// What has happened, and by when.
    pub happened: Vec<(Instant, String)>,
    pub deaths: Vec<Death>,
    pub outages: Vec<Outage>,
    /// When lbd handed over, and when it stopped.
    pub handovers: Vec<Span>,
    pub stops: Vec<Span>,
}

pub type Event = fn(&mut Chaos, &mut Stack, &Work, usize) -> String;

/// What one and the same lbd has to live with.
pub const AROUND_LBD: &[Event] = &[
    Chaos::kill,
    Chaos::reload,
    Chaos::replace,
    Chaos::kill_healthd,
    Chaos::stop,
    Chaos::change_weight,
    Chaos::reload_nonsense,
    Chaos::drain_tunnels,
    Chaos::renew_certificate,
];

/// What clients have to live with when it is lbd that leaves.
pub const TO_LBD: &[Event] = &[
    Chaos::hand_over,
    Chaos::restart_lbd,
    Chaos::kill_lbd,
    Chaos::reload,
    Chaos::renew_certificate,
    Chaos::kill,
];

/// Servers that all of this happens to.
const SERVERS: usize = 3;
/// How long a state lasts.
const MOMENT: Duration = Duration::from_millis(700);

/// Where WebSockets connect.
pub fn tunnels(addresses: &Addresses) -> SocketAddr {
    addresses.socket(2, 7080)
}

/// Where clients speak HTTP/2 by TLS.
pub fn secure(addresses: &Addresses) -> SocketAddr {
    addresses.socket(2, 7443)
}

/// Three nginx for requests, by TLS and without, two echoing servers for tunnels.
pub fn stack(authority: &Authority) -> (Stack, Vec<EchoServer>) {
    let certificate = issue(authority);
    let timeouts = "timeouts: { keep_alive: 2s, server: 20s }";
    let mut echoes = Vec::new();
    let stack = Stack::builder()
        .servers(SERVERS)
        .backend(timeouts)
        .config(|config, addresses| {
            // As long as it may be: on a busy machine downloads take theirs.
            config.lbd = "handover_timeout: 5s".to_owned();
            let [one, two] = [100, 101].map(|last| addresses.socket(last, SERVER_PORT));
            echoes.extend([one, two].map(EchoServer::start));
            config.more_backends =
                format!("echo:\n  check: {{ tcp: {{}} }}\n  servers: {{ e1: \"{one}\", e2: \"{two}\" }}");
            config.more_frontends = format!(
                "tunnels:\n  bind: [\"{}\"]\n  backend: echo\n\
                 secure:\n  bind: {{ address: \"{}\", tls: {{ certificates: [\"{}\"] }} }}\n  backend: app",
                tunnels(addresses),
                secure(addresses),
                certificate.display()
            );
        })
        .start();
    (stack, echoes)
}

/// A certificate for what is asked by TLS, in place of the one that was there.
fn issue(authority: &Authority) -> PathBuf {
    authority.issue("soak.pem", &["soak.example"], CertificateKey::Ecdsa)
}

impl Chaos {
    pub fn new(events: &'static [Event], authority: Authority) -> Self {
        Self {
            events,
            authority,
            turn: 0,
            happened: Vec::new(),
            deaths: Vec::new(),
            outages: Vec::new(),
            handovers: Vec::new(),
            stops: Vec::new(),
        }
    }

    /// Whether all of it has happened at least once.
    pub fn was_complete(&self) -> bool {
        self.turn >= self.events.len()
    }

    /// Has the next thing happen, and says what it was.
    pub fn next(&mut self, stack: &mut Stack, work: &Work) -> String {
        let (round, event) = (self.turn / self.events.len(), self.events[self.turn % self.events.len()]);
        self.turn += 1;
        let what = event(self, stack, work, round % SERVERS);
        self.happened.push((Instant::now(), what.clone()));
        std::thread::sleep(MOMENT);
        what
    }

    /// Leaves the system as it was.
    pub fn restore(&mut self, stack: &mut Stack) {
        for number in 1..=SERVERS {
            wait_for_server(stack, number);
        }
    }

    fn end(&mut self, stack: &mut Stack, index: usize, how: fn(&mut testkit::Nginx)) {
        let begins = Instant::now();
        how(&mut stack.nginx[index]);
        self.deaths.push(Death { server: name(index), begins, over: Instant::now() });
        std::thread::sleep(MOMENT);
        stack.nginx[index].restart();
        wait_for_server(stack, index + 1);
    }

    fn kill(&mut self, stack: &mut Stack, _: &Work, index: usize) -> String {
        self.end(stack, index, testkit::Nginx::kill);
        format!("{} was killed", name(index))
    }

    /// nginx, told to stop by SIGTERM, breaks off what is under way: that is no better than being killed.
    fn stop(&mut self, stack: &mut Stack, _: &Work, index: usize) -> String {
        self.end(stack, index, testkit::Nginx::stop);
        format!("{} was stopped under load", name(index))
    }

    /// What an operator does to lose nothing.
    fn replace(&mut self, stack: &mut Stack, _: &Work, index: usize) -> String {
        let server = format!("app/{}", name(index));
        tell(stack, &["drain", &server]);
        std::thread::sleep(MOMENT);
        wait_until("nothing is in flight on a drained server", || {
            stack.stat("app", &name(index)).number("scur") == 0
        });
        stack.nginx[index].stop();
        stack.nginx[index].restart();
        tell(stack, &["ready", &server]);
        wait_for_server(stack, index + 1);
        format!("{} was drained and replaced", name(index))
    }

    fn change_weight(&mut self, stack: &mut Stack, _: &Work, index: usize) -> String {
        let server = format!("app/{}", name(index));
        for weight in ["7", "0", "1"] {
            tell(stack, &["weight", &server, weight]);
            std::thread::sleep(MOMENT / 3);
        }
        format!("the weight of {} changed", name(index))
    }

    /// A server more, and other rules; then as before.
    fn reload(&mut self, stack: &mut Stack, _: &Work, index: usize) -> String {
        let before = stack.config.clone();
        let again = stack.server_address(index + 1);
        stack.config.server("s4", again);
        "balance: leastconn\ntimeouts: { keep_alive: 1s, server: 30s }".clone_into(&mut stack.config.backend);
        stack.reload();
        std::thread::sleep(MOMENT);
        stack.config = before;
        stack.reload();
        "the configuration changed and changed back".to_owned()
    }

    fn reload_nonsense(&mut self, stack: &mut Stack, _: &Work, _: usize) -> String {
        stack.write_config_text("frontends: { web: { backend: nowhere } }");
        assert!(!stack.tandemctl(&["reload"]).status.success(), "nonsense was taken for a configuration");
        stack.reload();
        "a wrong configuration was refused".to_owned()
    }

    /// Nothing is told to anybody: the file is another.
    fn renew_certificate(&mut self, stack: &mut Stack, _: &Work, _: usize) -> String {
        let told = |stack: &Stack| stack.lbd.stderr().matches("TLS presents what its files say now").count();
        let before = told(stack);
        issue(&self.authority);
        wait_until("the new certificate is presented", || told(stack) > before);
        "the certificate was replaced".to_owned()
    }

    fn kill_healthd(&mut self, stack: &mut Stack, _: &Work, _: usize) -> String {
        stack.healthd.kill();
        std::thread::sleep(MOMENT);
        stack.healthd.start();
        for number in 1..=SERVERS {
            wait_for_server(stack, number);
        }
        "healthd was killed and started again".to_owned()
    }

    /// What a planned failover does to an lbd that goes on afterwards.
    fn hand_over(&mut self, stack: &mut Stack, _: &Work, _: usize) -> String {
        let mut follower = Follower::connect(&stack.lbd.socket());
        let begins = Instant::now();
        follower.drain();
        let done = follower.done();
        assert!(done.starts_with("drained after"), "{done}");
        follower.released();
        self.handovers.push(Span { begins, over: Instant::now() });
        "lbd handed its clients over, and took them back".to_owned()
    }

    /// What an upgrade does.
    fn restart_lbd(&mut self, stack: &mut Stack, _: &Work, _: usize) -> String {
        let begins = Instant::now();
        assert_eq!(stack.lbd.stop().code(), Some(0));
        self.stops.push(Span { begins, over: Instant::now() });
        stack.lbd.start();
        "lbd was restarted".to_owned()
    }

    fn kill_lbd(&mut self, stack: &mut Stack, work: &Work, _: usize) -> String {
        let begins = Instant::now();
        work.lbd_is_about_to_die();
        stack.lbd.kill();
        let over = Instant::now();
        stack.lbd.start();
        self.outages.push(Outage { begins, over, back: Instant::now() });
        "lbd was killed and started again".to_owned()
    }

    fn drain_tunnels(&mut self, stack: &mut Stack, _: &Work, index: usize) -> String {
        let server = format!("echo/e{}", 1 + index % 2);
        for state in ["drain", "maint", "ready"] {
            tell(stack, &[state, &server]);
            std::thread::sleep(MOMENT / 3);
        }
        format!("{server} was drained, and kept its tunnels")
    }
}

/// Tells lbd something through tandemctl, as often as it takes: on a busy machine an answer may come too late.
fn tell(stack: &Stack, args: &[&str]) {
    wait_until(&format!("tandemctl {args:?} succeeds"), || stack.tandemctl(args).status.success());
}

fn name(index: usize) -> String {
    format!("s{}", index + 1)
}

fn wait_for_server(stack: &Stack, number: usize) {
    stack.wait_for_status(&format!("s{number}"), "UP");
}
