//! The kinds of work, and measuring one of them with one proxy.

use std::path::Path;

use anyhow::Context as _;

use crate::cpu::{Processors, Used, resident_kib};
use crate::load::{self, Outcome};
use crate::memory::Held;
use crate::peer::Peer;

/// How long a proxy works before it is measured: its buffers and connections exist then.
const WARM_UP: u64 = 1;

/// A kind of work.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Servers of the backend.
    pub(crate) servers: usize,
    pub(crate) connections: usize,
    /// Connections that are open besides, and idle.
    pub(crate) idle: usize,
    pub(crate) kind: Kind,
    pub(crate) way: Way,
}

/// As what a proxy takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As requests.
    Http,
    /// As requests under TLS, which ends at the proxy.
    Https,
    /// As requests of HTTP/2 under TLS, with so many streams at once on a connection.
    Http2 { streams: usize },
    /// As bytes that are only carried: `mode tcp`.
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// GET of a path; the connection stays.
    Get(&'static str),
    /// GET of a path, on a connection of its own.
    GetOnce(&'static str),
    /// GET of a path, on a connection of its own that resumes a TLS session.
    GetResumed(&'static str),
    /// POST of so many bytes.
    Post(usize),
    /// POST of so many chunks of one byte, each with an extension.
    Chunks(usize),
    /// Messages through an upgraded connection, and back.
    Tunnel,
}

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) outcome: Outcome,
    pub(crate) used: Used,
    pub(crate) resident_kib: u64,
}

pub(crate) fn all() -> Vec<Work> {
    let get = |name, about, path, connections| Work {
        name,
        about,
        servers: 3,
        connections,
        idle: 0,
        kind: Kind::Get(path),
        way: Way::Http,
    };
    let tcp = |work: Work| Work { way: Way::Tcp, ..work };
    let tls = |work: Work| Work { way: Way::Https, ..work };
    let http2 = |work: Work| Work { way: Way::Http2 { streams: 16 }, ..work };
    let small = |name, about, servers, idle| Work { servers, idle, ..get(name, about, "/100", 64) };
    vec![
        get("keep-alive", "100 B, keep-alive, 64 connections", "/100", 64),
        get("keep-alive-1000", "100 B, keep-alive, 1,000 connections", "/100", 1000),
        Work {
            kind: Kind::GetOnce("/100"),
            ..get("connection", "100 B, a connection for each request, 64 at once", "/100", 64)
        },
        get("16k", "16 KiB, keep-alive, 64 connections", "/16k", 64),
        get("1m", "1 MiB, keep-alive, 16 connections", "/1m", 16),
        Work {
            kind: Kind::Post(10 * 1024),
            ..get("upload", "10 KiB sent, keep-alive, 64 connections", "", 64)
        },
        Work {
            kind: Kind::Chunks(7282),
            ..get(
                "chunks",
                "64 KiB sent in chunks of one byte with extensions, keep-alive, 16 connections",
                "",
                16,
            )
        },
        Work {
            kind: Kind::Tunnel,
            ..get("tunnel", "64 B echoed through upgraded connections, 64 at once", "", 64)
        },
        tcp(Work { kind: Kind::Tunnel, ..get("tcp", "mode tcp: 64 B echoed, 64 connections", "", 64) }),
        tcp(get("tcp-1m", "mode tcp: 1 MiB downloads, 16 connections", "/1m", 16)),
        tcp(Work {
            kind: Kind::GetOnce("/100"),
            ..get(
                "tcp-connection",
                "mode tcp: a connection for each exchange of 100 B, 64 at once",
                "/100",
                64,
            )
        }),
        tls(get("tls", "TLS 1.3: 100 B, keep-alive, 64 connections", "/100", 64)),
        tls(get("tls-16k", "TLS 1.3: 16 KiB, keep-alive, 64 connections", "/16k", 64)),
        tls(get("tls-1m", "TLS 1.3: 1 MiB, keep-alive, 16 connections", "/1m", 16)),
        tls(Work {
            kind: Kind::GetOnce("/100"),
            ..get(
                "tls-handshake",
                "TLS 1.3: a full handshake (ECDSA P-256) for each request of 100 B, 64 at once",
                "/100",
                64,
            )
        }),
        tls(Work {
            kind: Kind::GetResumed("/100"),
            ..get(
                "tls-resumed",
                "TLS 1.3: a session resumed for each request of 100 B, 16 at once",
                "/100",
                16,
            )
        }),
        http2(get("http2", "HTTP/2 under TLS: 100 B, 64 connections of 16 streams", "/100", 64)),
        http2(get("http2-16k", "HTTP/2 under TLS: 16 KiB, 64 connections of 16 streams", "/16k", 64)),
        small("servers-10", "100 B, 10 servers", 10, 0),
        small("servers-100", "100 B, 100 servers", 100, 0),
        small("servers-1000", "100 B, 1,000 servers", 1000, 0),
        small("open-1000", "100 B, 1,000 more connections idle", 3, 1000),
        small("open-9000", "100 B, 9,000 more connections idle", 3, 9000),
    ]
}

impl Work {
    /// Whether a proxy can do it: the relay leads to one address, reads nothing, and so knows no idle connection to reuse. An earlier
    /// lbd may know nothing of TCP and TLS.
    pub(crate) fn suits(&self, peer: &str) -> bool {
        if self.way != Way::Http && peer == "lbd-before" || self.way != Way::Tcp && peer == "bare" {
            return false;
        }
        peer != "relay"
            || matches!(self.way, Way::Http | Way::Tcp)
                && self.servers == 3
                && self.idle == 0
                && self.kind != Kind::Tunnel
    }

    /// Does the work through a proxy for some seconds.
    pub(crate) fn measure(
        &self,
        peer: &Peer,
        seconds: u64,
        processors: Processors,
        dir: &Path,
    ) -> anyhow::Result<Sample> {
        let context = || format!("{} through {}", self.name, peer.name);
        let run = |seconds| load::run(self, peer.address_for(self.kind, self.way), seconds, processors, dir);
        let held = || load::start_holding(peer, Held::Idle, self.idle, processors, dir);
        let _held = (self.idle > 0).then(held).transpose()?;
        run(WARM_UP).with_context(context)?;
        let before = Used::by(&peer.pids())?;
        let outcome = run(seconds).with_context(context)?;
        let used = Used::by(&peer.pids())?.since(before);
        Ok(Sample { outcome, used, resident_kib: resident_kib(&peer.pids())? })
    }
}
