//! Servers that are found while daemons run: where, and what those that are found have in common.

use std::fmt;
use std::time::Duration;

use balance::{AdminState, BackupLevel, Weight};
use proxy_protocol::Version;

use crate::{LbConfig, Server, ServerAddress, ServerCheck};

/// Where a backend's servers are found, instead of in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Discover {
    /// Where.
    pub source: Source,
    /// The most of them. Default 100.
    pub max: u32,
    /// An answer with fewer is doubted for `hold`. Default 1.
    pub min: u32,
    /// How long nobody leaves for the sake of such an answer. Default 30 s.
    pub hold: Duration,
    /// The weight of those of whom the source says none. Default 1.
    pub weight: Weight,
    /// As each server's. Default: no limit.
    pub maxconn: Option<u32>,
    /// As each server's. Default: the backend's.
    pub slow_start: Option<Duration>,
    /// As each server's. Default: nothing is their own.
    pub check: Option<ServerCheck>,
    /// As each server's. Default: the backend's.
    pub send_proxy: Option<Version>,
    /// As each server's. Default: the host that was asked for, or the target of its SRV record, or the backend's choice.
    pub server_name: Option<String>,
}

/// Where servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The SRV records of a name (RFC 2782): hosts with ports, weights and priorities.
    Srv(String),
    /// The addresses of a name, each with this port.
    Host {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// A file, which is read again whenever it changes. A path that is not absolute starts at the directory of `lb.yaml`.
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Srv(name) => write!(f, "srv {name}"),
            Self::Host { name, port } => write!(f, "host {name}:{port}"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// A server that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is called: stable for as long as it is the same server, and unique in its backend.
    pub name: String,
    /// Where it listens.
    pub address: ServerAddress,
    /// Its share, where its source gives one.
    pub weight: Option<Weight>,
    /// Whether it is a backup server, and of which level.
    pub backup: Option<BackupLevel>,
    /// What it is asked for, and its certificate has to be for, where its source says that.
    pub server_name: Option<String>,
}

impl Discover {
    /// What a member is among the servers of the backend.
    pub fn server(&self, member: &Member) -> Server {
        let host = match &self.source {
            Source::Host { name, .. } => Some(name),
            Source::Srv(_) | Source::File(_) => None,
        };
        let server_name = self.server_name.as_ref().or(member.server_name.as_ref()).or(host);
        Server {
            name: member.name.clone(),
            address: member.address.clone(),
            weight: member.weight.unwrap_or(self.weight),
            state: AdminState::Ready,
            maxconn: self.maxconn,
            slow_start: self.slow_start,
            check: self.check.clone(),
            backup: member.backup,
            send_proxy: self.send_proxy,
            server_name: server_name.cloned(),
        }
    }
}

impl Member {
    /// The longest name, in bytes.
    const LONGEST: usize = 64;

    /// One that is known by where it listens, as all are whose source gives them no name.
    ///
    /// What is too long for a name is cut, and ends with a number that is made of the whole.
    pub fn at(address: ServerAddress) -> Self {
        let whole = address.to_string();
        let name = if whole.len() <= Self::LONGEST { whole } else { shortened(&whole) };
        Self { name, address, weight: None, backup: None, server_name: None }
    }
}

fn shortened(whole: &str) -> String {
    let (host, port) = whole.rsplit_once(':').unwrap_or((whole, ""));
    // FNV-1a: on each node, and in each version, the same.
    let hash = whole.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let end = format!("-{hash:016x}:{port}");
    let start: String = host.chars().take(Member::LONGEST - end.len()).collect();
    start + &end
}

impl LbConfig {
    /// The same with the servers that were found, in the place of what says where to find them: `found` is asked for each backend
    /// that has no servers of its own.
    #[must_use]
    pub fn with_servers(&self, mut found: impl FnMut(&str, &Discover) -> Vec<Server>) -> Self {
        let mut config = self.clone();
        for backend in &mut config.backends {
            if let Some(discover) = &backend.discover {
                backend.servers = found(&backend.name, discover);
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Host;

    #[test]
    fn a_member_is_called_by_its_address() {
        let at = |host, port| Member::at(ServerAddress { host, port }).name;
        assert_eq!(at(Host::Ip([192, 0, 2, 1].into()), 80), "192.0.2.1:80");
        assert_eq!(at(Host::Ip("2001:db8::1".parse().unwrap()), 8080), "[2001:db8::1]:8080");
        assert_eq!(at(Host::Name("web-1.example.org".to_owned()), 80), "web-1.example.org:80");
        let long = |label: &str| at(Host::Name(format!("{label}.{}.example.org", "x".repeat(60))), 65_535);
        assert_eq!(long("web-1").len(), 64);
        assert!(long("web-1").starts_with("web-1.xxx") && long("web-1").ends_with(":65535"));
        assert_ne!(long("web-1"), long("web-2"));
        assert_eq!(long("web-1"), long("web-1"));
    }
}
