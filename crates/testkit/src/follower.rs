//! A connection to lbd's socket, such as vrrpd has.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::wait::PATIENCE;

/// Somebody who follows lbd, and has it hand its clients over. Every step is bounded by [`PATIENCE`].
#[derive(Debug)]
pub struct Follower {
    lines: BufReader<UnixStream>,
    asked: u64,
}

impl Follower {
    /// One that follows nothing yet.
    ///
    /// # Panics
    /// When no lbd is there.
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("lbd listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero");
        let mut follower = Self { lines: BufReader::new(stream), asked: 0 };
        follower.say(&json!({"hello": {"protocol": 1, "client": "test"}}));
        assert!(follower.hear().is_some_and(|line| line["hello"]["daemon"] == "lbd"));
        follower
    }

    /// One that follows the liveness.
    ///
    /// # Panics
    /// When no lbd is there that is ready.
    pub fn subscribe(socket: &Path) -> Self {
        let mut follower = Self::connect(socket);
        follower.ask(&json!({"request": "subscribe", "topic": "liveness", "ping_ms": 20}));
        follower.wait_for("ready");
        follower
    }

    fn say(&mut self, line: &Value) {
        self.lines.get_mut().write_all(format!("{line}\n").as_bytes()).expect("lbd reads");
    }

    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("lbd answers in time");
        (read > 0).then(|| serde_json::from_str(&line).expect("lbd says JSON"))
    }

    /// Asks for something.
    ///
    /// # Panics
    /// When lbd is gone.
    pub fn ask(&mut self, request: &Value) {
        self.asked += 1;
        let mut request = request.clone();
        request["id"] = self.asked.into();
        self.say(&request);
    }

    /// What was done for the last request.
    ///
    /// # Panics
    /// When it was refused, or lbd is gone.
    pub fn done(&mut self) -> String {
        loop {
            let line = self.hear().expect("lbd answers before it ends");
            if line["id"] == self.asked {
                return line["ok"]["done"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
            }
        }
    }

    /// Asks lbd to finish what it has, and to have new clients wait.
    ///
    /// # Panics
    /// When lbd is gone.
    pub fn drain(&mut self) {
        self.ask(&json!({"request": "drain"}));
    }

    /// What vrrpd does for an lbd that is to stop.
    ///
    /// # Panics
    /// When it does not say so.
    pub fn has_it_drain(&mut self) {
        self.wait_for("leaving");
        self.drain();
    }

    /// Says that the addresses are elsewhere.
    ///
    /// # Panics
    /// When lbd is gone.
    pub fn released(&mut self) {
        self.ask(&json!({"request": "released"}));
    }

    /// Reads on until lbd says that it is in that state.
    ///
    /// # Panics
    /// When it ends before.
    pub fn wait_for(&mut self, state: &str) {
        loop {
            let line = self.hear().unwrap_or_else(|| panic!("lbd ended before it was {state}"));
            let items = [&line["snapshot"]["items"][0], &line["event"]["item"]];
            if items.iter().any(|item| item["liveness"]["state"] == state) {
                return;
            }
        }
    }
}
