//! An address that answers nothing, as that of a host that is gone.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long nobody has to answer for the hole to be deep enough.
const SILENCE: Duration = Duration::from_millis(200);

/// Whoever connects here waits: the backlog is full, and the kernel drops every SYN without a word.
#[derive(Debug)]
pub struct BlackHole {
    _listener: Socket,
    _backlog: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens at an address of this host.
    ///
    /// # Panics
    /// When it is taken.
    pub fn open(address: SocketAddr) -> Self {
        let listener =
            Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a descriptor for a socket");
        let listening = listener.bind(&address.into()).and_then(|()| listener.listen(0));
        listening.unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let mut backlog = Vec::new();
        loop {
            match TcpStream::connect_timeout(&address, SILENCE) {
                Ok(waiting) => backlog.push(waiting),
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => panic!("cannot fill the backlog of {address}: {error}"),
            }
        }
        Self { _listener: listener, _backlog: backlog }
    }
}
