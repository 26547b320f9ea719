//! `backends.NAME.servers.discover`, and the files in which servers are found

use std::ops::RangeInclusive;
use std::time::Duration;

use proxy_protocol::Version;

use super::backend::{self, PROXY, SLOW_START, Usual};
use super::tls::file;
use super::{MAXCONN, check, server_tls};
use crate::read::{Section, Value, quoted};
use crate::scalar::{self, Problem};
use crate::{Discover, Host, Member, Source};

/// The key among the names of servers.
pub(super) const KEY: &str = "discover";
/// The most servers of one backend.
const MOST: u32 = 10_000;
/// How many there are unless somebody says more.
const MAX: u32 = 100;
const HOLD: Duration = Duration::from_secs(30);
const HOLDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 60 * 60);

/// Where the servers are found, if they are not in the file.
pub(super) fn read(servers: &Value<'_>, usual: Usual) -> Option<Discover> {
    let value =
        servers.known_entry(KEY, "a mapping with one of srv, host, file", "none: servers are named here")?;
    value.section(|s| section(s, usual))
}

fn section(s: &mut Section<'_>, usual: Usual) -> Option<Discover> {
    let source = source(s);
    let max = s.number("max", MAX, 1..=MOST);
    let min = s.number("min", 1, 0..=MOST);
    if min > max {
        s.error(["min"], format_args!("is to find {min} servers at least, and {max} at most"));
    }
    let hold = s.duration("hold", HOLD, HOLDS);
    let weight = backend::weight(s);
    let maxconn = s.number_or_off("maxconn", "off", 1..=MAXCONN);
    let slow_start = s.duration_or_off("slow_start", usual.slow_start, "the backend's", SLOW_START);
    let check = check::of_server(s);
    let send_proxy: Option<Version> = s.word_or("send_proxy", usual.send_proxy, "the backend's", &PROXY);
    let server_name = server_tls::server_name(s, "each server's own host");
    Some(Discover {
        source: source?,
        max,
        min,
        hold,
        weight,
        maxconn,
        slow_start,
        check,
        send_proxy,
        server_name,
    })
}

/// The one that is given.
fn source(s: &mut Section<'_>) -> Option<Source> {
    let srv = s.value("srv", "a name such as _http._tcp.web.example.org", "none");
    let host = s.value("host", "a host name with a port such as web.example.org:80", "none");
    let path = s.value("file", "a file with servers", "none");
    let given = [&srv, &host, &path].map(Value::is_given);
    let count = given.into_iter().filter(|given| *given).count();
    if count != 1 {
        let problem =
            if count == 0 { "lacks one of srv, host, file" } else { "has more than one of srv, host, file" };
        s.error([], problem);
        return None;
    }
    let srv = srv.scalar(scalar::host_name).map(Source::Srv);
    let host = host.scalar(|text| {
        let address = scalar::server_address(text)?;
        match address.host {
            Host::Name(name) => Ok(Source::Host { name, port: address.port }),
            Host::Ip(_) => {
                Problem::because("nothing has to be found out about an address; it is a server as it is")
            }
        }
    });
    srv.or(host).or(path.scalar(file).map(Source::File))
}

/// The servers of a file in which they are found.
pub(crate) fn members(file: &Value<'_>) -> Vec<Member> {
    file.section(|s| {
        s.required("servers", "a mapping of names to servers").entries(
            "server",
            "an address with a port such as nginx1:80, or a mapping with address",
            member,
        )
    })
}

fn member(name: &str, value: Value<'_>) -> Option<Member> {
    backend::check_server_name(name, &value);
    let name = name.to_owned();
    if value.is_scalar() {
        let address = value.scalar(scalar::server_address)?;
        return Some(Member { name, ..Member::at(address) });
    }
    value.section(|s| {
        let address = backend::address(s);
        let weight = s.value("weight", "a number from 0 to 256", "that of discover");
        let weight = weight.scalar(|text| scalar::number(text, &(0..=256)));
        let backup = backend::backup(s);
        let server_name = server_tls::server_name(s, "that of discover");
        Some(Member {
            name,
            backup,
            server_name,
            weight: weight.and_then(balance::Weight::new),
            ..Member::at(address?)
        })
    })
}

/// Reports a server that stands beside `discover`.
pub(super) fn stands_beside(server: &Value<'_>) {
    server.key_error(format_args!(
        "stands beside {}; servers are named here or found there, not both: give it a backend of its own",
        quoted(KEY)
    ));
}
