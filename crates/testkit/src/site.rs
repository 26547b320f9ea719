//! lbd on a host of its own, with a client and a server on others.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tempfile::TempDir;

use crate::config::Config;
use crate::daemon::{Daemon, Program};
use crate::netns::{Netns, Network};
use crate::nginx::Nginx;

/// A client, an lbd and a server at one switch. Needs root.
#[derive(Debug)]
pub struct Site {
    /// The client's host.
    pub client: Netns,
    /// lbd's host.
    pub node: Netns,
    /// The load balancer; it runs.
    pub lbd: Daemon,
    subnet: u8,
    _server: Nginx,
    _network: Network,
    _dir: TempDir,
}

const CLIENT: u8 = 1;
const SERVER: u8 = 2;
const NODE: u8 = 11;

impl Site {
    /// In the subnet 10.NUMBER.0.0/24.
    ///
    /// # Panics
    /// Without root, or when something does not start.
    pub fn start(subnet: u8) -> Self {
        let network = Network::new(24);
        let address = |last| Ipv4Addr::new(10, subnet, 0, last);
        let client = network.host("client", address(CLIENT));
        let server = network.host("server", address(SERVER));
        let node = network.host("lb", address(NODE));
        let server = Nginx::start_in(&server, 1, (address(SERVER), 80).into());
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lbd = lbd_within(&node, dir.path(), |config| config.server("s1", server.address()));
        Self { client, node, lbd, subnet, _server: server, _network: network, _dir: dir }
    }

    /// Where clients connect.
    pub fn web(&self) -> SocketAddr {
        (self.address(NODE), 80).into()
    }

    /// Makes the node take another host for the client: no handshake ends from now on.
    ///
    /// # Panics
    /// Without `ip`.
    pub fn lose_client(&self) {
        let client = self.address(CLIENT).to_string();
        let elsewhere = ["lladdr", "02:00:00:00:00:99", "dev", "eth0"];
        self.node.run("ip", &[&["neighbour", "replace", &client], &elsewhere[..]].concat());
    }

    /// Lets the node find the client.
    ///
    /// # Panics
    /// Without `ip`.
    pub fn find_client(&self) {
        self.node.run("ip", &["neighbour", "delete", &self.address(CLIENT).to_string(), "dev", "eth0"]);
    }

    /// Whether a client's handshake with the node has begun and not ended.
    pub fn is_shaking_hands(&self) -> bool {
        self.node.run("cat", &["/proc/net/tcp"]).contains(" 03 ")
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.subnet, 0, last)
    }
}

/// Starts lbd inside a namespace, at every address of it and without checks; the test adds servers. A handover may take as long as
/// it can be allowed to: the machine may have too much to do.
///
/// # Panics
/// When it does not start.
pub fn lbd_within(node: &Netns, dir: &Path, change: impl FnOnce(&mut Config)) -> Daemon {
    let any = |port| (Ipv4Addr::UNSPECIFIED, port).into();
    let mut config = Config::new(any(80), any(8404), any(8406));
    config.lbd = "handover_timeout: 5s".to_owned();
    config.check = "off".to_owned();
    change(&mut config);
    let mut lbd = Daemon::new(Program::Lbd, dir).within(node);
    fs::write(lbd.config(), config.to_string()).expect("an own file");
    lbd.start();
    lbd
}
