//! Whom authorities have revoked (RFC 5280 section 5).

use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::VerifierBuilderError;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::certificate::shown;
use crate::{Doubt, DoubtKind, Fault, FaultKind, Pem};

/// A list of an authority's.
pub(crate) type RevocationList = CertificateRevocationListDer<'static>;

/// The lists of a file, each of which can be used.
pub(crate) fn lists(
    revocations: &Pem,
    is_usable: impl Fn(RevocationList) -> Result<(), VerifierBuilderError>,
    now: i64,
    doubts: &mut Vec<Doubt>,
    hash: &mut Sha256,
) -> Result<Vec<RevocationList>, Fault> {
    let content = revocations.content()?;
    for (line, der) in &content.revocations {
        hash.update(der);
        let unusable =
            |why: String| revocations.fault(Some(*line), FaultKind::UnusableRevocations(shown(&why)));
        let (_, list) =
            CertificateRevocationList::from_der(der).map_err(|error| unusable(error.to_string()))?;
        // Alone, so that a wrong one is known by its line.
        is_usable(der.clone()).map_err(|error| unusable(error.to_string()))?;
        // RFC 5280 section 5.1.2.5
        let Some(next) = list.next_update() else {
            return Err(unusable("it does not say when the next one comes".to_owned()));
        };
        if next.timestamp() < now {
            let kind = DoubtKind::StaleRevocations(next.timestamp());
            doubts.push(Doubt { file: revocations.file.clone(), kind });
        }
    }
    if content.revocations.is_empty() {
        return Err(revocations.fault(None, FaultKind::NoRevocations));
    }
    Ok(content.revocations.into_iter().map(|(_, der)| der).collect())
}
