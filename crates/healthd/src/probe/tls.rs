//! TLS in checks: a handshake, which is all there is to it or what another dialogue goes on in.
//!
//! No session is resumed: what a server shows now is what is looked at.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use certificates::{Pem, Servers, Trust, reason, server_name};
use config::{Host, Mode, Probe, ServerTls, TlsProbe, TlsVersion};
use health::dialogue::{Dialogue, Layer, Verdict};
use health::{CertificateEnd, CheckCode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::{BadCheck, Target};

/// The largest file of authorities, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// How much a server may send in a handshake, in bytes: a chain of certificates may be long.
const HANDSHAKE: u64 = 128 * 1024;

/// The TLS checks of a backend.
#[derive(Debug)]
pub(super) struct TlsCheck {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    /// Whether it says itself whom it expects.
    particular: bool,
}

/// When the certificate ends that a server has shown.
pub(super) type Expiry = OnceLock<CertificateEnd>;

impl TlsCheck {
    /// A handshake with settings of its own.
    pub(super) fn new(probe: &TlsProbe) -> Result<Self, BadCheck> {
        let servers = match &probe.ca_file {
            Some(file) => servers(file)?,
            None => Servers::unverified(),
        };
        let name = probe.name.as_ref().map(|name| {
            server_name(name).ok_or_else(|| BadCheck(format!("`{name}` is not a name of a server")))
        });
        let particular = probe.name.is_some() || probe.ca_file.is_some();
        Ok(Self { config: client(&servers, true, &[])?, name: name.transpose()?, particular })
    }

    /// What secures a check as requests to the servers are.
    pub(super) fn as_requests(tls: &ServerTls, mode: Mode, probe: &Probe) -> Result<Self, BadCheck> {
        let servers = tls.servers.as_ref();
        let servers = servers.ok_or_else(|| BadCheck("its certificates were not read".to_owned()))?;
        let protocols: Vec<Vec<u8>> = match (probe, mode) {
            (Probe::Http(_), _) | (_, Mode::Http) => vec![b"http/1.1".to_vec()],
            (_, Mode::Tcp) => tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect(),
        };
        let config = client(servers, tls.min_version == TlsVersion::Tls12, &protocols)?;
        Ok(Self { config, name: None, particular: false })
    }

    /// Whether it says itself whom it expects, whatever requests to the servers are secured with.
    pub(super) fn is_particular(&self) -> bool {
        self.particular
    }

    /// A handshake with one server, and what is said in it then, if anything is.
    pub(super) fn dialogue<'a>(
        &self,
        target: &Target,
        inner: Option<Box<dyn Dialogue + 'a>>,
        expiry: &'a Expiry,
    ) -> TlsDialogue<'a> {
        // Without a name that could be asked for none is, as with an address.
        let unnamed = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let host = || match &target.server {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::Name(name) => server_name(name).unwrap_or(unnamed),
        };
        let own = || target.tls_name.as_deref().and_then(server_name).unwrap_or_else(host);
        let name = self.name.clone().unwrap_or_else(own);
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        TlsDialogue { connection, inner, is_open: false, is_over: false, plain: Vec::new(), expiry }
    }
}

fn client(servers: &Servers, tls12: bool, protocols: &[Vec<u8>]) -> Result<Arc<ClientConfig>, BadCheck> {
    servers.client(tls12, protocols).map(Arc::new).map_err(|error| BadCheck(error.to_string()))
}

/// Certificates have to be signed by one of the authorities of a file.
fn servers(file: &Path) -> Result<Servers, BadCheck> {
    let bad = |error: io::Error| BadCheck(format!("{}: {}", file.display(), super::io_text(&error)));
    let mut bytes = Vec::new();
    File::open(file).map_err(bad)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(bad)?;
    let pem = Pem { file: file.display().to_string(), bytes };
    match Servers::new(Trust::Authorities(&pem, None), None, 0) {
        Ok((servers, _)) => Ok(servers),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(BadCheck(faults.join("; ")))
        }
    }
}

/// One handshake, or why it cannot begin, and what is said in it.
pub(super) struct TlsDialogue<'a> {
    connection: Result<ClientConnection, rustls::Error>,
    inner: Option<Box<dyn Dialogue + 'a>>,
    /// The handshake is complete.
    is_open: bool,
    /// The server has ended its side.
    is_over: bool,
    /// What the dialogue inside has not taken yet.
    plain: Vec<u8>,
    expiry: &'a Expiry,
}

