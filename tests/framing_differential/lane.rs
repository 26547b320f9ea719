//! lbd, HAProxy and nginx side by side, each before an origin of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use testkit::{Haproxy, PATIENCE, Process, Stack, wait_until};

use crate::origin::{Answer, Origin};

/// The proxies, in the order of the table's columns.
pub(crate) const PROXIES: [&str; 3] = ["lbd", "haproxy", "nginx"];

pub(crate) struct Lane {
    ways: [Way; 3],
    _processes: [Process; 2],
    _stack: Stack,
}

struct Way {
    proxy: SocketAddr,
    origin: Origin,
}

/// What came of a case.
pub(crate) struct Seen {
    /// What each connection to the origin brought.
    pub(crate) origin: Vec<Vec<u8>>,
    /// What the client got.
    pub(crate) client: Vec<u8>,
}

impl Lane {
    pub(crate) fn start(reuse: bool) -> Self {
        // What stalls is given up soon.
        let timeouts = "access_log: off\ntimeouts: { request_head: 1s, client: 1s, keep_alive: 1s }";
        let builder =
            Stack::builder().servers(0).unchecked().frontend(timeouts).config(|config, addresses| {
                config.lbd = "workers: 1".to_owned();
                config.server("origin", addresses.socket(101, 7081));
            });
        let stack = builder.start();
        let [haproxy, nginx] = [201, 202].map(|last| stack.addresses.socket(last, 7080));
        let origins = [101, 102, 103].map(|last| stack.addresses.socket(last, 7081));
        let file = |name: &str, text: String| {
            let path = stack.dir().join(name);
            fs::write(&path, text).expect("a file in the test's own directory");
            path
        };
        let first = Haproxy::run(&haproxy_config(haproxy, origins[1], reuse), stack.dir());
        let mut command = Command::new("/usr/sbin/nginx");
        let dir = stack.dir().display().to_string();
        command
            .args(["-e", "stderr", "-c"])
            .arg(file("nginx.conf", nginx_config(&dir, nginx, origins[2], reuse)));
        let second = Process::spawn("nginx", command, stack.dir());
        let proxies = [stack.web(), haproxy, nginx];
        for (name, proxy) in PROXIES.iter().zip(proxies) {
            wait_until(&format!("{name} listens"), || TcpStream::connect(proxy).is_ok());
        }
        let ways = [0, 1, 2].map(|n| Way { proxy: proxies[n], origin: Origin::start(origins[n]) });
        Self { ways, _processes: [first, second], _stack: stack }
    }

    /// Sends the same bytes to each proxy, and reads until it closes.
    pub(crate) fn send(&self, bytes: &[u8], answer: &Answer) -> [Seen; 3] {
        [0, 1, 2].map(|n| {
            let Way { proxy, origin } = &self.ways[n];
            origin.expect(answer.clone());
            let mut stream = TcpStream::connect(proxy).expect("the proxy listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero");
            // After a refusal it may close before it has read everything.
            let _ = stream.write_all(bytes);
            let mut client = Vec::new();
            let mut chunk = [0; 16 << 10];
            while let Ok(received @ 1..) = stream.read(&mut chunk) {
                client.extend_from_slice(&chunk[..received]);
            }
            let _ = stream.shutdown(Shutdown::Both);
            drop(stream);
            Seen { origin: origin.seen(), client }
        })
    }
}

fn haproxy_config(listen: SocketAddr, origin: SocketAddr, reuse: bool) -> String {
    let mode = if reuse { "http-keep-alive" } else { "http-server-close" };
    format!(
        "global
    tune.bufsize 65536
defaults
    mode http
    option {mode}
    timeout connect 5s
    timeout client 1s
    timeout http-request 1s
    timeout http-keep-alive 1s
    timeout server 5s
    retries 0
listen web
    bind {listen}
    server origin {origin}
"
    )
}

fn nginx_config(dir: &str, listen: SocketAddr, origin: SocketAddr, reuse: bool) -> String {
    let keepalive = if reuse { "keepalive 4;" } else { "" };
    let user = if testkit::is_root() { "user root;" } else { "" };
    format!(
        "{user} daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log /dev/null;
events {{ }}
http {{
    access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s; lingering_close off;
    large_client_header_buffers 4 32k; proxy_buffer_size 32k; proxy_buffers 8 32k;
    upstream origin {{ server {origin} max_fails=0; {keepalive} }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host;
            proxy_next_upstream off;
        }}
    }}
}}
"
    )
}
