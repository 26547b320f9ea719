use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use daemon::families::table;
use health::CheckCode;

use super::*;
use crate::view::sample;

/// Everything that healthd emits once all that can happen has happened, but for what every daemon emits.
fn exposition() -> String {
    let metrics = Metrics::new().unwrap();
    let exposition = metrics.exposition(Registry::new(), sample::seen).unwrap();
    let result = CheckResult {
        code: CheckCode::L7Ok,
        http_status: Some(200),
        duration: Duration::from_millis(3),
        text: "200 OK".to_owned(),
        certificate: None,
    };
    metrics.checked("nginx", &result);
    metrics.starved();
    metrics.queries().with_label_values(&["resolved"]).inc();
    metrics.observed(&Observation {
        backend: "nginx".to_owned(),
        server: "nginx1".to_owned(),
        connect_failures: 2,
        bad_responses: 1,
    });
    exposition.pieces().collect()
}

#[test]
fn every_family_is_emitted_and_well_named() {
    let text = exposition();
    let declared = READINGS.iter().map(|family| (family.name, family.help, family.labels));
    for (name, _, labels) in declared.chain([DURATION, RUNNING, STARVED, OBSERVATIONS, QUERIES]) {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not emitted");
        let sample = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(labels.iter().all(|label| sample.contains(&format!("{label}=\""))), "{sample}");
    }
    assert_eq!(text.matches("# TYPE ").count(), READINGS.len() + 5);
    assert_eq!(daemon::metrics::misnamed(&text), Vec::<String>::new());
}

#[test]
fn values_are_those_of_the_site() {
    let text = exposition();
    for line in [
        "tandem_health_server_status{proxy=\"nginx\",server=\"nginx3\",state=\"down\"} 1",
        "tandem_health_server_status{proxy=\"nginx\",server=\"nginx3\",state=\"up\"} 0",
        "tandem_health_server_status{proxy=\"db\",server=\"db1\",state=\"unknown\"} 1",
        "tandem_health_server_downtime_seconds_total{proxy=\"nginx\",server=\"nginx3\"} 90.5",
        "tandem_health_transitions_total{proxy=\"nginx\",server=\"nginx3\",to=\"down\"} 2",
        "tandem_health_checks_total{proxy=\"nginx\",server=\"nginx2\",code=\"L7STS\"} 7",
        "tandem_health_check_duration_seconds_bucket{proxy=\"nginx\",le=\"0.005\"} 1",
        "tandem_health_names{state=\"failing\"} 1",
        "tandem_health_observations_total{kind=\"connect_failure\"} 2",
        "tandem_healthd_state{state=\"ready\"} 1",
        "tandem_healthd_config_reload_ok 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("last_check_age_seconds{proxy=\"db\""), "what is not known is left out");
}

#[test]
fn a_forgotten_backend_leaves_no_series() {
    let metrics = Metrics::new().unwrap();
    let exposition = metrics.exposition(Registry::new(), sample::seen).unwrap();
    let text = || exposition.pieces().collect::<String>();
    metrics.checked("gone", &crate::probe::unresolved("gone"));
    assert!(text().contains("proxy=\"gone\""));
    metrics.forget_backend("gone");
    metrics.forget_backend("never known");
    assert!(!text().contains("proxy=\"gone\""));
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
    promtool.stdin.take().unwrap().write_all(exposition().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// docs/metrics.md has exactly the lines that this test makes of the families, in its section on healthd.
#[test]
fn every_family_is_documented() {
    let mut wanted = table(READINGS);
    let counted = [
        (DURATION, "histogram"),
        (RUNNING, "gauge"),
        (STARVED, "counter"),
        (OBSERVATIONS, "counter"),
        (QUERIES, "counter"),
    ];
    for ((name, help, labels), kind) in counted {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(wanted, "| `{name}` | {kind} | {} | {help} |", labels.join(" ")).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let section =
        document.split("\n## ").find(|section| section.starts_with("healthd\n")).unwrap_or_default();
    assert!(
        section.contains(&wanted),
        "docs/metrics.md, section `## healthd`, needs this table:\n\n{wanted}"
    );
}
