//! By which authorities clients are known.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use sha2::{Digest as _, Sha256};

use crate::certificate::shown;
use crate::revocations::{RevocationList, lists};
use crate::{Doubt, Fault, FaultKind, Pem};

/// By which authorities clients are known, and whom they have revoked. Equal to another one that lets the same clients in.
pub struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    fingerprint: [u8; 32],
}

impl Clients {
    /// Reads the certificates of authorities, and their revocation lists. Beside it stands what is doubtful, at this moment in seconds
    /// since 1970. Clients without a certificate are let in unless one is `required`.
    ///
    /// With lists, every certificate of a client's chain needs the one of its authority, in time: one that is missing or late lets
    /// nobody in, as it may be the one that revokes.
    ///
    /// # Errors
    /// What cannot be used, each file once.
    pub fn new(
        authorities: &Pem,
        revocations: Option<&Pem>,
        required: bool,
        now: i64,
    ) -> Result<(Self, Vec<Doubt>), Vec<Fault>> {
        let mut faults = Vec::new();
        let mut doubts = Vec::new();
        let mut hash = Sha256::new();
        hash.update([u8::from(required)]);
        let roots = roots(authorities, &mut hash).unwrap_or_else(|fault| {
            faults.push(fault);
            RootCertStore::empty()
        });
        let roots = Arc::new(roots);
        let is_usable = |list: RevocationList| verifier(&roots, [list], true).map(drop);
        let lists = revocations
            .filter(|_| !roots.is_empty())
            .map(|pem| lists(pem, is_usable, now, &mut doubts, &mut hash));
        let lists = lists.transpose().map_err(|fault| faults.push(fault)).unwrap_or_default();
        if !faults.is_empty() {
            return Err(faults);
        }
        match verifier(&roots, lists.into_iter().flatten(), required) {
            Ok(verifier) => Ok((Self { verifier, fingerprint: hash.finalize().into() }, doubts)),
            // Each root and each list has been found good.
            Err(error) => {
                Err(vec![authorities.fault(None, FaultKind::UnusableAuthority(shown(&error.to_string())))])
            }
        }
    }

    /// Equal where the same clients are let in.
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// What rustls asks about clients.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

fn verifier(
    roots: &Arc<RootCertStore>,
    lists: impl IntoIterator<Item = RevocationList>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::new(default_provider()));
    let builder = builder.with_crls(lists).enforce_revocation_expiration();
    if required { builder } else { builder.allow_unauthenticated() }.build()
}

/// The certificates of authorities in a file, of which each can be used.
pub(crate) fn roots(authorities: &Pem, hash: &mut Sha256) -> Result<RootCertStore, Fault> {
    let content = authorities.content()?;
    let mut roots = RootCertStore::empty();
    for (line, certificate) in content.certificates {
        hash.update(&certificate);
        let added = roots.add(certificate);
        added.map_err(|error| {
            authorities.fault(Some(line), FaultKind::UnusableAuthority(shown(&error.to_string())))
        })?;
    }
    if roots.is_empty() { Err(authorities.fault(None, FaultKind::NoCertificate)) } else { Ok(roots) }
}

impl PartialEq for Clients {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Clients {}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}
