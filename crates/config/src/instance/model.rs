//! What `vrrp.yaml` means, after defaults. Durations and counts are final: nothing downstream knows a default.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vrrp::packet::ChecksumForm;
use vrrp::{
    AddressMismatch, AdvertInterval, Authentication, Preemption, Priority, Version, VirtualRouterId, Weight,
};

use crate::{Access, Anycast};

/// A whole `vrrp.yaml`.
#[derive(Clone, Debug, PartialEq)]
pub struct VrrpConfig {
    /// This node's instances, in the order of the file. At least one, unless there is something in `anycast`.
    pub instances: Vec<Instance>,
    /// The services that this node announces beside others, in the order of the file.
    pub anycast: Vec<Anycast>,
    /// vrrpd's process.
    pub vrrpd: Vrrpd,
    /// Who may see its admin pages.
    pub access: Access,
}

/// vrrpd's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrpd {
    /// Its admin HTTP, the file's `admin.bind`. Default 127.0.0.1:8407.
    pub admin: SocketAddr,
    /// The priority of the election's thread among real-time threads (SCHED_FIFO, 1 to 99). Default: not real-time.
    pub realtime: Option<u8>,
    /// Whether memory is locked, so that the election never waits for a disk. Default: no.
    pub lock_memory: bool,
}

/// This node's part in one virtual router (RFC 9568).
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its key in the file.
    pub name: String,
    /// The interface, where it is not found by the subnet of the virtual addresses.
    pub interface: Option<String>,
    /// The version that all routers speak. Default 3.
    pub version: Version,
    /// VRID: which virtual router of the network.
    pub virtual_router_id: VirtualRouterId,
    /// Default 100.
    pub priority: Priority,
    /// The interval of this node's adverts. Default 1 s (`timing: safe`).
    pub interval: AdvertInterval,
    /// The addresses that adverts carry. At least one; all of one family.
    pub addresses: Vec<VirtualAddress>,
    /// Addresses that move too, without being in adverts (`excluded_addresses`). Either family.
    pub excluded: Vec<VirtualAddress>,
    /// Default: at once.
    pub preemption: Preemption,
    /// Keeps to the RFC's skew after a priority-0 advert. Default: no.
    pub strict: bool,
    /// Adverts go to these routers, instead of to the multicast group.
    pub unicast: Option<Unicast>,
    /// Default: none.
    pub authentication: Authentication,
    /// The files of its HMAC keys with their ids, as the file names them. The first one's signs.
    pub key_files: Vec<(u8, String)>,
    /// What the checksum of a VRRPv3 advert over IPv4 covers. Default: pseudo-header and message.
    pub checksum: ChecksumForm,
    /// What to do with adverts that list other addresses. Default: believe them, with a warning.
    pub address_mismatch: AddressMismatch,
    /// What else the right to be master depends on. Default: lbd.
    pub track: Vec<Tracker>,
    /// How the network is told where the addresses are.
    pub gratuitous: Gratuitous,
    /// How long before a takeover for silence the network is asked whether somebody still has the addresses (`probe`).
    /// Default 25 ms; none: it is not asked.
    pub probe: Option<Duration>,
    /// How long established connections are kept when the addresses go to another node. Default: none are.
    pub keep_connections: Option<Duration>,
    /// Whom to tell of transitions.
    pub notify: Option<Notify>,
}

/// An address that moves, with the prefix length that it is added with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// The length of its subnet's prefix. Default 32, for IPv6 128.
    pub prefix: u8,
}

impl VirtualAddress {
    /// Whether an address is of the same subnet.
    pub fn has_in_subnet(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// The other routers, where there is no multicast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unicast {
    /// Their addresses. At least one.
    pub peers: Vec<IpAddr>,
    /// The address to send from, where the interface has several.
    pub source: Option<IpAddr>,
    /// The lowest TTL that is believed. Default 255: the peers are on this link. 0 accepts every TTL.
    pub min_ttl: u8,
}

/// How the network is told where the addresses are: gratuitous ARP, and unsolicited neighbour advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gratuitous {
    /// Announcements of each address in a burst. Default 5.
    pub repeat: u8,
    /// Between two announcements of a burst. Default 100 ms.
    pub interval: Duration,
    /// From a takeover to a second burst. Default 5 s; none: no second burst.
    pub delay: Option<Duration>,
    /// Between single announcements for as long as this node is master. Default: none.
    pub refresh: Option<Duration>,
}

/// Something that the right to be master, or to be announced, depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracker {
    /// Unique in the instance: `lbd`, `backend nginx`, `interface eth1`, `command check-disk`, `gateway 10.0.0.1`.
    pub name: String,
    /// What it does while it fails, or is good. Default: no mastership while it fails.
    pub weight: Weight,
    /// What is looked at.
    pub target: TrackTarget,
}

/// What a tracker looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackTarget {
    /// lbd: fails when it is gone, not ready, or hangs for longer than this. Default 300 ms, 110 ms with `timing: fast`.
    Lbd {
        /// The age of the slowest worker's tick from which on lbd counts as hung.
        hung_after: Duration,
    },
    /// A backend of lbd: fails while it has too few usable servers.
    Backend {
        /// Its name in `lb.yaml`.
        name: String,
        /// How many usable servers are enough. Default 1.
        at_least: u32,
    },
    /// An interface: fails while it is missing, down or without carrier.
    Interface(String),
    /// A command: fails while it exits with another code than 0.
    Command {
        /// What is run.
        command: Command,
        /// How often, and how many runs decide.
        timing: TrackTiming,
    },
    /// A router on the same link: fails while it does not answer ARP or neighbour solicitations.
    Gateway {
        /// Its address; none: that of the default route through the interface.
        address: Option<IpAddr>,
        /// How often, and how many answers decide.
        timing: TrackTiming,
    },
}

impl TrackTarget {
    /// What a tracker of it is called unless the file says otherwise.
    pub fn usual_name(&self) -> String {
        match self {
            Self::Lbd { .. } => "lbd".to_owned(),
            Self::Backend { name, .. } => format!("backend {name}"),
            Self::Interface(interface) => format!("interface {interface}"),
            Self::Command { command, .. } => {
                let program =
                    command.argv.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                format!("command {program}")
            }
            Self::Gateway { address: Some(address), .. } => format!("gateway {address}"),
            Self::Gateway { address: None, .. } => "gateway default".to_owned(),
        }
    }
}

/// How often a tracker looks, and how many results decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackTiming {
    /// From the start of a look to the next. Default 2 s; gateway 1 s.
    pub interval: Duration,
    /// How long one may take; then it has failed. Default: the interval.
    pub timeout: Duration,
    /// Good results in a row that make it good again. Default 2.
    pub rise: u32,
    /// Bad results in a row that make it fail. Default 2. The first result decides alone.
    pub fall: u32,
}

/// A program that vrrpd runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments. Not run by a shell.
    pub argv: Vec<String>,
    /// Whether it has vrrpd's capabilities, and may gain more. Default: no.
    pub privileged: bool,
}

/// A command that is told of every transition.
///
/// It gets keepalived's arguments after its own: `INSTANCE`, the name, `MASTER`, `BACKUP`, `FAULT` or `STOP`, the priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// What is run.
    pub command: Command,
    /// When it is killed. Default 30 s.
    pub timeout: Duration,
    /// After how long a master that it could not be told of gives the addresses up. Default: never.
    pub fault_after: Option<Duration>,
}
