//! What an authority says of a certificate, and when it is presented.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

mod common;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use certificates::{Source, StapleFile, Store};
use common::{NOW, authority, key, params, whole};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::sample::Index;
use rcgen::{CertifiedIssuer, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// The answer, of one of its kinds: good, revoked, unknown.
const GOOD: &[u8] = &[0x80, 0];
const REVOKED: &[u8] = &[
    0xa1, 17, 0x18, 15, b'2', b'0', b'2', b'9', b'0', b'1', b'0', b'1', b'0', b'0', b'0', b'0', b'0', b'0',
    b'Z',
];
const UNKNOWN: &[u8] = &[0x82, 0];
const DAY: i64 = 24 * 60 * 60;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("it is short").to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}

fn all(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    tlv(tag, &parts.concat())
}

fn time(text: &str) -> Vec<u8> {
    tlv(0x18, text.as_bytes())
}

/// A certificate with its key and its authority's, in a file.
struct Site {
    text: String,
    der: Vec<u8>,
    authority: Vec<u8>,
}

impl Site {
    fn new(authority: &CertifiedIssuer<'static, KeyPair>, must_staple: bool) -> Self {
        let mut params = params(&["a.example"]);
        if must_staple {
            let oid = [1, 3, 6, 1, 5, 5, 7, 1, 24];
            let feature = CustomExtension::from_oid_content(&oid, vec![0x30, 3, 2, 1, 5]);
            params.custom_extensions.push(feature);
        }
        let key = key(&PKCS_ECDSA_P256_SHA256);
        let certificate = params.signed_by(&key, authority).expect("it can be signed");
        Self {
            text: certificate.pem() + &authority.pem() + &key.serialize_pem(),
            der: certificate.der().to_vec(),
            authority: authority.der().to_vec(),
        }
    }

    /// How it is named, by a hash.
    fn id(&self, sha256: bool) -> Vec<u8> {
        let parsed = |der| X509Certificate::from_der(der).expect("it is one").1;
        let (leaf, authority) = (parsed(&self.der), parsed(&self.authority));
        let (oid, how): (&[u8], _) = match sha256 {
            true => (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &SHA256),
            false => (&[0x2b, 14, 3, 2, 26], &SHA1_FOR_LEGACY_USE_ONLY),
        };
        let octets = |bytes: &[u8]| tlv(4, digest(how, bytes).as_ref());
        let name = octets(leaf.issuer().as_raw());
        let key = octets(&authority.public_key().subject_public_key.data);
        all(0x30, &[&all(0x30, &[&tlv(6, oid), &[5, 0]]), &name, &key, &tlv(2, leaf.raw_serial())])
    }

    fn answer(&self, sha256: bool, says: &[u8], this: &str, next: Option<&str>) -> Vec<u8> {
        let next = next.map(|next| tlv(0xa0, &time(next))).unwrap_or_default();
        all(0x30, &[&self.id(sha256), says, &time(this), &next])
    }

    fn with(&self, staple: Vec<u8>) -> Source {
        let staple = StapleFile { file: "a.pem.ocsp".to_owned(), bytes: staple };
        Source { staple: Some(staple), ..whole("a.pem", self.text.clone()) }
    }
}

/// A whole response, whose signature nobody has made.
fn response(answers: &[Vec<u8>]) -> Vec<u8> {
    let by_key = tlv(0xa2, &tlv(4, &[7; 20]));
    let answers = tlv(0x30, &answers.concat());
    let data = all(0x30, &[&by_key, &time("20291230000000Z"), &answers]);
    let basic = all(0x30, &[&data, &all(0x30, &[&tlv(6, &[0x2a, 3])]), &tlv(3, &[0, 1, 2])]);
    let oid = tlv(6, &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]);
    let bytes = all(0x30, &[&oid, &tlv(4, &basic)]);
    all(0x30, &[&[10, 1, 0], &tlv(0xa0, &bytes)])
}

/// What is presented, and what is doubtful.
fn stapled(source: &Source, now: i64) -> (Store, bool, Vec<String>) {
    let (store, doubts) = Store::new(std::slice::from_ref(source), false, now).expect("it can be presented");
    let certificate = &store.certificates()[0];
    let presented = certificate.certified().ocsp.is_some();
    assert_eq!(certificate.staple.is_some(), presented);
    (store, presented, doubts.iter().map(ToString::to_string).collect())
}

