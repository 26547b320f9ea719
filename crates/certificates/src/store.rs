//! The certificates of a listener, chosen by the name that a client asks for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::{Certificate, Doubt, DoubtKind, Fault, Source};

/// The longest name that somebody can ask for (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// The certificates of a listener. Equal to another one that presents the same.
#[derive(Default)]
pub struct Store {
    certificates: Vec<Certificate>,
    /// Which of them are for a name, the best first.
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    /// The same for `*.` and a name, by that name.
    below: HashMap<Box<[u8]>, Vec<usize>>,
    /// Those for whoever asks for no name that is known.
    default: Vec<usize>,
    strict: bool,
    fingerprint: [u8; 32],
}

impl Store {
    /// Reads all of them; the first is for whoever asks for no name that is known, or nothing is if `strict`. Beside it stands what
    /// is doubtful, at this moment in seconds since 1970.
    ///
    /// # Errors
    /// Whatever cannot be presented, each file once.
    pub fn new(sources: &[Source], strict: bool, now: i64) -> Result<(Self, Vec<Doubt>), Vec<Fault>> {
        let mut doubts = Vec::new();
        let mut faults = Vec::new();
        let mut store = Self { strict, ..Self::default() };
        for source in sources {
            match Certificate::read(source, now, &mut doubts) {
                Ok(certificate) => store.certificates.extend(certificate),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        store.index();
        if !strict {
            store.default = store.like_the_first();
        }
        doubts.extend(store.shadowed());
        store.fingerprint = store.hash();
        Ok((store, doubts))
    }

    /// The certificates, in the order in which they came.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether a staple has begun or ended to count since they were read, so that the same files are read to something else.
    pub fn is_due(&self, now: i64) -> bool {
        self.certificates.iter().filter_map(|certificate| certificate.due).any(|due| due <= now)
    }

    /// Equal where what is presented to whom is.
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The certificate for a client that asks for a name, or for none, and understands signatures of these kinds. Of several the
    /// one that the client understands, and of those ECDSA's, which costs the least.
    pub fn choose(&self, name: Option<&str>, asked: &[SignatureScheme]) -> Option<&Certificate> {
        let mut buffer = [0; MAX_NAME];
        let name = name.and_then(|name| lowered(name, &mut buffer)).unwrap_or_default();
        let above = name.iter().position(|byte| *byte == b'.').and_then(|dot| name.get(dot + 1..));
        let exact = self.exact.get(name);
        let below = above.and_then(|above| self.below.get(above));
        let all = || exact.into_iter().chain(below).chain([&self.default]).flatten();
        let certificate = |place: &usize| self.certificates.get(*place);
        let understood = all().filter_map(certificate).find(|one| one.can_sign(asked));
        // One that the client does not understand is refused for that reason, which is told better than that there is none.
        understood.or_else(|| all().find_map(certificate))
    }

    /// The same, presented without staples.
    pub fn without_staples(&self) -> Self {
        let Self { exact, below, default, strict, .. } = self;
        let certificates = self.certificates.iter().map(Certificate::without_staple).collect();
        let mut store = Self {
            certificates,
            exact: exact.clone(),
            below: below.clone(),
            default: default.clone(),
            strict: *strict,
            fingerprint: [0; 32],
        };
        store.fingerprint = store.hash();
        store
    }

    fn index(&mut self) {
        for (place, certificate) in self.certificates.iter().enumerate() {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(name) => (&mut self.below, name),
                    None => (&mut self.exact, name.as_str()),
                };
                map.entry(name.as_bytes().into()).or_default().push(place);
            }
        }
        let certificates = &self.certificates;
        let rank = |place: &usize| certificates.get(*place).map(Certificate::rank);
        self.exact.values_mut().chain(self.below.values_mut()).for_each(|places| places.sort_by_key(rank));
    }

    /// The first, and those that have its first name with keys of other kinds.
    fn like_the_first(&self) -> Vec<usize> {
        let Some(first) = self.certificates.first() else { return Vec::new() };
        let mut places: Vec<usize> = match first.names.first() {
            Some(name) => self.with_name(name).to_vec(),
            None => vec![0],
        };
        let has_rank = |place: usize| self.certificates.get(place).map(Certificate::rank);
        places.retain(|place| *place == 0 || has_rank(*place) != has_rank(0));
        places
    }

    fn with_name(&self, name: &str) -> &[usize] {
        let found = match name.strip_prefix("*.") {
            Some(name) => self.below.get(name.as_bytes()),
            None => self.exact.get(name.as_bytes()),
        };
        found.map_or(&[], Vec::as_slice)
    }

    /// Certificates that are never chosen.
    fn shadowed(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for (place, certificate) in self.certificates.iter().enumerate() {
            if self.default.contains(&place) {
                continue;
            }
            let doubt = |kind| Doubt { file: certificate.file.clone(), kind };
            if certificate.names.is_empty() {
                doubts.push(doubt(DoubtKind::Nameless));
                continue;
            }
            // The one before it, of the same kind, that has a name of it.
            let before = |name: &String| {
                let one = self
                    .with_name(name)
                    .iter()
                    .filter_map(|other| Some((*other, self.certificates.get(*other)?)));
                let mut before =
                    one.filter(|(other, one)| *other < place && one.rank() == certificate.rank());
                before.next().map(|(_, one)| one)
            };
            let taken: Option<Vec<&Certificate>> = certificate.names.iter().map(before).collect();
            if let Some(first) = taken.and_then(|all| all.first().copied()) {
                doubts.push(doubt(DoubtKind::NeverPresented(first.file.clone())));
            }
        }
        doubts
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update([u8::from(self.strict)]);
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for certificate in &self.certificates {
            add(certificate.file.as_bytes());
            // A key is the one of its certificate, so this is about the keys, too.
            certificate.chain().iter().for_each(|der| add(der));
            add(&[]);
            add(certificate.certified().ocsp.as_deref().unwrap_or_default());
        }
        hash.finalize().into()
    }
}

/// A name in small letters and without the dot of the root; none if it is longer than a name.
fn lowered<'b>(name: &str, buffer: &'b mut [u8; MAX_NAME]) -> Option<&'b [u8]> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let lowered = buffer.get_mut(..name.len())?;
    lowered.copy_from_slice(name.as_bytes());
    lowered.make_ascii_lowercase();
    Some(lowered)
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name(), hello.signature_schemes());
        chosen.map(|certificate| Arc::clone(certificate.certified()))
    }
}

impl PartialEq for Store {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Store {}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}
