//! HAProxy with the same check of the same server.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;
use testkit::{Process, read_csv, wait_for};

/// A running HAProxy that checks one server in several ways.
pub(crate) struct Haproxy {
    dir: TempDir,
    _process: Process,
}

impl Haproxy {
    /// Starts it with a backend for each of these: a name, and the lines of its check, `SERVER` being the server's.
    pub(crate) fn start(address: SocketAddr, checks: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = format!(
            "global\n stats socket {}\ndefaults\n mode tcp\n timeout connect 2s\n timeout client 2s\n \
             timeout server 2s\n timeout check 2s\nlisten unused\n bind abns@{}\n",
            dir.path().join("socket").display(),
            dir.path().display(),
        );
        for (name, lines) in checks {
            let server = format!("server s {address} check inter 200ms fall 1 rise 1");
            let lines = if lines.contains("SERVER") {
                lines.replace("SERVER", &server)
            } else {
                format!("{lines}\n {server}")
            };
            config += &format!("backend {name}\n {lines}\n");
        }
        let process = testkit::Haproxy::run(&config, dir.path());
        Self { dir, _process: process }
    }

    /// Waits until one of its checks finds what it is to find: its code, `L7OK`.
    pub(crate) fn finds(&self, name: &str, code: &str) {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(code, || {
                last = self.status(name).unwrap_or_default();
                // While a check is under way its last result has a star.
                (last.trim_start_matches("* ") == code).then_some(())
            });
        }));
        assert!(found.is_ok(), "haproxy finds {last} by {name}, not {code}");
    }

    fn status(&self, name: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.dir.path().join("socket")).ok()?;
        socket.write_all(b"show stat\n").ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok()?;
        let rows = read_csv(&text);
        let row = rows.iter().find(|row| row.text("pxname") == name && row.text("svname") == "s")?;
        Some(row.text("check_status").to_owned())
    }
}
