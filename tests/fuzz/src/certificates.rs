//! Files of certificates, keys, revocation lists and staples: whatever is in them is answered, in a line for people, and read twice
//! it says the same.

use ::certificates::{Clients, Doubt, Fault, Pem, Servers, Source, StapleFile, Store, Trust};

/// 2030-01-01
const NOW: i64 = 1_893_456_000;

/// PEM, and after the first byte that no text has, a staple.
pub(crate) fn run(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    let pem = |file: &str| Pem { file: file.to_owned(), bytes: text.to_vec() };
    let source = |key: bool, found: bool| Source {
        chain: pem("a.pem"),
        key: key.then(|| pem("a.key")),
        staple: rest.get(1..).map(|der| StapleFile { file: "a.pem.ocsp".to_owned(), bytes: der.to_vec() }),
        found,
    };
    for (key, found) in [(false, false), (true, true)] {
        let read = || Store::new(&[source(key, found)], false, NOW);
        match (read(), read()) {
            (Ok((store, doubts)), Ok((again, _))) => {
                assert!(store == again, "the same file is another store");
                assert!(store.certificates().len() <= 1);
                are_lines(&[], &doubts);
            }
            (Err(faults), Err(again)) => {
                assert_eq!(faults, again);
                assert_eq!(faults.len(), 1);
                are_lines(&faults, &[]);
            }
            _ => panic!("the same file is good, and is not"),
        }
    }
    for lists in [None, Some(&pem("crl.pem"))] {
        match Clients::new(&pem("ca.pem"), lists, true, NOW) {
            Ok((_, doubts)) => are_lines(&[], &doubts),
            Err(faults) => are_lines(&faults, &[]),
        }
        let authorities = pem("ca.pem");
        let own = source(false, false);
        for certificate in [None, Some(&own)] {
            match Servers::new(Trust::Authorities(&authorities, lists), certificate, NOW) {
                Ok((_, doubts)) => are_lines(&[], &doubts),
                Err(faults) => are_lines(&faults, &[]),
            }
        }
    }
    let _ = Servers::new(Trust::System(&pem("ca.pem")), None, NOW);
}

/// What is told is a line, and begins with its file.
fn are_lines(faults: &[Fault], doubts: &[Doubt]) {
    let told = faults.iter().map(ToString::to_string).chain(doubts.iter().map(ToString::to_string));
    for line in told {
        let files = ["a.pem", "a.key", "ca.pem", "crl.pem"];
        assert!(files.iter().any(|file| line.starts_with(file)), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
