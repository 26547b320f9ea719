//! `resolvers`, `admin`, `lbd` and `healthd`

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::MAXCONN;
use super::listeners::Listeners;
use crate::read::Section;
use crate::{Access, Healthd, Lbd, Resolvers, scalar};

/// Where lbd's admin HTTP listens by default.
pub(super) const LBD_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8404);
const HEALTHD_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8406);

const MAX_WORKERS: usize = 256;
const MAX_NAME_SERVERS: usize = 8;

pub(super) fn resolvers(s: &mut Section<'_>) -> Resolvers {
    const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
    const TTL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);
    /// Not waiting at all is a choice.
    const HOLD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 60 * 60);
    let value = s.value(
        "nameservers",
        "an IP address, with or without a port, or a list of them",
        "the system's resolv.conf",
    );
    let nameservers = value.one_or_more(scalar::name_server);
    if nameservers.len() > MAX_NAME_SERVERS {
        value.error(format_args!(
            "has {} addresses; at most {MAX_NAME_SERVERS} are allowed",
            nameservers.len()
        ));
    }
    let resolvers = Resolvers {
        nameservers: nameservers.into_iter().map(|(_, address)| address).collect(),
        timeout: s.duration("timeout", Duration::from_secs(1), TIMEOUT),
        min_ttl: s.duration("min_ttl", Duration::from_secs(1), TTL),
        max_ttl: s.duration("max_ttl", Duration::from_secs(60), TTL),
        hold: s.duration("hold", Duration::from_secs(30), HOLD),
    };
    if resolvers.min_ttl > resolvers.max_ttl {
        let [min, max] = [resolvers.min_ttl, resolvers.max_ttl].map(scalar::show_duration);
        s.error(["min_ttl"], format_args!("has a min_ttl of {min}, longer than its max_ttl of {max}"));
    }
    resolvers
}

/// `admin` of one of the daemons.
pub(super) fn admin(
    s: &mut Section<'_>,
    default: SocketAddr,
    listeners: &mut Listeners,
) -> (SocketAddr, Access) {
    let value = s.value("bind", "an address with a port such as 127.0.0.1:8404", default);
    let owner = value.place().to_string();
    let bind = match value.scalar(scalar::listen_address) {
        Some(address) => {
            listeners.add(value.at(), address, owner);
            address
        }
        None if value.is_given() => default,
        None => {
            listeners.add_default(default, owner);
            default
        }
    };
    (bind, Access::read(s, bind))
}

pub(super) fn lbd(s: &mut Section<'_>, (admin, access): (SocketAddr, Access)) -> Lbd {
    /// Not waiting at all is a choice.
    const WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60 * 60);
    /// Whoever asks for a handover is answered within the protocol's patience.
    const HANDOVER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(5);
    Lbd {
        admin,
        access,
        workers: s.number_or_none("workers", "one a processor", 1..=MAX_WORKERS).unwrap_or_else(processors),
        maxconn: s.number_or_none("maxconn", "what the descriptors allow", 1..=MAXCONN),
        stop_timeout: s.duration("stop_timeout", Duration::from_secs(30), WAIT),
        handover_timeout: s.duration("handover_timeout", Duration::from_secs(1), HANDOVER),
        verdict_wait: s.duration("verdict_wait", Duration::from_secs(3), WAIT),
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_WORKERS))
}

pub(super) fn healthd(s: &mut Section<'_>, listeners: &mut Listeners) -> Healthd {
    let (admin, access) = s.section("admin", |s| admin(s, HEALTHD_ADMIN, listeners));
    Healthd { admin, access }
}
