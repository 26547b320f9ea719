//! What is wrong with files, and what is doubtful.

use std::fmt;

use thiserror::Error;
use x509_parser::time::ASN1Time;

use crate::StapleFault;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// A line of it, from 1, if it is about one.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub kind: FaultKind,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// It is not text with PEM sections.
    #[error(
        "it is not PEM; \"openssl x509 -inform der -in FILE\" converts a certificate, \"openssl pkcs12 -nodes -in FILE\" a .pfx or .p12"
    )]
    NotPem,
    /// A PEM section without an end.
    #[error(
        "the section \"{0}\" that begins here has no end; the file is cut off, or two were joined without a line's end"
    )]
    Unended(String),
    /// A PEM section that is not what it says.
    #[error("the section \"{label}\" that begins here is broken: {why}")]
    Broken {
        /// What it says it is.
        label: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key that only a passphrase opens.
    #[error(
        "the key is encrypted, and nobody is there to type its passphrase; remove it: openssl pkey -in FILE -out NEW"
    )]
    Encrypted,
    /// No certificate.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// No key.
    #[error("there is no private key in it, nor in {}; append the key to it, or give it such a file", or(.0))]
    NoKey(Vec<String>),
    /// The key belongs to another certificate.
    #[error("the private key{} is another certificate's", in_file(.0))]
    OtherKey(Option<String>),
    /// The key belongs to a certificate further down.
    #[error(
        "the private key is that of its certificate number {0}, which has to be the first: the server's own certificate, then those that signed it"
    )]
    LeafNotFirst(usize),
    /// A key that is of no use for TLS.
    #[error("the private key{} is of no kind that TLS servers have: RSA from 2048 bits, ECDSA with P-256, P-384 or P-521, Ed25519", in_file(.0))]
    UnusableKey(Option<String>),
    /// An RSA key that is too short to protect anything.
    #[error("its RSA key has {0} bits; 2048 is the least that is safe")]
    ShortKey(usize),
    /// No certificate of an authority that could be used.
    #[error("the certificate that begins here cannot be an authority's: {0}")]
    UnusableAuthority(String),
    /// No revocation list.
    #[error("there is no revocation list (\"X509 CRL\") in it")]
    NoRevocations,
    /// A revocation list that cannot be used.
    #[error("the revocation list that begins here cannot be used: {0}")]
    UnusableRevocations(String),
    /// More certificates than a chain has.
    #[error("it has {0} certificates; a chain of a server has at most {max}", max = crate::certificate::MAX_CHAIN)]
    LongChain(usize),
}

/// What a file can be used with, but not for long, or not as was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The file.
    pub file: String,
    /// What is doubtful.
    pub kind: DoubtKind,
}

/// What is doubtful about a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DoubtKind {
    /// The certificate's time is over.
    #[error("its certificate has expired on {}", day(*.0))]
    Expired(i64),
    /// The certificate's time is almost over.
    #[error("its certificate expires on {}", day(*.0))]
    Expiring(i64),
    /// The certificate's time has not come.
    #[error("its certificate is not valid before {}", day(*.0))]
    NotYetValid(i64),
    /// The chain is not in the order in which its certificates sign one another.
    #[error("its certificate number {0} has not signed the one before it")]
    Disordered(usize),
    /// No client can ask for it by name.
    #[error("its certificate has no name that a client could ask for")]
    Nameless,
    /// Certificates before it have all its names.
    #[error("its certificate is never presented: {} has the same names and a key of the same kind", .0)]
    NeverPresented(String),
    /// The staple cannot be presented.
    #[error("this OCSP staple is not presented: {0}")]
    Staple(StapleFault),
    /// The certificate wants a staple, and has none.
    #[error(
        "its certificate is to be presented with an OCSP staple alone (must-staple), and there is none that counts: {0}"
    )]
    NoStaple(String),
    /// The revocation list is older than its authority promised.
    #[error("its revocation list had to be renewed by {}: until it is, everybody is taken for revoked", day(*.0))]
    StaleRevocations(i64),
}

impl DoubtKind {
    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Expired(_) => "clients refuse it: renew it",
            Self::Expiring(_) => "renew it; lbd takes what is in the file without a reload",
            Self::NotYetValid(_) => "clients refuse it until then; is the clock of this machine right?",
            Self::Disordered(_) => {
                "some clients refuse such a chain (RFC 8446 section 4.4.2): the server's own certificate, the one that signed it, and so on"
            }
            Self::Nameless => "it is presented only where no other fits; give it a subjectAltName",
            Self::NeverPresented(_) => "remove the one of them that is older",
            Self::Staple(StapleFault::Revoked) => "clients may refuse the certificate: get another one",
            Self::Staple(StapleFault::NotYet(_)) => "is the clock of this machine right?",
            Self::Staple(_) => {
                "fetch another one from the certificate's authority; the certificate is presented without it"
            }
            Self::NoStaple(_) => "clients refuse it: put the OCSP response of its authority there",
            Self::StaleRevocations(_) => "fetch a new one from the authority",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.kind),
            None => write!(f, "{}: {}", self.file, self.kind),
        }
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.kind)
    }
}

/// The day of a moment, in seconds since 1970, in UTC.
pub fn day(at: i64) -> String {
    ASN1Time::from_timestamp(at).map_or_else(|_| at.to_string(), |at| at.to_datetime().date().to_string())
}

fn or(names: &[String]) -> String {
    names.join(" or ")
}

fn in_file(file: &Option<String>) -> String {
    file.as_ref().map_or_else(String::new, |file| format!(" in {file}"))
}
