use std::io::Write as _;
use std::process::{Command, Stdio};

use daemon::families::table;

use super::families::FAMILIES;
use super::*;
use crate::view::sample;

fn exposition(sample: &Sample) -> String {
    FAMILIES.iter().map(|family| family.write(sample)).collect()
}

#[test]
fn the_whole_exposition() {
    insta::assert_snapshot!(exposition(&sample::measured()));
}

#[test]
fn every_family_is_emitted_with_its_labels() {
    let sample = sample::measured();
    for family in FAMILIES {
        let text = family.write(&sample);
        let line = text.lines().nth(2).unwrap_or_else(|| panic!("{} is not emitted", family.name));
        let labels = family.labels.iter().all(|label| line.contains(&format!("{label}=\"")));
        let buckets = line.matches("{le=\"").count() + line.matches(",le=\"").count();
        assert!(labels && line.matches("=\"").count() - buckets == family.labels.len(), "{line}");
    }
    assert_eq!(daemon::metrics::misnamed(&exposition(&sample)), [""; 0]);
}

#[test]
fn what_is_not_known_is_left_out() {
    let nothing = Sample {
        rows: Vec::new(),
        latency: Vec::new(),
        refusals: Vec::new(),
        handshakes: Vec::new(),
        verdict_age: None,
        healthd: HealthdLink::Never(Duration::ZERO),
        ..sample::measured()
    };
    let text = exposition(&nothing);
    assert!(!text.contains("tandem_server") && !text.contains("verdict_age"), "{text}");
    assert!(text.contains("tandem_lbd_healthd_connected 0\n"), "{text}");
}

#[test]
fn promtool_finds_nothing_to_object_to() {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is part of Debian's package prometheus");
    promtool.stdin.take().unwrap().write_all(exposition(&sample::measured()).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// docs/metrics.md has exactly the lines that this test makes of the families, in its section on lbd.
#[test]
fn every_family_is_documented() {
    let wanted = table(FAMILIES);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let section = document.split("\n## ").find(|section| section.starts_with("lbd\n")).unwrap_or_default();
    assert!(section.contains(&wanted), "docs/metrics.md, section `## lbd`, needs this table:\n\n{wanted}");
}
