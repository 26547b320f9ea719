use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use balance::AdminState;
use health::{CheckCode, Status};
use wire::client::ClientError;
use wire::{
    ClaimStatus, InstanceCounters, InstanceState, InstanceStatus, LastCheck, PeerStatus, RefusedStatus,
    TrackerStatus, Verdict,
};

use super::*;
use crate::node::Unreachable;

fn info(daemon: &str) -> Info {
    Info {
        daemon: daemon.into(),
        version: "0.1.0".into(),
        pid: 4711,
        uptime_ms: 5_403_000,
        state: LifeState::Ready,
        config: "/etc/tandem/lb.yaml".into(),
        generation: 3,
        reload_error: None,
        details: BTreeMap::from([("healthd".into(), "connected".into())]),
    }
}

fn check(code: CheckCode, http_status: Option<u16>, text: &str) -> Option<LastCheck> {
    Some(LastCheck { code, http_status, duration_ms: 2, text: text.into(), age_ms: 1_300 })
}

fn rows() -> Vec<StatRow> {
    let server = StatRow {
        kind: RowKind::Server,
        proxy: "nginx".into(),
        name: "nginx1".into(),
        status: "UP".into(),
        address: "172.20.0.11:80".into(),
        weight: 1,
        sessions: 9,
        rate: 156,
        sessions_total: 601_728,
        since_ms: 5_400_000,
        check: check(CheckCode::L7Ok, Some(200), "200 OK"),
        ..StatRow::default()
    };
    vec![
        StatRow {
            kind: RowKind::Frontend,
            proxy: "web".into(),
            name: "FRONTEND".into(),
            status: "OPEN".into(),
            address: "0.0.0.0:8080".into(),
            sessions: 17,
            sessions_max: 230,
            requests: 1_203_456,
            request_rate: 312,
            responses: [0, 1_203_000, 0, 300, 36, 0],
            ..StatRow::default()
        },
        server.clone(),
        StatRow {
            name: "nginx2".into(),
            status: "DOWN".into(),
            since_ms: 42_000,
            downtime_ms: 42_000,
            sessions: 0,
            rate: 0,
            connect_errors: 3,
            retries: 3,
            check: check(CheckCode::L4Con, None, "Connection refused"),
            ..server.clone()
        },
        StatRow {
            name: "nginx3".into(),
            status: "DRAIN".into(),
            address: String::new(),
            reason: "nginx3 does not resolve: no such name".into(),
            check: None,
            ..server.clone()
        },
        StatRow {
            kind: RowKind::Backend,
            name: "BACKEND".into(),
            status: "UP".into(),
            address: String::new(),
            check: None,
            ..server
        },
    ]
}

fn absent(daemon: &'static str) -> Failure {
    let socket = PathBuf::from(format!("/run/tandem/{daemon}/{daemon}.sock"));
    let source = io::Error::from(io::ErrorKind::NotFound);
    let cause = ClientError::Unreachable { path: socket.clone(), source };
    Failure::Unreachable(Unreachable { daemon, socket, cause })
}

fn web(state: InstanceState) -> InstanceStatus {
    let holding = state == InstanceState::Master;
    let reason = match state {
        InstanceState::Fault => "tracker lbd fails: lbd is gone",
        _ => "no master was heard in time",
    };
    InstanceStatus {
        instance: "web".into(),
        state,
        since_ms: 61_000,
        reason: reason.into(),
        version: 3,
        virtual_router_id: 51,
        stale_ms: None,
        priority: 230,
        configured_priority: 250,
        interval_ms: 1000,
        holding,
        interface: Some("eth0".into()),
        source: Some("172.20.0.21".parse().unwrap()),
        addresses: vec!["172.20.0.100/16".into()],
        master: holding.then(|| "172.20.0.21".parse().unwrap()),
        master_priority: holding.then_some(230),
        trackers: vec![
            TrackerStatus {
                name: "lbd".into(),
                good: Some(holding),
                text: if holding { "lbd is ready" } else { "lbd is gone" }.into(),
                weight: 0,
                since_ms: 61_000,
                failures: u64::from(!holding),
            },
            TrackerStatus {
                name: "gateway".into(),
                good: None,
                text: "has not reported yet".into(),
                weight: -20,
                since_ms: 0,
                failures: 0,
            },
        ],
        peers: vec![PeerStatus {
            address: "172.20.0.22".parse().unwrap(),
            priority: if holding { 0 } else { 240 },
            heard_ms: 300,
            adverts: 812,
            releases: 1,
            checksum: "pseudo_header".into(),
            clock_ahead_ms: None,
            doubt: None,
        }],
        history: Vec::new(),
        claim: Some(ClaimStatus {
            address: "172.20.0.100".parse().unwrap(),
            mac: "02:00:00:00:00:07".into(),
            age_ms: 4000,
        }),
        refused: Some(RefusedStatus {
            error: "ttl".into(),
            text: "TTL 64, but 255 or more is asked for".into(),
            source: "172.20.0.22".parse().unwrap(),
            age_ms: 4000,
        }),
        keeps: None,
        passes_to: Vec::new(),
        notify_failing: false,
        counters: InstanceCounters {
            receive_errors: BTreeMap::from([("ttl".into(), 3)]),
            transitions: BTreeMap::from([("master master_silent".into(), 1)]),
            conflicts: 2,
            ..InstanceCounters::default()
        },
    }
}

