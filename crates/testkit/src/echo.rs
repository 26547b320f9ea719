//! WebSockets: a server that echoes, and a client that looks at the echo.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use tungstenite::{Error, Message};

use crate::pattern;

/// A WebSocket server that echoes. Dropping it gives its address back.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Starts it.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stops.load(SeqCst) {
                    return;
                }
                std::thread::spawn(move || echo(stream));
            }
        });
        Self { address, stop, accepting: Some(accepting) }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        // Wakes the accepting thread, which then gives the address back.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
    }
}

fn echo(stream: TcpStream) {
    // A client that leaves in the middle ends this, too.
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if !message.is_close() && socket.send(message).is_err() {
            return;
        }
    }
}

/// Asks for a WebSocket, has messages of these lengths echoed, and says goodbye.
///
/// # Panics
/// When it is refused, an echo is damaged, or the end is none of WebSockets.
pub fn assert_echoes(url: &str, stream: impl Read + Write, lengths: &[usize]) {
    let (mut socket, response) = match tungstenite::client(url, stream) {
        Ok(opened) => opened,
        Err(error) => panic!("{url} is no WebSocket: {error}"),
    };
    assert_eq!(response.status(), 101);
    for &length in lengths {
        let message = Message::binary(pattern(length, 1));
        socket.send(message.clone()).expect("it takes a message");
        let echo = socket.read().expect("it answers");
        assert!(echo == message, "the echo of {length} bytes is damaged");
    }
    socket.close(None).expect("it takes a goodbye");
    let end = loop {
        match socket.read() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(end, Error::ConnectionClosed), "the other side did not say goodbye: {end}");
}
