use std::collections::BTreeMap;

use daemon::families::table;
use wire::{
    AnycastCounters, AnycastState, AnycastStatus, Info, InstanceCounters, InstanceState, InstanceStatus,
    LifeState, PeerStatus, RefusedStatus, TrackerStatus, TransitionRecord,
};

use super::text::Asked;
use super::{metrics, page, text};

fn info() -> Info {
    Info {
        daemon: "vrrpd".into(),
        version: "0.1.0".into(),
        pid: 7,
        uptime_ms: 61_000,
        state: LifeState::Ready,
        config: "vrrp.yaml".into(),
        generation: 1,
        reload_error: None,
        details: BTreeMap::new(),
    }
}

fn status() -> InstanceStatus {
    let counters = InstanceCounters {
        adverts_sent: 12,
        receive_errors: BTreeMap::from([("ttl".to_owned(), 3)]),
        transitions: BTreeMap::from([("master master_silent".to_owned(), 1)]),
        ..InstanceCounters::default()
    };
    InstanceStatus {
        instance: "web".into(),
        state: InstanceState::Fault,
        since_ms: 1500,
        reason: "tracker lbd fails: lbd is <gone>".into(),
        version: 3,
        virtual_router_id: 51,
        stale_ms: Some(4000),
        priority: 250,
        configured_priority: 250,
        interval_ms: 1000,
        holding: false,
        interface: Some("eth0".into()),
        source: Some("192.0.2.11".parse().unwrap()),
        addresses: vec!["192.0.2.100/24".into()],
        master: None,
        master_priority: None,
        trackers: vec![TrackerStatus {
            name: "lbd".into(),
            good: Some(false),
            text: "lbd is <gone>".into(),
            weight: 0,
            since_ms: 1500,
            failures: 1,
        }],
        peers: vec![PeerStatus {
            address: "192.0.2.12".parse().unwrap(),
            priority: 240,
            heard_ms: 300,
            adverts: 40,
            releases: 1,
            checksum: "pseudo_header".into(),
            clock_ahead_ms: Some(-1500),
            doubt: None,
        }],
        claim: None,
        refused: Some(RefusedStatus {
            error: "ttl".into(),
            text: "TTL 64, but 255 or more is <asked> for".into(),
            source: "192.0.2.66".parse().unwrap(),
            age_ms: 61_000,
        }),
        keeps: Some(12),
        passes_to: Vec::new(),
        notify_failing: true,
        history: vec![TransitionRecord {
            from: InstanceState::Master,
            to: InstanceState::Fault,
            cause: "tracker_failed".into(),
            reason: "tracker lbd fails: lbd is <gone>".into(),
            age_ms: 1500,
            took_us: 800,
        }],
        counters,
    }
}

fn service() -> AnycastStatus {
    AnycastStatus {
        service: "front".into(),
        state: AnycastState::Waiting,
        since_ms: 1500,
        reason: "the trackers recovered, which has to last for 5.0 s".into(),
        holding: false,
        interface: "lo".into(),
        addresses: vec!["192.0.2.200/32".into()],
        trackers: status().trackers,
        ends_in_ms: Some(3500),
        history: vec![TransitionRecord {
            from: AnycastState::Fault,
            to: AnycastState::Waiting,
            cause: "trackers_recovered".into(),
            reason: "the trackers <recovered>".into(),
            age_ms: 1500,
            took_us: 300,
        }],
        stale_ms: None,
        notify_failing: false,
        counters: AnycastCounters {
            transitions: BTreeMap::from([("fault tracker_failed".to_owned(), 2)]),
            ..AnycastCounters::default()
        },
    }
}

#[test]
fn the_page_says_what_is_wrong_and_escapes_it() {
    let html = page::render(&info(), &[status()], &[service()]);
    for wanted in [
        "web was FAULT, and the election has hung for 4 s",
        "lbd is &lt;gone&gt;",
        "192.0.2.100/24",
        "not on this node",
        "192.0.2.12",
        "0.8 ms",
        "Anycast front",
        "for 1.5 s, for 3.5 s more",
        "192.0.2.200/32",
        "not announced while it fails",
        "the trackers &lt;recovered&gt;",
        "TTL 64, but 255 or more is &lt;asked&gt; for<small>from 192.0.2.66, 1 min 1 s ago</small>",
    ] {
        assert!(html.contains(wanted), "{wanted} is missing in {html}");
    }
    assert!(!html.contains("<gone>"));
}

#[test]
fn commands_are_answered_or_understood() {
    let asked = |command: &str| text::answer(command, &info(), &[status()], &[service()]);
    let answered = |command: &str| match asked(command) {
        Asked::Answered(text) => text,
        other => panic!("{other:?}"),
    };
    assert!(
        answered("show vrrp").contains("web: FAULT for 1.5 s: tracker lbd fails"),
        "{}",
        answered("show vrrp")
    );
    assert!(answered("show vrrp wbe").contains("did you mean `web`?"));
    assert!(answered("show info").contains("Name: vrrpd\n"));
    let json: Vec<InstanceStatus> = serde_json::from_str(&answered("show vrrp json")).unwrap();
    assert_eq!(json, [status()]);
    assert_eq!(asked("handover web"), Asked::Handover(Some("web".to_owned())));
    assert_eq!(asked("reload"), Asked::Reload);
    let shown = answered("show anycast");
    assert!(shown.starts_with("front: WAITING for 1.5 s: the trackers recovered"), "{shown}");
    assert!(shown.contains("in 3.5 s") && shown.contains("lbd: FAILS"), "{shown}");
    assert!(answered("show anycast frnt").contains("did you mean `front`?"));
    let json: Vec<AnycastStatus> = serde_json::from_str(&answered("show anycast json")).unwrap();
    assert_eq!(json, [service()]);
    assert_eq!(asked("announce front"), Asked::Announce(Some("front".to_owned())));
}

#[test]
fn metrics_follow_the_rules_and_are_documented() {
    let seen = metrics::Seen { info: info(), instances: vec![status()], services: vec![service()] };
    let encoded: String = metrics::FAMILIES.iter().map(|family| family.write(&seen)).collect();
    assert_eq!(daemon::metrics::misnamed(&encoded), Vec::<String>::new());
    for wanted in [
        "tandem_vrrp_state{vrrp_instance=\"web\",state=\"fault\"} 1",
        "tandem_vrrp_stale{vrrp_instance=\"web\"} 1",
        "tandem_vrrp_receive_errors_total{vrrp_instance=\"web\",error=\"ttl\"} 3",
        "tandem_vrrp_transitions_total{vrrp_instance=\"web\",to=\"master\",cause=\"master_silent\"} 1",
        "tandem_vrrp_takeover_seconds_count{vrrp_instance=\"web\"} 0",
        "tandem_anycast_state{anycast_service=\"front\",state=\"waiting\"} 1",
        "tandem_anycast_transitions_total{anycast_service=\"front\",to=\"fault\",cause=\"tracker_failed\"} 2",
        "tandem_anycast_tracker_good{anycast_service=\"front\",tracker=\"lbd\"} 0",
        "tandem_vrrpd_state{state=\"ready\"} 1",
        "tandem_vrrpd_config_reload_ok 1",
    ] {
        assert!(encoded.contains(wanted), "{wanted} is missing in {encoded}");
    }
    assert_eq!(encoded.matches("# TYPE ").count(), metrics::FAMILIES.len(), "each is emitted");
    let wanted = table(metrics::FAMILIES);
    let documentation = include_str!("../../../../docs/metrics.md");
    assert!(documentation.contains(&wanted), "docs/metrics.md needs this table:\n\n{wanted}");
}
