//! A server that records every byte, reads it strictly, and answers what it was told to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use testkit::wait_until;

use crate::strict::{self, End, Request};

/// What it answers to each request: an empty 200, or these bytes, after which it closes.
pub(crate) type Answer = Option<Vec<u8>>;

pub(crate) struct Origin {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answer: Answer,
    connections: Vec<Connection>,
}

#[derive(Default)]
struct Connection {
    bytes: Vec<u8>,
    /// Bytes that earlier cases sent.
    before: usize,
    ended: bool,
}

impl Connection {
    fn read(&self) -> (Vec<Request>, End) {
        strict::requests(&self.bytes[self.before..])
    }
}

impl Origin {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("an address of our own");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                let number = {
                    let mut state = lock(&shared);
                    state.connections.push(Connection::default());
                    state.connections.len() - 1
                };
                // A peer that is gone is what some cases are about.
                std::thread::spawn(move || {
                    let _ = serve(stream, number, &shared);
                    lock(&shared).connections[number].ended = true;
                });
            }
        });
        Self { address, state }
    }

    /// A new case begins.
    pub(crate) fn expect(&self, answer: Answer) {
        let mut state = lock(&self.state);
        state.answer = answer;
        for connection in &mut state.connections {
            connection.before = connection.bytes.len();
        }
    }

    /// What each connection brought since, once nothing more can come.
    pub(crate) fn seen(&self) -> Vec<Vec<u8>> {
        // Connections are accepted in their order: when ours is, all are.
        let ours = TcpStream::connect(self.address).expect("the origin listens");
        let _ = (&ours).write_all(b"GET /ours HTTP/1.1\r\nHost: a\r\n\r\n");
        let _ = (&ours).read(&mut [0; 1]);
        drop(ours);
        wait_until("every connection is idle or has ended", || {
            let state = lock(&self.state);
            state.connections.iter().all(|connection| connection.ended || connection.read().1 == End::Clean)
        });
        let state = lock(&self.state);
        let seen = state.connections.iter().map(|connection| connection.bytes[connection.before..].to_vec());
        seen.filter(|bytes| !bytes.is_empty() && !bytes.starts_with(b"GET /ours ")).collect()
    }
}

fn serve(mut stream: TcpStream, number: usize, shared: &Mutex<State>) -> io::Result<()> {
    let mut chunk = [0; 16 << 10];
    let mut answered = 0;
    let mut before = 0;
    loop {
        let received = stream.read(&mut chunk)?;
        if received == 0 {
            return Ok(());
        }
        let (requests, end, answer) = {
            let mut state = lock(shared);
            let answer = state.answer.clone();
            let connection = &mut state.connections[number];
            connection.bytes.extend_from_slice(&chunk[..received]);
            if std::mem::replace(&mut before, connection.before) != connection.before {
                answered = 0;
            }
            let (requests, end) = connection.read();
            (requests, end, answer)
        };
        for _ in requests.iter().skip(answered).filter(|request| request.complete) {
            answered += 1;
            if let Some(answer) = &answer {
                stream.write_all(answer)?;
                stream.shutdown(Shutdown::Write)?;
                while stream.read(&mut chunk)? > 0 {}
                return Ok(());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
        if matches!(end, End::Refused(_)) {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(());
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
