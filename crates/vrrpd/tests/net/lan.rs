//! Hosts on one link, what runs inside them, and what is seen there.

use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::{Netns, Network, PATIENCE, Process, wait_for, wait_until};
use vrrpd::net::{Changes, Link, Netlink};

/// Skips the test where there can be no namespaces.
macro_rules! needs_namespaces {
    () => {
        if !testkit::is_root() {
            testkit::skip!("network namespaces need root");
        }
        testkit::needs!("ip");
    };
}
pub(crate) use needs_namespaces;

/// Two hosts on one link.
pub(crate) struct Lan {
    _network: Network,
    pub(crate) left: Host,
    pub(crate) right: Host,
}

impl Lan {
    pub(crate) async fn new() -> Self {
        let network = Network::new(24);
        let left = Host::new(&network, "left", 1).await;
        let right = Host::new(&network, "right", 2).await;
        let lan = Self { _network: network, left, right };
        lan.wait_until_joined();
        lan
    }

    /// Waits until the switch carries packets both ways, which it does a while after both interfaces run.
    pub(crate) fn wait_until_joined(&self) {
        let to = SocketAddr::new(self.right.ipv4, 9);
        wait_until("one host reaches the other", || {
            let refused =
                inside(&self.left.netns, || TcpStream::connect_timeout(&to, Duration::from_secs(1)));
            refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    }
}

/// A host with one interface that is up, with an address of each family.
pub(crate) struct Host {
    pub(crate) netns: Netns,
    pub(crate) netlink: Netlink,
    pub(crate) changes: Changes,
    pub(crate) ipv4: IpAddr,
    pub(crate) ipv6: IpAddr,
    pub(crate) link: Link,
}

impl Host {
    async fn new(network: &Network, name: &str, number: u8) -> Self {
        let ipv4 = Ipv4Addr::new(10, 66, 0, number);
        let ipv6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into());
        let netns = network.host(name, ipv4);
        netns.run("ip", &["address", "add", &format!("{ipv6}/64"), "dev", "eth0", "nodad"]);
        let (netlink, changes) = inside(&netns, Netlink::open).unwrap();
        let link = link(&netlink, "eth0").await.unwrap();
        let (ipv4, ipv6) = (ipv4.into(), ipv6.into());
        let mut host = Self { netns, netlink, changes, ipv4, ipv6, link };
        host.until("eth0 is running", |link| link.is_some_and(|link| link.running)).await;
        host.link = host.now("eth0").await.unwrap();
        host
    }

    /// An interface as it is now.
    pub(crate) async fn now(&self, name: &str) -> Option<Link> {
        link(&self.netlink, name).await
    }

    /// Waits until `eth0` is as wanted, looking only when there are news.
    pub(crate) async fn until(&mut self, what: &str, is_so: impl Fn(Option<&Link>) -> bool) {
        while !is_so(self.now("eth0").await.as_ref()) {
            in_time(what, self.changes.next()).await;
        }
    }

    /// Runs `ip` inside, with these words.
    pub(crate) fn ip(&self, words: &str) -> String {
        self.netns.run("ip", &words.split(' ').collect::<Vec<_>>())
    }
}

async fn link(netlink: &Netlink, name: &str) -> Option<Link> {
    netlink.links().await.unwrap().into_iter().find(|link| link.name == name)
}

/// Does something inside a namespace. Sockets opened there stay there.
pub(crate) fn inside<T>(netns: &Netns, what: impl FnOnce() -> T) -> T {
    let there = File::open(format!("/run/netns/{}", netns.name())).unwrap();
    let here = File::open("/proc/thread-self/ns/net").unwrap();
    let enter = |namespace: &File| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    };
    enter(&there);
    let done = what();
    enter(&here);
    done
}

/// Waits for something, but not for ever.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

/// Does something again and again, until tshark has seen a packet that passes `filter`; its fields.
pub(crate) fn seen(host: &Host, filter: &str, fields: &[&str], mut again: impl FnMut()) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = host.netns.command("tshark");
    command.args(["-n", "-l", "-i", "eth0", "-Y", filter, "-T", "fields", "-E", "separator=|"]);
    command.args(["-o", "vrrp.v3_checksum_as_in_v2:FALSE"]);
    command.args(fields.iter().flat_map(|field| ["-e", *field]));
    let tshark = Process::spawn("tshark", command, dir.path());
    let line = wait_for(&format!("tshark sees {filter}"), || {
        again();
        tshark.stdout().lines().next().map(str::to_owned)
    });
    line.split('|').map(str::to_owned).collect()
}
