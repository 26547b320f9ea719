//! Many verdicts at once, and none: what changes costs what it changes, and whoever waits for a sign of life gets it in time.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use testkit::{
    Daemon, HangingFile, Netns, Network, Owners, Program, RawServer, Stack, VrrpNode, get, is_root, skip,
    text_command, wait_until,
};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));
const BACKENDS: usize = 100;
const SERVERS: usize = 10;

/// Servers of a node: one listener is all of those that stay, another all of those that come and go.
const STEADY: u16 = 9000;
const FICKLE: u16 = 9001;

/// Answers, or rather accepts, at a port of a host, while it is to.
struct Port {
    open: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    fn open(host: &Netns, port: u16) -> Self {
        let (open, end) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let listen = move || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let host = host.name().to_owned();
        let (is_open, is_over) = (open.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            Netns::enter(&host);
            let mut listener = None;
            while !is_over.load(Relaxed) {
                if !is_open.load(Relaxed) {
                    listener = None;
                } else if let Ok(_accepted) = listener.get_or_insert_with(listen).accept() {
                    continue;
                }
                sleep(Duration::from_millis(1));
            }
        });
        Self { open, end, thread: Some(thread) }
    }

    fn set(&self, open: bool) {
        self.open.store(open, Relaxed);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.end.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Nearly a third of the servers is fickle.
fn is_fickle(server: &usize) -> bool {
    server % 3 == 2
}

fn lb() -> String {
    let mut text = "frontends:\n".to_owned();
    for backend in 0..BACKENDS {
        text +=
            &format!("  f{backend}: {{ bind: [\"0.0.0.0:{}\"], backend: b{backend} }}\n", 10_000 + backend);
    }
    text += "backends:\n";
    for backend in 0..BACKENDS {
        text += &format!(
            "  b{backend}:\n    check: {{ tcp: {{}}, interval: 1s, fall: 1, rise: 1 }}\n    servers:\n"
        );
        for server in 0..SERVERS {
            let port = if is_fickle(&server) { FICKLE } else { STEADY };
            text += &format!("      s{server}: 127.1.{backend}.{}:{port}\n", server + 1);
        }
    }
    text + "lbd: { workers: 1 }\nadmin: { bind: 127.0.0.1:8404 }\nhealthd: { admin: { bind: 127.0.0.1:8406 } }\n"
}

fn down(node: &VrrpNode) -> usize {
    let stat = text_command(&node.dir().join("lbd/lbd.sock"), "show stat");
    stat.lines()
        .filter(|line| line.starts_with('b') && !line.contains(",BACKEND,") && line.contains(",DOWN,"))
        .count()
}

/// Both nodes see the same servers come and go, a third of a thousand at once, again and again.
#[test]
fn no_storm_of_verdicts_moves_the_address() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let network = Network::new(24);
    let mut nodes = Vec::new();
    let mut daemons = Vec::new();
    let mut ports = Vec::new();
    for (name, last, priority) in [("lb1", 1, 200), ("lb2", 2, 100)] {
        let host = network.host(name, Ipv4Addr::new(10, 9, 0, last));
        ports.push([STEADY, FICKLE].map(|port| Port::open(&host, port)));
        // More patience with lbd than `fast` has by itself: two nodes on one small machine keep each other waiting, too.
        let lines = format!(
            "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [10.9.0.100/24]\n\
             timing: fast\npreempt: false\ntrack: [{{lbd: {{hung_after: 500ms}}}}]"
        );
        let mut node = VrrpNode::new(host, &lines);
        fs::write(node.dir().join("lb.yaml"), lb()).unwrap();
        let [mut healthd, mut lbd] = [Program::Healthd, Program::Lbd]
            .map(|program| Daemon::new(program, node.dir()).within(&node.host));
        healthd.start();
        lbd.start();
        node.vrrpd.start();
        node.wait_for_state(if priority == 200 { "master" } else { "backup" });
        wait_until("all servers are up", || down(&node) == 0);
        nodes.push(node);
        daemons.push((healthd, lbd));
    }
    let owners = Owners::new(&[&nodes[0].host, &nodes[1].host], VIP);
    wait_until("the backup hears the master", || nodes[1].counter("adverts_received") > 1);
    // What a busy machine does to `fast` by itself is not the point: only what lbd is blamed for.
    let blamed = || nodes.iter().flat_map(VrrpNode::transitions).filter(|told| told.contains("lbd")).count();
    let before = blamed();
    let fickle = BACKENDS * (0..SERVERS).filter(is_fickle).count();
    for open in [false, true, false, true] {
        ports.iter().for_each(|[_, port]| port.set(open));
        for node in &nodes {
            wait_until("routing follows", || down(node) == fickle * usize::from(!open));
        }
    }
    assert_eq!(
        blamed(),
        before,
        "lbd was taken for hung: {:?}",
        nodes.iter().map(VrrpNode::transitions).collect::<Vec<_>>()
    );
    assert_eq!(owners.now().len(), 1);
}

