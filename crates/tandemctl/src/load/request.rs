//! One request, on a connection of its own or on one that is kept, and the ways in which it can be lost.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use http1::{BodyReader, Method, ResponseHead, ResponseLimits, ResponseParser};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::Url;

/// How large an answer's head may be; the buffer holds as much.
const HEAD_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 100;
/// Titles are looked for in that much of a page, and cut at that length.
const TITLE_WITHIN: usize = 8 * 1024;
const TITLE_MAX: usize = 64;

/// A complete answer with a good status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The page's title, if it was wanted.
    pub(crate) title: Option<String>,
}

/// Why a request was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lost {
    /// Nobody listens.
    Refused,
    /// The network says that there is no way to the host.
    Unreachable,
    /// It took longer than a request may.
    TimedOut,
    /// The connection broke before the answer was complete.
    Broken,
    /// The answer is no HTTP, or its framing is wrong.
    Malformed,
    /// An answer that says that there is none, such as 503.
    Status(u16),
    /// Too many requests were in flight.
    NotSent,
    /// This machine lacks ports, descriptors or memory.
    Local,
}

/// Where requests go, and what they say.
#[derive(Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    request: Vec<u8>,
    with_title: bool,
    /// Connections to be kept, used in turn; of those that are yet to be made only the place.
    kept: Option<Mutex<VecDeque<Option<TcpStream>>>>,
}

impl Target {
    pub(crate) fn new(url: &Url, address: SocketAddr, with_title: bool, keep: Option<usize>) -> Self {
        let last = if keep.is_none() { "Connection: close\r\n" } else { "" };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tandemctl\r\n{last}\r\n",
            url.path, url.authority
        );
        let kept = keep.map(|keep| Mutex::new((0..keep).map(|_| None).collect()));
        Self { address, request: request.into_bytes(), with_title, kept }
    }

    /// The kept connection whose turn it is, if it is still open, or a new one.
    async fn connection(&self) -> Result<TcpStream, Lost> {
        let kept = self
            .kept
            .as_ref()
            .and_then(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten());
        match kept.filter(is_open) {
            Some(stream) => Ok(stream),
            None => TcpStream::connect(self.address).await.map_err(|error| unconnected(&error)),
        }
    }

    fn give_back(&self, stream: Option<TcpStream>) {
        if let Some(kept) = &self.kept {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push_back(stream);
        }
    }

    /// Sends the request and reads the whole answer. The caller bounds the time.
    pub(crate) async fn get(&self) -> Result<Answered, Lost> {
        let mut stream = self.connection().await?;
        stream.write_all(&self.request).await.map_err(|_| Lost::Broken)?;
        let mut buffer = Vec::with_capacity(HEAD_MAX);
        let head = read_head(&mut stream, &mut buffer).await?;
        if !(200..400).contains(&head.status) {
            return Err(Lost::Status(head.status));
        }
        let page = read_body(&mut stream, buffer, &head).await?;
        self.give_back(head.persistent.then_some(stream));
        Ok(Answered { title: self.with_title.then(|| title(&page)) })
    }
}

/// Whether the other side has said nothing since the last answer: not even that it has ended the connection.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn unconnected(error: &io::Error) -> Lost {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Lost::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Lost::Unreachable
        }
        ErrorKind::TimedOut => Lost::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Lost::Broken,
        _ => Lost::Local,
    }
}

/// The final answer's head, which is removed from the buffer.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<ResponseHead, Lost> {
    let mut parser = ResponseParser::new(ResponseLimits { head: HEAD_MAX, fields: FIELDS_MAX });
    loop {
        while let Some(head) = parser.parse(buffer, Method::Get).map_err(|_| Lost::Malformed)? {
            buffer.drain(..head.len);
            if head.is_switching() {
                return Err(Lost::Malformed);
            }
            if !head.is_interim() {
                return Ok(head);
            }
        }
        if fill(stream, buffer).await? == 0 {
            return Err(Lost::Broken);
        }
    }
}

/// Reads the body to its end; what it begins with is returned.
async fn read_body(
    stream: &mut TcpStream,
    mut buffer: Vec<u8>,
    head: &ResponseHead,
) -> Result<Vec<u8>, Lost> {
    let mut body = BodyReader::decoded(head.body);
    let mut begin = Vec::new();
    while !body.is_done() {
        let step = body.step(&mut buffer).map_err(|_| Lost::Malformed)?;
        let wanted = TITLE_WITHIN - begin.len().min(TITLE_WITHIN);
        begin.extend(buffer.get(..step.forward.min(wanted)).unwrap_or_default());
        buffer.drain(..step.consumed);
        if step.done {
            break;
        }
        if step.consumed == 0 && fill(stream, &mut buffer).await? == 0 {
            body.end_of_stream().map_err(|_| Lost::Broken)?;
        }
    }
    Ok(begin)
}

/// Reads what there is, up to a full buffer.
async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, Lost> {
    let room = HEAD_MAX - buffer.len().min(HEAD_MAX);
    if room == 0 {
        return Err(Lost::Malformed);
    }
    let mut limited = stream.take(room as u64);
    limited.read_buf(buffer).await.map_err(|_| Lost::Broken)
}

fn title(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(page);
    let inside = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let Some((title, _)) = inside else { return "no title".into() };
    title.trim().chars().filter(|c| !c.is_control()).take(TITLE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What becomes of a request that gets these bytes, then the end of the connection.
    async fn answered_with(answer: &'static [u8]) -> Result<Answered, Lost> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Target::new(&"http://test/".parse().unwrap(), address, true, None);
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(answer).await.unwrap();
        };
        tokio::join!(target.get(), server).0
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_complete_answer_is_one() {
        let page = |title: &str| Ok(Answered { title: Some(title.to_owned()) });
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n<title>one</title>\n";
        assert_eq!(answered_with(length).await, page("one"));
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n<title>tw\r\n9\r\no</title>\r\n0\r\n\r\n";
        assert_eq!(answered_with(chunks).await, page("two"));
        let until_close = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nplain";
        assert_eq!(answered_with(until_close).await, page("no title"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn each_way_of_losing_a_request_has_its_name() {
        assert_eq!(answered_with(b"").await, Err(Lost::Broken));
        assert_eq!(
            answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await,
            Err(Lost::Broken)
        );
        assert_eq!(answered_with(b"SSH-2.0-x\r\n\r\n").await, Err(Lost::Malformed));
        assert_eq!(
            answered_with(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await,
            Err(Lost::Status(503))
        );
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let nobody = Target::new(&"http://test/".parse().unwrap(), address, false, None);
        assert_eq!(nobody.get().await, Err(Lost::Refused));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_kept_connection_carries_requests_until_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Target::new(&"http://test/".parse().unwrap(), address, false, Some(1));
        let server = async {
            for requests in [2, 1] {
                let (mut stream, _) = listener.accept().await.unwrap();
                for _ in 0..requests {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                    }
                    assert!(!String::from_utf8_lossy(&request).contains("close"));
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            }
        };
        let client = async {
            for _ in 0..3 {
                target.get().await.unwrap();
                // The end of the connection has to arrive, which takes this machine no time.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::join!(client, server);
    }
}
