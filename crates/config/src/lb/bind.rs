//! `frontends.NAME.bind`

use std::net::SocketAddr;

use super::listeners::Listeners;
use super::tls::{self, Presented};
use crate::read::{Section, quoted};
use crate::yaml::Mark;
use crate::{Bind, scalar};

/// The most addresses of a frontend: each costs a socket for every worker.
const MAX_BINDS: usize = 64;

const ADDRESS: &str = "an address with a port such as 0.0.0.0:8080, or a list of them";

/// The addresses of a frontend, each alone or, in a mapping, with what TLS needs there.
pub(super) fn read(
    name: &str,
    s: &mut Section<'_>,
    listeners: &mut Listeners,
    presented: &mut Presented,
) -> Vec<Bind> {
    let value = s.required(
        "bind",
        "an address with a port such as 0.0.0.0:8080, a mapping with address and tls, or a list of them",
    );
    if value.is_empty_list() {
        value.error("is an empty list; it needs at least one address");
    }
    let mut found = Vec::new();
    for one in value.each() {
        if one.is_given() && !one.is_mapping() {
            let address = one.scalar(scalar::listen_address);
            found.extend(address.map(|address| Bind::plain(listening(one.at(), address, name, listeners))));
        } else {
            found.extend(one.section(|s| mapping(s, name, listeners, presented)));
        }
    }
    if found.len() > MAX_BINDS {
        value.error(format_args!("has {} addresses; at most {MAX_BINDS} are allowed", found.len()));
    }
    found
}

fn mapping(
    s: &mut Section<'_>,
    name: &str,
    listeners: &mut Listeners,
    presented: &mut Presented,
) -> Vec<Bind> {
    let value = s.required("address", ADDRESS);
    if value.is_empty_list() {
        value.error("is an empty list; it needs at least one address");
    }
    let addresses = value.one_or_more(scalar::listen_address);
    let tls = tls::read(s, presented);
    let bind = |(at, address)| Bind { address: listening(at, address, name, listeners), tls: tls.clone() };
    addresses.into_iter().map(bind).collect()
}

/// Tells the other listeners of an address.
fn listening(at: Mark, address: SocketAddr, name: &str, listeners: &mut Listeners) -> SocketAddr {
    listeners.add(at, address, format!("frontend {}", quoted(name)));
    address
}
