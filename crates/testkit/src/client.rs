//! An HTTP client that sends exactly the bytes it is given, and believes nothing it reads.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::wait::PATIENCE;

/// One TCP connection to an HTTP server. Every read and write is bounded by [`PATIENCE`].
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Received and not yet consumed.
    buffer: Vec<u8>,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1`
    pub version: String,
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values, in order.
    pub fields: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The first field of that name, given in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Which nginx answered: the number on its page.
    pub fn instance(&self) -> Option<usize> {
        let text = self.text();
        let (_, rest) = text.split_once("NGINX Instance ")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// Whether the sender said that it closes the connection.
    pub fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            || (self.version == "HTTP/1.0" && self.field("connection").is_none())
    }
}

/// One `GET` on a connection of its own.
///
/// # Panics
/// When there is no complete response.
pub fn get(address: SocketAddr, path: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    client.response()
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address, None)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects from a given source address.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        Self::try_connect(address, Some(source))
            .unwrap_or_else(|error| panic!("cannot connect from {source} to {address}: {error}"))
    }

    /// Connects with room for only so many bytes that were received and not read.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect_with_room(address: SocketAddr, bytes: usize) -> Self {
        let connect = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(bytes)?;
            Self::over(socket, address)
        };
        connect().unwrap_or_else(|error: Error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects with as little room as there can be for what is sent to it, on both sides.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect_with_little_room(address: SocketAddr) -> Self {
        let connect = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(2048)?;
            // The sender's buffer is made for so many segments.
            socket.set_tcp_mss(536)?;
            Self::over(socket, address)
        };
        connect().unwrap_or_else(|error: Error| panic!("cannot connect to {address}: {error}"))
    }

    /// Another handle to the connection, which sends while this one reads.
    ///
    /// # Panics
    /// When there is no descriptor left.
    #[must_use]
    pub fn sender(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a descriptor for a second handle"),
            buffer: Vec::new(),
        }
    }

    /// Connects, if somebody listens.
    ///
    /// # Errors
    /// As connecting has them.
    pub fn try_connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Self::over(socket, address)
    }

    fn over(socket: Socket, address: SocketAddr) -> io::Result<Self> {
        socket.connect_timeout(&address.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection is broken.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the connection takes what is sent");
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends `GET path` and reads the response; the connection stays open.
    ///
    /// # Panics
    /// When there is no complete response.
    pub fn get(&mut self, path: &str) -> Response {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Sends `GET path` and reads the response; the connection stays open.
    ///
    /// # Errors
    /// When there is no complete response. `UnexpectedEof` with nothing received is told as `ConnectionReset`.
    pub fn try_get(&mut self, path: &str) -> io::Result<Response> {
        self.try_send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))?;
        self.try_response("GET")
    }

    /// The next response, final or interim, to a request that was not HEAD.
    ///
    /// # Panics
    /// When there is no complete response.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The next response, to a request with that method.
    ///
    /// # Panics
    /// When there is no complete response.
    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response(method).unwrap_or_else(|error| panic!("no complete response to {method}: {error}"))
    }

    /// The next response, to a request with that method.
    ///
    /// # Errors
    /// When there is none, or it is not complete, or it is not HTTP.
    pub fn try_response(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.try_head()?;
        response.body = self.body(&response, method)?;
        Ok(response)
    }

    /// The head of the next response, its body left to be read.
    ///
    /// # Errors
    /// When there is none, or it is not HTTP.
    pub fn try_head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if !self.fill()? {
                return Err(match self.buffer.as_slice() {
                    [] => Error::new(ErrorKind::ConnectionReset, "closed before a response"),
                    some => {
                        let shown = String::from_utf8_lossy(some).into_owned();
                        Error::new(
                            ErrorKind::UnexpectedEof,
                            format!("closed within a response head: {shown:?}"),
                        )
                    }
                });
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        parse_head(&head).ok_or_else(|| bad(&format!("not a response head: {head:?}")))
    }

    fn body(&mut self, head: &Response, method: &str) -> io::Result<Vec<u8>> {
        let without = method == "HEAD" || head.status / 100 == 1 || head.status == 204 || head.status == 304;
        if without {
            return Ok(Vec::new());
        }
        if head.field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.chunked_body();
        }
        match head.field("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| bad(&format!("not a length: {length:?}")))?;
                self.take(length)
            }
            None => self.try_rest(),
        }
    }

    fn chunked_body(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default();
            let size =
                usize::from_str_radix(digits, 16).map_err(|_| bad(&format!("not a chunk size: {line:?}")))?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            if !self.line()?.is_empty() {
                return Err(bad("a chunk is longer than its size"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Ok(line);
            }
            self.fill_or_fail()?;
        }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// When fewer come.
    pub fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < len {
            self.fill_or_fail()?;
        }
        let rest = self.buffer.split_off(len);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// All bytes up to the end of the connection.
    ///
    /// # Errors
    /// When it ends with an error instead.
    pub fn try_rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// All bytes up to the end of the connection, whatever its end is.
    pub fn take_all(&mut self) -> Vec<u8> {
        while self.fill().unwrap_or(false) {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the end of the connection, before which nothing more may come.
    ///
    /// # Panics
    /// When something comes, or the connection stays open.
    pub fn expect_closed(&mut self) {
        match self.try_rest() {
            Ok(rest) if rest.is_empty() => {}
            Ok(rest) => panic!("bytes after the last response: {:?}", String::from_utf8_lossy(&rest)),
            // Closing while this side's bytes were still unread resets the connection: also an end.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection was not closed: {error}"),
        }
    }

    /// Waits for the proper end of the connection, before which nothing more may come. A reset is none.
    ///
    /// # Panics
    /// When something comes, or the connection ends otherwise, or stays open.
    pub fn expect_end(&mut self) {
        let rest =
            self.try_rest().unwrap_or_else(|error| panic!("the connection did not end properly: {error}"));
        assert!(rest.is_empty(), "bytes after the last response: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Whether the other side has ended the connection properly by now, with nothing before that.
    pub fn has_ended(&self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        // An error of this one shows in the next read.
        let _ = self.stream.set_nonblocking(false);
        self.buffer.is_empty() && matches!(peeked, Ok(0))
    }

    /// Says that nothing more will be sent; responses can still be read.
    ///
    /// # Panics
    /// When the connection is broken.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// The same, on a connection that may have ended meanwhile.
    pub fn finish_sending_if_open(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The other end's view of this connection: its own address.
    ///
    /// # Panics
    /// When the connection is broken.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("the connection is open")
    }

    /// Bounds each read, for loops that have something else to do.
    ///
    /// # Panics
    /// When `timeout` is zero.
    pub fn set_read_timeout(&self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout that is not zero");
    }

    /// The bare stream, to speak another protocol over it.
    ///
    /// # Panics
    /// When bytes that were received would be lost.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.buffer.is_empty(), "received and not yet read: {:?}", self.buffer);
        self.stream
    }

    /// Reads once. False at the end of the connection.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = vec![0; 64 << 10];
        let received = loop {
            match self.stream.read(&mut chunk) {
                // With a time limit the kernel does not begin again by itself when the process was held up (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        self.buffer.extend_from_slice(&chunk[..received]);
        Ok(received > 0)
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        let held = self.buffer.len();
        if self.fill()? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::UnexpectedEof, format!("closed within a body, {held} bytes of it unread")))
    }
}

fn parse_head(head: &str) -> Option<Response> {
    let mut lines = head.split("\r\n");
    let mut status_line = lines.next()?.splitn(3, ' ');
    let version = status_line.next().filter(|version| version.starts_with("HTTP/1."))?.to_owned();
    let status = status_line.next()?.parse().ok()?;
    let fields = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Option<_>>()?;
    Some(Response { version, status, fields, body: Vec::new() })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn bad(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}
