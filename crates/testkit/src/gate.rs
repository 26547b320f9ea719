//! A server that keeps its clients waiting for as long as a test wants.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use crate::client::Client;
use crate::raw_server::RawServer;
use crate::stack::Stack;
use crate::wait::{PATIENCE, wait_until};

/// Starts lbd, with two workers and these further lines of its section, in front of a server that says hello at once, but for
/// paths that begin with `/slow`: there once for each word from the test.
///
/// # Panics
/// When something does not start.
pub fn gated(lbd: &str) -> (Stack, RawServer, Sender<()>) {
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let (stack, server) = Stack::builder()
        .config(|config, _| config.lbd = format!("workers: 2\n{lbd}"))
        .start_before(move |peer| {
            loop {
                if peer.read_request()?.contains(" /slow") {
                    // A test that fails says nothing more.
                    let _ = gate.lock().expect("no one panics with it").recv_timeout(PATIENCE);
                }
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
            }
        });
    (stack, server, open)
}

/// A client whose request waits behind the gate.
///
/// # Panics
/// When it does not arrive there.
pub fn gated_request(stack: &Stack, server: &RawServer) -> Client {
    let before = server.requests().len();
    let mut client = stack.client();
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_until("the server has the request", || server.requests().len() > before);
    client
}
