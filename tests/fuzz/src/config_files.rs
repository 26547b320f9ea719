//! Any text as a configuration file. It is answered with a configuration, or with errors, a bounded number of them, each at
//! a place in the text; and a configuration that is written out is read as the same.

use config::{
    Diagnostic, Invalid, KeyFile, Loaded, Severity, effective_vrrp_yaml, effective_yaml, parse,
    parse_members, parse_vrrp,
};

/// The most remarks on a file: so many errors and warnings, and how many there are besides.
const REMARKS_MAX: usize = 2 * (100 + 1);

pub(crate) fn lb(bytes: &[u8]) {
    run(bytes, |text| parse("lb.yaml", text), effective_yaml);
    members(bytes);
}

/// The same text as a file in which servers are found.
fn members(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse_members("servers.yaml", text) {
        Ok(members) => assert!(members.iter().all(|member| !member.name.is_empty())),
        Err(Invalid { diagnostics }) => check(&diagnostics, text),
    }
}

pub(crate) fn vrrp(bytes: &[u8]) {
    run(bytes, |text| parse_vrrp("vrrp.yaml", text, &key_file), effective_vrrp_yaml);
}

fn key_file(name: &str) -> Result<KeyFile, String> {
    match name.len() {
        0 => Err("there is no such file".to_owned()),
        len => Ok(KeyFile { bytes: vec![b'k'; 8 * len], exposed: name.ends_with('x') }),
    }
}

fn run<C: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    parse: impl Fn(&str) -> Result<Loaded<C>, Invalid>,
    written: impl Fn(&C) -> String,
) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(Loaded { config, warnings, digest }) => {
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
            check(&warnings, text);
            let yaml = written(&config);
            match parse(&yaml) {
                Ok(again) => {
                    assert_eq!(again.config, config, "{yaml}");
                    assert_eq!(again.digest, digest, "{yaml}");
                }
                Err(invalid) => panic!("{invalid}\n{yaml}"),
            }
        }
        Err(Invalid { diagnostics }) => {
            assert!(diagnostics.iter().any(|one| one.severity == Severity::Error));
            check(&diagnostics, text);
        }
    }
}

fn check(remarks: &[Diagnostic], text: &str) {
    assert!(remarks.len() <= REMARKS_MAX, "{} remarks", remarks.len());
    let lines = text.split(['\n', '\r']).count() + 1;
    for remark in remarks {
        let summary = remark.line == 0 && remark.message.starts_with("and ");
        assert!(summary || ((1..=lines).contains(&remark.line) && remark.column >= 1), "{remark:?}");
        assert!(!remark.message.chars().any(char::is_control), "{remark:?}");
    }
}
