//! What a small site looks like on a bad day: the statistics that this module's tests render.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::view::routes::RouteRow;
use health::CheckCode;
use wire::{Backups, Info, LastCheck, LifeState, Queue, RowKind, StatRow, StickyCounts, Troubles};

/// A frontend; three servers, of which one is down and one wavers; their backend. Then a backend without a check.
pub(crate) fn rows() -> Vec<StatRow> {
    let frontend = StatRow {
        kind: RowKind::Frontend,
        proxy: "web".into(),
        name: "FRONTEND".into(),
        status: "OPEN".into(),
        address: "0.0.0.0:8080".into(),
        active: 1,
        sessions: 17,
        sessions_limit: Some(448),
        sessions_max: 230,
        sessions_total: 81_234,
        rate: 12,
        rate_max: 340,
        requests: 1_203_456,
        request_rate: 312,
        request_rate_max: 2_881,
        bytes_in: 123_456_789,
        bytes_out: 9_876_543_210,
        request_errors: 4,
        responses: [0, 1_203_000, 120, 300, 36, 0],
        since_ms: 5_403_000,
        ..StatRow::default()
    };
    let service = StatRow {
        proxy: "nginx".into(),
        sessions_max: 40,
        rate_max: 1_001,
        bytes_in: 41_152_263,
        bytes_out: 3_292_181_070,
        downtime_ms: 0,
        rise: 2,
        fall: 3,
        times_ms: [0, 1, 3, 4],
        ..StatRow::default()
    };
    let server = StatRow { kind: RowKind::Server, weight: 1, active: 1, ..service.clone() };
    vec![
        frontend,
        StatRow {
            name: "nginx1".into(),
            status: "UP".into(),
            address: "172.20.0.11:80".into(),
            sessions: 9,
            sessions_limit: Some(9),
            idle: 6,
            sessions_total: 601_728,
            chosen: 601_731,
            rate: 156,
            responses: [0, 601_500, 60, 150, 18, 0],
            since_ms: 5_400_000,
            last_session_ms: Some(3),
            check: Some(check(CheckCode::L7Ok, Some(200), 2, "200 OK", 812)),
            ..server.clone()
        },
        StatRow {
            name: "nginx2".into(),
            status: "DOWN".into(),
            address: "172.20.0.12:80".into(),
            active: 0,
            sessions_total: 590_011,
            chosen: 590_014,
            responses: [0, 590_000, 0, 0, 11, 0],
            connect_errors: 3,
            retries: 3,
            redispatches: 3,
            troubles: Troubles { errors: Some(44_000), retries: Some(44_000), ..Troubles::default() },
            since_ms: 42_000,
            downtime_ms: 42_000,
            last_session_ms: Some(48_120),
            failed_checks: 3,
            downs: 1,
            check: Some(check(CheckCode::L4Con, None, 0, "Connection refused", 1_301)),
            ..server.clone()
        },
        StatRow {
            name: "nginx3".into(),
            status: "UP 2/3".into(),
            address: "172.20.0.13:80".into(),
            sessions: 8,
            throttle: Some(40),
            idle: 2,
            sessions_total: 11_717,
            chosen: 11_717,
            rate: 155,
            responses: [0, 11_500, 60, 150, 7, 0],
            response_errors: 1,
            client_aborts: 2,
            server_aborts: 1,
            since_ms: 600_000,
            downtime_ms: 61_000,
            last_session_ms: Some(5),
            failed_checks: 7,
            downs: 2,
            check: Some(check(
                CheckCode::L7Sts,
                Some(500),
                7,
                "500 Internal Server Error, expected 200",
                310,
            )),
            ..server
        },
        StatRow {
            kind: RowKind::Backend,
            name: "BACKEND".into(),
            status: "UP".into(),
            weight: 2,
            active: 2,
            sessions: 17,
            idle: 8,
            sessions_total: 1_203_456,
            chosen: 1_203_462,
            rate: 311,
            responses: [0, 1_203_000, 120, 300, 36, 0],
            connect_errors: 3,
            response_errors: 1,
            retries: 3,
            redispatches: 3,
            client_aborts: 2,
            server_aborts: 1,
            since_ms: 5_403_000,
            last_session_ms: Some(3),
            downs: 0,
            algorithm: "roundrobin".into(),
            retries_refused: 1,
            sticky: Some(StickyCounts {
                followed: 1_150_000,
                dead: 31,
                expired: 12,
                unknown: 2,
                absent: 53_411,
                new: 53_456,
                renewed: 870,
            }),
            queue: Some(Queue { now: 3, max: 41, limit: 1000, refused: 2 }),
            ..service
        },
        StatRow {
            kind: RowKind::Server,
            proxy: "assets".into(),
            name: "files".into(),
            status: "DOWN".into(),
            weight: 1,
            since_ms: 5_403_000,
            downtime_ms: 5_403_000,
            downs: 1,
            rise: 2,
            fall: 3,
            check: Some(check(CheckCode::SockErr, None, 0, "no address", 1_500)),
            reason: "files.internal does not resolve: no such name".into(),
            ..StatRow::default()
        },
        StatRow {
            kind: RowKind::Server,
            proxy: "assets".into(),
            name: "mirror".into(),
            status: "DRAIN".into(),
            address: "[2001:db8::7]:8080".into(),
            backup: Some(2),
            sessions: 2,
            sessions_total: 12,
            since_ms: 75_000,
            check: Some(check(CheckCode::L4Ok, None, 1, "connected", 400)),
            rise: 2,
            fall: 3,
            ..StatRow::default()
        },
        StatRow {
            kind: RowKind::Backend,
            proxy: "assets".into(),
            name: "BACKEND".into(),
            status: "DOWN".into(),
            sessions: 2,
            sessions_total: 12,
            since_ms: 75_000,
            downtime_ms: 75_000,
            downs: 1,
            backups: Some(Backups { fit: 0, used: 0 }),
            algorithm: "leastconn".into(),
            ..StatRow::default()
        },
    ]
}

