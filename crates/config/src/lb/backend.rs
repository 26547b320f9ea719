//! `backends.NAME`

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use balance::{AdminState, BackupLevel, BackupRules, BackupUse, Weight};
use proxy_protocol::Version;

use super::server_tls::{self, Reached};
use super::{MAXCONN, TIMEOUT, balancing, check, check_name, discover, edits, lints, mode, sticky};
use crate::read::{Section, Value};
use crate::{
    Backend, Mode, OnDown, OnUp, Queue, Server, ServerAddress, ServerCheck, ServerTimeouts, Source,
    WhenAllDown, scalar,
};

/// How long idle connections to servers are kept by default.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The most servers that can be asked for before backup servers stand by.
const MIN_USABLE: u32 = 10_000;
/// What warming up may take.
pub(super) const SLOW_START: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

pub(super) const DEFAULT_QUEUE: Queue = Queue { timeout: Duration::from_secs(5), max: 1000 };

const SERVER_ADDRESS: &str = "an address with a port such as nginx1:80";

/// The backend, and its mode where that can be read.
pub(super) fn read(name: &str, s: &mut Section<'_>, reached: &mut Reached) -> (Backend, Option<Mode>) {
    let errors = s.report.errors();
    let slow_start = s.duration_or_off("slow_start", None, "off", SLOW_START);
    let send_proxy = s.word("send_proxy", None, &PROXY);
    let usual = Usual { slow_start, send_proxy };
    let value = s.required("servers", "a mapping of names to servers, or with discover");
    let is_discovered = value.has(discover::KEY);
    let discover = discover::read(&value, usual);
    let servers = value.at_least_one(
        "server",
        "an address with a port such as nginx1:80, or a mapping with address",
        |name, value| match name {
            discover::KEY => None,
            _ => {
                if is_discovered {
                    discover::stands_beside(&value);
                }
                Some((value.key_at(), server(name, &value, usual)?))
            }
        },
    );
    let (marks, servers): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
    let found_by_srv = discover.as_ref().is_some_and(|discover| matches!(discover.source, Source::Srv(_)));
    let tls = server_tls::read(s, reached);
    let mode = mode::read(s);
    let backend = Backend {
        name: name.to_owned(),
        mode: mode.unwrap_or(Mode::Http),
        balance: balancing::read(s, mode),
        sticky: sticky::read(&s.optional("sticky", "a mapping with cookie", "none"), mode),
        check: check::read(s, mode.unwrap_or(Mode::Http)),
        servers,
        discover,
        send_proxy,
        tls,
        retries: s.number("retries", 3, 0..=10),
        retry_budget: s
            .value("retry_budget", "a percentage from 0% to 100%", "20%")
            .scalar(|text| scalar::percentage(text, &(0..=100)))
            .unwrap_or(20),
        timeouts: s.section("timeouts", timeouts),
        queue: s.section("queue", queue),
        slow_start,
        when_all_down: s.word(
            "when_all_down",
            WhenAllDown::Reject,
            &[("reject", WhenAllDown::Reject), ("try", WhenAllDown::Try)],
        ),
        on_down: s.word(
            "on_down",
            OnDown::KeepSessions,
            &[("keep_sessions", OnDown::KeepSessions), ("close_sessions", OnDown::CloseSessions)],
        ),
        backups: s.section("backups", |s| backups(s, found_by_srv)),
        on_up: s.word(
            "on_up",
            OnUp::KeepSessions,
            &[("keep_sessions", OnUp::KeepSessions), ("close_backup_sessions", OnUp::CloseBackupSessions)],
        ),
        abort_on_close: s.word("abort_on_close", false, &[("off", false), ("on", true)]),
        edits: edits::read_as_elsewhere(s),
    };
    server_tls::check_names(s, &backend, &marks);
    if s.report.errors() == errors {
        lints::backend(s, &backend, marks);
    }
    (backend, mode)
}

pub(super) const PROXY: [(&str, Option<Version>); 3] =
    [("off", None), (Version::V1.word(), Some(Version::V1)), (Version::V2.word(), Some(Version::V2))];

