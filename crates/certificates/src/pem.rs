//! PEM files (RFC 7468), section by section, with the lines where they begin.

use rustls::pki_types::pem::{Error, PemObject as _, SectionKind};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};

use crate::{Fault, FaultKind};

/// A file.
#[derive(Clone)]
pub struct Pem {
    /// What messages call it.
    pub file: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What is in it may be a key.
impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What is understood of a file, each with the line where it begins.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) certificates: Vec<(usize, CertificateDer<'static>)>,
    pub(crate) keys: Vec<PrivateKeyDer<'static>>,
    pub(crate) revocations: Vec<(usize, CertificateRevocationListDer<'static>)>,
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// What editors of another system put before the first line.
const BOM: &[u8] = b"\xef\xbb\xbf";

impl Pem {
    /// All sections that somebody here understands; the first that is broken, if one is.
    pub(crate) fn content(&self) -> Result<Content, Fault> {
        let mut content = Content::default();
        let sections = sections(&self.bytes);
        if sections.is_empty() && !self.bytes.trim_ascii().is_empty() {
            // An empty file, or one of remarks, lacks something; DER or PKCS #12 is something else.
            if self.bytes.iter().any(|byte| !byte.is_ascii()) {
                return Err(self.fault(None, FaultKind::NotPem));
            }
        }
        for section in sections {
            let kind = section.read(&mut content);
            kind.map_err(|kind| self.fault(Some(section.line), kind))?;
        }
        Ok(content)
    }

    pub(crate) fn fault(&self, line: Option<usize>, kind: FaultKind) -> Fault {
        Fault { file: self.file.clone(), line, kind }
    }
}

/// Whether there is a section of this kind, broken or not, by the end of what it says it is.
pub(crate) fn has(bytes: &[u8], what: &str) -> bool {
    sections(bytes).iter().any(|section| section.label.ends_with(what))
}

struct Section<'a> {
    /// From 1.
    line: usize,
    label: String,
    /// From its first line to its last; none if there is no last.
    text: Option<&'a [u8]>,
}

/// The sections of a file. What stands outside of them is for people (RFC 7468 section 2).
fn sections(bytes: &[u8]) -> Vec<Section<'_>> {
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let mut found: Vec<Section<'_>> = Vec::new();
    // Where the one that has no end yet begins.
    let mut begun: Option<usize> = None;
    let mut at = 0;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let end = at + line.len();
        if let Some(label) = label(line, BEGIN) {
            // A section within another one is not understood, so the first has no end.
            begun = Some(at);
            found.push(Section { line: index + 1, label, text: None });
        } else if let Some((start, section)) = begun.zip(found.last_mut())
            && label(line, END).is_some_and(|label| label == section.label)
        {
            section.text = bytes.get(start..end);
            begun = None;
        }
        at = end + 1;
    }
    found
}

/// What a line says that begins, or ends.
fn label(line: &[u8], what: &[u8]) -> Option<String> {
    let label = line.trim_ascii_end().strip_prefix(what)?.strip_suffix(DASHES)?;
    let is_shown = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let is_usual = label.len() <= 64 && label.iter().all(is_shown);
    is_usual.then(|| String::from_utf8_lossy(label).into_owned())
}

impl Section<'_> {
    /// Adds what it is to the rest, unless it is of no kind that matters here.
    fn read(&self, content: &mut Content) -> Result<(), FaultKind> {
        let Some(text) = self.text else { return Err(FaultKind::Unended(self.label.clone())) };
        let is_key = self.label.ends_with("PRIVATE KEY");
        // RFC 1421 section 4.6.1.1: what openssl wrote before it knew PKCS #8.
        let proc_type = || {
            text.split(|byte| *byte == b'\n')
                .nth(1)
                .is_some_and(|line| line.starts_with(b"Proc-Type: 4,ENCRYPTED"))
        };
        if is_key && (self.label.starts_with("ENCRYPTED") || proc_type()) {
            return Err(FaultKind::Encrypted);
        }
        let broken = |why: &str| FaultKind::Broken { label: self.label.clone(), why: why.to_owned() };
        let (kind, der) = match <(SectionKind, Vec<u8>)>::from_pem_slice(text) {
            Ok((_, der)) if der.is_empty() => return Err(broken("it is empty")),
            Ok(read) => read,
            Err(Error::NoItemsFound) if self.label == "TRUSTED CERTIFICATE" => {
                return Err(broken(
                    "it is of openssl's own form; \"openssl x509 -in FILE\" writes the usual one",
                ));
            }
            // Parameters of key exchanges and curves, public keys, requests: of no use here.
            Err(Error::NoItemsFound) => return Ok(()),
            Err(_) => return Err(broken("it is not base64")),
        };
        match kind {
            SectionKind::Certificate => content.certificates.push((self.line, der.into())),
            SectionKind::RsaPrivateKey => content.keys.push(PrivatePkcs1KeyDer::from(der).into()),
            SectionKind::PrivateKey => content.keys.push(PrivatePkcs8KeyDer::from(der).into()),
            SectionKind::EcPrivateKey => content.keys.push(PrivateSec1KeyDer::from(der).into()),
            SectionKind::Crl => content.revocations.push((self.line, der.into())),
            _ => {}
        }
        Ok(())
    }
}
