//! Staples: what an authority says of a certificate, presented with it (RFC 6960, RFC 6066 section 8).
//!
//! What can be known without asking anybody is looked at here. The signature is not: whoever gets a staple looks at it.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::remark::day;

/// How long before its end a staple is left out, in seconds: it is to be good when it arrives, by whatever clock.
const LEAD: i64 = 60;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
/// `[n]` of what has parts, and of what has none.
const fn explicit(n: u8) -> u8 {
    0xa0 | n
}
const fn implicit(n: u8) -> u8 {
    0x80 | n
}

/// id-pkix-ocsp-basic (RFC 6960 section 4.2.1).
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
/// How a certificate's authority may be named.
const HASHES: [(&[u8], &Algorithm); 4] = [
    (&[0x2b, 14, 3, 2, 26], &SHA1_FOR_LEGACY_USE_ONLY),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &SHA384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], &SHA512),
];

/// A file with an OCSP response, in DER.
#[derive(Clone, Debug)]
pub struct StapleFile {
    /// What messages call it.
    pub file: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The file, beside one with a certificate, that its staple may be in.
pub fn staple_name(file: &str) -> String {
    format!("{file}.ocsp")
}

/// When a staple counts, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staple {
    /// From when on.
    pub this_update: i64,
    /// Until when: by then there is another one.
    pub next_update: i64,
}

/// Why a staple is not presented.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StapleFault {
    /// It is not what it should be.
    #[error("it is no OCSP response in DER, as \"openssl ocsp -respout FILE\" writes it")]
    Broken,
    /// The responder had nothing to say.
    #[error("the responder gave no answer, but said \"{0}\"")]
    Unanswered(&'static str),
    /// It is about another certificate, such as the one that was here before.
    #[error("it is about another certificate")]
    Other,
    /// The authority has taken the certificate back.
    #[error("it says that the certificate is revoked")]
    Revoked,
    /// The authority does not know the certificate.
    #[error("it says that the certificate is unknown")]
    Unknown,
    /// Nobody would know when it is too old.
    #[error("it does not say when there is another one")]
    Endless,
    /// Its time has not come.
    #[error("it is not valid before {}", day(*.0))]
    NotYet(i64),
    /// Its time is over.
    #[error("its time ended on {}", day(*.0))]
    Expired(i64),
}

/// Looks at a response about a certificate, whose authority's certificate is known if the chain has it.
pub(crate) fn read(
    bytes: &[u8],
    certificate: &X509Certificate<'_>,
    authority: Option<&X509Certificate<'_>>,
) -> Result<Staple, StapleFault> {
    let answer = answers(bytes)?;
    let mut answers = Der(answer);
    while !answers.0.is_empty() {
        let mut answer = Der(answers.take(SEQUENCE).ok_or(StapleFault::Broken)?);
        let id = answer.take(SEQUENCE).ok_or(StapleFault::Broken)?;
        if is_about(id, certificate, authority).ok_or(StapleFault::Broken)? {
            return about_it(answer);
        }
    }
    Err(StapleFault::Other)
}

impl Staple {
    /// Whether it can be presented at a moment.
    pub(crate) fn counts(self, now: i64) -> Result<(), StapleFault> {
        if self.this_update > now {
            Err(StapleFault::NotYet(self.this_update))
        } else if self.ends() <= now {
            Err(StapleFault::Expired(self.next_update))
        } else {
            Ok(())
        }
    }

    /// When it begins or ends to count, whatever comes next.
    pub(crate) fn due(self, now: i64) -> Option<i64> {
        [self.this_update, self.ends()].into_iter().find(|at| *at > now)
    }

    fn ends(self) -> i64 {
        self.next_update.saturating_sub(LEAD)
    }
}

