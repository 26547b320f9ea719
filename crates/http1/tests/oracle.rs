//! A real server finds the same message boundaries: what we write of the corpus is followed by another request, and nginx
//! answers both, or refuses the first and closes. It never takes part of one message for another.

#![allow(clippy::disallowed_methods, reason = "real servers need a moment")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is a test's failure message")]

#[path = "support/case.rs"]
#[expect(dead_code, reason = "shared with the corpus, which also writes cases")]
mod case;
#[expect(dead_code, reason = "shared with the properties")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use http1::{Body, BodyReader, Forward};
use support::LIMITS;

/// What nginx refuses for reasons other than framing.
const REFUSED_BY_NGINX: &[&str] = &[
    // It takes upper-case letters, dashes and underscores as methods.
    "methods are case-sensitive",
    "method of token characters",
    // It takes `*` as a target of its own requests only.
    "absolute-form without a path in OPTIONS means the server",
    "asterisk with OPTIONS",
    // It has no resource with that tag.
    "essential fields stay, whatever Connection names",
    // It looks at where a path leads.
    "path traversal is the server's concern",
];

struct Nginx {
    process: Child,
    folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/log;
             events {{}}
             http {{
               access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
               fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
               large_client_header_buffers 4 32k;
               server {{ listen unix:{path}/socket; location / {{ return 200 \"answer to $request_uri\\n\"; }} }}
             }}"
        );
        fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let process = Command::new("nginx").arg("-c").arg(folder.path().join("nginx.conf")).spawn().unwrap();
        let nginx = Self { process, folder };
        for _ in 0..500 {
            if UnixStream::connect(nginx.socket()).is_ok() {
                return nginx;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("nginx does not listen");
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The answers to these bytes and a request for `/second` after them, on one connection.
    fn answers(&self, message: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let second = b"GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        // After a refusal it may close before it has read everything.
        let sent = stream.write_all(&[message, second].concat());
        let mut answers = Vec::new();
        let read = stream.read_to_end(&mut answers);
        assert!(!answers.is_empty(), "no answer: {sent:?} {read:?}");
        String::from_utf8_lossy(&answers).into_owned()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn nginx_finds_the_same_end_of_every_request() {
    let nginx = Nginx::start();
    let mut refused = BTreeSet::new();
    let mut asked = 0;
    for case in case::files("tests/corpus", "request").into_iter().flat_map(|(_, cases)| cases) {
        let input = case.input();
        let Ok(Some(head)) = support::request(LIMITS, &input, &[input.len()]) else { continue };
        let forward = Forward { client: "192.0.2.1", ..Forward::new("server:80") };
        let mut message = Vec::new();
        head.write(&input, &forward, &mut message);
        match head.body {
            Body::Chunked => message.extend(b"5\r\nhello\r\n0\r\n\r\n"),
            // nginx refuses bodies over a megabyte.
            Body::Length(length @ 0..1000) => {
                message.resize(message.len() + usize::try_from(length).unwrap(), b'x');
            }
            Body::Length(_) => continue,
            Body::Empty | Body::UntilClose => {}
        }
        let answers = nginx.answers(&message);
        asked += 1;
        if answers.starts_with("HTTP/1.1 4") && answers.matches("HTTP/1.1 ").count() == 1 {
            refused.insert(case.name);
            continue;
        }
        assert_eq!(answers.matches("answer to ").count(), 2, "{}: {answers}", case.name);
        assert_eq!(answers.matches("answer to /second").count(), 1, "{}: {answers}", case.name);
    }
    assert!(asked > 80, "only {asked} requests were accepted");
    assert_eq!(refused, REFUSED_BY_NGINX.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn nginx_finds_the_same_end_of_every_chunked_body() {
    let nginx = Nginx::start();
    let mut asked = 0;
    for case in case::files("tests/corpus", "body").into_iter().flat_map(|(_, cases)| cases) {
        let input = case.input();
        if case.setting("body").is_some() {
            continue;
        }
        let Ok(passed) = support::body(BodyReader::new(Body::Chunked), &input, &[input.len()], false) else {
            continue;
        };
        if !passed.done {
            continue;
        }
        let mut message = b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        message.extend(passed.forwarded);
        let answers = nginx.answers(&message);
        asked += 1;
        assert_eq!(answers.matches("answer to /first").count(), 1, "{}: {answers}", case.name);
        assert_eq!(answers.matches("answer to /second").count(), 1, "{}: {answers}", case.name);
    }
    assert!(asked > 15, "only {asked} bodies were accepted");
}
