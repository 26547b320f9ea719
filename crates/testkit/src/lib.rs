//! What the end-to-end tests are made of: real servers, the daemons under test, and clients that see every byte.
//!
//! Nothing here stands in for the real thing. An [`Nginx`] is Debian's nginx, a [`Daemon`] is the binary that ships, a
//! [`Netns`] is the kernel's, and a [`RawServer`] is a real socket whose owner behaves badly on purpose.
//!
//! - Each test claims loopback addresses of its own ([`Addresses`]), so that ports can be fixed and tests run in
//!   parallel.
//! - Each wait is bounded by [`PATIENCE`] and says what it waited for ([`wait_until`]).
//! - What is started is killed on drop; when the test fails, each process's last words are printed.
//! - A test that cannot run here says so through [`skip!`].

#![expect(clippy::expect_used, clippy::panic, reason = "in a test a panic is the failure message")]

mod access_log;
mod addresses;
mod authority;
mod black_hole;
mod client;
mod config;
mod crowd;
mod curl;
mod daemon;
mod echo;
mod follower;
mod footprint;
mod gate;
mod hanging;
mod haproxy;
mod held;
mod load;
mod netns;
mod nginx;
mod postgres;
mod process;
mod raw_server;
mod site;
mod skip;
mod slow_joint;
mod stack;
mod stats;
mod systemd;
mod tls_client;
mod vrrp;
mod wait;

pub use access_log::LogLine;
pub use addresses::Addresses;
pub use authority::{Authority, CertificateKey};
pub use black_hole::BlackHole;
pub use client::{Client, Response, get};
pub use config::Config;
pub use crowd::{Crowd, Member};
pub use curl::{curl_http2, curl_secured, stdout, text};
pub use daemon::{Daemon, Program, binary, run};
pub use echo::{EchoServer, assert_echoes};
pub use follower::Follower;
pub use footprint::Footprint;
pub use gate::{gated, gated_request};
pub use hanging::HangingFile;
pub use haproxy::Haproxy;
pub use held::Held;
pub use load::{Load, Report, RunningLoad};
pub use netns::{Netns, Network};
pub use nginx::{Nginx, NginxTls};
pub use postgres::{Postgres, psql_client};
pub use process::{Process, adopt_orphans, memory_kib, raise_descriptors};
pub use raw_server::{Peer, RawServer};
pub use site::{Site, lbd_within};
pub use skip::{is_installed, is_root, record_skip};
pub use slow_joint::SlowJoint;
pub use stack::{SERVER_PORT, Stack, StackBuilder, text_command};
pub use stats::{Row, read_csv};
pub use systemd::Systemd;
pub use tls_client::{TlsClient, client_hello, tls_config};
pub use vrrp::{Frr, Keepalived, Owners, Ownership, RunningOwners, Tshark, VrrpNode, has_address};
pub use wait::{PATIENCE, wait_for, wait_until};

use std::net::SocketAddr;

/// `len` bytes that repeat nowhere near, the same for each `seed`: a body whose damage shows.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Xorshift64: small, quick, and good enough to be unlike any other part of the body.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The same address with another port.
pub fn with_port(address: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), port)
}
