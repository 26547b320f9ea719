//! What wrk cannot do under TLS, by rustls's client: sessions that are resumed, and connections that are held.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, Stream};

use crate::load::tell;
use crate::peer::SERVER_NAME;

/// What trusts the proxies' certificate, and keeps a session.
pub(crate) fn client(authority: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A connection that has carried a request and its response.
pub(crate) fn hold(
    socket: &mut TcpStream,
    config: Arc<ClientConfig>,
    request: &[u8],
) -> anyhow::Result<ClientConnection> {
    let mut session = ClientConnection::new(config, ServerName::try_from(SERVER_NAME)?)?;
    let mut stream = Stream::new(&mut session, socket);
    stream.write_all(request)?;
    anyhow::ensure!(stream.read(&mut [0; 1024])? > 0, "the proxy closed a connection");
    Ok(session)
}

/// Resumes a session for each request, so many at once, and reports as wrk does.
pub(crate) fn resume(
    to: SocketAddr,
    path: &str,
    connections: usize,
    seconds: u64,
    authority: &Path,
) -> anyhow::Result<()> {
    let config = client(authority)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let talk = || talk(to, path, config.clone(), end);
    let mut times = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(talk)).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.append(&mut thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        anyhow::Ok(times)
    })?;
    tell(&mut times, seconds)
}

/// The first handshake is a full one, and is not counted.
fn talk(to: SocketAddr, path: &str, mut config: ClientConfig, end: Instant) -> anyhow::Result<Vec<Duration>> {
    // Tickets of its own: those of one are used up by another otherwise.
    config.resumption = rustls::client::Resumption::in_memory_sessions(1);
    let config = Arc::new(config);
    let mut times = Vec::new();
    let mut is_first = true;
    loop {
        let begun = Instant::now();
        if begun >= end {
            return Ok(times);
        }
        let kind = ask(to, path, &config)?;
        match (is_first, kind) {
            (true, _) => is_first = false,
            (false, HandshakeKind::Resumed) => times.push(begun.elapsed()),
            (false, other) => bail!("the proxy does not resume: {other:?}"),
        }
    }
}

fn ask(to: SocketAddr, path: &str, config: &Arc<ClientConfig>) -> anyhow::Result<HandshakeKind> {
    let mut session = ClientConnection::new(config.clone(), ServerName::try_from(SERVER_NAME)?)?;
    let mut socket = TcpStream::connect(to)?;
    socket.set_nodelay(true)?;
    let mut stream = Stream::new(&mut session, &mut socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    anyhow::ensure!(response.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&response));
    session.handshake_kind().context("a response without a handshake")
}
