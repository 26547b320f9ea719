//! nginx x N, healthd and lbd, in one call.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::addresses::Addresses;
use crate::client::{Client, Response, get};
use crate::config::Config;
use crate::daemon::{self, Daemon, Program};
use crate::nginx::Nginx;
use crate::process::Process;
use crate::raw_server::{Peer, RawServer};
use crate::stats::{Row, read_csv};
use crate::wait::{PATIENCE, wait_until};

/// The system under test. Server number N is nginx instance N, called `sN` in the backend `app`, behind the frontend
/// `web`. Every part can be stopped, killed and started again.
#[derive(Debug)]
pub struct Stack {
    /// The servers; `nginx[0]` is `s1`.
    pub nginx: Vec<Nginx>,
    /// The health checker.
    pub healthd: Daemon,
    /// The load balancer.
    pub lbd: Daemon,
    /// What [`Stack::write_config`] writes.
    pub config: Config,
    /// The stack's own addresses: servers have 127.x.y.11 and on, from 127.x.y.100 they are the test's to use.
    pub addresses: Addresses,
    dir: TempDir,
}

/// How a [`Stack`] starts.
#[derive(Debug)]
pub struct StackBuilder {
    stack: Stack,
    servers: usize,
    healthd: bool,
    start_lbd: bool,
}

/// The port of every server.
pub const SERVER_PORT: u16 = 7081;

impl Stack {
    /// Three servers, healthd and lbd, all up.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A stack to be adapted.
    pub fn builder() -> StackBuilder {
        let addresses = Addresses::claim();
        let dir = tempfile::Builder::new().prefix("tandem-run-").tempdir().expect("a temporary directory");
        let config =
            Config::new(addresses.socket(1, 7080), addresses.socket(1, 7404), addresses.socket(1, 7406));
        let stack = Self {
            nginx: Vec::new(),
            healthd: Daemon::new(Program::Healthd, dir.path()),
            lbd: Daemon::new(Program::Lbd, dir.path()),
            config,
            addresses,
            dir,
        };
        StackBuilder { stack, servers: 3, healthd: true, start_lbd: true }
    }

    /// Where clients connect.
    pub fn web(&self) -> SocketAddr {
        self.config.bind
    }

    /// The directory of the sockets, the configuration and the logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A client of the frontend.
    pub fn client(&self) -> Client {
        Client::connect(self.web())
    }

    /// One `GET` through the frontend on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        get(self.web(), path)
    }

    /// The address of server number `number`, whether it runs or not.
    pub fn server_address(&self, number: usize) -> SocketAddr {
        let last = u8::try_from(10 + number).expect("few servers");
        self.addresses.socket(last, SERVER_PORT)
    }

    /// Starts one more server, which the configuration does not know yet, and returns its name.
    pub fn add_nginx(&mut self) -> String {
        let number = self.nginx.len() + 1;
        self.nginx.push(Nginx::start(number, self.server_address(number)));
        format!("s{number}")
    }

    /// Writes the configuration file.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn write_config(&self) {
        self.write_config_text(&self.config.to_string());
    }

    /// Writes a configuration file of the test's own words.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn write_config_text(&self, text: &str) {
        fs::write(self.lbd.config(), text).expect("an own file");
    }

    /// Writes the configuration and has both daemons read it, through tandemctl, which waits for the answer.
    ///
    /// # Panics
    /// When the reload is refused.
    pub fn reload(&self) {
        self.write_config();
        let output = self.tandemctl(&["reload"]);
        assert!(output.status.success(), "tandemctl reload: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `tandemctl --run-dir DIR ARGS`.
    pub fn tandemctl(&self, args: &[&str]) -> Output {
        let dir = self.dir.path().display().to_string();
        daemon::run(Program::Tandemctl, ["--run-dir", &dir].iter().chain(args))
    }

    /// Runs tandemctl and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn tandemctl_ok(&self, args: &[&str]) -> String {
        let output = self.tandemctl(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "tandemctl {args:?}: {}\n{out}{err}", output.status);
        out.into_owned()
    }

    /// Has another lbd take the place of the one that serves, which is returned.
    ///
    /// # Panics
    /// When that is refused, or fails.
    pub fn upgrade(&mut self) -> Process {
        let told = self.tandemctl_ok(&["upgrade"]);
        let pid = told.strip_prefix("lbd: process ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        self.lbd.succeeded_by(pid.unwrap_or_else(|| panic!("{told:?} names no process")))
    }

    /// Sends one text command to lbd's socket and returns the answer.
    pub fn command(&self, command: &str) -> String {
        text_command(&self.lbd.socket(), command)
    }

    /// Every row of lbd's statistics.
    pub fn stats(&self) -> Vec<Row> {
        let response = get(self.config.admin, "/;csv");
        assert_eq!(response.status, 200);
        read_csv(&response.text())
    }

    /// One row of lbd's statistics: `("app", "s1")`, `("app", "BACKEND")`, `("web", "FRONTEND")`.
    ///
    /// # Panics
    /// When there is none.
    pub fn stat(&self, proxy: &str, name: &str) -> Row {
        let mut rows = self.stats().into_iter();
        rows.find(|row| row.text("pxname") == proxy && row.text("svname") == name)
            .unwrap_or_else(|| panic!("no row {proxy}/{name} in the statistics"))
    }

    /// A series of lbd's metrics, with its labels: `tandem_server_status{proxy="app",server="s1",state="UP"}`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = get(self.config.admin, "/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// A server's status as lbd shows it.
    pub fn status(&self, server: &str) -> String {
        self.stat("app", server).text("status").to_owned()
    }

    /// Waits until lbd shows a server with that status.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn wait_for_status(&self, server: &str, status: &str) {
        wait_until(&format!("server {server} is {status}"), || self.status(server) == status);
    }
}

