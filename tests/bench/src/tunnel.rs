//! Upgraded connections: a server that echoes, and a load that reports as wrk does.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::load::tell;

const MESSAGE: [u8; 64] = [b'm'; 64];
const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A health check's answer.
const WELL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Switches protocols for whoever asks, and echoes from then on. Runs until it is killed.
pub(crate) fn echo(listen: SocketAddr) -> anyhow::Result<()> {
    run(async {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // Whoever goes first ends it.
            tokio::task::spawn_local(async move { _ = answer(stream).await });
        }
    })
}

async fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let head = head(&mut stream).await?;
    if !head.to_ascii_lowercase().contains("upgrade: websocket") {
        return Ok(stream.write_all(WELL).await?);
    }
    stream.write_all(SWITCHED).await?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// Reads a head to its end; nothing follows it before it is answered.
async fn head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        if received.len() > 16 << 10 || stream.read_buf(&mut received).await? == 0 {
            bail!("no head but {} bytes", received.len());
        }
    }
    Ok(String::from_utf8_lossy(&received).into_owned())
}

/// Switches protocols, and sends a message that comes back.
pub(crate) fn open(stream: &mut std::net::TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(UPGRADE)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!("the proxy does not switch protocols: {}", String::from_utf8_lossy(&head));
    }
    let mut echoed = [0; MESSAGE.len()];
    stream.write_all(&MESSAGE)?;
    Ok(stream.read_exact(&mut echoed)?)
}

/// Sends messages one after another on each connection, and reports as wrk does.
pub(crate) fn load(to: SocketAddr, connections: usize, seconds: u64) -> anyhow::Result<()> {
    let mut times = run(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            stream.write_all(UPGRADE).await?;
            let head = head(&mut stream).await?;
            if !head.starts_with("HTTP/1.1 101") {
                bail!("the proxy does not switch protocols: {head}");
            }
            streams.push(stream);
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        let tasks: Vec<_> =
            streams.into_iter().map(|stream| tokio::task::spawn_local(talk(stream, end))).collect();
        let mut times = Vec::new();
        for task in tasks {
            times.append(&mut task.await??);
        }
        anyhow::Ok(times)
    })?;
    tell(&mut times, seconds)
}

async fn talk(mut stream: TcpStream, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    let mut echoed = MESSAGE;
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(times);
        }
        stream.write_all(&MESSAGE).await?;
        stream.read_exact(&mut echoed).await?;
        if echoed != MESSAGE {
            bail!("the echo is not what was sent");
        }
        times.push(sent.elapsed());
    }
}
