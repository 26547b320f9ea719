//! What must hold for any bytes: one function a target, which panics where it does not.
//!
//! `scripts/fuzz` searches for such bytes; the workspace's tests run those that are kept in `corpus`.

mod certificates;
mod config_files;
mod cookies;
mod dialogues;
mod heads;
mod http1_body;
mod http1_exchange;
mod http1_request;
mod http1_response;
mod http2_connection;
mod pieces;
mod proxy_headers;
mod routes;
mod sticky;
pub mod strict;
mod vrrp_packet;
mod wire_lines;

/// A target: the name of its folder in `corpus`, and what has to hold.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("certificates", certificates::run),
    ("check_mysql", dialogues::mysql),
    ("check_postgres", dialogues::postgres),
    ("check_redis", dialogues::redis),
    ("check_smtp", dialogues::smtp),
    ("check_steps", dialogues::steps),
    ("client_hello", routes::client_hello),
    ("config_lb", config_files::lb),
    ("config_vrrp", config_files::vrrp),
    ("cookies", cookies::run),
    ("edit", heads::run),
    ("http1_body", http1_body::run),
    ("http1_exchange", http1_exchange::run),
    ("http1_request", http1_request::run),
    ("http1_response", http1_response::run),
    ("http2_connection", http2_connection::run),
    ("proxy_protocol", proxy_headers::run),
    ("route", routes::choose),
    ("sticky", sticky::run),
    ("vrrp_packet", vrrp_packet::run),
    ("wire", wire_lines::run),
];
