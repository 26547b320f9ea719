//! What holds for every text of a `vrrp.yaml`, and for every pair of them.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure message")]

use config::{Checked, KeyFile, Loaded, Severity, VrrpConfig, effective_vrrp_yaml, parse_vrrp};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select};

/// Options of an instance, all of which are right, and most of which go together.
const OPTIONS: &[&str] = &[
    "interface: eth0",
    "priority: 254",
    "priority: 254",
    "priority: 1",
    "preempt: false",
    "preempt: 30s",
    "timing: fast",
    "advert_interval: 40950ms",
    "version: 2",
    "strict: yes",
    "unicast: { peers: [192.0.2.12, 192.0.2.13], source: 192.0.2.11, min_ttl: 0 }",
    "unicast: { peers: 192.0.2.12 }",
    "authentication: { hmac: { key_file: a, key_id: 2, accept: { 1: b, 255: c }, window: off } }",
    "authentication: { hmac: { key_file: a } }",
    "authentication: { pass: \"12'4\\\"\" }",
    "authentication: off",
    "checksum: message_only",
    "address_mismatch: discard",
    "excluded_addresses: [\"2001:db8::1/64\", 192.0.2.200]",
    "track: []",
    "track: [lbd, { backend: b, weight: -20 }, { interface: i, weight: 253 }, { gateway: default }]",
    "track: [{ lbd: { hung_after: 60s }, weight: 2, name: x }, { gateway: 192.0.2.1 }]",
    "track: [lbd, { command: [/bin/a, \"b c\", \"\"], interval: 5s, timeout: 1s, rise: 1, fall: 9 }]",
    "gratuitous: { repeat: 1, interval: 10ms, delay: off, refresh: 1h }",
    "probe: off",
    "keep_connections: 1h",
    "notify: { command: [/bin/a, \"#\", \"off\", \"1\"], fault_after: 10s }",
];

/// What may stand beside the instance.
const SERVICES: &[&str] = &[
    "",
    "",
    "anycast: { front: { addresses: [192.0.2.200, \"2001:db8::2\"] } }\n",
    "anycast: { a: { addresses: 192.0.2.200, interface: d0, track: [lbd, { backend: b, at_least: 2 }], withdraw: 0s, \
     hold_down: 1h }, b: { addresses: 192.0.2.201/24, track: [], notify: { command: /bin/a } } }\n",
];

const TOKENS: &[&str] = &[
    "\n", "\n  ", ": ", "- ", "[", "]", "{", "}", ",", "\"", "'", "#", "&a ", "*a", "~", "off", "-1", "2s",
    "\0", "é", "lbd",
];

fn key_file(_: &str) -> Result<KeyFile, String> {
    Ok(KeyFile { bytes: vec![b'k'; 32], exposed: true })
}

fn parse(text: &str) -> Result<Loaded<VrrpConfig>, String> {
    parse_vrrp("vrrp.yaml", text, &key_file).map_err(|invalid| {
        assert!(invalid.diagnostics.iter().any(|one| one.severity == Severity::Error), "{invalid}");
        invalid.to_string()
    })
}

/// One instance; of options that exclude each other the first one stays.
fn files() -> impl Strategy<Value = String> {
    (1..=255_u8, vec(select(OPTIONS), 0..8), select(SERVICES)).prop_map(|(id, options, services)| {
        let mut text = format!(
            "instances:\n  web:\n    virtual_router_id: {id}\n    virtual_addresses: 192.0.2.100/24\n"
        );
        let mut taken = Vec::new();
        for option in options {
            let key = option.split(':').next().unwrap();
            if !taken.contains(&key) {
                taken.push(key);
                text += &format!("    {option}\n");
            }
        }
        text + services
    })
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn what_is_written_out_is_read_back_equal(text in files()) {
        if let Ok(Loaded { config, .. }) = parse(&text) {
            let yaml = effective_vrrp_yaml(&config);
            prop_assert_eq!(parse(&yaml).map(|loaded| loaded.config), Ok(config), "{}", yaml);
        }
    }

    #[test]
    fn a_damaged_file_is_answered(text in files(), damage in vec((any::<Index>(), select(TOKENS), 0..8_usize), 1..6)) {
        let mut text: Vec<char> = text.chars().collect();
        for (place, insert, removed) in damage {
            let start = place.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, insert.chars());
        }
        let _ = parse(&text.into_iter().collect::<String>());
    }

    #[test]
    fn every_pair_is_answered(texts in vec(files(), 1..4)) {
        let directory = tempfile::tempdir().unwrap();
        for key in ["a", "b", "c"] {
            std::fs::write(directory.path().join(key), [b'k'; 32]).unwrap();
        }
        let checked: Vec<Checked> = texts.iter().enumerate().filter_map(|(index, text)| {
            let path = directory.path().join(format!("{index}.yaml"));
            std::fs::write(&path, text).unwrap();
            Checked::load(&path).ok()
        }).collect();
        for remark in config::compare(&checked) {
            prop_assert!(checked.iter().any(|one| one.file() == remark.file), "{remark}");
            prop_assert!(remark.line >= 1 && remark.line < 25, "{remark}");
        }
    }

    #[test]
    fn a_file_and_itself_differ_in_nothing_but_their_priority(text in files()) {
        let directory = tempfile::tempdir().unwrap();
        for key in ["a", "b", "c"] {
            std::fs::write(directory.path().join(key), [b'k'; 32]).unwrap();
        }
        let path = directory.path().join("vrrp.yaml");
        std::fs::write(&path, &text).unwrap();
        if let (Ok(one), Ok(two)) = (Checked::load(&path), Checked::load(&path)) {
            let remarks = config::compare(&[one, two]);
            let of_peers = text.contains("unicast");
            prop_assert!(remarks.iter().all(|one| one.severity == Severity::Warning || of_peers), "{text}{remarks:?}");
            prop_assert!(remarks.iter().any(|one| one.message.contains("has priority")), "{text}");
        }
    }
}
