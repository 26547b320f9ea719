use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use daemon::families::table;
use health::CheckCode;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

use super::*;
use crate::view::sample;

/// Everything that healthd emits once all that can happen has happened, but for what every daemon emits.
fn gathered() -> Vec<MetricFamily> {
    let metrics = Metrics::new().unwrap();
    let registry = Registry::new();
    metrics.register(&registry, sample::seen).unwrap();
    let result = CheckResult {
        code: CheckCode::L7Ok,
        http_status: Some(200),
        duration: Duration::from_millis(3),
        text: "200 OK".to_owned(),
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
    registry.gather()
}

fn text(families: &[MetricFamily]) -> String {
    let mut text = Vec::new();
    TextEncoder::new().encode(families, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn every_family_is_emitted_and_well_named() {
    let families = gathered();
    let declared = READINGS.iter().map(|family| (family.name, family.help, family.labels));
    for (name, _, labels) in declared.chain([DURATION, RUNNING, STARVED, OBSERVATIONS, QUERIES]) {
        let family = families.iter().find(|family| family.name() == name);
        let family = family.unwrap_or_else(|| panic!("{name} is not emitted"));
        for metric in family.get_metric() {
            let mut emitted: Vec<&str> = metric.get_label().iter().map(|label| label.name()).collect();
            let mut labels = labels.to_vec();
            emitted.sort_unstable();
            labels.sort_unstable();
            assert_eq!(emitted, labels, "{name}");
        }
    }
    assert_eq!(families.len(), READINGS.len() + 5);
    assert_eq!(daemon::metrics::misnamed(&families), Vec::<String>::new());
}

#[test]
fn values_are_those_of_the_site() {
    let text = text(&gathered());
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
    let registry = Registry::new();
    metrics.register(&registry, sample::seen).unwrap();
    metrics.checked("gone", &crate::probe::unresolved("gone"));
    assert!(text(&registry.gather()).contains("proxy=\"gone\""));
    metrics.forget_backend("gone");
    metrics.forget_backend("never known");
    assert!(!text(&registry.gather()).contains("proxy=\"gone\""));
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
    promtool.stdin.take().unwrap().write_all(text(&gathered()).as_bytes()).unwrap();
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
