//! The first five minutes: what somebody writes who has just read the README, on the machine that he happens to have.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use testkit::{Daemon, Netns, Nginx, Program, RawServer, Row, get, is_root, read_csv, skip, wait_until};

/// healthd and lbd on a configuration of the test's own words, perhaps on a host of their own.
struct Node {
    healthd: Daemon,
    lbd: Daemon,
    host: Option<Netns>,
    dir: tempfile::TempDir,
}

impl Node {
    fn new(host: Option<Netns>) -> Self {
        let dir = tempfile::Builder::new().prefix("tandem-newcomer-").tempdir().unwrap();
        let daemon = |program| {
            let daemon = Daemon::new(program, dir.path());
            match &host {
                Some(host) => daemon.within(host),
                None => daemon,
            }
        };
        let (healthd, lbd) = (daemon(Program::Healthd), daemon(Program::Lbd));
        Self { healthd, lbd, host, dir }
    }

    /// Starts both daemons, in whichever order, without waiting for one before the other.
    fn start(&mut self, config: &str) {
        fs::write(self.dir.path().join("lb.yaml"), config).unwrap();
        let _ = (self.lbd.spawn(), self.healthd.spawn());
    }

    fn restart(&mut self) {
        self.healthd.stop();
        self.lbd.stop();
        let _ = (self.healthd.spawn(), self.lbd.spawn());
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.host {
            Some(host) => host.inside(work),
            None => work(),
        }
    }

    /// The rows of the servers in lbd's statistics.
    fn servers(&self, admin: SocketAddr) -> Vec<Row> {
        let rows = self.inside(|| read_csv(&get(admin, "/;csv").text()));
        rows.into_iter().filter(|row| !matches!(row.text("svname"), "FRONTEND" | "BACKEND")).collect()
    }

