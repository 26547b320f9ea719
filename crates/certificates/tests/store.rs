//! Which certificate a client gets.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

mod common;

use std::sync::Arc;

use certificates::{DoubtKind, KeyType, Source, Store};
use common::{NOW, key, params, signed, site, whole};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

const EVERY: &[SignatureScheme] = &[
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];

fn store(sources: &[Source], strict: bool) -> (Store, Vec<String>) {
    let (store, doubts) = Store::new(sources, strict, NOW).expect("all can be presented");
    (store, doubts.iter().map(ToString::to_string).collect())
}

fn chosen<'s>(store: &'s Store, name: &str) -> Option<&'s str> {
    store.choose(Some(name), EVERY).map(|one| one.file.as_str())
}

#[test]
fn names_are_found_exactly_then_by_one_star_then_by_default() {
    let sources = [
        site("first", &["first.example"]),
        site("star", &["*.example.org"]),
        site("www", &["www.Example.org", "*.a.example.org"]),
    ];
    let (open, doubts) = store(&sources, false);
    assert_eq!(doubts, Vec::<String>::new());
    for (name, file) in [
        ("www.example.org", "www"),
        ("WWW.EXAMPLE.ORG", "www"),
        ("www.example.org.", "www"),
        ("api.example.org", "star"),
        ("b.a.example.org", "www"),
        // A star is one label, neither none nor two.
        ("example.org", "first"),
        ("c.b.a.example.org", "first"),
        ("*.example.org", "star"),
        ("", "first"),
        (".", "first"),
        (".example.org", "star"),
        ("elsewhere", "first"),
    ] {
        assert_eq!(chosen(&open, name), Some(file), "{name}");
    }
    assert_eq!(open.choose(None, EVERY).map(|one| one.file.as_str()), Some("first"));
    assert_eq!(chosen(&open, &"a".repeat(300)), Some("first"));

    let (strict, _) = store(&sources, true);
    assert_eq!(chosen(&strict, "api.example.org"), Some("star"));
    assert_eq!(chosen(&strict, "elsewhere"), None);
    assert!(strict.choose(None, EVERY).is_none());
    assert!(Store::default().choose(Some("a"), EVERY).is_none());
}

#[test]
fn a_client_gets_the_key_that_it_understands_and_ecdsa_if_both() {
    let rsa = include_str!("data/rsa-pkcs1.pem");
    let sources = [whole("rsa", rsa), site("ecdsa", &["rsa.example"]), site("star", &["*.example"])];
    let (store, doubts) = store(&sources, false);
    assert_eq!(doubts, Vec::<String>::new());
    let with = |name, schemes: &[SignatureScheme]| store.choose(name, schemes).map(|one| one.file.as_str());
    let name = Some("rsa.example");
    assert_eq!(with(name, EVERY), Some("ecdsa"));
    assert_eq!(with(name, &[SignatureScheme::RSA_PSS_SHA256]), Some("rsa"));
    assert_eq!(with(name, &[SignatureScheme::RSA_PKCS1_SHA256]), Some("rsa"));
    assert_eq!(with(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]), Some("ecdsa"));
    // The handshake tells why it fails.
    assert_eq!(with(name, &[SignatureScheme::ED448]), Some("ecdsa"));
    // The default has both kinds, too.
    assert_eq!(with(None, EVERY), Some("ecdsa"));
    assert_eq!(with(None, &[SignatureScheme::RSA_PSS_SHA256]), Some("rsa"));
    // Better the default than one that the client does not understand.
    assert_eq!(with(Some("other.example"), &[SignatureScheme::RSA_PSS_SHA256]), Some("rsa"));
}

#[test]
fn what_is_known_of_certificates() {
    let mut of_host = params(&["a.example", "*.A.example", "192.0.2.1", "2001:db8::1", "a.example"]);
    of_host.distinguished_name.push(rcgen::DnType::CommonName, "common.example");
    let sources = [
        whole("p256", signed(&of_host, &key(&rcgen::PKCS_ECDSA_P256_SHA256))),
        whole("p384", include_str!("data/ec-sec1.pem")),
        whole("rsa", include_str!("data/rsa-pkcs1.pem")),
        whole("ed25519", include_str!("data/ed25519-cn.pem")),
    ];
    let (store, doubts) = store(&sources, false);
    assert_eq!(doubts, Vec::<String>::new());
    let all = store.certificates();
    let keys: Vec<String> = all.iter().map(|one| one.key.to_string()).collect();
    assert_eq!(keys, ["ECDSA P-256", "ECDSA P-384", "RSA 2048", "Ed25519"]);
    assert_eq!(all[0].names, ["a.example", "*.a.example", "192.0.2.1", "2001:db8::1"]);
    // Without a subjectAltName the common name counts.
    assert_eq!(all[3].names, ["ed.example"]);
    assert_eq!((all[0].not_before, all[0].not_after), (1_577_836_800, 2_208_988_800));
    assert_eq!(all[1].issuer, "CN=ec.example");
    assert_eq!(all[3].key, KeyType::Ed25519);
    assert!(!format!("{store:?}").contains("key"));
}

