//! Backends and their servers, named or found.

use super::{host_name, maxconn, milliseconds, name, proxy, server_tls, slow_start, timeout, unique};
use crate::check::check;
use crate::frontend::edits;
use balance::{AdminState, Algorithm, BackupLevel, BackupRules, BackupUse, LoadFactor, Weight};
use config::{
    Backend, Balance, Discover, HashKey, Mode, OnDown, OnUp, Queue, SameSite, Secret, Server, ServerAddress,
    ServerCheck, ServerTimeouts, Source, Sticky, WhenAllDown,
};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{Index, select};
use proptest::{option, prop_oneof};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

pub(super) fn backend() -> impl Strategy<Value = Backend> {
    let timeouts = (timeout(), timeout(), option::of(timeout())).prop_map(|(connect, server, keep_alive)| {
        ServerTimeouts { connect, server, server_fin: None, keep_alive }
    });
    let servers = vec(server(), 1..5).prop_map(|mut servers| {
        for (index, server) in servers.iter_mut().enumerate() {
            server.name = unique(&server.name, index);
        }
        servers
    });
    let servers = prop_oneof![
        servers.prop_map(|servers| (servers, None)),
        discover().prop_map(|discover| (Vec::new(), Some(discover)))
    ];
    let queue = (timeout(), 0..=1_000_000_u32).prop_map(|(timeout, max)| Queue { timeout, max });
    let when_all_down = select(vec![WhenAllDown::Reject, WhenAllDown::Try]);
    let edited = (backups(), edits());
    let wire = (proxy(), option::of(server_tls()));
    let overload = (queue, option::of(slow_start()), when_all_down, any::<bool>(), edited, wire);
    (
        name(),
        (balance(), option::of(sticky())),
        option::of(check()),
        servers,
        0..=10_u32,
        0..=100_u32,
        timeouts,
        overload,
    )
        .prop_map(
            |(
                name,
                (balance, sticky),
                check,
                (servers, discover),
                retries,
                retry_budget,
                timeouts,
                (queue, slow_start, when_all_down, abort_on_close, (backups, edits), (send_proxy, tls)),
            )| Backend {
                name,
                mode: Mode::Http,
                balance,
                sticky,
                check,
                servers,
                discover,
                send_proxy,
                tls,
                retries,
                retry_budget,
                timeouts,
                queue,
                slow_start,
                when_all_down,
                on_down: OnDown::KeepSessions,
                backups,
                on_up: OnUp::KeepSessions,
                abort_on_close,
                edits,
            },
        )
}

fn discover() -> impl Strategy<Value = Discover> {
    let source = prop_oneof![
        host_name().prop_map(Source::Srv),
        (host_name(), 1..=u16::MAX).prop_map(|(name, port)| Source::Host { name, port }),
        "[ -~\u{e4}]{1,20}".prop_map(Source::File),
    ];
    let bounds = (1..=10_000_u32, any::<Index>(), milliseconds(0..=24 * 60 * 60 * 1000));
    let check = option::of((option::of(1..=u16::MAX), option::of(host_name())))
        .prop_map(|own| own.map(|(port, host)| ServerCheck { port, host }));
    let weight = (0..=256_u16).prop_map(|weight| Weight::new(weight).expect("in range"));
    let usual = (weight, option::of(maxconn()), option::of(slow_start()), check, proxy());
    (source, bounds, usual, option::of(host_name())).prop_map(
        |(source, (max, min, hold), (weight, maxconn, slow_start, check, send_proxy), server_name)| {
            Discover {
                source,
                max,
                min: u32::try_from(min.index(max as usize + 1)).expect("no more than max"),
                hold,
                weight,
                maxconn,
                slow_start,
                check,
                send_proxy,
                server_name,
            }
        },
    )
}

fn balance() -> impl Strategy<Value = Balance> {
    let by = select(vec![Algorithm::Roundrobin, Algorithm::Leastconn, Algorithm::Source, Algorithm::Random]);
    let name = "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}";
    let of = prop_oneof![
        Just(HashKey::Host),
        Just(HashKey::Path),
        Just(HashKey::Query),
        name.prop_map(HashKey::Header),
        name.prop_map(HashKey::Cookie),
        "[ -~]{1,10}".prop_map(HashKey::UrlParam),
    ];
    let factor = option::of(
        (LoadFactor::MIN..=LoadFactor::MAX)
            .prop_map(|per_cent| LoadFactor::per_cent(per_cent).expect("within the range")),
    );
    prop_oneof![by.prop_map(Balance::By), (of, factor).prop_map(|(of, factor)| Balance::Hash { of, factor })]
}

fn sticky() -> impl Strategy<Value = Sticky> {
    let seconds = || (1..=8_760 * 60 * 60_u64).prop_map(Duration::from_secs);
    let times = (option::of(seconds()), option::of(seconds())).prop_map(|(idle, life)| match (idle, life) {
        (Some(idle), Some(life)) => (Some(idle.min(life)), Some(idle.max(life))),
        other => other,
    });
    let key = option::of("[ -~]{16,40}".prop_map(Secret::new));
    let same_site = select(vec![None, Some(SameSite::Strict), Some(SameSite::Lax), Some(SameSite::None)]);
    let domain = option::of("[a-z]{1,8}\\.[a-z]{2,5}");
    (
        "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}",
        key,
        times,
        any::<bool>(),
        any::<bool>(),
        same_site,
        domain,
        "/[a-z0-9/]{0,8}",
    )
        .prop_map(|(cookie, key, (max_idle, max_life), secure, http_only, same_site, domain, path)| {
            Sticky {
                cookie,
                key,
                max_idle,
                max_life,
                secure: secure || same_site == Some(SameSite::None),
                http_only,
                same_site,
                domain,
                path,
            }
        })
}

fn backups() -> impl Strategy<Value = BackupRules> {
    let min_usable = (1..=10_000_u32).prop_map(|least| NonZeroU32::new(least).expect("not zero"));
    (min_usable, select(vec![BackupUse::First, BackupUse::All]))
        .prop_map(|(min_usable, join)| BackupRules { min_usable, join })
}

fn server() -> impl Strategy<Value = Server> {
    let ip = any::<SocketAddr>()
        .prop_filter("a server has an address of its own", |a| {
            !a.ip().is_unspecified() && !a.ip().is_multicast()
        })
        .prop_map(|address| ServerAddress {
            host: config::Host::Ip(address.ip()),
            port: address.port().max(1),
        });
    let named = ("[a-z_][a-z0-9_-]{0,10}(\\.[a-z]{1,10}){0,2}\\.?", 1..=u16::MAX)
        .prop_map(|(host, port)| ServerAddress { host: config::Host::Name(host), port });
    let weight = (0..=256_u16).prop_map(|weight| Weight::new(weight).expect("in range"));
    let state = select(vec![AdminState::Ready, AdminState::Drain, AdminState::Maint]);
    let backup = any::<u8>().prop_map(BackupLevel::new);
    let own = (option::of(1..=u16::MAX), option::of("[a-z0-9.:\\[\\]-]{1,20}"));
    let check = option::of(own.prop_map(|(port, host)| ServerCheck { port, host }));
    let bounds = (option::of(maxconn()), option::of(slow_start()));
    let wire = (proxy(), option::of(host_name()));
    (name(), prop_oneof![ip, named], weight, state, bounds, check, backup, wire).prop_map(
        |(name, address, weight, state, (maxconn, slow_start), check, backup, (send_proxy, server_name))| {
            Server {
                name,
                address,
                weight,
                state,
                maxconn,
                slow_start,
                check,
                backup,
                send_proxy,
                server_name,
            }
        },
    )
}
