//! What a client's certificate says.

use std::fmt::Write;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::distinguished_name;

/// What the certificate says that a client has shown. All of it is printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Whose it is (RFC 4514).
    pub subject: Box<str>,
    /// Who has signed it.
    pub issuer: Box<str>,
    /// The SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: Box<str>,
}

impl ClientCertificate {
    /// None if it is no certificate; then nobody has verified it.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut fingerprint = String::with_capacity(64);
        for byte in Sha256::digest(certificate) {
            // A String takes everything.
            _ = write!(fingerprint, "{byte:02x}");
        }
        Some(Self {
            subject: distinguished_name::text(parsed.subject()).into(),
            issuer: distinguished_name::text(parsed.issuer()).into(),
            fingerprint: fingerprint.into(),
        })
    }
}