fn timeouts(s: &mut Section<'_>) -> ServerTimeouts {
    ServerTimeouts {
        connect: s.duration("connect", Duration::from_secs(5), TIMEOUT),
        server: s.duration("server", Duration::from_secs(50), TIMEOUT),
        server_fin: s.duration_or_off("server_fin", None, "off", TIMEOUT),
        keep_alive: s.duration_or_off("keep_alive", Some(KEEP_ALIVE), "10s", TIMEOUT),
    }
}

fn queue(s: &mut Section<'_>) -> Queue {
    Queue {
        timeout: s.duration("timeout", DEFAULT_QUEUE.timeout, TIMEOUT),
        max: s.number("max", DEFAULT_QUEUE.max, 0..=1_000_000),
    }
}

/// Servers of one priority in SRV records are meant to share the requests.
fn backups(s: &mut Section<'_>, found_by_srv: bool) -> BackupRules {
    let default = BackupRules::default();
    let join = if found_by_srv { BackupUse::All } else { default.join };
    BackupRules {
        join: s.word("use", join, &[("first", BackupUse::First), ("all", BackupUse::All)]),
        min_usable: NonZeroU32::new(s.number("min_usable", default.min_usable.get(), 1..=MIN_USABLE))
            .unwrap_or(default.min_usable),
    }
}

/// What a backend's servers have unless they have their own.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    pub(super) slow_start: Option<Duration>,
    pub(super) send_proxy: Option<Version>,
}

/// `host:port` alone, or a mapping.
fn server(name: &str, value: &Value<'_>, usual: Usual) -> Option<Server> {
    let Usual { slow_start, send_proxy } = usual;
    check_server_name(name, value);
    let name = name.to_owned();
    if value.is_scalar() {
        let address = value.scalar(scalar::server_address)?;
        let (weight, state) = (Weight::ONE, AdminState::Ready);
        let check = Some(ServerCheck::default());
        return Some(Server {
            name,
            address,
            weight,
            state,
            maxconn: None,
            slow_start,
            check,
            backup: None,
            send_proxy,
            server_name: None,
        });
    }
    value.section(|s| {
        let address = address(s);
        let (weight, state) = (weight(s), state(s));
        let maxconn = s.number_or_off("maxconn", "off", 1..=MAXCONN);
        let slow_start = s.duration_or_off("slow_start", slow_start, "the backend's", SLOW_START);
        let (check, backup) = (check::of_server(s), backup(s));
        let send_proxy = s.word_or("send_proxy", send_proxy, "the backend's", &PROXY);
        let server_name = server_tls::server_name(s, "the backend's choice");
        Some(Server {
            name,
            address: address?,
            weight,
            state,
            maxconn,
            slow_start,
            check,
            backup,
            send_proxy,
            server_name,
        })
    })
}

pub(super) fn check_server_name(name: &str, value: &Value<'_>) {
    check_name(name, value);
    if matches!(name, "FRONTEND" | "BACKEND") {
        value.key_error("cannot have this name: in the statistics it stands for the sum of all servers");
    }
}

pub(super) fn address(s: &mut Section<'_>) -> Option<ServerAddress> {
    s.required("address", SERVER_ADDRESS).scalar(scalar::server_address)
}

pub(super) fn weight(s: &mut Section<'_>) -> Weight {
    let weight = s.number("weight", Weight::ONE.get(), Weight::ZERO.get()..=Weight::MAX.get());
    Weight::new(weight).unwrap_or_default()
}

/// `true` is the first level.
pub(super) fn backup(s: &mut Section<'_>) -> Option<BackupLevel> {
    let value = s.value("backup", "true, false, or a level from 1 to 255", "false");
    value.scalar(|text| match scalar::boolean(text) {
        Some(false) => Ok(None),
        Some(true) => Ok(Some(BackupLevel::FIRST)),
        None => scalar::number(text, &(1..=u8::MAX)).map(BackupLevel::new),
    })?
}

fn state(s: &mut Section<'_>) -> AdminState {
    let states = [AdminState::Ready, AdminState::Drain, AdminState::Maint].map(|state| (state.word(), state));
    s.word("state", AdminState::Ready, &states)
}
