//! What a request costs in system calls: two reads and two writes, and a wait that many share.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{
    Authority, CertificateKey, Load, Process, Stack, StackBuilder, TlsClient, is_root, needs, skip,
    tls_config, wait_until,
};

const REQUESTS: u64 = 4000;

/// Calls that move bytes.
const IO: [&str; 10] =
    ["read", "readv", "recvfrom", "recvmsg", "recv", "write", "writev", "sendto", "sendmsg", "sendfile"];

#[test]
fn a_kept_alive_request_takes_four_io_calls() {
    assert_four_io_calls("access_log: off");
}

#[test]
fn routes_take_no_more_calls() {
    let routes: String = (0..1000)
        .map(|number| format!("  - {{ host: h{number}.example, path: \"/p{number}/*\", backend: app }}\n"))
        .collect();
    let last = "  - { path: \"~^/\", method: GET, source: 127.0.0.0/8, backend: app }";
    assert_four_io_calls(&format!("access_log: off\nroutes:\n{routes}{last}"));
}

#[test]
fn edits_take_no_more_calls() {
    let edits = r#"
access_log: off
request_id: { accept: on }
forwarded: [X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Forwarded]
request:
  remove: "X-*"
  replace: { Host-Of: { pattern: "(.*)", with: "$1" } }
  set: { X-Real-IP: "{client.ip}", X-Server: "{backend}/{server} {path}" }
  replace_path: { pattern: "^/(.*)$", with: "/$1" }
response:
  set: { Server: lbd, X-Request-ID: "{request.id}" }
"#;
    assert_four_io_calls(edits);
}

#[test]
fn tls_takes_no_more_calls() {
    const CLIENTS: u64 = 8;
    let authority = Authority::new();
    let file = authority.issue("app.pem", &["app.example"], CertificateKey::Ecdsa);
    let tls = format!("{{ certificates: [\"{}\"] }}", file.display());
    let builder = Stack::builder().frontend("access_log: off").config(|config, _| config.tls = tls);
    let client = tls_config(&authority, None);
    assert_four_io_calls_of(builder, |address, requests| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = TlsClient::connect(address, &client);
                    for _ in 0..requests / CLIENTS {
                        assert!(client.get("/", "").1.starts_with("NGINX Instance "));
                    }
                });
            }
        });
    });
}

fn assert_four_io_calls(frontend: &str) {
    assert_four_io_calls_of(Stack::builder().frontend(frontend), |address, requests| {
        let load = Load { clients: 16, pause: Duration::ZERO, ..Load::default() };
        load.run(address, requests).assert_nothing_lost();
    });
}

/// `load` sends so many requests, on few connections.
fn assert_four_io_calls_of(builder: StackBuilder, load: impl Fn(SocketAddr, u64)) {
    if !is_root() {
        skip!("strace of another process needs root");
    }
    needs!("strace");
    let stack = builder.unchecked().config(|config, _| config.lbd = "workers: 2".to_owned()).start();
    let load = |requests| load(stack.web(), requests);
    // Server connections and buffers exist afterwards, as they do in a system at work.
    load(500);
    let calls = count_calls(&stack, || load(REQUESTS));
    let io: u64 = IO.iter().filter_map(|name| calls.get(*name)).sum();
    let per_request =
        |count: u64| f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(REQUESTS).unwrap());
    let waits = calls.get("epoll_wait").copied().unwrap_or_default();
    println!("{:.2} I/O calls and {:.2} epoll_wait a request", per_request(io), per_request(waits));
    // Each client's own connection costs accept, close, and a last read besides.
    assert!(per_request(io) <= 4.2, "{:.2} I/O calls a request:\n{calls:?}", per_request(io));
    assert!(per_request(io) >= 3.9, "fewer calls than the work takes: was the load traced?\n{calls:?}");
    assert!(per_request(waits) <= 2.1, "{:.2} epoll_wait a request:\n{calls:?}", per_request(waits));
}

#[test]
fn tiny_chunks_are_sent_once_a_read() {
    const CHUNKS: usize = 100_000;
    if !is_root() {
        skip!("strace of another process needs root");
    }
    needs!("strace");
    let body = "1;x\r\na\r\n".repeat(CHUNKS) + "0\r\n\r\n";
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let (stack, _server) = Stack::builder().unchecked().start_before(move |peer| {
        loop {
            peer.read_request()?;
            peer.read_until(b"0\r\n\r\n")?;
            peer.send(&answer)?;
        }
    });
    let mut client = stack.client();
    let calls = count_calls(&stack, || {
        let mut sender = client.sender();
        let sending = std::thread::spawn(move || {
            sender.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            sender.send(body);
        });
        assert_eq!(client.response().body.len(), CHUNKS);
        sending.join().unwrap();
    });
    let sum = |names: &[&str]| names.iter().filter_map(|name| calls.get(*name)).sum::<u64>();
    let (reads, writes) = (sum(&IO[..5]), sum(&IO[5..]));
    // Each way 900 kB: some tens of reads.
    assert!(reads >= 20, "was it traced? {calls:?}");
    assert!(
        writes < 2 * reads + 20,
        "{writes} writes for {reads} reads of {CHUNKS} chunks each way: {calls:?}"
    );
}

/// The system calls of lbd while `work` is done.
fn count_calls(stack: &Stack, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let dir = tempfile::tempdir().unwrap();
    let counts = dir.path().join("counts");
    let pid = stack.lbd.pid();
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&counts).args(["-p", &pid.to_string()]);
    let mut strace = Process::spawn("strace", command, dir.path());
    wait_until("strace is attached to every thread", || {
        let traced = |status: String| !status.contains("TracerPid:\t0\n");
        let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.all(|task| fs::read_to_string(task.unwrap().path().join("status")).is_ok_and(traced))
    });
    work();
    strace.signal(Signal::SIGINT);
    strace.wait();
    let text = fs::read_to_string(&counts).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        })
        .collect()
}