#[test]
fn what_counts_is_presented_in_its_time_alone() {
    let site = Site::new(&authority("ours"), false);
    for sha256 in [false, true] {
        let answer = site.answer(sha256, GOOD, "20291231000000Z", Some("20300102000000Z"));
        let source = site.with(response(&[answer]));
        let (store, presented, doubts) = stapled(&source, NOW);
        assert_eq!((presented, doubts), (true, Vec::new()));
        assert_eq!(
            store.certificates()[0].certified().ocsp,
            source.staple.clone().map(|staple| staple.bytes)
        );
        // A minute before its end is its end.
        let ends = NOW + DAY - 60;
        assert!(!store.is_due(ends - 1) && store.is_due(ends));
        assert!(stapled(&source, ends - 1).1);
        let (late, presented, doubts) = stapled(&source, ends);
        assert_eq!((presented, late.is_due(i64::MAX)), (false, false));
        assert_eq!(doubts, ["a.pem.ocsp: this OCSP staple is not presented: its time ended on 2030-01-02"]);
        assert_ne!(store, late, "what is presented differs");

        let (early, presented, doubts) = stapled(&source, NOW - 2 * DAY);
        assert_eq!(
            doubts,
            ["a.pem.ocsp: this OCSP staple is not presented: it is not valid before 2029-12-31"]
        );
        assert!(!presented && !early.is_due(NOW - DAY - 1) && early.is_due(NOW - DAY));
    }
}

#[test]
fn without_staples_the_same_is_presented() {
    let site = Site::new(&authority("ours"), false);
    let answer = site.answer(false, GOOD, "20291231000000Z", Some("20300102000000Z"));
    let (store, ..) = stapled(&site.with(response(&[answer])), NOW);
    let (bare, ..) = stapled(&whole("a.pem", site.text), NOW);
    assert_ne!(store, bare);
    assert_eq!(store.without_staples(), bare);
    assert!(store.without_staples().choose(Some("a.example"), &[]).is_some());
    assert!(!store.without_staples().is_due(i64::MAX));
}

#[test]
fn what_does_not_count_is_told_and_left_out() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let (site, other) = (Site::new(&ours, false), Site::new(&ours, false));
    let (this, next) = ("20291231000000Z", Some("20300102000000Z"));
    let good = site.answer(false, GOOD, this, next);
    let foreign = Site { authority: theirs.der().to_vec(), ..Site::new(&ours, false) };
    for (staple, why) in [
        (
            b"no response".to_vec(),
            "it is no OCSP response in DER, as \"openssl ocsp -respout FILE\" writes it",
        ),
        (
            [&response(std::slice::from_ref(&good))[..], b"\n"].concat(),
            "it is no OCSP response in DER, as \"openssl ocsp -respout FILE\" writes it",
        ),
        (vec![0x30, 3, 10, 1, 6], "the responder gave no answer, but said \"unauthorized\""),
        (response(&[other.answer(false, GOOD, this, next)]), "it is about another certificate"),
        (response(&[]), "it is about another certificate"),
        (response(&[site.answer(true, REVOKED, this, next)]), "it says that the certificate is revoked"),
        (response(&[site.answer(false, UNKNOWN, this, next)]), "it says that the certificate is unknown"),
        (response(&[site.answer(false, GOOD, this, None)]), "it does not say when there is another one"),
    ] {
        let (_, presented, doubts) = stapled(&site.with(staple), NOW);
        assert!(!presented, "{why}");
        assert_eq!(doubts, [format!("a.pem.ocsp: this OCSP staple is not presented: {why}")]);
    }
    // Whose authority has another key.
    let answer = foreign.answer(false, GOOD, this, next);
    assert!(!stapled(&foreign.with(response(&[answer])), NOW).1);
    // Answers about others may stand beside it.
    let beside = response(&[other.answer(true, GOOD, this, next), good]);
    assert!(stapled(&site.with(beside), NOW).1);
}

#[test]
fn a_certificate_that_must_have_one_is_told_of() {
    let ours = authority("ours");
    let site = Site::new(&ours, true);
    let told = "a.pem: its certificate is to be presented with an OCSP staple alone (must-staple), and there is none that counts: a.pem.ocsp";
    assert_eq!(stapled(&whole("a.pem", site.text.clone()), NOW).2, [told]);
    let answer = site.answer(false, GOOD, "20291231000000Z", Some("20300102000000Z"));
    let source = site.with(response(&[answer]));
    assert_eq!(stapled(&source, NOW).2, Vec::<String>::new());
    assert_eq!(stapled(&source, NOW + 2 * DAY).2.len(), 2, "of the staple, and of the certificate");
    let optional = Site::new(&ours, false);
    assert_eq!(stapled(&whole("a.pem", optional.text), NOW).2, Vec::<String>::new());
}

proptest! {
    #[test]
    fn any_staple_is_answered(bytes in vec(any::<u8>(), 0..100), damage in vec((any::<Index>(), any::<u8>()), 1..4), now: i64) {
        let site = Site::new(&authority("ours"), false);
        let answer = site.answer(false, GOOD, "20291231000000Z", Some("20300102000000Z"));
        let mut damaged = response(&[answer]);
        for (place, byte) in damage {
            let place = place.index(damaged.len());
            damaged[place] = byte;
        }
        for staple in [bytes, damaged] {
            let (store, presented, doubts) = stapled(&site.with(staple), now);
            let doubted = doubts.iter().any(|doubt| doubt.starts_with("a.pem.ocsp: "));
            assert_eq!(presented, !doubted);
            assert!(!doubts.iter().any(|doubt| doubt.chars().any(char::is_control)));
            assert_eq!(store.without_staples().certificates().len(), 1);
        }
    }
}