impl TlsDialogue<'_> {
    fn step(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Result<Option<Verdict>, Failure> {
        let opened = self.open(heard);
        let verdict = opened.and_then(|()| self.talk());
        // An alert, too, where something was wrong.
        if let Ok(connection) = &mut self.connection {
            write(connection, say)?;
        }
        verdict
    }

    /// Takes what has come out of its records.
    fn open(&mut self, heard: &mut Vec<u8>) -> Result<(), Failure> {
        let connection = self.connection.as_mut().map_err(|error| Failure::Tls(error.clone()))?;
        let mut rest = heard.as_slice();
        while !rest.is_empty() && !self.is_over {
            connection.read_tls(&mut rest)?;
            let state = connection.process_new_packets().map_err(Failure::Tls)?;
            let held = self.plain.len();
            self.plain.resize(held + state.plaintext_bytes_to_read(), 0);
            connection.reader().read_exact(self.plain.split_at_mut(held).1)?;
            self.is_over = state.peer_has_closed();
        }
        heard.clear();
        Ok(())
    }

    /// Goes on with what is said in TLS, once there is some.
    fn talk(&mut self) -> Result<Option<Verdict>, Failure> {
        let Self { connection, inner, is_open, is_over, plain, expiry } = self;
        let connection = connection.as_mut().map_err(|error| Failure::Tls(error.clone()))?;
        if connection.is_handshaking() {
            return Ok(None);
        }
        let mut say = Vec::new();
        if !std::mem::replace(is_open, true) {
            let first = connection.peer_certificates().and_then(|chain| chain.first());
            if let Some(certificates::Expiry { not_after, soon_from }) = first.and_then(certificates::expiry)
            {
                expiry.get_or_init(|| CertificateEnd { not_after, soon_from });
            }
            say.extend(inner.iter_mut().flat_map(|inner| inner.opening()));
        }
        let verdict = match inner {
            None => Some(Verdict::new(CheckCode::L6Ok, agreed(connection))),
            Some(inner) if !plain.is_empty() => inner.hear(plain, &mut say),
            Some(_) => None,
        };
        let verdict = verdict.or_else(|| inner.as_mut().filter(|_| *is_over).map(|inner| inner.ended(plain)));
        connection.writer().write_all(&say)?;
        if verdict.is_some() {
            connection.send_close_notify();
        }
        Ok(verdict)
    }

    /// The dialogue inside, once it is its turn.
    fn inner(&self) -> Option<&dyn Dialogue> {
        self.inner.as_deref().filter(|_| self.is_open)
    }
}

fn write(connection: &mut ClientConnection, say: &mut Vec<u8>) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(say)?;
    }
    Ok(())
}

/// What the two sides have agreed on.
fn agreed(connection: &ClientConnection) -> String {
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    [version, suite].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Why there is no handshake.
enum Failure {
    Tls(rustls::Error),
    Bytes(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Bytes(error)
    }
}

impl Dialogue for TlsDialogue<'_> {
    fn opening(&mut self) -> Vec<u8> {
        let mut say = Vec::new();
        if let Ok(connection) = &mut self.connection {
            // Writing into memory does not fail; without a hello the server's silence is what is found.
            let _ = write(connection, &mut say);
        }
        say
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        let reason = match self.step(heard, say) {
            Ok(verdict) => return verdict,
            Err(Failure::Tls(error)) => reason(&error),
            Err(Failure::Bytes(error)) => error.to_string(),
        };
        let what = if self.is_open { "TLS broke off" } else { "no TLS handshake" };
        Some(Verdict::new(CheckCode::L6Rsp, format!("{what}: {reason}")))
    }

    fn awaited(&self) -> String {
        self.inner().map_or_else(|| "a whole TLS handshake".to_owned(), |inner| inner.awaited())
    }

    fn ended(&mut self, _: &[u8]) -> Verdict {
        match self.inner.as_mut().filter(|_| self.is_open) {
            Some(inner) => inner.ended(&self.plain),
            None => Verdict::new(CheckCode::L6Rsp, "the connection was closed in the TLS handshake"),
        }
    }

    fn late(&self, _: &[u8], patience: &str) -> String {
        match self.inner() {
            Some(inner) => inner.late(&self.plain, patience),
            None => format!("connected, but no TLS handshake within {patience}"),
        }
    }

    fn layer(&self) -> Layer {
        self.inner().map_or(Layer::Session, |inner| inner.layer())
    }

    fn most(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.most()).saturating_add(HANDSHAKE)
    }

    fn room(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.room()).max(4 * 1024)
    }
}
