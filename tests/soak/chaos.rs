//! What happens to the system meanwhile: one thing after the other, in turn.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::{Addresses, Authority, CertificateKey, SERVER_PORT, Stack, wait_until};

use super::work::start_echo;

/// A server that was killed, and when.
#[derive(Debug)]
pub struct Death {
    pub server: String,
    pub begins: Instant,
    /// By then its sockets are closed.
    pub over: Instant,
}

/// What happens, in turn.
pub struct Chaos {
    authority: Authority,
    turn: usize,
    pub deaths: Vec<Death>,
}

type Event = fn(&mut Chaos, &mut Stack, usize) -> String;

const EVENTS: [Event; 9] = [
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
pub fn stack(authority: &Authority) -> Stack {
    let certificate = issue(authority);
    let timeouts = "timeouts: { keep_alive: 2s, server: 20s }";
    Stack::builder()
        .servers(SERVERS)
        .backend(timeouts)
        .config(|config, addresses| {
            let [one, two] = [100, 101].map(|last| addresses.socket(last, SERVER_PORT));
            start_echo(one);
            start_echo(two);
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
        .start()
}

/// A certificate for what is asked by TLS, in place of the one that was there.
fn issue(authority: &Authority) -> PathBuf {
    authority.issue("soak.pem", &["soak.example"], CertificateKey::Ecdsa)
}

impl Chaos {
    pub fn new(authority: Authority) -> Self {
        Self { authority, turn: 0, deaths: Vec::new() }
    }

    /// Has the next thing happen, and says what it was.
    pub fn next(&mut self, stack: &mut Stack) -> String {
        let (round, event) = (self.turn / EVENTS.len(), EVENTS[self.turn % EVENTS.len()]);
        self.turn += 1;
        let what = event(self, stack, round % SERVERS);
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

    fn kill(&mut self, stack: &mut Stack, index: usize) -> String {
        self.end(stack, index, testkit::Nginx::kill);
        format!("{} was killed", name(index))
    }

    /// nginx, told to stop by SIGTERM, breaks off what is under way: that is no better than being killed.
    fn stop(&mut self, stack: &mut Stack, index: usize) -> String {
        self.end(stack, index, testkit::Nginx::stop);
        format!("{} was stopped under load", name(index))
    }

    /// What an operator does to lose nothing.
    fn replace(&mut self, stack: &mut Stack, index: usize) -> String {
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

    fn change_weight(&mut self, stack: &mut Stack, index: usize) -> String {
        let server = format!("app/{}", name(index));
        for weight in ["7", "0", "1"] {
            tell(stack, &["weight", &server, weight]);
            std::thread::sleep(MOMENT / 3);
        }
        format!("the weight of {} changed", name(index))
    }

    /// A server more, and other rules; then as before.
    fn reload(&mut self, stack: &mut Stack, index: usize) -> String {
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

    fn reload_nonsense(&mut self, stack: &mut Stack, _: usize) -> String {
        stack.write_config_text("frontends: { web: { backend: nowhere } }");
        assert!(!stack.tandemctl(&["reload"]).status.success(), "nonsense was taken for a configuration");
        stack.reload();
        "a wrong configuration was refused".to_owned()
    }

    /// Nothing is told to anybody: the file is another.
    fn renew_certificate(&mut self, stack: &mut Stack, _: usize) -> String {
        let told = |stack: &Stack| stack.lbd.stderr().matches("TLS presents what its files say now").count();
        let before = told(stack);
        issue(&self.authority);
        wait_until("the new certificate is presented", || told(stack) > before);
        "the certificate was replaced".to_owned()
    }

    fn kill_healthd(&mut self, stack: &mut Stack, _: usize) -> String {
        stack.healthd.kill();
        std::thread::sleep(MOMENT);
        stack.healthd.start();
        for number in 1..=SERVERS {
            wait_for_server(stack, number);
        }
        "healthd was killed and started again".to_owned()
    }

    fn drain_tunnels(&mut self, stack: &mut Stack, index: usize) -> String {
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
