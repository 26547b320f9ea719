//! Certificates made for a test.
#![allow(dead_code, reason = "each test uses a part of it")]
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

use certificates::{Pem, Source};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SignatureAlgorithm,
    date_time_ymd,
};

/// A moment within the time of all certificates here, 2030-01-01.
pub(crate) const NOW: i64 = 1_893_456_000;

pub(crate) fn pem(file: &str, text: impl Into<Vec<u8>>) -> Pem {
    Pem { file: file.to_owned(), bytes: text.into() }
}

/// A file with all of it.
pub(crate) fn whole(file: &str, text: impl Into<Vec<u8>>) -> Source {
    Source { chain: pem(file, text), key: None, staple: None, found: false }
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are right");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

pub(crate) fn key(kind: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(kind).expect("keys can be made")
}

/// A certificate that signs itself, and its key.
pub(crate) fn signed(params: &CertificateParams, key: &KeyPair) -> String {
    params.self_signed(key).expect("it can be signed").pem() + &key.serialize_pem()
}

/// A file with a certificate for names, and an ECDSA key.
pub(crate) fn site(file: &str, names: &[&str]) -> Source {
    whole(file, signed(&params(names), &key(&rcgen::PKCS_ECDSA_P256_SHA256)))
}

pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, key(&rcgen::PKCS_ECDSA_P256_SHA256)).expect("it can be signed")
}
