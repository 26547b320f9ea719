//! By which authorities servers are known, and what is presented to them.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::certificate::shown;
use crate::clients::roots;
use crate::revocations::{RevocationList, lists};
use crate::{Certificate, Doubt, Fault, FaultKind, Pem, Source};

/// By which authorities servers are known, and which certificate they are shown. Equal to another one by which the same servers are
/// known, and shown the same.
pub struct Servers {
    verifier: Arc<dyn ServerCertVerifier>,
    certificate: Option<Arc<CertifiedKey>>,
    fingerprint: [u8; 32],
}

/// Who vouches for servers.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The authorities of a file; what cannot be used is wrong. And their revocation lists, if there are any.
    Authorities(&'a Pem, Option<&'a Pem>),
    /// Those of the system, of which there are many: what cannot be used is left out.
    System(&'a Pem),
    /// Nobody: any certificate will do, as long as the server has its key.
    Anybody,
}

impl Servers {
    /// Reads the certificates of authorities, and the certificate that servers are shown, if they are. Beside it stands what is
    /// doubtful, at this moment in seconds since 1970.
    ///
    /// With revocation lists, every certificate of a server's chain needs the one of its authority, in time: one that is missing or
    /// late lets no server pass, as it may be the one that revokes.
    ///
    /// # Errors
    /// What cannot be used, each file once.
    pub fn new(
        trust: Trust<'_>,
        certificate: Option<&Source>,
        now: i64,
    ) -> Result<(Self, Vec<Doubt>), Vec<Fault>> {
        let provider = Arc::new(default_provider());
        let mut faults = Vec::new();
        let mut doubts = Vec::new();
        let mut hash = Sha256::new();
        let verifier = verifier(trust, &provider, now, &mut doubts, &mut hash);
        let verifier = verifier.map_err(|found| faults.extend(found)).ok();
        let own = certificate.map(|source| {
            let fault = || source.chain.fault(None, FaultKind::NoCertificate);
            Certificate::read(source, now, &mut doubts)?.ok_or_else(fault)
        });
        let own = own.transpose().map_err(|fault| faults.push(fault)).ok();
        let (Some(verifier), Some(own)) = (verifier, own) else { return Err(faults) };
        if let Some(own) = &own {
            hash.update([1]);
            // A key is the one of its certificate.
            own.chain().iter().for_each(|der| hash.update(der));
        }
        let certificate = own.map(|own| Arc::clone(own.certified()));
        Ok((Self { verifier, certificate, fingerprint: hash.finalize().into() }, doubts))
    }

    /// Those that know no server and believe each.
    pub fn unverified() -> Self {
        let verifier = Arc::new(Unverified(Arc::new(default_provider())));
        Self { verifier, certificate: None, fingerprint: [0; 32] }
    }

    /// What rustls is told of connections to them: whether TLS 1.2 will do, and what is spoken inside (ALPN). Sessions are not
    /// resumed, unless the caller has somewhere to keep them.
    ///
    /// # Errors
    /// When rustls cannot work with it.
    pub fn client(&self, tls12: bool, protocols: &[Vec<u8>]) -> Result<ClientConfig, rustls::Error> {
        let versions = if tls12 { &[&TLS13, &TLS12][..] } else { &[&TLS13] };
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&self.verifier));
        let mut client = match &self.certificate {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(own)))),
            None => builder.with_no_client_auth(),
        };
        client.alpn_protocols = protocols.to_vec();
        client.resumption = Resumption::disabled();
        Ok(client)
    }
}

/// The name or address that a certificate has to be for; none if no certificate could be.
pub fn server_name(text: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(text.strip_suffix('.').unwrap_or(text).to_owned()).ok()
}

fn verifier(
    trust: Trust<'_>,
    provider: &Arc<CryptoProvider>,
    now: i64,
    doubts: &mut Vec<Doubt>,
    hash: &mut Sha256,
) -> Result<Arc<dyn ServerCertVerifier>, Vec<Fault>> {
    let mut faults = Vec::new();
    let (pem, roots, revocations) = match trust {
        Trust::Authorities(pem, revocations) => (pem, roots(pem, hash), revocations),
        Trust::System(pem) => (pem, roots_of_system(pem, hash), None),
        Trust::Anybody => {
            hash.update([0]);
            return Ok(Arc::new(Unverified(Arc::clone(provider))));
        }
    };
    let roots = Arc::new(roots.unwrap_or_else(|fault| {
        faults.push(fault);
        RootCertStore::empty()
    }));
    let build = |lists: Vec<RevocationList>| {
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
            .with_crls(lists)
            .enforce_revocation_expiration()
            .build()
    };
    let lists = revocations.filter(|_| !roots.is_empty()).map(|pem| {
        hash.update([2]);
        lists(pem, |list| build(vec![list]).map(drop), now, doubts, hash)
    });
    let lists = lists.transpose().map_err(|fault| faults.push(fault)).unwrap_or_default();
    if !faults.is_empty() {
        return Err(faults);
    }
    match build(lists.unwrap_or_default()) {
        Ok(verifier) => Ok(verifier),
        // Each root and each list has been found good.
        Err(error) => Err(vec![pem.fault(None, FaultKind::UnusableAuthority(shown(&error.to_string())))]),
    }
}

/// Nobody can mend what an authority of the system has made of its certificate.
fn roots_of_system(pem: &Pem, hash: &mut Sha256) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for (_, certificate) in pem.content()?.certificates {
        hash.update(&certificate);
        roots.add_parsable_certificates([certificate]);
    }
    if roots.is_empty() { Err(pem.fault(None, FaultKind::NoCertificate)) } else { Ok(roots) }
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

impl PartialEq for Servers {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Servers {}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("certificate", &self.certificate.is_some()).finish_non_exhaustive()
    }
}
