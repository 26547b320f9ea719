//! A node for tests: real sockets, spoken to by the protocol's own server.

#![allow(dead_code, reason = "each test binary uses a part")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a panic is the failure message of a test")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use balance::AdminState;
use tempfile::TempDir;
use wire::server::{Handler, Permitted, bind, serve};
use wire::topic::Feed;
use wire::{
    Answer, DaemonHello, Info, InstanceState, InstanceStatus, LifeState, PROTOCOL, Ping, Refusal,
    RefusalCode, Request, RowKind, StatRow, TopicName,
};

/// A directory of sockets.
pub(crate) struct Node {
    run_dir: TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self { run_dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// The path of a daemon's socket, in a directory that is there.
    pub(crate) fn socket(&self, daemon: &str) -> PathBuf {
        let path = wire::socket(self.run_dir(), daemon);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Serves a daemon's socket until the end of the test. Returns the requests that change something, as they come.
    pub(crate) fn start(&self, daemon: Daemon) -> Arc<Mutex<Vec<Request>>> {
        let changes = daemon.changes.clone();
        let path = self.socket(daemon.name);
        let (tell, bound) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = bind(&path, 0o600, daemon.name).unwrap();
                tell.send(()).unwrap();
                serve(listener, Permitted::with(None), Arc::new(daemon)).await;
            });
        });
        bound.recv().unwrap();
        changes
    }

    /// Runs tandemctl against this node.
    pub(crate) fn tandemctl(&self, arguments: &[&str]) -> Outcome {
        self.tandemctl_with(&[], arguments)
    }

    /// Runs tandemctl with these variables in its environment.
    pub(crate) fn tandemctl_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandemctl"));
        command.envs(environment.iter().copied());
        command.arg("--run-dir").arg(self.run_dir()).args(arguments);
        Outcome::of(command.output().unwrap())
    }
}

/// What a run of tandemctl did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A daemon that answers from fixed statistics.
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<StatRow>,
    /// What every change is refused with.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) instances: Arc<Mutex<Vec<InstanceStatus>>>,
    changes: Arc<Mutex<Vec<Request>>>,
}

impl Daemon {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), refusal: None, instances: Arc::default(), changes: Arc::default() }
    }

    /// lbd with the backends and servers of `paths`, such as `nginx/nginx1`.
    pub(crate) fn lbd(paths: &[&str]) -> Self {
        let mut rows: Vec<StatRow> = Vec::new();
        for path in paths {
            let (backend, server) = path.split_once('/').unwrap();
            rows.push(StatRow {
                kind: RowKind::Server,
                proxy: backend.into(),
                name: server.into(),
                status: "UP".into(),
                sessions: 2,
                ..StatRow::default()
            });
        }
        Self { rows, ..Self::new("lbd") }
    }

    /// vrrpd with one instance, `web`, that is master and heard 127.0.0.1 before.
    pub(crate) fn vrrpd() -> Self {
        let vrrpd = Self::new("vrrpd");
        let peer = serde_json::json!({
            "address": "127.0.0.1", "priority": 240, "heard_ms": 60000, "adverts": 1, "releases": 0, "checksum": "pseudo_header",
        });
        let counters = wire::InstanceCounters::default();
        let web = serde_json::json!({
            "instance": "web", "state": "master", "since_ms": 1000, "reason": "no master was heard in time", "version": 3,
            "virtual_router_id": 51, "priority": 250, "configured_priority": 250, "interval_ms": 1000, "holding": true,
            "interface": "eth0", "source": "127.0.0.2", "addresses": ["127.0.0.3/8"], "master": "127.0.0.2",
            "trackers": [], "peers": [peer], "history": [], "counters": counters,
        });
        vrrpd.instances.lock().unwrap().push(serde_json::from_value(web).unwrap());
        vrrpd
    }

    pub(crate) fn refusing(self, code: RefusalCode, message: &str) -> Self {
        Self { refusal: Some(Refusal { code, message: message.into() }), ..self }
    }

    fn change(&self, request: Request, done: String) -> Result<Answer, Refusal> {
        self.changes.lock().unwrap().push(request);
        self.refusal.clone().map_or(Ok(Answer::Done(done)), Err)
    }
}

impl Handler for Daemon {
    fn hello(&self) -> DaemonHello {
        DaemonHello { protocol: PROTOCOL, daemon: self.name.into(), version: "0.1.0".into(), epoch: 1 }
    }

    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        match &request {
            Request::Info => Ok(Answer::Info(Info {
                daemon: self.name.into(),
                version: "0.1.0".into(),
                pid: std::process::id(),
                uptime_ms: 61_000,
                state: LifeState::Ready,
                config: "/etc/tandem/lb.yaml".into(),
                generation: 1,
                reload_error: None,
                details: BTreeMap::new(),
            })),
            Request::Stat => Ok(Answer::Stat(self.rows.clone())),
            Request::Verdicts => Ok(Answer::Verdicts(Vec::new())),
            Request::Instances => Ok(Answer::Instances(self.instances.lock().unwrap().clone())),
            Request::Anycast => Ok(Answer::Anycast(Vec::new())),
            Request::Handover { .. } => {
                let answer = self.change(request, "handed over web in 4 ms".into());
                for instance in self.instances.lock().unwrap().iter_mut().filter(|_| answer.is_ok()) {
                    instance.state = InstanceState::Backup;
                    instance.master = instance.peers.first().map(|peer| peer.address);
                }
                answer
            }
            Request::Reload => self.change(request, "generation 2 is in force".into()),
            Request::SetServer { server, state, .. } => {
                let row = self.rows.iter().find(|row| row.name == *server).unwrap();
                let state = state.unwrap_or(AdminState::Ready);
                let done =
                    format!("{}/{server}: state {state}; {} requests in flight", row.proxy, row.sessions);
                self.change(request, done)
            }
            other => panic!("tandemctl has no reason to ask for {other:?}"),
        }
    }

    fn feed(&self, _topic: TopicName) -> Option<Arc<dyn Feed>> {
        None
    }

    fn ping(&self) -> Ping {
        Ping::default()
    }

    async fn command(&self, command: &str, _privileged: bool) -> String {
        panic!("tandemctl speaks JSON, not `{command}`")
    }
}

/// A port of another node on which one document is served until the end of the test.
pub(crate) fn serves(daemon: &str, about: &str) -> u16 {
    let info = format!(
        r#"{{"daemon":"{daemon}","version":"0.1.0","pid":1,"uptime_ms":1,"state":"ready","config":"x.yaml","generation":1,"details":{{}}}}"#
    );
    let document = format!(r#"{{"info":{info},"{about}":[]}}"#);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /status.json "));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", document.len());
            stream.write_all(format!("{head}{document}").as_bytes()).unwrap();
        }
    });
    port
}