/// Follows lbd's liveness as vrrpd does, until it is dropped.
fn follow(socket: &Path, ping_ms: u32) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    let hello = "{\"hello\":{\"protocol\":1,\"client\":\"test\"}}\n";
    let subscribe =
        format!("{{\"id\":1,\"request\":\"subscribe\",\"topic\":\"liveness\",\"ping_ms\":{ping_ms}}}\n");
    (&stream).write_all((hello.to_owned() + &subscribe).as_bytes()).unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    stream
}

/// How often the threads of a process have gone to sleep of their own will, and so been woken.
fn wakes(pid: u32) -> u64 {
    let of = |status: String| {
        let line =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).map(str::to_owned);
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok()).map(of).sum()
}

/// With two workers, three servers that are checked twice a second, and `timing: fast` at the other end.
#[test]
fn an_lbd_with_nothing_to_do_hardly_wakes() {
    const SECONDS: u64 = 6;
    let stack =
        Stack::builder().config(|config, _| config.check = "{ tcp: {}, interval: 500ms }".to_owned()).start();
    let pid = stack.lbd.pid();
    for (followers, a_second) in [(0, 20), (1, 30)] {
        let _followed: Vec<UnixStream> = (0..followers).map(|_| follow(&stack.lbd.socket(), 80)).collect();
        // What happened before is over.
        sleep(Duration::from_secs(1));
        let before = wakes(pid);
        sleep(Duration::from_secs(SECONDS));
        let woken = wakes(pid) - before;
        println!("{} wake-ups a second with {followers} followers", woken as f64 / SECONDS as f64);
        assert!(woken <= a_second * SECONDS, "{woken} wake-ups in {SECONDS} s with {followers} followers");
    }
}

/// One that is known to be well is enough to begin with, and carries the load until more is known.
#[test]
fn a_start_waits_for_no_server_that_hangs_its_check() {
    let mut stack = Stack::builder()
        .servers(2)
        .config(|config, addresses| {
            config.check = "{ http: { path: /health }, interval: 200ms, timeout: 1m }".to_owned();
            config.lbd = "workers: 2\nverdict_wait: 1m".to_owned();
            config.server("s2", addresses.socket(100, 7999));
        })
        .without_healthd()
        .without_lbd()
        .start();
    let hanging = RawServer::start(stack.addresses.socket(100, 7999), |peer| {
        // The check is never answered; anybody else is.
        if peer.read_request()?.contains("/health") {
            peer.read_request()?;
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ns2")
    });
    stack.healthd.start();
    stack.lbd.start();
    for _ in 0..20 {
        assert_eq!(stack.get("/").status, 200);
    }
    let asked = hanging.requests();
    assert!(asked.iter().all(|request| request.contains("/health")), "nobody knows yet how it is: {asked:?}");
    assert_eq!(get(stack.config.admin, "/ready").status, 200);
}

/// A file that cannot be read, as on a network's file system that hangs, holds up nothing but its own reload.
#[test]
fn verdicts_are_taken_while_a_reload_hangs() {
    let mut stack = Stack::builder().start();
    let file = HangingFile::instead_of(&stack.lbd.config());
    let socket = stack.lbd.socket();
    let reload = std::thread::spawn(move || text_command(&socket, "reload"));
    file.wait_until_read_by(stack.lbd.pid());
    stack.nginx[0].kill();
    stack.wait_for_status("s1", "DOWN");
    assert!(!reload.is_finished(), "the verdict came while the reload still hung");
    let said = reload.join().unwrap();
    assert!(said.contains("could not be read in time"), "{said}");
    file.mend();
    let said = stack.command("reload");
    assert!(said.contains("configuration reloaded"), "{said}");
}