    /// Waits until each server is up, and each has answered a request.
    fn serves_from_all(&self, admin: SocketAddr, web: SocketAddr) {
        let up = || {
            let listens = self.inside(|| std::net::TcpStream::connect(admin).is_ok());
            listens && self.servers(admin).iter().all(|row| row.text("status") == "UP")
        };
        wait_until("every server is up", up);
        let count = self.servers(admin).len();
        self.inside(|| {
            for _ in 0..2 * count * workers() {
                assert_eq!(get(web, "/").status, 200);
            }
        });
        for row in self.servers(admin) {
            assert!(row.number("stot") > 0, "{} was never chosen", row.text("svname"));
        }
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A server at a port of its own of 127.0.0.1.
fn local_server() -> RawServer {
    RawServer::start(free_port(), |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    })
}

/// A port of 127.0.0.1 that nobody has.
fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Every way in which a server on this very machine may be written, but for what this machine does not know.
fn names_of_this_machine() -> Vec<String> {
    let mut names: Vec<String> =
        ["localhost", "LOCALHOST", "LocalHost", "localhost."].map(str::to_owned).into();
    let own = Command::new("hostname").output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap().trim().to_owned();
    let hosts = fs::read_to_string("/etc/hosts").unwrap();
    if hosts
        .lines()
        .any(|line| line.starts_with("127.0.0.1") && line.split_whitespace().any(|word| word == own))
    {
        names.push(own);
    }
    names
}

#[test]
fn localhost_is_up_with_http_and_tcp_checks_at_each_start() {
    let server = local_server();
    let port = server.address().port();
    let [web, admin, healthd_admin] = [free_port(), free_port(), free_port()];
    for check in ["", "check: { tcp: {} },"] {
        // One name alone, as a newcomer has it, and all at once.
        for names in [vec!["localhost".to_owned()], names_of_this_machine()] {
            let servers: Vec<String> =
                names.iter().enumerate().map(|(at, name)| format!("s{at}: \"{name}:{port}\"")).collect();
            let mut node = Node::new(None);
            node.start(&format!(
                "frontends: {{ web: {{ bind: \"{web}\", backend: app }} }}\n\
                 backends: {{ app: {{ {check} servers: {{ {} }} }} }}\n\
                 admin: {{ bind: \"{admin}\" }}\n\
                 healthd: {{ admin: {{ bind: \"{healthd_admin}\" }} }}\n",
                servers.join(", ")
            ));
            node.serves_from_all(admin, web);
            node.restart();
            node.serves_from_all(admin, web);
        }
    }
}

/// A host of its own with these names, and a server on each of its loopback addresses.
fn host(hosts: &str, resolv_conf: &str) -> (Netns, Vec<Nginx>) {
    let host = Netns::new("newcomer");
    host.etc("hosts", hosts);
    host.etc("resolv.conf", resolv_conf);
    let addresses = ["127.0.0.11:80", "127.0.0.12:80", "127.0.0.13:80", "[::1]:80"];
    let servers = addresses.iter().zip(1..);
    let servers =
        servers.map(|(address, number)| Nginx::start_in(&host, number, address.parse().unwrap())).collect();
    (host, servers)
}

#[test]
fn names_of_the_hosts_file_with_either_family_or_both() {
    if !is_root() {
        skip!("a host with an /etc/hosts of its own needs root");
    }
    let hosts = "127.0.0.1 localhost\n127.0.0.11 four Mixed.Case box box.example\n::1 six\n\
                 127.0.0.12 both\n::1 both\n";
    let (host, _servers) = host(hosts, "");
    let servers = [
        "four:80",
        "FOUR:80",
        "four.:80",
        "six:80",
        "both:80",
        "mixed.case:80",
        "box:80",
        "Box.Example.:80",
        "[::1]:80",
        "[0:0:0:0:0:0:0:1]:80",
        "127.0.0.13:80",
    ];
    let servers: Vec<String> =
        servers.iter().enumerate().map(|(at, server)| format!("      s{at}: \"{server}\"\n")).collect();
    let mut node = Node::new(Some(host));
    node.start(&format!(
        "frontends: {{ web: {{ bind: 127.0.0.1:8080, backend: http }} }}\nbackends:\n  \
         http:\n    servers:\n{0}  tcp:\n    check: {{ tcp: {{}} }}\n    servers:\n{0}",
        servers.concat()
    ));
    let admin = ([127, 0, 0, 1], 8404).into();
    let up = || {
        let listens = node.inside(|| std::net::TcpStream::connect(admin).is_ok());
        listens && node.servers(admin).iter().all(|row| row.text("status") == "UP")
    };
    wait_until("every server is up", up);
    assert_eq!(node.servers(admin).len(), 22);
    node.inside(|| assert_eq!(get(([127, 0, 0, 1], 8080).into(), "/").status, 200));
}

#[test]
fn lbd_alone_finds_unchecked_servers() {
    if !is_root() {
        skip!("a host with an /etc/hosts of its own needs root");
    }
    // The C library puts ::1 first, where this server is not.
    let (host, _servers) = host("127.0.0.1 localhost\n127.0.0.11 both\n::2 both\n", "");
    let mut node = Node::new(Some(host));
    let config = "frontends: { web: { bind: 127.0.0.1:8080, backend: app } }\n\
                  backends: { app: { check: off, servers: { s1: \"both:80\" } } }\n\
                  lbd: { verdict_wait: 0s }\n";
    fs::write(node.dir.path().join("lb.yaml"), config).unwrap();
    node.lbd.start();
    let web = ([127, 0, 0, 1], 8080).into();
    wait_until("the server is found", || node.inside(|| get(web, "/").status == 200));
}

/// The whole `lb.yaml` files of a document that balance HTTP. In TCP mode a server is a database of the reader's.
fn whole_files(document: &str) -> Vec<&str> {
    let blocks = document.split("\n```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("\n```").next());
    let is_whole = |block: &&str| block.lines().any(|line| line.starts_with("frontends:"));
    blocks.filter(is_whole).filter(|block| !block.contains("mode: tcp")).collect()
}

#[test]
fn the_files_of_the_documents_work_as_they_stand_there() {
    if !is_root() {
        skip!("a host with an /etc/hosts of its own needs root");
    }
    let documents = [include_str!("../README.md"), include_str!("../docs/configuration.md")];
    let files: Vec<&str> = documents.iter().flat_map(|document| whole_files(document)).collect();
    assert!(files.len() >= 3, "the README's, and the first and the shortest of docs/configuration.md");
    let hosts = "127.0.0.1 localhost\n127.0.0.11 nginx1\n127.0.0.12 nginx2\n127.0.0.13 nginx3\n";
    for file in files {
        let (host, _servers) = host(hosts, "");
        let mut node = Node::new(Some(host));
        node.start(file);
        node.serves_from_all(([127, 0, 0, 1], 8404).into(), ([127, 0, 0, 1], 8080).into());
    }
}