impl Drop for Stack {
    /// What an lbd that was stopped has left to the next one is not to meet whoever has these addresses next.
    fn drop(&mut self) {
        let has_left =
            !self.lbd.is_running() && fs::remove_file(self.dir().join("lbd/lbd.listeners")).is_ok();
        if has_left && !std::thread::panicking() {
            wait_until("nobody keeps the listeners", || TcpListener::bind(self.web()).is_ok());
        }
    }
}

/// Sends one text command to a daemon's socket and returns the answer.
///
/// # Panics
/// When nobody listens there, or the answer has no end.
pub fn text_command(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket)
        .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", socket.display()));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero");
    stream.write_all(format!("{command}\n").as_bytes()).expect("the daemon reads the command");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .unwrap_or_else(|error| panic!("no whole answer to {command:?}: {error}"));
    answer
}

impl StackBuilder {
    /// That many servers, instead of three.
    pub fn servers(mut self, count: usize) -> Self {
        self.servers = count;
        self
    }

    /// Changes the configuration before anything starts.
    pub fn config(mut self, change: impl FnOnce(&mut Config, &Addresses)) -> Self {
        change(&mut self.stack.config, &self.stack.addresses);
        self
    }

    /// Adds lines to the frontend.
    pub fn frontend(self, lines: &str) -> Self {
        self.config(|config, _| config.frontend = lines.to_owned())
    }

    /// Adds lines to the backend.
    pub fn backend(self, lines: &str) -> Self {
        self.config(|config, _| config.backend = lines.to_owned())
    }

    /// No checks, and so no healthd: every server is taken as up.
    pub fn unchecked(self) -> Self {
        self.without_healthd().config(|config, _| config.check = "off".to_owned())
    }

    /// Does not start healthd.
    pub fn without_healthd(mut self) -> Self {
        self.healthd = false;
        self
    }

    /// Does not start lbd.
    pub fn without_lbd(mut self) -> Self {
        self.start_lbd = false;
        self
    }

    /// Starts lbd alone, in front of one unchecked server called `raw`, which is a script of the test. It listens
    /// before lbd starts.
    pub fn start_before(
        self,
        script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
    ) -> (Stack, RawServer) {
        let address = self.stack.addresses.socket(100, SERVER_PORT);
        let server = RawServer::start(address, script);
        let stack = self.servers(0).unchecked().config(|config, _| config.server("raw", address)).start();
        (stack, server)
    }

    /// Starts the servers, healthd and lbd, and waits until each is ready and every server started here is up.
    pub fn start(self) -> Stack {
        let Self { mut stack, servers, healthd, start_lbd } = self;
        for _ in 0..servers {
            let name = stack.add_nginx();
            let address = stack.nginx.last().map(Nginx::address).expect("one was just added");
            // What the test said of the server stays.
            if !stack.config.servers.iter().any(|(known, _)| *known == name) {
                stack.config.server(&name, address);
            }
        }
        stack.write_config();
        if healthd {
            stack.healthd.start();
        }
        if start_lbd {
            stack.lbd.start();
        }
        if healthd && start_lbd {
            for number in 1..=servers {
                // Not its status: a server may be up and yet take nothing, by its weight or its state.
                let name = format!("s{number}");
                wait_until(&format!("server {name} has passed a check"), || {
                    stack.stat("app", &name).text("check_status").ends_with("OK")
                });
            }
        }
        stack
    }
}
