//! What listeners that end TLS are set up with, and connections to servers that have it; and what is agreed on there.

mod connector;
mod tickets;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use config::{SecretBytes, Tls, TlsVersion};
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, CommonState, ProtocolVersion};

pub use self::connector::Connector;
use self::tickets::Tickets;

/// A key of tickets that no file gives.
pub type TicketKey = [u8; 32];

/// How a listener ends TLS. What it presents is renewed while connections come.
#[derive(Debug)]
pub struct Terminator {
    protocols: Protocols,
    now: ArcSwap<Setup>,
    /// Held by whoever changes it, who begins with what it is now.
    changing: Mutex<()>,
}

/// What a handshake has agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    version: ProtocolVersion,
    cipher: CipherSuite,
}

impl Agreed {
    /// Of its parts.
    pub fn new(version: ProtocolVersion, cipher: CipherSuite) -> Self {
        Self { version, cipher }
    }

    /// None while a handshake is under way.
    pub fn of(session: &CommonState) -> Option<Self> {
        let (version, cipher) = (session.protocol_version()?, session.negotiated_cipher_suite()?);
        (!session.is_handshaking()).then(|| Self::new(version, cipher.suite()))
    }

    /// Whether it is the oldest version that there is here.
    pub fn is_tls12(self) -> bool {
        self.version == ProtocolVersion::TLSv1_2
    }

    /// The version, as HAProxy and OpenSSL write it.
    pub fn version(self) -> &'static str {
        match self.version {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "unknown",
        }
    }

    /// The cipher suite, by its name at IANA.
    pub fn cipher(self) -> &'static str {
        match self.cipher {
            // rustls has names of its own for those of TLS 1.3.
            CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
            CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
            other => other.as_str().unwrap_or("unknown"),
        }
    }
}

/// What is spoken inside of TLS, by the names that clients are offered (ALPN, RFC 7301), the best first; none where lbd does not know.
pub type Protocols = &'static [&'static [u8]];

#[derive(Debug)]
struct Setup {
    tls: Arc<Tls>,
    own: Vec<TicketKey>,
    server: Arc<ServerConfig>,
}

impl Terminator {
    /// With what the file says. Tickets are sealed with the keys in its file, or else with `own`, in the same way.
    ///
    /// # Errors
    /// When rustls cannot work with it.
    pub fn new(tls: Arc<Tls>, protocols: Protocols, own: &[TicketKey]) -> Result<Self, rustls::Error> {
        let now = ArcSwap::from_pointee(Setup::new(tls, protocols, own.to_vec())?);
        Ok(Self { protocols, now, changing: Mutex::default() })
    }

    /// Takes what its files say now. Connections that have begun keep what they began with.
    ///
    /// # Errors
    /// When rustls cannot work with it; nothing has changed then.
    pub fn renew(&self, tls: Arc<Tls>) -> Result<(), rustls::Error> {
        self.change(|now| (tls, now.own.clone()))
    }

    /// Takes other keys for tickets.
    ///
    /// # Errors
    /// When rustls cannot work with it; nothing has changed then.
    pub fn rekey(&self, own: &[TicketKey]) -> Result<(), rustls::Error> {
        self.change(|now| (now.tls.clone(), own.to_vec()))
    }

    fn change(&self, to: impl FnOnce(&Setup) -> (Arc<Tls>, Vec<TicketKey>)) -> Result<(), rustls::Error> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (tls, own) = to(&self.now.load());
        self.now.store(Arc::new(Setup::new(tls, self.protocols, own)?));
        Ok(())
    }

    /// What the file says, with what is presented now.
    pub fn tls(&self) -> Arc<Tls> {
        self.now.load().tls.clone()
    }

    /// What rustls is told of the next connection.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.now.load().server.clone()
    }
}

impl Setup {
    fn new(tls: Arc<Tls>, protocols: Protocols, own: Vec<TicketKey>) -> Result<Self, rustls::Error> {
        let versions = match tls.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?;
        let clients = tls.client.as_ref().and_then(|client| client.clients.as_ref());
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(tls.store.clone());
        let policy = clients.map_or([0; 32], |clients| *clients.fingerprint());
        let tickets = match &tls.ticket_keys {
            Some(of_file) => Tickets::new(of_file.keys.iter().map(SecretBytes::expose), policy),
            None => Tickets::new(own.iter().map(|key| &key[..]), policy),
        };
        server.ticketer = Arc::new(tickets);
        // All that is known of a session is in its ticket, so that the other node knows as much.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { tls, own, server: Arc::new(server) })
    }
}
