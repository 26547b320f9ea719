//! The TLS check: a handshake, which is ended as soon as it is complete.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use config::{Host, TlsProbe};
use health::CheckCode;
use health::dialogue::{Dialogue, Layer, Verdict};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{BadCheck, Target};

/// The largest file of authorities, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The TLS checks of a backend.
#[derive(Debug)]
pub(super) struct TlsCheck {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl TlsCheck {
    pub(super) fn new(probe: &TlsProbe) -> Result<Self, BadCheck> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &probe.ca_file {
            Some(file) => verifier(file, &provider)?,
            None => Arc::new(Unverified(Arc::clone(&provider))),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BadCheck(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let name = probe.name.as_ref().map(|name| {
            ServerName::try_from(name.clone())
                .map_err(|_| BadCheck(format!("`{name}` is not a name of a server")))
        });
        Ok(Self { config: Arc::new(config), name: name.transpose()? })
    }

    /// A check of one server.
    pub(super) fn dialogue(&self, target: &Target) -> TlsDialogue {
        // Without a name that could be asked for none is, as with an address.
        let unnamed = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let own = || match &target.server {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                ServerName::try_from(name.to_owned()).unwrap_or(unnamed)
            }
        };
        let name = self.name.clone().unwrap_or_else(own);
        TlsDialogue(ClientConnection::new(Arc::clone(&self.config), name))
    }
}

/// Certificates have to be signed by one of the authorities of a file.
fn verifier(file: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, BadCheck> {
    let bad = |reason: String| BadCheck(format!("`{}`: {reason}", file.display()));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| bad(super::io_text(&error)))?;
    opened.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| bad(super::io_text(&error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("no certificate is in it".to_owned()));
    }
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = builder.build().map_err(|error| bad(error.to_string()))?;
    Ok(verifier)
}

/// Any certificate will do, as long as the server has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One handshake, or why it cannot begin.
pub(super) struct TlsDialogue(Result<ClientConnection, rustls::Error>);

impl TlsDialogue {
    fn step(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Result<Option<Verdict>, Failure> {
        let connection = self.0.as_mut().map_err(|error| Failure::Tls(error.clone()))?;
        let mut rest = heard.as_slice();
        let mut outcome = Ok(());
        while !rest.is_empty() && outcome.is_ok() {
            connection.read_tls(&mut rest)?;
            outcome = connection.process_new_packets().map(drop);
        }
        heard.clear();
        let done = outcome.is_ok() && !connection.is_handshaking();
        if done {
            connection.send_close_notify();
        }
        // An alert, too, where something was wrong.
        write(connection, say)?;
        outcome.map_err(Failure::Tls)?;
        Ok(done.then(|| Verdict::new(CheckCode::L6Ok, agreed(connection))))
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

impl Dialogue for TlsDialogue {
    fn opening(&mut self) -> Vec<u8> {
        let mut say = Vec::new();
        if let Ok(connection) = &mut self.0 {
            // Writing into memory does not fail; without a hello the server's silence is what is found.
            let _ = write(connection, &mut say);
        }
        say
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        let reason = match self.step(heard, say) {
            Ok(verdict) => return verdict,
            Err(Failure::Tls(error)) => error.to_string(),
            Err(Failure::Bytes(error)) => error.to_string(),
        };
        Some(Verdict::new(CheckCode::L6Rsp, format!("no TLS handshake: {reason}")))
    }

    fn awaited(&self) -> String {
        "a whole TLS handshake".to_owned()
    }

    fn ended(&mut self, _: &[u8]) -> Verdict {
        Verdict::new(CheckCode::L6Rsp, "the connection was closed in the TLS handshake")
    }

    fn late(&self, _: &[u8], patience: &str) -> String {
        format!("connected, but no TLS handshake within {patience}")
    }

    fn layer(&self) -> Layer {
        Layer::Session
    }

    /// A chain of certificates may be long.
    fn most(&self) -> u64 {
        128 * 1024
    }

    fn room(&self) -> usize {
        4 * 1024
    }
}
