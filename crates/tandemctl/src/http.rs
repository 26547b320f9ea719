//! One `GET`, bounded in time and size: enough for the admin addresses of other nodes.

use std::time::Duration;

use http1::{BodyReader, Method, ResponseHead, ResponseLimits, ResponseParser};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long it may take from the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much is read at most: a site of thousands of servers fits.
const ANSWER_MAX: u64 = 16 * 1024 * 1024;
const HEAD: ResponseLimits = ResponseLimits { head: 16 * 1024, fields: 100 };

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum GetError {
    /// The name has no address.
    #[error("{0}")]
    Unresolved(std::io::Error),
    /// There is no connection.
    #[error("{0}")]
    Unconnected(std::io::Error),
    /// It took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// The connection broke.
    #[error("the connection broke before the answer was complete")]
    Broken,
    /// What came is no HTTP, or too much.
    #[error("the answer is no HTTP, or longer than {} MiB", ANSWER_MAX / 1024 / 1024)]
    Malformed,
    /// Another status than 200.
    #[error("the answer has the status {0}")]
    Status(u16),
}

/// The body of `http://HOST:PORT/PATH`.
pub(crate) async fn get(host: &str, port: u16, path: &str) -> Result<Vec<u8>, GetError> {
    timeout(PATIENCE, ask(host, port, path)).await.unwrap_or(Err(GetError::TimedOut))
}

async fn ask(host: &str, port: u16, path: &str) -> Result<Vec<u8>, GetError> {
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(GetError::Unresolved)?.collect();
    let mut stream = TcpStream::connect(&*addresses).await.map_err(GetError::Unconnected)?;
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: tandemctl\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|_| GetError::Broken)?;
    let mut answer = Vec::new();
    // A connection that breaks leaves an answer that is not complete, which is found below.
    let _ = stream.take(ANSWER_MAX + 1).read_to_end(&mut answer).await;
    if answer.len() as u64 > ANSWER_MAX {
        return Err(GetError::Malformed);
    }
    let head = head(&mut answer)?;
    match head.status {
        200 => body(&head, &mut answer),
        other => Err(GetError::Status(other)),
    }
}

/// The final head, which is removed from the answer.
fn head(answer: &mut Vec<u8>) -> Result<ResponseHead, GetError> {
    let mut parser = ResponseParser::new(HEAD);
    while let Some(head) = parser.parse(answer, Method::Get).map_err(|_| GetError::Malformed)? {
        answer.drain(..head.len);
        if head.is_switching() {
            return Err(GetError::Malformed);
        }
        if !head.is_interim() {
            return Ok(head);
        }
    }
    Err(GetError::Broken)
}

fn body(head: &ResponseHead, mut rest: &mut [u8]) -> Result<Vec<u8>, GetError> {
    let mut reader = BodyReader::decoded(head.body);
    let mut body = Vec::new();
    while !reader.is_done() {
        let step = reader.step(rest).map_err(|_| GetError::Malformed)?;
        body.extend_from_slice(rest.get(..step.forward).unwrap_or_default());
        rest = rest.get_mut(step.consumed..).unwrap_or_default();
        if step.done {
            break;
        }
        if step.consumed == 0 {
            reader.end_of_stream().map_err(|_| GetError::Broken)?;
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
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
            assert!(request.starts_with(b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(answer).await.unwrap();
        };
        let (got, ()) = tokio::join!(get("127.0.0.1", port, "/status.json"), server);
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
