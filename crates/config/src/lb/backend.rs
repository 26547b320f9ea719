//! `backends.NAME`

use std::time::Duration;

use balance::{AdminState, Algorithm, Weight};

use super::{TIMEOUT, check, check_name, lints};
use crate::read::{Section, Value};
use crate::{Backend, Server, ServerAddress, ServerTimeouts, scalar};

const SERVER_ADDRESS: &str = "an address with a port such as nginx1:80";

pub(super) fn read(name: &str, s: &mut Section<'_>) -> Backend {
    let errors = s.report.errors();
    let servers = s.required("servers", "a mapping of names to servers").at_least_one(
        "server",
        "an address with a port such as nginx1:80, or a mapping with address",
        |name, value| Some((value.key_at(), server(name, &value)?)),
    );
    let (marks, servers) = servers.into_iter().unzip();
    let backend = Backend {
        name: name.to_owned(),
        balance: s.word("balance", Algorithm::Roundrobin, &ALGORITHMS),
        check: check::read(s),
        servers,
        retries: s.number("retries", 3, 0..=10),
        retry_budget: s
            .value("retry_budget", "a percentage from 0% to 100%", "20%")
            .scalar(scalar::percentage)
            .unwrap_or(20),
        timeouts: s.section("timeouts", timeouts),
    };
    if s.report.errors() == errors {
        lints::backend(s, &backend, marks);
    }
    backend
}

const ALGORITHMS: [(&str, Algorithm); 4] = [
    word(Algorithm::Roundrobin),
    word(Algorithm::Leastconn),
    word(Algorithm::Source),
    word(Algorithm::Random),
];

const fn word(algorithm: Algorithm) -> (&'static str, Algorithm) {
    (algorithm.word(), algorithm)
}

fn timeouts(s: &mut Section<'_>) -> ServerTimeouts {
    ServerTimeouts {
        connect: s.duration("connect", Duration::from_secs(5), TIMEOUT),
        server: s.duration("server", Duration::from_secs(50), TIMEOUT),
        keep_alive: s.duration("keep_alive", Duration::from_secs(10), TIMEOUT),
    }
}

/// `host:port` alone, or a mapping.
fn server(name: &str, value: &Value<'_>) -> Option<Server> {
    check_name(name, value);
    if matches!(name, "FRONTEND" | "BACKEND") {
        value.key_error("cannot have this name: in the statistics it stands for the sum of all servers");
    }
    let (address, weight, state) = if value.is_scalar() {
        (value.scalar(scalar::server_address), Weight::ONE, AdminState::Ready)
    } else {
        value.section(|s| (address(s), weight(s), state(s)))
    };
    Some(Server { name: name.to_owned(), address: address?, weight, state })
}

fn address(s: &mut Section<'_>) -> Option<ServerAddress> {
    s.required("address", SERVER_ADDRESS).scalar(scalar::server_address)
}

fn weight(s: &mut Section<'_>) -> Weight {
    let weight = s.number("weight", Weight::ONE.get(), Weight::ZERO.get()..=Weight::MAX.get());
    Weight::new(weight).unwrap_or_default()
}

fn state(s: &mut Section<'_>) -> AdminState {
    let states = [AdminState::Ready, AdminState::Drain, AdminState::Maint].map(|state| (state.word(), state));
    s.word("state", AdminState::Ready, &states)
}
