//! No two listeners of lbd and healthd may want the same address.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::read::Report;
use crate::yaml::Mark;

/// All addresses that lbd and healthd listen on.
#[derive(Default)]
pub(super) struct Listeners(Vec<Listener>);

struct Listener {
    /// None for a default, which stands nowhere.
    at: Option<Mark>,
    address: SocketAddr,
    owner: String,
}

impl Listeners {
    /// An address in the file.
    pub(super) fn add(&mut self, at: Mark, address: SocketAddr, owner: String) {
        self.0.push(Listener { at: Some(at), address, owner });
    }

    /// An address that the file does not mention.
    pub(super) fn add_default(&mut self, address: SocketAddr, owner: String) {
        self.0.push(Listener { at: None, address, owner });
    }

    /// Reports each listener whose address is taken by one before it. An unspecified address is all of its family:
    /// IPv6 listeners do not take IPv4 connections.
    pub(super) fn check(mut self, report: &Report) {
        self.0.sort_by_key(|listener| listener.at);
        let mut exact: HashMap<SocketAddr, &Listener> = HashMap::new();
        let mut of_port: HashMap<(u16, bool), &Listener> = HashMap::new();
        for listener in &self.0 {
            let address = listener.address;
            let mut unspecified = address;
            unspecified.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::UNSPECIFIED.into()
            } else {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            });
            let port = (address.port(), address.is_ipv4());
            let taken = if address == unspecified { of_port.get(&port) } else { exact.get(&unspecified) };
            if let (Some(at), Some(other)) = (listener.at, exact.get(&address).or(taken)) {
                report.error(at, conflict(listener, other));
            }
            exact.entry(address).or_insert(listener);
            of_port.entry(port).or_insert(listener);
        }
    }
}

fn conflict(listener: &Listener, other: &Listener) -> String {
    let place = match other.at {
        Some(at) => format!("on line {}", at.line),
        None => "by default".to_owned(),
    };
    format!(
        "{} listens on {}, but {} already listens on {} {place}",
        listener.owner, listener.address, other.owner, other.address
    )
}