#[test]
fn stores_are_equal_when_they_present_the_same() {
    let sources = [site("a", &["a.example"]), site("b", &["b.example"])];
    let of = |sources: &[Source], strict| store(sources, strict).0;
    assert_eq!(of(&sources, false), of(&sources, false));
    assert_ne!(of(&sources, false), of(&sources, true));
    assert_ne!(of(&sources, false), of(&sources[..1], false));
    let [a, b] = sources.clone();
    assert_ne!(of(&sources, false), of(&[b.clone(), a], false));
    assert_ne!(of(&sources, false), of(&[site("a", &["a.example"]), b], false));
}

#[test]
fn what_is_doubtful_is_told() {
    let of = |names: &[&str]| params(names);
    let text = |params| signed(params, &key(&rcgen::PKCS_ECDSA_P256_SHA256));
    let mut expired = of(&["expired.example"]);
    expired.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let mut expiring = of(&["expiring.example"]);
    expiring.not_after = rcgen::date_time_ymd(2030, 1, 10);
    let mut renewed = of(&["renewed.example"]);
    renewed.not_after = rcgen::date_time_ymd(2030, 1, 20);
    let mut short = [of(&["four-days-left.example"]), of(&["one-day-left.example"])];
    for (params, day) in short.iter_mut().zip([5, 2]) {
        params.not_before =
            rcgen::date_time_ymd(2030, 1, day) - std::time::Duration::from_secs(6 * 24 * 60 * 60);
        params.not_after = rcgen::date_time_ymd(2030, 1, day);
    }
    let mut early = of(&["early.example"]);
    early.not_before = rcgen::date_time_ymd(2030, 1, 2);
    let (one, two) = (common::authority("one"), common::authority("two"));
    let leaf = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let signed_by_one = of(&["chain.example"]).signed_by(&leaf, &one).expect("it can be signed");
    let chain = |middle: &str| signed_by_one.pem() + middle + &one.pem() + &leaf.serialize_pem();
    let sources = [
        whole("expired", text(&expired)),
        whole("expiring", text(&expiring)),
        whole("renewed", text(&renewed)),
        whole("four-days-left", text(&short[0])),
        whole("one-day-left", text(&short[1])),
        whole("early", text(&early)),
        whole("ordered", chain("")),
        whole("disordered", chain(&two.pem())),
        whole("nameless", text(&of(&[]))),
        whole("old", text(&of(&["early.example", "expired.example"]))),
        whole("new", text(&of(&["early.example", "new.example"]))),
    ];
    let (_, doubts) = store(&sources, false);
    assert_eq!(
        doubts,
        [
            "expired: its certificate has expired on 2029-12-31",
            "expiring: its certificate expires on 2030-01-10",
            "one-day-left: its certificate expires on 2030-01-02",
            "early: its certificate is not valid before 2030-01-02",
            "disordered: its certificate number 2 has not signed the one before it",
            "disordered: its certificate is never presented: ordered has the same names and a key of the same kind",
            "nameless: its certificate has no name that a client could ask for",
            "old: its certificate is never presented: early has the same names and a key of the same kind",
        ]
    );
    let (_, doubts) = Store::new(&sources[8..9], false, NOW).expect("it can be presented");
    assert_eq!(doubts, [], "the default needs no name");
    let (_, doubts) = Store::new(&sources[8..9], true, NOW).expect("it can be presented");
    assert_eq!(doubts.first().map(|doubt| doubt.kind.clone()), Some(DoubtKind::Nameless));
}

/// What a real client of rustls gets.
#[test]
fn a_handshake_ends_with_the_certificate_that_was_asked_for() {
    let sources = [site("a", &["a.example"]), site("b", &["*.b.example"])];
    let (store, _) = store(&sources, true);
    let store = Arc::new(store);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for one in store.certificates() {
        roots.add(one.certified().cert[0].clone()).expect("it can be a root");
    }
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&store) as _);
    let (client, server) = (Arc::new(client), Arc::new(server));
    let presented = |name: &'static str| {
        let name = ServerName::try_from(name).expect("it is a name");
        let mut client = ClientConnection::new(Arc::clone(&client), name).expect("a client");
        let mut server = ServerConnection::new(Arc::clone(&server)).expect("a server");
        for _ in 0..8 {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).expect("memory takes it");
            server.read_tls(&mut bytes.as_slice()).expect("memory gives it");
            server.process_new_packets().ok()?;
            bytes.clear();
            server.write_tls(&mut bytes).expect("memory takes it");
            client.read_tls(&mut bytes.as_slice()).expect("memory gives it");
            // The roots are the certificates themselves, of which webpki thinks as of authorities; who was presented is the question.
            let _ = client.process_new_packets();
        }
        let presented = client.peer_certificates()?.first()?;
        let of = |one: &&certificates::Certificate| one.certified().cert.first() == Some(presented);
        store.certificates().iter().find(of).map(|one| one.file.clone())
    };
    assert_eq!(presented("a.example").as_deref(), Some("a"));
    assert_eq!(presented("x.b.example").as_deref(), Some("b"));
    assert_eq!(presented("c.example"), None);
}
