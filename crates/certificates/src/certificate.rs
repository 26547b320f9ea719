//! One certificate with its chain and key, and what is known of it.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::asn1_rs::{Oid, oid};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use crate::pem::{Content, has};
use crate::{Doubt, DoubtKind, Fault, FaultKind, Pem, Staple, StapleFile, distinguished_name, staple};

/// The most certificates of a chain: what clients read of one is bounded, too.
pub(crate) const MAX_CHAIN: usize = 16;
/// How long before its end a certificate is told of, in seconds, and the part of its life that this is at most: what lives for
/// some days alone is renewed when a third of them is left.
const SOON: i64 = 14 * 24 * 60 * 60;
const SOON_PART: i64 = 3;
/// The least bits of an RSA key.
const MIN_RSA: usize = 2048;
/// What a certificate asks of TLS (RFC 7633), and its encoding where that is a staple.
const FEATURES: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);
const STAPLE_FEATURE: &[u8] = &[2, 1, 5];

/// From when on a certificate is told of, as it ends soon; all in seconds since 1970.
pub(crate) fn ends_soon_from(not_before: i64, not_after: i64) -> i64 {
    let life = not_after.saturating_sub(not_before);
    not_after.saturating_sub(SOON.min(life / SOON_PART))
}

/// The files of one certificate.
#[derive(Clone, Debug)]
pub struct Source {
    /// The certificate, those that signed it, and perhaps the key.
    pub chain: Pem,
    /// The key, where it has a file of its own.
    pub key: Option<Pem>,
    /// What its authority says of it.
    pub staple: Option<StapleFile>,
    /// Whether it was found in a directory, where keys and authorities have files beside those that are presented.
    pub found: bool,
}

/// The files, beside a file with a certificate, that its key may be in: `site.pem.key` and `site.key` for `site.pem`, and
/// `privkey.pem` for certbot's `fullchain.pem`.
pub fn key_names(file: &str) -> Vec<String> {
    let mut names = vec![format!("{file}.key")];
    let base = file.rfind('/').map_or(0, |slash| slash + 1);
    let (directory, name) = file.split_at(base);
    if let Some((stem, _)) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) {
        names.push(format!("{directory}{stem}.key"));
    }
    if name == "fullchain.pem" {
        names.push(format!("{directory}privkey.pem"));
    }
    names
}

/// Whether a file has a key, of whatever use.
pub fn holds_key(bytes: &[u8]) -> bool {
    has(bytes, "PRIVATE KEY")
}

/// A certificate that can be presented.
#[derive(Clone)]
pub struct Certificate {
    /// The file it is from.
    pub file: String,
    /// Its names, in small letters: of hosts, with `*.` for any one label, and addresses.
    pub names: Vec<String>,
    /// Who has signed it.
    pub issuer: String,
    /// Its number among those of its issuer, in hexadecimal digits.
    pub serial: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
    /// What its key is.
    pub key: KeyType,
    /// The SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// What its authority says of it is presented with it, and counts so long.
    pub staple: Option<Staple>,
    /// When there is something else to be said of its staple.
    pub(crate) due: Option<i64>,
    /// How the key can sign.
    schemes: Vec<SignatureScheme>,
    certified: Arc<CertifiedKey>,
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, of so many bits.
    Rsa(usize),
    /// ECDSA, on the curve P-256, P-384 or P-521.
    Ecdsa(usize),
    /// Ed25519.
    Ed25519,
    /// One that is younger than this.
    Other,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ecdsa(bits) => write!(f, "ECDSA P-{bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other => f.write_str("other"),
        }
    }
}

