//! What cannot be presented, and what is told about it.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

mod common;

use certificates::{Source, Store, holds_key, key_names};
use common::{NOW, key, params, pem, signed, site, whole};

const EC: &str = include_str!("data/ec-sec1.pem");
const RSA: &str = include_str!("data/rsa-pkcs1.pem");

fn told(source: Source) -> String {
    let faults = Store::new(&[source], false, NOW).expect_err("it cannot be presented");
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The sections of a file with a label.
fn only(text: &str, label: &str) -> String {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----\n"));
    let from = text.find(&begin).expect("it begins");
    let to = text.find(&end).expect("it ends") + end.len();
    text[from..to].to_owned()
}

#[test]
fn what_is_missing_is_told() {
    assert_eq!(told(whole("a.pem", "")), "a.pem: there is no certificate in it");
    assert_eq!(told(whole("a.pem", "# nothing\n")), "a.pem: there is no certificate in it");
    assert_eq!(told(whole("a.pem", only(EC, "EC PRIVATE KEY"))), "a.pem: there is no certificate in it");
    let no_key = "certs/a.pem: there is no private key in it, nor in certs/a.pem.key or certs/a.key; append the key to it, or give it such a file";
    assert_eq!(told(whole("certs/a.pem", only(EC, "CERTIFICATE"))), no_key);
    assert_eq!(
        told(whole("a.p12", b"\x30\x82\x01\xff\x00".to_vec())),
        "a.p12: it is not PEM; \"openssl x509 -inform der -in FILE\" converts a certificate, \"openssl pkcs12 -nodes -in FILE\" a .pfx or .p12"
    );
}

#[test]
fn keys_of_others_are_told() {
    let mixed = only(EC, "CERTIFICATE") + &only(RSA, "RSA PRIVATE KEY");
    assert_eq!(told(whole("a.pem", mixed)), "a.pem: the private key is another certificate's");
    let key = Some(pem("a.key", only(RSA, "RSA PRIVATE KEY")));
    let apart = Source { chain: pem("a.pem", only(EC, "CERTIFICATE")), key, staple: None, found: false };
    assert_eq!(told(apart), "a.pem: the private key in a.key is another certificate's");
}

#[test]
fn the_order_of_a_chain_is_told() {
    let authority = common::authority("one");
    let leaf = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let certificate = params(&["a.example"]).signed_by(&leaf, &authority).expect("it can be signed");
    let wrong = authority.pem() + &certificate.pem() + &leaf.serialize_pem();
    assert_eq!(
        told(whole("a.pem", wrong)),
        "a.pem: the private key is that of its certificate number 2, which has to be the first: the server's own certificate, then those \
         that signed it"
    );
    let long = certificate.pem() + &authority.pem().repeat(16) + &leaf.serialize_pem();
    assert_eq!(
        told(whole("a.pem", long)),
        "a.pem: it has 17 certificates; a chain of a server has at most 16"
    );
}

#[test]
fn keys_that_cannot_be_used_are_told() {
    let encrypted = "the key is encrypted, and nobody is there to type its passphrase; remove it: openssl pkey -in FILE -out NEW";
    let told_new = told(whole("a.pem", include_str!("data/encrypted.pem")));
    assert_eq!(told_new, format!("a.pem:10: {encrypted}"));
    let told_old = told(whole("a.pem", include_str!("data/encrypted-old.pem")));
    assert_eq!(told_old, format!("a.pem:13: {encrypted}"));
    assert_eq!(
        told(whole("a.pem", include_str!("data/rsa-1024.pem"))),
        "a.pem: its RSA key has 1024 bits; 2048 is the least that is safe"
    );
    let garbage = "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n";
    let unusable = told(whole("a.pem", only(EC, "CERTIFICATE") + garbage));
    assert!(unusable.starts_with("a.pem: the private key is of no kind that TLS servers have"), "{unusable}");
}

#[test]
fn broken_sections_are_told_by_their_line() {
    let certificate = only(EC, "CERTIFICATE");
    let lines = |text: &str| text.matches('\n').count();
    let cut = format!("{EC}\n{}", &certificate[..200]);
    let line = lines(EC) + 2;
    assert_eq!(
        told(whole("a.pem", cut)),
        format!(
            "a.pem:{line}: the section \"CERTIFICATE\" that begins here has no end; the file is cut off, or two were joined without a \
             line's end"
        )
    );
    // As "cat" joins files without a line's end.
    let joined = format!("{}{}", certificate.trim_end(), only(EC, "EC PRIVATE KEY"));
    assert!(
        told(whole("a.pem", joined))
            .starts_with("a.pem:1: the section \"CERTIFICATE\" that begins here has no end")
    );
    let no_base64 = certificate.replacen("MII", "M!!", 1);
    let broken = "the section \"CERTIFICATE\" that begins here is broken:";
    assert!(
        told(whole("a.pem", no_base64.clone())).starts_with(&format!("a.pem:1: {broken}")),
        "{}",
        told(whole("a.pem", no_base64))
    );
    let no_certificate =
        format!("# remark\r\n\r\n{}", "-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\r\n");
    assert!(told(whole("a.pem", no_certificate)).starts_with(&format!("a.pem:3: {broken}")));
    let trusted = certificate.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    assert!(told(whole("a.pem", trusted)).contains("it is of openssl's own form"));
}

#[test]
fn every_file_is_told_of_at_once() {
    let sources = [whole("a.pem", ""), site("b.pem", &["b.example"]), whole("c.pem", "")];
    let faults = Store::new(&sources, false, NOW).expect_err("two cannot be presented");
    let files: Vec<&str> = faults.iter().map(|fault| fault.file.as_str()).collect();
    assert_eq!(files, ["a.pem", "c.pem"]);
}

#[test]
fn what_lies_beside_certificates_in_a_directory_is_no_mistake() {
    let found = |text: String| Source { chain: pem("a.pem", text), key: None, staple: None, found: true };
    let presented = |source| Store::new(&[source], false, NOW).map(|(store, _)| store.certificates().len());
    assert_eq!(presented(found(only(EC, "EC PRIVATE KEY"))), Ok(0));
    assert_eq!(presented(found(common::authority("one").pem())), Ok(0));
    let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let leaf = params(&["a.example"]).self_signed(&key).expect("it can be signed").pem();
    assert!(presented(found(leaf)).is_err());
    assert!(presented(found(String::new())).is_err(), "it may be half written");
}

#[test]
fn files_of_other_systems_are_read() {
    let text = signed(&params(&["a.example"]), &key(&rcgen::PKCS_ECDSA_P256_SHA256));
    let bom = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let remarks = format!(
        "Bag Attributes: ä\n{text}\n-----BEGIN DH PARAMETERS-----\nMAAA\n-----END DH PARAMETERS-----\n"
    );
    for text in [bom, remarks, text.trim_end().to_owned(), text.replace("-----\n", "-----  \n")] {
        let source = whole("a.pem", text.clone());
        assert_eq!(
            Store::new(&[source], false, NOW).map(|(store, _)| store.certificates().len()),
            Ok(1),
            "{text}"
        );
    }
}

#[test]
fn keys_have_their_files_beside() {
    assert_eq!(key_names("/a/site.pem"), ["/a/site.pem.key", "/a/site.key"]);
    assert_eq!(key_names("/a.b/site"), ["/a.b/site.key"]);
    assert_eq!(key_names("/a/fullchain.pem"), ["/a/fullchain.pem.key", "/a/fullchain.key", "/a/privkey.pem"]);
    assert_eq!(key_names("tls.crt"), ["tls.crt.key", "tls.key"]);
    assert!(holds_key(EC.as_bytes()) && !holds_key(only(EC, "CERTIFICATE").as_bytes()));
    assert!(holds_key(include_bytes!("data/encrypted.pem")));
}
