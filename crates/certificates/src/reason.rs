//! Why a handshake with a server failed, for people.

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::certificate::{ends_soon_from, shown};
use crate::remark::day;

/// The most names of a certificate that are told.
const NAMES: usize = 5;

/// When a certificate ends, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Until when it is valid.
    pub not_after: i64,
    /// From when on that is told of.
    pub soon_from: i64,
}

/// When a certificate ends, if it is one.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<Expiry> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    let not_after = validity.not_after.timestamp();
    Some(Expiry { not_after, soon_from: ends_soon_from(validity.not_before.timestamp(), not_after) })
}

/// Why a handshake with a server failed, in a line.
pub fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => refusal(*alert),
        Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        other => shown(&other.to_string()),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "unknown issuer: none of the authorities has signed the server's certificate".to_owned()
        }
        CertificateError::BadSignature => {
            "bad signature: the authority of that name that is known has another key, or the server lacks its certificate's"
                .to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate expired on {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the server's certificate is not valid before {}", date(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("the server's certificate is for {}, not {}", listed(presented), name(expected))
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        CertificateError::UnknownRevocationStatus => {
            "none of the revocation lists is of the authority that has signed the server's certificate".to_owned()
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list of the authority that has signed the server's certificate had to be renewed by now"
                .to_owned()
        }
        other => format!("the server's certificate: {}", shown(&other.to_string())),
    }
}

fn refusal(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server asks for a client certificate; \"certificate\" names its file".to_owned()
        }
        AlertDescription::UnrecognisedName => "the server knows no such name".to_owned(),
        AlertDescription::NoApplicationProtocol => {
            "the server speaks none of the protocols that it is offered (ALPN)".to_owned()
        }
        other => format!("the server refused the handshake: {other:?}"),
    }
}

/// The names as rustls has them: `DnsName("a.example")`, `IpAddress(192.0.2.1)`.
fn listed(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        shown(inner.trim_matches('"'))
    };
    let mut names: Vec<String> = presented.iter().take(NAMES).map(plain).collect();
    match presented.len() {
        0 => return "nobody".to_owned(),
        more if more > NAMES => names.push("others".to_owned()),
        _ => {}
    }
    names.join(", ")
}

fn name(expected: &ServerName<'_>) -> String {
    match expected {
        ServerName::IpAddress(address) => std::net::IpAddr::from(*address).to_string(),
        other => other.to_str().into_owned(),
    }
}

fn date(at: UnixTime) -> String {
    day(i64::try_from(at.as_secs()).unwrap_or(i64::MAX))
}