const PLAIN: Style = Style { width: 120, colour: false };

#[test]
fn a_node_in_full() {
    let report = Report {
        services: Vec::new(),
        host: None,
        vrrpd: None,
        lbd: Ok((info("lbd"), rows())),
        healthd: Ok((info("healthd"), Vec::new())),
    };
    insta::assert_snapshot!(render(&report, &Other::None, PLAIN));
}

#[test]
fn a_node_with_a_virtual_address() {
    let vrrpd = Some(Ok((info("vrrpd"), vec![web(InstanceState::Master)])));
    let report = Report {
        services: Vec::new(),
        host: None,
        lbd: Ok((info("lbd"), rows())),
        healthd: Ok((info("healthd"), Vec::new())),
        vrrpd,
    };
    insta::assert_snapshot!(render(&report, &Other::None, PLAIN));
    assert!(report.outcome().is_ok());
}

#[test]
fn another_node_in_fault_and_in_eighty_columns() {
    let lbd = Err(Failure::Remote("lbd of 172.20.0.21 cannot be reached on port 8404: refused".into()));
    let vrrpd = Some(Ok((info("vrrpd"), vec![web(InstanceState::Fault)])));
    let host = Some("172.20.0.21".into());
    let report =
        Report { services: Vec::new(), host, lbd, healthd: Ok((info("healthd"), Vec::new())), vrrpd };
    let here = Report {
        services: Vec::new(),
        host: None,
        lbd: Ok((info("lbd"), Vec::new())),
        healthd: Ok((info("healthd"), Vec::new())),
        vrrpd: None,
    };
    let other = Other::Seen(Box::new(report), true);
    let screen = render(&here, &other, Style { width: 80, colour: false });
    let report = other.report().unwrap();
    insta::assert_snapshot!(screen);
    assert_eq!(report.outcome().unwrap_err().code(), 69);
    let json = report.to_json();
    assert_eq!(json["instances"][0]["state"], "fault");
}

