//! What holds for every file.

mod common;

use certificates::{Clients, Source, Store};
use common::{NOW, key, params, pem, signed};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use rustls::SignatureScheme;

fn answered(bytes: Vec<u8>, key: Option<Vec<u8>>, found: bool, now: i64) {
    let file = pem("a.pem", bytes);
    let _ = Clients::new(&file, Some(&file), true, now);
    let source = Source { chain: file, key: key.map(|bytes| pem("a.key", bytes)), staple: None, found };
    if let Err(faults) = Store::new(&[source], false, now) {
        assert_eq!(faults.len(), 1);
        let text = faults[0].to_string();
        assert!(text.starts_with("a.pem") || text.starts_with("a.key"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..300), found: bool, now: i64) {
        answered(bytes, None, found, now);
    }

    #[test]
    fn any_sections_are_answered(parts in vec((0..5_usize, vec(any::<u8>(), 0..60)), 0..6), found: bool) {
        let labels = ["CERTIFICATE", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "X509 CRL"];
        let text: String = parts.into_iter().map(|(label, der)| section(labels[label], &der)).collect();
        answered(text.clone().into_bytes(), Some(text.into_bytes()), found, NOW);
    }

    #[test]
    fn damaged_files_are_answered(damage in vec((any::<Index>(), any::<u8>()), 1..4), in_der: bool) {
        let mut text = signed(&params(&["a.example"]), &key(&rcgen::PKCS_ECDSA_P256_SHA256));
        if in_der {
            let mut der = params(&["a.example"]).self_signed(&key(&rcgen::PKCS_ECDSA_P256_SHA256)).expect("it can be signed").der().to_vec();
            for (place, byte) in damage {
                let place = place.index(der.len());
                der[place] = byte;
            }
            text = section("CERTIFICATE", &der) + &key(&rcgen::PKCS_ECDSA_P256_SHA256).serialize_pem();
            answered(text.into_bytes(), None, false, NOW);
        } else {
            let mut bytes = text.into_bytes();
            for (place, byte) in damage {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            answered(bytes, None, false, NOW);
        }
    }

    /// Against the rule said plainly: exact, else one label for the star, else the first.
    #[test]
    fn names_are_found_by_the_rule(names in vec("(\\*\\.)?[ab]\\.[ab]", 1..5), asked in "[aAbB]\\.[aAbB](\\.[ab])?") {
        let source = |(number, name): (usize, &String)| {
            let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
            common::whole(&number.to_string(), signed(&params(&[name]), &key))
        };
        let sources: Vec<Source> = names.iter().enumerate().map(source).collect();
        let (store, _) = Store::new(&sources, false, NOW).expect("all can be presented");
        let lower = asked.to_ascii_lowercase();
        let exact = names.iter().position(|name| *name == lower);
        let below = || {
            let above = lower.split_once('.').map_or("", |(_, above)| above);
            names.iter().position(|name| name.strip_prefix("*.") == Some(above))
        };
        let expected = exact.or_else(below).unwrap_or(0).to_string();
        let chosen = store.choose(Some(&asked), &[SignatureScheme::ECDSA_NISTP256_SHA256]);
        prop_assert_eq!(chosen.map(|one| one.file.as_str()), Some(expected.as_str()));
        prop_assert!(store.choose(None, &[]).is_some());
    }
}

fn section(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let word =
            three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() { '=' } else { char::from(digit) });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
