//! One `GET`, bounded in time and size: enough for the admin addresses of other nodes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::HOST;
use reqwest::{Client, StatusCode, redirect};
use thiserror::Error;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long it may take from the name to the last byte, where nobody says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How much is read at most: a site of thousands of servers fits.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// The node in URLs: these know no zones of IPv6 addresses (RFC 9844), and where it is has been found by then.
const NODE: &str = "node";

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum GetError {
    /// The name has no address.
    #[error("{0}")]
    Unresolved(io::Error),
    /// There is no connection.
    #[error("{0}")]
    Unconnected(io::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection broke.
    #[error("the connection broke before the answer was complete")]
    Broken,
    /// What came is no HTTP, or too much.
    #[error("the answer is no HTTP, or longer than {} MiB", ANSWER_MAX / 1024 / 1024)]
    Malformed,
    /// It wants another name and password, or at all.
    #[error("a name and a password are asked for")]
    Unauthorized,
    /// Another status than 200.
    #[error("the answer has the status {0}")]
    Status(u16),
}

/// A name and a password, for pages that ask for them.
#[derive(Clone)]
pub(crate) struct Login {
    name: String,
    password: String,
}

impl FromStr for Login {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, password) =
            text.split_once(':').ok_or("a name and a password have a colon between them")?;
        Ok(Self { name: name.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The body of `http://HOST:PORT/PATH`, within so long.
pub(crate) async fn get(
    host: &str,
    port: u16,
    path: &str,
    login: Option<&Login>,
    patience: Duration,
) -> Result<Vec<u8>, GetError> {
    timeout(patience, ask(host, port, path, login)).await.unwrap_or(Err(GetError::TimedOut(patience)))
}

async fn ask(host: &str, port: u16, path: &str, login: Option<&Login>) -> Result<Vec<u8>, GetError> {
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(GetError::Unresolved)?.collect();
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = client(&addresses)?.get(format!("http://{NODE}:{port}{path}")).header(HOST, authority);
    if let Some(Login { name, password }) = login {
        request = request.basic_auth(name, Some(password));
    }
    let mut answer = request.send().await.map_err(failure)?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Err(GetError::Unauthorized);
    }
    if answer.status() != StatusCode::OK {
        return Err(GetError::Status(answer.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failure)? {
        if body.len() + piece.len() > ANSWER_MAX {
            return Err(GetError::Malformed);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// A client that goes nowhere else: it follows no redirect, and asks no proxy.
fn client(addresses: &[SocketAddr]) -> Result<Client, GetError> {
    Client::builder()
        .resolve_to_addrs(NODE, addresses)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent("tandemctl")
        .build()
        .map_err(failure)
}

fn failure(error: reqwest::Error) -> GetError {
    let mut io = None;
    let mut incomplete = false;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(error) = cause {
        io = io.or_else(|| error.downcast_ref::<io::Error>().map(copy));
        incomplete |= error.downcast_ref::<hyper::Error>().is_some_and(|error| {
            error.is_incomplete_message() || error.is_body_write_aborted() || error.is_closed()
        });
        cause = error.source();
    }
    match io {
        Some(io) if error.is_connect() => GetError::Unconnected(io),
        Some(_) => GetError::Broken,
        None if incomplete => GetError::Broken,
        None => GetError::Malformed,
    }
}

/// The same error: the layers of the client keep theirs.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of these bytes and the end of the connection.
    async fn answered_with(answer: &'static [u8]) -> Result<String, GetError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
            assert!(request.starts_with("get /status.json http/1.1\r\n"), "{request}");
            assert!(request.contains("\r\nhost: 127.0.0.1:"), "{request}");
            stream.write_all(answer).await.unwrap();
        };
        let (got, ()) = tokio::join!(get("127.0.0.1", port, "/status.json", None, PATIENCE), server);
        got.map(|body| String::from_utf8(body).unwrap())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn every_framing_is_read() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
        ] {
            assert_eq!(answered_with(answer).await.unwrap(), "{}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_no_answer_is_told_apart() {
        for (answer, says) in [
            (&b""[..], "broke"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "broke"),
            (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        ] {
            let error = answered_with(answer).await.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
