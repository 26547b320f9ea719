//! By which authorities clients are known.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

mod common;

use certificates::{Clients, Fault, Pem};
use common::{NOW, authority, key, params, pem};
use rcgen::{
    CertificateRevocationListParams, CertifiedIssuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, UnixTime};

fn list(authority: &CertifiedIssuer<'static, KeyPair>, serial: u64, next: (i32, u8, u8)) -> String {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: rcgen::date_time_ymd(2029, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2029, 1, 1),
        next_update: rcgen::date_time_ymd(next.0, next.1, next.2),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(authority).expect("it can be signed").pem().expect("it can be written")
}

fn client(authority: &CertifiedIssuer<'static, KeyPair>, serial: u64) -> CertificateDer<'static> {
    let mut params = params(&["client.example"]);
    params.serial_number = Some(SerialNumber::from(serial));
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    params.signed_by(&key, authority).expect("it can be signed").der().clone()
}

fn clients(
    authorities: &Pem,
    lists: Option<&Pem>,
    required: bool,
) -> Result<(Clients, Vec<String>), Vec<String>> {
    let told = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (clients, doubts) = Clients::new(authorities, lists, required, NOW).map_err(told)?;
    Ok((clients, doubts.iter().map(ToString::to_string).collect()))
}

fn lets_in(clients: &Clients, certificate: &CertificateDer<'_>) -> bool {
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unsigned_abs()));
    clients.verifier().verify_client_cert(certificate, &[], now).is_ok()
}

#[test]
fn clients_of_an_authority_are_let_in_unless_they_are_revoked() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let file = pem("ca.pem", ours.pem());
    let (open, doubts) = clients(&file, None, true).expect("it can be used");
    assert_eq!(doubts, Vec::<String>::new());
    assert!(open.verifier().client_auth_mandatory());
    assert!(lets_in(&open, &client(&ours, 7)) && !lets_in(&open, &client(&theirs, 7)));

    let lists = pem("crl.pem", list(&ours, 7, (2031, 1, 1)));
    let (revoking, doubts) = clients(&file, Some(&lists), false).expect("it can be used");
    assert_eq!(doubts, Vec::<String>::new());
    assert!(!revoking.verifier().client_auth_mandatory());
    assert!(lets_in(&revoking, &client(&ours, 8)) && !lets_in(&revoking, &client(&ours, 7)));

    // A list that is too old lets nobody in, and neither does one of somebody else alone.
    let late = pem("crl.pem", list(&ours, 7, (2029, 12, 31)));
    let (late, doubts) = clients(&file, Some(&late), true).expect("it can be used");
    assert_eq!(
        doubts,
        [
            "crl.pem: its revocation list had to be renewed by 2029-12-31: until it is, everybody is taken for revoked"
        ]
    );
    assert!(!lets_in(&late, &client(&ours, 8)));
    let foreign = pem("crl.pem", list(&theirs, 7, (2031, 1, 1)));
    let (foreign, _) = clients(&file, Some(&foreign), true).expect("it can be used");
    assert!(!lets_in(&foreign, &client(&ours, 8)));
}

#[test]
fn they_are_equal_when_they_let_the_same_in() {
    let ours = authority("ours");
    let file = pem("ca.pem", ours.pem());
    let lists = pem("crl.pem", list(&ours, 7, (2031, 1, 1)));
    let of = |lists: Option<&Pem>, required| clients(&file, lists, required).expect("it can be used").0;
    assert_eq!(of(None, true), of(None, true));
    assert_ne!(of(None, true), of(None, false));
    assert_ne!(of(None, true), of(Some(&lists), true));
}

#[test]
fn what_cannot_be_used_is_told() {
    let ours = authority("ours");
    let file = pem("ca.pem", ours.pem());
    let refused = |authorities: &Pem, lists: Option<&Pem>| {
        clients(authorities, lists, true).expect_err("it cannot be used")
    };
    assert_eq!(refused(&pem("ca.pem", ""), None), ["ca.pem: there is no certificate in it"]);
    assert_eq!(
        refused(&file, Some(&file.clone())),
        ["ca.pem: there is no revocation list (\"X509 CRL\") in it"]
    );
    let garbage = |label: &str| format!("# \n-----BEGIN {label}-----\nMAAA\n-----END {label}-----\n");
    let told = refused(&pem("ca.pem", garbage("CERTIFICATE")), Some(&pem("crl.pem", "")));
    assert!(
        told[0].starts_with("ca.pem:2: the certificate that begins here cannot be an authority's:"),
        "{told:?}"
    );
    let told = refused(&file, Some(&pem("crl.pem", garbage("X509 CRL"))));
    assert!(
        told[0].starts_with("crl.pem:2: the revocation list that begins here cannot be used:"),
        "{told:?}"
    );
}