impl Certificate {
    /// Reads it, and adds what is doubtful about it. Nothing, if it was found and is no certificate of a server.
    ///
    /// # Errors
    /// Why it cannot be presented.
    pub(crate) fn read(source: &Source, now: i64, doubts: &mut Vec<Doubt>) -> Result<Option<Self>, Fault> {
        let Source { chain, key, staple, found } = source;
        let content = chain.content()?;
        let keys = match key {
            Some(key) if content.keys.is_empty() => key.content()?.keys,
            _ => Vec::new(),
        };
        let own_file = (!keys.is_empty()).then(|| key.as_ref().map(|key| key.file.clone())).flatten();
        let Content { certificates, keys: mut all_keys, .. } = content;
        all_keys.extend(keys);
        let parsed = parsed(chain, &certificates)?;
        let Some(leaf) = parsed.first() else {
            let is_key = *found && !all_keys.is_empty();
            return if is_key { Ok(None) } else { Err(chain.fault(None, FaultKind::NoCertificate)) };
        };
        if *found && all_keys.is_empty() && leaf.is_ca() {
            return Ok(None);
        }
        if parsed.len() > MAX_CHAIN {
            return Err(chain.fault(None, FaultKind::LongChain(parsed.len())));
        }
        if all_keys.is_empty() {
            return Err(chain.fault(None, FaultKind::NoKey(key_names(&chain.file))));
        }
        let key_type = key_type(leaf);
        if let KeyType::Rsa(bits) = key_type
            && bits < MIN_RSA
        {
            return Err(chain.fault(None, FaultKind::ShortKey(bits)));
        }
        let usable: Vec<_> = all_keys.iter().filter_map(|key| any_supported_type(key).ok()).collect();
        let Some(key) = usable.iter().find(|key| belongs(key.as_ref(), leaf)) else {
            let belongs_to =
                |other: &X509Certificate<'_>| usable.iter().any(|key| belongs(key.as_ref(), other));
            let kind = match parsed.iter().position(belongs_to) {
                _ if usable.is_empty() => FaultKind::UnusableKey(own_file),
                Some(place) => FaultKind::LeafNotFirst(place + 1),
                None => FaultKind::OtherKey(own_file),
            };
            return Err(chain.fault(None, kind));
        };
        let mut certified =
            CertifiedKey::new(certificates.iter().map(|(_, der)| der.clone()).collect(), Arc::clone(key));
        let (presented, due) = match staple {
            Some(file) => stapled(file, leaf, parsed.get(1), now, doubts),
            None => (None, None),
        };
        certified.ocsp = staple.as_ref().filter(|_| presented.is_some()).map(|file| file.bytes.clone());
        let read = Self {
            file: chain.file.clone(),
            names: names(leaf),
            issuer: distinguished_name::text(leaf.issuer()),
            serial: leaf.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: leaf.validity().not_before.timestamp(),
            not_after: leaf.validity().not_after.timestamp(),
            key: match (key_type, rustls_kind(key.as_ref())) {
                (KeyType::Other, kind) => kind,
                (known, _) => known,
            },
            fingerprint: certificates.first().map_or([0; 32], |(_, der)| Sha256::digest(der).into()),
            staple: presented,
            due,
            schemes: schemes(key.as_ref()),
            certified: Arc::new(certified),
        };
        let mut doubt = |kind| doubts.push(Doubt { file: chain.file.clone(), kind });
        if read.not_after < now {
            doubt(DoubtKind::Expired(read.not_after));
        } else if read.soon_from() < now {
            doubt(DoubtKind::Expiring(read.not_after));
        }
        if read.not_before > now {
            doubt(DoubtKind::NotYetValid(read.not_before));
        }
        if wants_staple(leaf) && read.staple.is_none() {
            doubt(DoubtKind::NoStaple(staple::staple_name(&chain.file)));
        }
        let signs =
            |pair: &[X509Certificate<'_>]| matches!(pair, [one, next] if one.issuer() == next.subject());
        if let Some(place) = parsed.windows(2).position(|pair| !signs(pair)) {
            doubt(DoubtKind::Disordered(place + 2));
        }
        Ok(Some(read))
    }

    /// The same, presented without a staple.
    pub(crate) fn without_staple(&self) -> Self {
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.ocsp = None;
        Self { staple: None, due: None, certified: Arc::new(certified), ..self.clone() }
    }

    /// From when on it is told of, as it ends soon, in seconds since 1970.
    pub fn soon_from(&self) -> i64 {
        ends_soon_from(self.not_before, self.not_after)
    }

    /// What rustls presents.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Whether its key can sign in a way that is asked for.
    pub(crate) fn can_sign(&self, asked: &[SignatureScheme]) -> bool {
        self.schemes.iter().any(|scheme| asked.contains(scheme))
    }

    /// What its key costs and is trusted with: the least is the best.
    pub(crate) const fn rank(&self) -> u8 {
        match self.key {
            KeyType::Ecdsa(_) => 0,
            KeyType::Ed25519 => 1,
            KeyType::Rsa(_) => 2,
            KeyType::Other => 3,
        }
    }

    /// All certificates of its chain, each as it is sent.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

/// Keys are shown to nobody.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("file", &self.file)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The staple of a certificate, if it counts, and when that changes.
fn stapled(
    StapleFile { file, bytes }: &StapleFile,
    certificate: &X509Certificate<'_>,
    authority: Option<&X509Certificate<'_>>,
    now: i64,
    doubts: &mut Vec<Doubt>,
) -> (Option<Staple>, Option<i64>) {
    let read = staple::read(bytes, certificate, authority);
    let due = read.as_ref().ok().and_then(|staple| staple.due(now));
    let counts = read.and_then(|staple| staple.counts(now).map(|()| staple));
    let doubt = |why| doubts.push(Doubt { file: file.clone(), kind: DoubtKind::Staple(why) });
    (counts.map_err(doubt).ok(), due)
}

/// Whether clients refuse it without a staple.
fn wants_staple(certificate: &X509Certificate<'_>) -> bool {
    let features = certificate.extensions().iter().find(|extension| extension.oid == FEATURES);
    features
        .is_some_and(|features| features.value.windows(STAPLE_FEATURE.len()).any(|one| one == STAPLE_FEATURE))
}

fn parsed<'d>(
    chain: &Pem,
    certificates: &'d [(usize, CertificateDer<'static>)],
) -> Result<Vec<X509Certificate<'d>>, Fault> {
    let parse = |(line, der): &'d (usize, CertificateDer<'static>)| match X509Certificate::from_der(der) {
        Ok((_, parsed)) => Ok(parsed),
        Err(error) => {
            let label = "CERTIFICATE".to_owned();
            Err(chain.fault(Some(*line), FaultKind::Broken { label, why: shown(&error.to_string()) }))
        }
    };
    certificates.iter().map(parse).collect()
}