/// The routes of the frontend.
pub(crate) fn routes() -> Vec<RouteRow> {
    let row = |route: &str, action: &str, taken| RouteRow {
        frontend: "web".into(),
        route: route.into(),
        action: action.into(),
        taken,
    };
    vec![
        row("assets", "backend assets", 12),
        row("2", "deny 403", 0),
        row("none", "backend nginx", 1_203_444),
    ]
}

fn check(code: CheckCode, http_status: Option<u16>, duration_ms: u64, text: &str, age_ms: u64) -> LastCheck {
    LastCheck { code, http_status, duration_ms, text: text.into(), age_ms }
}

/// lbd itself.
pub(crate) fn info() -> Info {
    Info {
        daemon: "lbd".into(),
        version: "0.1.0".into(),
        pid: 4711,
        uptime_ms: 5_403_210,
        state: LifeState::Ready,
        config: "/etc/tandem/lb.yaml".into(),
        generation: 3,
        reload_error: None,
        details: BTreeMap::from([("Nbthread".into(), "4".into()), ("Node".into(), "lb1".into())]),
    }
}

/// A certificate.
pub(crate) fn certificates() -> Vec<super::certificates::CertificateRow> {
    vec![super::certificates::CertificateRow {
        frontend: "web".into(),
        address: ([0, 0, 0, 0], 8443).into(),
        file: "/etc/tandem/certs/app.pem".into(),
        names: vec!["app.example".into()],
        issuer: "CN=an authority".into(),
        key: "ECDSA P-256".into(),
        not_before: 1_780_000_000,
        not_after: 1_800_000_000,
        soon_from: 1_799_000_000,
        staple: Some(1_790_000_000),
    }]
}

/// Everything that is measured.
pub(crate) fn measured() -> super::metrics::Sample {
    super::metrics::Sample {
        info: info(),
        rows: rows(),
        healthd: super::HealthdLink::Connected,
        verdict_age: Some(Duration::from_millis(812)),
        routes: routes(),
        certificates: certificates(),
        handshakes: vec![
            super::certificates::HandshakeRow {
                proxy: "web".into(),
                server: None,
                full: 1_234,
                resumed: 98_765,
                versions: [("TLSv1.2", 999), ("TLSv1.3", 99_000)],
                failed: 7,
            },
            super::certificates::HandshakeRow {
                proxy: "nginx".into(),
                server: Some("nginx1".into()),
                full: 12,
                resumed: 345,
                versions: [("TLSv1.2", 57), ("TLSv1.3", 300)],
                failed: 2,
            },
        ],
        http2: vec![super::http2::Http2Row {
            frontend: "web".into(),
            connections: 345,
            streams: 67_890,
            resets: [("malformed", 1), ("client", 23), ("response_broken", 4)],
        }],
        latency: vec![super::metrics::BackendLatency {
            backend: "nginx".into(),
            times: wire::Histogram {
                buckets: vec![(500, 100), (1_000, 140), (25_000, 143)],
                sum_us: 140_000,
                count: 144,
            },
        }],
        workers: 4,
        tick_age: Duration::from_millis(15),
        connections: 17,
        predecessors: (1, 3),
        maxconn: 448,
        descriptors: 1024,
        log_dropped: 2,
        refusals: vec![("head_too_large".into(), 3), ("timeout".into(), 1)],
    }
}