/// The answers of a response (RFC 6960 section 4.2.1).
fn answers(bytes: &[u8]) -> Result<&[u8], StapleFault> {
    let (status, rest) = whole(bytes).ok_or(StapleFault::Broken)?;
    match status {
        [0] => basic(rest).ok_or(StapleFault::Broken),
        [1] => Err(StapleFault::Unanswered("malformedRequest")),
        [2] => Err(StapleFault::Unanswered("internalError")),
        [3] => Err(StapleFault::Unanswered("tryLater")),
        [5] => Err(StapleFault::Unanswered("sigRequired")),
        [6] => Err(StapleFault::Unanswered("unauthorized")),
        _ => Err(StapleFault::Broken),
    }
}

/// The status of a response, and what follows it.
fn whole(bytes: &[u8]) -> Option<(&[u8], Der<'_>)> {
    let mut file = Der(bytes);
    let mut response = Der(file.take(SEQUENCE)?);
    let status = response.take(ENUMERATED)?;
    file.0.is_empty().then_some((status, response))
}

/// The answers of a successful response.
fn basic(mut response: Der<'_>) -> Option<&[u8]> {
    let mut typed = Der(Der(response.take(explicit(0))?).take(SEQUENCE)?);
    if typed.take(OID)? != BASIC {
        return None;
    }
    let mut basic = Der(Der(typed.take(OCTET_STRING)?).take(SEQUENCE)?);
    let mut data = Der(basic.take(SEQUENCE)?);
    // The signature, and how it was made.
    basic.take(SEQUENCE)?;
    basic.take(BIT_STRING)?;
    // The version; the responder, by its name or its key; the moment.
    data.take(explicit(0));
    data.take(explicit(1)).or_else(|| data.take(explicit(2)))?;
    data.take(GENERALIZED_TIME)?;
    data.take(SEQUENCE)
}

/// Whether the one that is named by a CertID is this certificate. None if it is no CertID.
fn is_about(
    id: &[u8],
    certificate: &X509Certificate<'_>,
    authority: Option<&X509Certificate<'_>>,
) -> Option<bool> {
    let mut id = Der(id);
    let how = Der(id.take(SEQUENCE)?).take(OID)?;
    let [name, key, serial] = [OCTET_STRING, OCTET_STRING, INTEGER].map(|tag| id.take(tag));
    let (name, key, serial) = (name?, key?, serial?);
    let Some((_, how)) = HASHES.iter().find(|(known, _)| *known == how) else { return Some(false) };
    let has_key = |authority: &X509Certificate<'_>| {
        digest(how, &authority.public_key().subject_public_key.data).as_ref() == key
    };
    Some(
        serial == certificate.raw_serial()
            && name == digest(how, certificate.issuer().as_raw()).as_ref()
            && authority.is_none_or(has_key),
    )
}

/// What an answer says, behind the certificate that it is about.
fn about_it(mut answer: Der<'_>) -> Result<Staple, StapleFault> {
    if answer.take(explicit(1)).is_some() {
        return Err(StapleFault::Revoked);
    }
    if answer.take(implicit(2)).is_some() {
        return Err(StapleFault::Unknown);
    }
    answer.take(implicit(0)).ok_or(StapleFault::Broken)?;
    let this_update = answer.time().ok_or(StapleFault::Broken)?;
    let next_update = answer.take(explicit(0)).ok_or(StapleFault::Endless)?;
    let next_update = Der(next_update).time().ok_or(StapleFault::Broken)?;
    Ok(Staple { this_update, next_update })
}

/// What is left of an encoding (ITU-T X.690), element by element.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element if it is of this kind, which is then behind us.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (content, rest) = element(self.0, tag)?;
        self.0 = rest;
        Some(content)
    }

    fn time(&mut self) -> Option<i64> {
        let before = self.0;
        self.take(GENERALIZED_TIME)?;
        let (_, time) = ASN1Time::from_der(before).ok()?;
        Some(time.timestamp())
    }
}

/// The content of an element of this kind, and what is behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Files have three bytes of length at most.
        0x80 | 0x84.. => return None,
        long => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}
