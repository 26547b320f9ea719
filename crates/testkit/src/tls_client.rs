//! A client that speaks TLS, by rustls, step by step.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};

use crate::authority::Authority;
use crate::wait::PATIENCE;

/// A connection to app.example, after its handshake. Every read and write is bounded by [`PATIENCE`].
#[derive(Debug)]
pub struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// What a client knows before it connects.
///
/// # Panics
/// When rustls cannot work with it.
pub fn tls_config(authority: &Authority, groups: Option<&[NamedGroup]>) -> Arc<ClientConfig> {
    let certificate = CertificateDer::from_pem_file(authority.ca_file()).expect("an authority's certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("an authority's certificate");
    let mut provider = default_provider();
    if let Some(groups) = groups {
        provider.kx_groups.retain(|group| groups.contains(&group.name()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().expect("some version");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What a client says first, in its record.
///
/// # Panics
/// When rustls has nothing to say.
pub fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut hello = Vec::new();
    session(config).write_tls(&mut hello).expect("a vector takes everything");
    hello
}

fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("app.example").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a session")
}

impl TlsClient {
    /// Connects, and shakes hands.
    ///
    /// # Panics
    /// When that fails.
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::over(TcpStream::connect(address).expect("somebody listens"), config)
    }

    /// Shakes hands on a connection.
    ///
    /// # Panics
    /// When that fails.
    pub fn over(socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        socket.set_nodelay(true).expect("an own socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("an own socket");
        socket.set_write_timeout(Some(PATIENCE)).expect("an own socket");
        let mut stream = StreamOwned::new(session(config), socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        Self { stream }
    }

    /// By which exchange of keys the handshake was made.
    pub fn key_exchange(&self) -> Option<NamedGroup> {
        self.stream.conn.negotiated_key_exchange_group().map(|group| group.name())
    }

    /// One `GET`, with more fields, each with its line end. The response's head and body, as texts.
    ///
    /// # Panics
    /// When there is no response with a length.
    pub fn get(&mut self, path: &str, fields: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n");
        self.write_all(request.as_bytes()).expect("the request goes out");
        self.response()
    }

    /// The head and the body of a response that has a length.
    ///
    /// # Panics
    /// When there is none.
    pub fn response(&mut self) -> (String, String) {
        let mut received = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&received);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let lower = head.to_ascii_lowercase();
                let length = lower.split("content-length: ").nth(1).expect("a response with a length");
                let length: usize = length.lines().next().unwrap_or_default().parse().expect("a length");
                if body.len() >= length {
                    return (head.to_owned(), body.to_owned());
                }
            }
            let mut space = [0; 4096];
            let n = self.read(&mut space).expect("a response comes");
            assert!(n > 0, "the connection ended before the response: {text}");
            received.extend_from_slice(space.get(..n).unwrap_or_default());
        }
    }
}

impl Read for TlsClient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for TlsClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