/// Whether the key is the one that the certificate is about.
fn belongs(key: &dyn SigningKey, certificate: &X509Certificate<'_>) -> bool {
    key.public_key().is_some_and(|public| public.as_ref() == certificate.public_key().raw)
}

fn key_type(certificate: &X509Certificate<'_>) -> KeyType {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => KeyType::Rsa(key.key_size()),
        // An uncompressed point has twice the bits of the curve; those of P-521 are filled up.
        Ok(PublicKey::EC(point)) => KeyType::Ecdsa(match point.key_size() {
            bits @ (256 | 384) => bits,
            _ => 521,
        }),
        _ => KeyType::Other,
    }
}

fn rustls_kind(key: &dyn SigningKey) -> KeyType {
    match key.algorithm() {
        rustls::SignatureAlgorithm::ED25519 => KeyType::Ed25519,
        _ => KeyType::Other,
    }
}

/// How a key can sign, of all the ways that there are.
fn schemes(key: &dyn SigningKey) -> Vec<SignatureScheme> {
    const ALL: [SignatureScheme; 13] = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ED25519,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
        SignatureScheme::ML_DSA_44,
        SignatureScheme::ML_DSA_65,
        SignatureScheme::ML_DSA_87,
    ];
    ALL.into_iter().filter(|scheme| key.choose_scheme(&[*scheme]).is_some()).collect()
}

/// The names that a certificate is for. Its common name counts only where it has no subjectAltName (RFC 9525 section 2).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names: Vec<String> = match certificate.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(name).collect(),
        _ => certificate.subject().iter_common_name().filter_map(|name| host(name.as_str().ok()?)).collect(),
    };
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => host(name),
        GeneralName::IPAddress(bytes) => {
            let v4 = || <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from);
            Some(v4().or_else(v6)?.to_string())
        }
        _ => None,
    }
}

/// A name as clients ask for it, or with a star; none if it is another text, as common names may be.
fn host(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
    let fits = (1..=253).contains(&text.len()) && text.bytes().all(is_usual);
    fits.then(|| text.to_ascii_lowercase())
}

/// A text that can be shown anywhere.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(256).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
