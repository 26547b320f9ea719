//! Clients of every kind, each on a thread of its own, that notice everything that is not as it should be.

use std::io::{self, Error, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testkit::{Client, PATIENCE, Stack, pattern};
use tungstenite::Message;

use super::chaos::Span;

/// The length of a large file, and of an upload.
const LARGE: usize = 4 << 20;
const UPLOAD: usize = 256 << 10;
/// That of a small file.
const SMALL: usize = 20_000;

/// What a client does over and over: its name, how many do it, how long each rests between two times, and how.
type Kind = (&'static str, usize, Duration, fn(&mut Hand) -> io::Result<()>);

const KINDS: [Kind; 9] = [
    ("kept alive", 4, Duration::from_millis(5), |hand| hand.page(true)),
    ("connection each", 2, Duration::from_millis(10), |hand| hand.page(false)),
    ("downloads", 1, Duration::from_millis(100), |hand| hand.download("/files/large")),
    ("chunked downloads", 1, Duration::from_millis(100), |hand| hand.download("/chunked/large")),
    ("uploads", 1, Duration::from_millis(50), Hand::upload),
    ("chunked uploads", 1, Duration::from_millis(50), Hand::upload_chunked),
    ("tunnels", 2, Duration::from_millis(50), Hand::tunnel),
    ("bundles of streams by TLS", 1, Duration::from_millis(20), |hand| {
        hand.bundle("2", &["--http2", "--parallel", "--parallel-max", "20"])
    }),
    ("bundles of requests by TLS", 1, Duration::from_millis(20), |hand| hand.bundle("1.1", &["--http1.1"])),
];
/// How many requests a bundle has, and how many of them are under way at once at most.
const BUNDLE: u64 = 60;
const AT_ONCE: usize = 20;
/// curl's words for a connection that could not be made, and for a request without the least of an answer.
const CURL_COULD_NOT_CONNECT: &str = " 7 ";
const CURL_GOT_NOTHING: &str = "0 000 ";

/// A request that did not get what it should have.
#[derive(Debug)]
pub struct Failure {
    /// Its target, which no other request has.
    pub target: String,
    pub what: String,
    /// Whether nobody listened.
    pub refused: bool,
    /// Whether it was to go by TLS, and nothing at all came back.
    pub unanswered_by_tls: bool,
    pub began: Instant,
    pub ended: Instant,
}

/// Work under way.
pub struct Work {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    started: AtomicU64,
    /// How many lbd there were before this one that were killed.
    lives: AtomicU64,
    done: [AtomicU64; KINDS.len()],
    failures: Mutex<Vec<Failure>>,
    /// Since when connections had been idle on which requests got no answer that were repeated, and when these were sent.
    repeated: Mutex<Vec<Span>>,
}

/// One client.
struct Hand {
    shared: Arc<Shared>,
    web: SocketAddr,
    tunnels: SocketAddr,
    secure: SocketAddr,
    authority: PathBuf,
    large: Arc<Vec<u8>>,
    /// Kept for the next request, to the lbd that is named by [`Shared::lives`], since then.
    client: Option<(u64, Instant, Client)>,
    /// Of the request under way.
    target: String,
    /// When the tunnel under way began: one whose first SYN met a handover is much younger than its client's wish.
    switched: Option<Instant>,
    page: String,
}

impl Work {
    pub fn start(stack: &Stack, authority: &Path) -> Self {
        let authority = authority.to_owned();
        let large = Arc::new(pattern(LARGE, 1));
        for nginx in &stack.nginx {
            std::fs::write(nginx.files().join("large"), large.as_slice()).unwrap();
            std::fs::write(nginx.files().join("small"), &large[..SMALL]).unwrap();
        }
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for (number, &(_, hands, rest, act)) in KINDS.iter().enumerate() {
            for _ in 0..hands {
                let mut hand = Hand {
                    shared: Arc::clone(&shared),
                    web: stack.web(),
                    tunnels: super::chaos::tunnels(&stack.addresses),
                    secure: super::chaos::secure(&stack.addresses),
                    authority: authority.clone(),
                    large: Arc::clone(&large),
                    client: None,
                    target: String::new(),
                    switched: None,
                    page: "NGINX Instance ".to_owned(),
                };
                threads.push(std::thread::spawn(move || {
                    while !hand.shared.stop.load(SeqCst) {
                        hand.work(number, act);
                        std::thread::sleep(rest);
                    }
                }));
            }
        }
        Self { shared, threads }
    }

    /// What has been done so far, in words.
    pub fn progress(&self) -> String {
        let done = KINDS.iter().zip(&self.shared.done);
        let words: Vec<_> = done.map(|((name, ..), done)| format!("{} {name}", done.load(SeqCst))).collect();
        words.join(", ")
    }

    /// To be called before lbd is killed: who has kept a connection knows that it is gone.
    pub fn lbd_is_about_to_die(&self) {
        self.shared.lives.fetch_add(1, SeqCst);
    }

    /// How many requests can be under way at once at most.
    pub fn at_once() -> usize {
        let hands: usize = KINDS.iter().map(|(_, hands, ..)| hands).sum();
        hands - 1 + AT_ONCE
    }

    /// How many requests have failed so far.
    pub fn failures(&self) -> usize {
        self.shared.failures.lock().unwrap().len()
    }

    /// Ends the work, and returns what failed, and what was repeated.
    pub fn stop(self) -> (Vec<Failure>, Vec<Span>) {
        self.shared.stop.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        for (done, (name, ..)) in self.shared.done.iter().zip(KINDS) {
            assert!(done.load(SeqCst) > 0, "no {name} at all");
        }
        let failures = std::mem::take(&mut *self.shared.failures.lock().unwrap());
        let repeated = std::mem::take(&mut *self.shared.repeated.lock().unwrap());
        (failures, repeated)
    }
}

impl Hand {
    fn work(&mut self, kind: usize, act: fn(&mut Self) -> io::Result<()>) {
        let began = Instant::now();
        let done = act(self);
        let began = self.switched.take().unwrap_or(began);
        match done {
            Ok(()) => {
                self.shared.done[kind].fetch_add(1, SeqCst);
            }
            Err(error) => {
                self.client = None;
                let (target, what) = (self.target.clone(), error.to_string());
                let refused = error.kind() == ErrorKind::ConnectionRefused;
                let ended = Instant::now();
                let failure = Failure { target, what, refused, unanswered_by_tls: false, began, ended };
                self.shared.failures.lock().unwrap().push(failure);
            }
        }
    }

    /// Sends a request, whose body the caller has framed, and returns the response's body.
    ///
    /// RFC 9112 section 9.3.1: where a kept connection ends before an answer, it is sent once more on a new one.
    fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &str,
        body: &[u8],
        keep: bool,
    ) -> io::Result<Vec<u8>> {
        self.target = format!("{path}?{}", self.shared.started.fetch_add(1, SeqCst));
        let life = self.shared.lives.load(SeqCst);
        if let Some((_, begins, kept)) = self.client.take().filter(|(of, ..)| *of == life) {
            let over = Instant::now();
            let answer = self.exchange(kept, life, (method, fields, body), keep);
            let is_over = |error: &Error| {
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
                    && self.shared.lives.load(SeqCst) == life
            };
            if !answer.as_ref().is_err_and(is_over) {
                return answer;
            }
            self.shared.repeated.lock().unwrap().push(Span { begins, over });
        }
        self.exchange(Client::try_connect(self.web, None)?, life, (method, fields, body), keep)
    }

    /// One request on a connection, which is kept if that is wished.
    fn exchange(
        &mut self,
        mut client: Client,
        life: u64,
        (method, fields, body): (&str, &str, &[u8]),
        keep: bool,
    ) -> io::Result<Vec<u8>> {
        let close = if keep { "" } else { "Connection: close\r\n" };
        client.try_send(format!("{method} {} HTTP/1.1\r\nHost: soak\r\n{fields}{close}\r\n", self.target))?;
        client.try_send(body)?;
        let response = client.try_response(method)?;
        if response.status / 100 != 2 {
            return Err(Error::other(format!("status {}", response.status)));
        }
        if keep && !response.closes() {
            self.client = Some((life, Instant::now(), client));
        }
        Ok(response.body)
    }

    fn page(&mut self, keep: bool) -> io::Result<()> {
        let body = self.request("GET", "/", "", &[], keep)?;
        expect(body.starts_with(self.page.as_bytes()), "another page")
    }

    fn download(&mut self, path: &str) -> io::Result<()> {
        let body = self.request("GET", path, "", &[], true)?;
        expect(body == *self.large, "a damaged body")
    }

    fn upload(&mut self) -> io::Result<()> {
        let large = Arc::clone(&self.large);
        let length = format!("Content-Length: {UPLOAD}\r\n");
        self.request("PUT", "/upload/plain", &length, &large[..UPLOAD], true).map(drop)
    }

    fn upload_chunked(&mut self) -> io::Result<()> {
        let mut body = Vec::with_capacity(UPLOAD + 4096);
        for chunk in self.large[..UPLOAD].chunks(10_007) {
            body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        self.request("PUT", "/upload/chunked", "Transfer-Encoding: chunked\r\n", &body, true).map(drop)
    }

    /// Requests of curl's by TLS, which keeps what connections it may. Those that fail are told one by one.
    fn bundle(&mut self, version: &str, how: &[&str]) -> io::Result<()> {
        const TOLD: &str = "%{url} %{http_version} %{http_code} %{exitcode} %{size_download}\n";
        let began = Instant::now();
        let first = self.shared.started.fetch_add(BUNDLE, SeqCst);
        self.target = format!("/files/small?{first}");
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "-w", TOLD, "--cacert"]).arg(&self.authority);
        command.args(how).args(["--connect-to", &format!("::{}", self.secure)]);
        for number in first..first + BUNDLE {
            command.args(["-o", "/dev/null", &format!("https://soak.example/files/small?{number}")]);
        }
        let output = command.output()?;
        let told = String::from_utf8_lossy(&output.stdout);
        expect(told.lines().count() as u64 == BUNDLE, "curl does not tell of all requests")?;
        let ended = Instant::now();
        for line in told.lines() {
            let (url, what) = line.split_once(' ').unwrap_or_default();
            if what != format!("{version} 200 0 {SMALL}") {
                let target = url.trim_start_matches("https://soak.example").to_owned();
                let refused = what.contains(CURL_COULD_NOT_CONNECT);
                let (unanswered_by_tls, what) = (what.contains(CURL_GOT_NOTHING), what.to_owned());
                let failure = Failure { target, what, refused, unanswered_by_tls, began, ended };
                self.shared.failures.lock().unwrap().push(failure);
            }
        }
        Ok(())
    }

    /// A WebSocket that lives for a while, across whatever happens.
    fn tunnel(&mut self) -> io::Result<()> {
        self.target = format!("/tunnel?{}", self.shared.started.fetch_add(1, SeqCst));
        let stream = TcpStream::connect(self.tunnels)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let url = format!("ws://{}{}", self.tunnels, self.target);
        let (mut socket, _) = tungstenite::client(url, stream).map_err(Error::other)?;
        self.switched = Some(Instant::now());
        for length in (0..20).map(|step| step * step * 200) {
            let message = Message::binary(self.large[..length].to_vec());
            socket.send(message.clone()).map_err(Error::other)?;
            expect(socket.read().map_err(Error::other)? == message, "a damaged echo")?;
            std::thread::sleep(Duration::from_millis(100));
        }
        socket.close(None).map_err(Error::other)?;
        while socket.read().is_ok() {}
        Ok(())
    }
}

fn expect(is_so: bool, otherwise: &str) -> io::Result<()> {
    if is_so { Ok(()) } else { Err(Error::other(otherwise)) }
}
