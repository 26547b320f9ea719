//! A site with a server in every state, for the tests of what is shown.

use balance::AdminState;
use health::{CheckCode, Status};
use wire::{Discovery, Info, LastCheck, LifeState, Resolution, Verdict};

use super::{Seen, ServerSeen};

fn server(name: &str, status: Status, check: Option<LastCheck>) -> ServerSeen {
    let checks = check.iter().map(|check| (check.code, 7)).collect();
    ServerSeen {
        verdict: Verdict {
            backend: "nginx".into(),
            server: name.into(),
            status,
            address: "10.0.0.11:80".parse().ok(),
            resolve_error: None,
            check,
            streak: 0,
            rise: 2,
            fall: 3,
            since_ms: 61_000,
            failed_checks: 0,
            downs: 0,
            downtime_ms: 0,
            admin_state: Some(AdminState::Ready),
            member: None,
        },
        configured: format!("{name}:80"),
        checks,
        ups: 1,
        certificate: None,
    }
}

fn check(code: CheckCode, http_status: Option<u16>, text: &str) -> LastCheck {
    LastCheck { code, http_status, duration_ms: 3, text: text.into(), age_ms: 1_200 }
}

/// The site.
pub(crate) fn seen() -> Seen {
    let mut up = server("nginx1", Status::Up, Some(check(CheckCode::L7Ok, Some(200), "200 OK")));
    up.certificate = Some(1_800_000_000);
    let mut falling =
        server("nginx2", Status::Up, Some(check(CheckCode::L7Sts, Some(503), "503, expected 200")));
    falling.verdict.streak = 1;
    falling.verdict.failed_checks = 1;
    let mut down =
        server("nginx3", Status::Down, Some(check(CheckCode::SockErr, None, "nginx3: no such host")));
    down.verdict.address = None;
    down.verdict.resolve_error = Some("nginx3: no such host (NXDOMAIN from 127.0.0.11)".into());
    down.verdict.downs = 2;
    down.verdict.downtime_ms = 90_500;
    let mut rising = server("nginx4", Status::Down, Some(check(CheckCode::L4Ok, None, "connected")));
    rising.verdict.streak = 1;
    let unchecked = server("nginx5", Status::Unchecked, None);
    let mut unknown = server("db1", Status::Unknown, None);
    unknown.verdict.backend = "db".into();
    unknown.ups = 0;
    Seen {
        info: Info {
            daemon: "healthd".into(),
            version: "0.1.0".into(),
            pid: 42,
            uptime_ms: 3_723_000,
            state: LifeState::Ready,
            config: "/etc/tandem/lb.yaml".into(),
            generation: 2,
            reload_error: Some("lb.yaml:3:1: error: unknown key\n  help: did you mean `check`?".into()),
            details: [("servers".to_owned(), "6".to_owned())].into(),
        },
        servers: vec![up, falling, down, rising, unchecked, unknown],
        names: vec![
            Resolution {
                name: "nginx1".into(),
                addresses: vec!["10.0.0.11".parse().unwrap(), "fd00::11".parse().unwrap()],
                error: None,
                next_query_ms: 9_000,
                resolved: 12,
                failed: 0,
            },
            Resolution {
                name: "nginx3".into(),
                addresses: Vec::new(),
                error: Some("nginx3: no such host (NXDOMAIN from 127.0.0.11)".into()),
                next_query_ms: 1_000,
                resolved: 0,
                failed: 4,
            },
        ],
        discoveries: vec![Discovery {
            backend: "api".into(),
            source: "srv _http._tcp.api.example.org".into(),
            known: true,
            members: 0,
            max: 100,
            answer_age_ms: Some(61_000),
            trouble: Some("no answer from 192.0.2.53 in 1000 ms".into()),
            answers: 7,
            failures: 2,
            ..Discovery::default()
        }],
        subscribers: 1,
    }
}
