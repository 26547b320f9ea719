//! What vrrpd does on the network, between real hosts: namespaces around a switch, with tshark as the referee.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

mod adverts;
mod connections;
mod lan;
mod neighbours;
mod netlink;
mod rules;
