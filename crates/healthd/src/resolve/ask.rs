//! One question to one name server, and one to all of them at once. What is received is judged in [`super::reply`].
//!
//! Each question has a socket of its own, and so a port of its own that nobody can guess; it is connected, so that the kernel
//! drops what others send, and tells of a server that is not there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_proto::op::{Message, Query};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::reply::{Found, Read, Reply, Said, question, read, settle};
use crate::probe::io_text;

/// How often a datagram is sent until there is a reply. The last one is without EDNS: some boxes on the way drop what they do
/// not know.
const SENDS: u32 = 3;

/// The longest datagram that is read: servers may send more than they were asked for.
const DATAGRAM: usize = 4096;

/// Asks all servers at once, each within `timeout`. The first that has what is asked for is believed; without any, what all have replied counts.
pub(super) async fn ask_all(servers: &[SocketAddr], query: &Query, timeout: Duration) -> Said {
    let mut asked: FuturesUnordered<_> =
        servers.iter().map(|server| async { (*server, ask(*server, query, timeout).await) }).collect();
    let mut replies = Vec::with_capacity(servers.len());
    while let Some((server, reply)) = asked.next().await {
        let known = matches!(reply, Reply::Found(_));
        replies.push((server, reply));
        if known {
            break;
        }
    }
    settle(&replies, timeout)
}

async fn ask(server: SocketAddr, query: &Query, timeout: Duration) -> Reply {
    let deadline = Instant::now() + timeout;
    let reply = match timeout_at(deadline, by_udp(server, query, timeout)).await {
        Err(_) => return Reply::Silent,
        Ok(Err(error)) => return Reply::Failed(io_text(&error)),
        Ok(Ok(Read::CutOff(reply))) => reply,
        Ok(Ok(Read::Whole(reply) | Read::NoEdns(reply))) => return reply,
        Ok(Ok(Read::Foreign)) => return Reply::Silent,
    };
    let why = match timeout_at(deadline, by_tcp(server, query)).await {
        Ok(Ok(Read::Whole(whole))) => return whole,
        Ok(Ok(_)) => "its reply by TCP is of no use".to_owned(),
        Ok(Err(error)) => io_text(&error),
        Err(_) => "no answer by TCP".to_owned(),
    };
    match reply {
        Reply::Found(found) => Reply::Found(Found { truncated: true, ..found }),
        _ => Reply::Failed(format!("the answer was cut off, and {why}")),
    }
}

/// Sends until there is a reply; never ends without one, unless the kernel says that there is nobody.
async fn by_udp(server: SocketAddr, query: &Query, timeout: Duration) -> io::Result<Read> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let mut buffer = vec![0; DATAGRAM];
    let mut question = question(query);
    let mut sent = 0;
    loop {
        sent += 1;
        if sent == SENDS {
            question.edns = None;
        }
        socket.send(&encode(&question)?).await?;
        // The last one is waited for as long as the caller does.
        let wait = if sent < SENDS { timeout / SENDS } else { timeout };
        match timeout_at(Instant::now() + wait, receive(&socket, &mut buffer, &question, query)).await {
            Ok(Ok(Read::NoEdns(_))) if question.edns.is_some() => sent = SENDS - 1,
            Ok(reply) => return reply,
            Err(_) if sent < SENDS => {}
            Err(_) => return Ok(Read::Foreign),
        }
    }
}

async fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    question: &Message,
    query: &Query,
) -> io::Result<Read> {
    loop {
        let received = socket.recv(buffer).await?;
        match read(&buffer[..received], question.metadata.id, query) {
            Read::Foreign => {}
            reply => return Ok(reply),
        }
    }
}

async fn by_tcp(server: SocketAddr, query: &Query) -> io::Result<Read> {
    let question = question(query);
    let bytes = encode(&question)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    // Length and message in one segment, as servers like it (RFC 7766, 8).
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; length.into()];
    stream.read_exact(&mut reply).await?;
    Ok(read(&reply, question.metadata.id, query))
}

fn encode(question: &Message) -> io::Result<Vec<u8>> {
    question.to_vec().map_err(io::Error::other)
}
