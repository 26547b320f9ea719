//! What it takes to run a demo from a test: its commands, its ports, its files.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use testkit::Client;

/// A demo of the person at this machine is not ours to take down.
pub fn obstacle() -> Option<String> {
    let status = script(&["status"]);
    let told = text(&status);
    (!told.contains("No demo runs")).then(|| format!("a demo runs on this machine already: {told}"))
}

/// The Makefile, for one demo: with an engine, and ports of this machine.
pub struct Makefile {
    engine: String,
    ports: Vec<(&'static str, SocketAddr)>,
}

impl Makefile {
    /// With a free port for each of these variables.
    pub fn new<const N: usize>(engine: &str, variables: [&'static str; N]) -> (Self, [SocketAddr; N]) {
        let addresses = free_addresses();
        let ports = variables.into_iter().zip(addresses).collect();
        (Self { engine: engine.to_owned(), ports }, addresses)
    }

    /// The engine.
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// Runs a target, with variables before it or without.
    pub fn make(&self, target: &str) -> Output {
        Command::new("make")
            .arg("--no-print-directory")
            .args(target.split(' '))
            .current_dir(root())
            .env("ENGINE", &self.engine)
            .envs(self.ports.iter().map(|(name, address)| (name, address.port().to_string())))
            .output()
            .expect("make is installed")
    }

    /// Runs a target that has to work, and returns what it said.
    pub fn make_ok(&self, target: &str) -> String {
        let output = self.make(target);
        assert!(output.status.success(), "make {target}: {}", text(&output));
        text(&output)
    }

    /// Runs what takes the demo down, and sees that nothing is left of it.
    pub fn take_down(&self, target: &str) {
        self.make_ok(target);
        for (_, address) in &self.ports {
            assert!(Client::try_connect(*address, None).is_err(), "somebody still listens on {address}");
        }
        assert!(text(&script(&["status"])).contains("No demo runs"));
        // Taking down what is down is harmless.
        self.make_ok(target);
    }
}

/// Runs a command of scripts/demo.
pub fn script(args: &[&str]) -> Output {
    Command::new("scripts/demo").args(args).current_dir(root()).output().expect("the demo's script starts")
}

/// Runs a command of scripts/demo that has to work, and returns what it said.
pub fn script_ok(args: &[&str]) -> String {
    let output = script(args);
    assert!(output.status.success(), "scripts/demo {args:?}: {}", text(&output));
    text(&output)
}

/// What a command said on both its outputs.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether somebody answers there with 200.
pub fn answers(address: SocketAddr, path: &str) -> bool {
    Client::try_connect(address, None)
        .and_then(|mut client| client.try_get(path))
        .is_ok_and(|response| response.status == 200)
}

/// Ports that were free a moment ago: the demos take numbers of 127.0.0.1.
pub fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound"))
}

/// curl of this machine, which trusts the authority of the demo.
pub fn curl(args: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "60", "--cacert", "compose/tls/ca.pem"])
        .args(args)
        .current_dir(root());
    command.output().expect("curl is installed")
}

/// The number of the certificate that is presented there.
pub fn serial_presented(address: SocketAddr) -> String {
    let ask = "openssl s_client -connect $0 </dev/null 2>/dev/null | openssl x509 -noout -serial";
    let output =
        Command::new("sh").args(["-c", ask, &address.to_string()]).output().expect("there is a shell");
    text(&output)
}

/// Requests by HTTPS, one after the other, each with a handshake of its own.
pub struct SecureLoad(Child);

impl SecureLoad {
    /// Starts to send so many, and waits for the first of them.
    pub fn start(web_tls: SocketAddr, requests: usize) -> Self {
        let mut child = Command::new("scripts/load-test.sh")
            .args([&format!("https://{web_tls}"), &requests.to_string(), "0.01"])
            .env("CURL_CA_BUNDLE", "compose/tls/ca.pem")
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the load test starts");
        let told = child.stdout.as_mut().expect("it is a pipe");
        let mut byte = [0];
        let mut lines = 0;
        // The first two lines say what it does.
        while lines < 12 {
            told.read_exact(&mut byte).expect("the load test tells of each request");
            lines += usize::from(byte[0] == b'\n');
        }
        Self(child)
    }

    /// Waits for the rest. All have to be answered.
    pub fn assert_nothing_lost(self) {
        let output = self.0.wait_with_output().expect("the load test ends");
        assert!(output.status.success(), "{}", text(&output));
    }
}

/// Prints the end of what services said but for their access logs, for the report of a test that failed.
pub fn tell_last_words(services: &[&str]) {
    for service in services {
        let log = text(&script(&["logs", service]));
        let lines: Vec<_> = log.lines().filter(|line| !line.contains(" nginx/nginx")).collect();
        eprintln!("--- {service}:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    }
}

/// A file of the repository that a test edits as people do, and that is as it was in the end.
pub struct Edited {
    path: PathBuf,
    original: String,
}

impl Edited {
    pub fn new(path: &str) -> Self {
        let path = root().join(path);
        let original = fs::read_to_string(&path).expect("the demo's configuration can be read");
        Self { path, original }
    }

    /// Writes the original with one change.
    pub fn replace(&self, from: &str, to: &str) {
        let changed = self.original.replacen(from, to, 1);
        assert_ne!(changed, self.original, "{} has no {from:?}", self.path.display());
        self.write(&changed);
    }

    pub fn restore(&self) {
        self.write(&self.original);
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("the demo's configuration can be written");
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).ok().as_ref() != Some(&self.original) {
            self.restore();
        }
    }
}