#[test]
fn eighty_columns_are_enough() {
    let mut lbd = info("lbd");
    lbd.reload_error =
        Some("lb.yaml:3:1: error: unknown key \"ballance\" (did you mean \"balance\"?)".into());
    lbd.details.insert("healthd".into(), "lost 12 s ago".into());
    let report = Report {
        services: Vec::new(),
        host: None,
        vrrpd: None,
        lbd: Ok((lbd, rows())),
        healthd: Err(absent("healthd")),
    };
    let screen = render(&report, &Other::None, Style { width: 80, colour: false });
    insta::assert_snapshot!(screen);
    let tables = screen.split("\nhealthd cannot be reached").next().unwrap();
    assert_eq!(tables.lines().filter(|line| line.chars().count() > 80).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn without_lbd_there_is_what_healthd_knows() {
    let verdict = Verdict {
        backend: "nginx".into(),
        server: "nginx2".into(),
        status: Status::Down,
        address: Some("172.20.0.12:80".parse().unwrap()),
        resolve_error: None,
        check: check(CheckCode::L7Sts, Some(500), "500 Internal Server Error, expected 200"),
        streak: 1,
        rise: 2,
        fall: 3,
        since_ms: 61_000,
        failed_checks: 3,
        downs: 1,
        downtime_ms: 61_000,
        admin_state: Some(AdminState::Ready),
        member: None,
    };
    let drained =
        Verdict { server: "nginx3".into(), admin_state: Some(AdminState::Drain), ..verdict.clone() };
    let report = Report {
        services: Vec::new(),
        host: None,
        vrrpd: None,
        lbd: Err(absent("lbd")),
        healthd: Ok((info("healthd"), vec![verdict, drained])),
    };
    insta::assert_snapshot!(render(&report, &Other::None, PLAIN));
    assert_eq!(report.outcome().unwrap_err().code(), 69);
}

#[test]
fn colours_only_where_they_are_wanted() {
    let report = Report {
        services: Vec::new(),
        host: None,
        vrrpd: None,
        lbd: Ok((info("lbd"), rows())),
        healthd: Err(absent("healthd")),
    };
    assert!(!render(&report, &Other::None, PLAIN).contains('\x1b'));
    let coloured = render(&report, &Other::None, Style { colour: true, ..PLAIN });
    assert!(coloured.contains("\x1b[1;31mDOWN\x1b[0m"), "{coloured:?}");
    assert!(coloured.contains("\x1b[32mUP\x1b[0m"), "{coloured:?}");
}

#[test]
fn what_daemons_say_cannot_command_the_terminal() {
    let mut rows = rows();
    for row in &mut rows {
        row.name = "\x1b[2J".into();
        row.reason = "\x1b]0;x\x07".into();
        row.proxy = "\x1b[2J".into();
        row.status = "\x1b[2J".into();
    }
    let report = Report {
        services: Vec::new(),
        host: None,
        vrrpd: None,
        lbd: Ok((info("lbd"), rows)),
        healthd: Err(Failure::Refused("\x1b[2J".into())),
    };
    assert!(!render(&report, &Other::None, PLAIN).contains('\x1b'));
}

/// A node whose instance stands like that, on its own or on another host.
fn node(host: Option<&str>, state: InstanceState) -> Report {
    let healthy = |daemon: &str| Ok((info(daemon), Vec::new()));
    let instance = InstanceStatus { refused: None, claim: None, peers: Vec::new(), ..web(state) };
    Report {
        services: Vec::new(),
        host: host.map(str::to_owned),
        lbd: Ok((info("lbd"), rows())),
        healthd: healthy("healthd"),
        vrrpd: Some(Ok((info("vrrpd"), vec![instance]))),
    }
}

fn seen(state: InstanceState) -> Other {
    Other::Seen(Box::new(node(Some("172.20.0.22"), state)), false)
}

#[test]
fn what_neither_node_knows_alone_is_said_first() {
    use InstanceState::{Backup, Fault, Master};
    let coloured = Style { colour: true, ..PLAIN };
    let two = render(&node(None, Master), &seen(Master), coloured);
    assert!(two.starts_with("\x1b[1;31mweb is MASTER on both nodes: "), "{two}");
    let none = render(&node(None, Fault), &seen(Backup), coloured);
    assert!(none.starts_with("\x1b[1;31mweb has no master, neither here nor on 172.20.0.22"), "{none}");
    let well = render(&node(None, Master), &seen(Backup), coloured);
    assert!(well.starts_with("This node\n\n\x1b[32mweb is MASTER for"), "{well}");
    assert!(well.contains("\nNode 172.20.0.22\n\n\x1b[34mweb is BACKUP for"), "{well}");
}

#[test]
fn a_master_that_is_not_alone_is_red() {
    let mut here = node(None, InstanceState::Master);
    if let Some(Ok((_, instances))) = &mut here.vrrpd {
        instances[0].peers = vec![PeerStatus { priority: 240, ..web(InstanceState::Master).peers.remove(0) }];
    }
    let screen = render(&here, &Other::None, Style { colour: true, ..PLAIN });
    assert!(screen.starts_with("\x1b[1;31mweb is MASTER, and so is 172.20.0.22\x1b[0m"), "{screen}");
}

#[test]
fn old_verdicts_and_old_troubles_are_told_by_their_colours() {
    let mut here = node(None, InstanceState::Master);
    if let Ok((lbd, rows)) = &mut here.lbd {
        lbd.details.insert("healthd".into(), "lost 4 s ago".into());
        rows[0].troubles.responses_5xx = Some(2000);
        rows[2].troubles.errors = Some(61_000);
    }
    let screen = render(&here, &Other::None, Style { colour: true, ..PLAIN });
    assert!(screen.contains("\x1b[33mnginx: 1 of 3 servers DOWN, on verdicts 4 s old\x1b[0m"), "{screen}");
    assert!(screen.contains("\x1b[1;31m36\x1b[0m"), "{screen}");
    assert!(!screen.contains("\x1b[1;31m3\x1b[0m"), "{screen}");
}
