//! Connections that are ended, as their peers see it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use testkit::{Netns, Network, wait_until};
use vrrpd::net::connections::{self, Ended};

use crate::lan::needs_namespaces;

const PATIENCE: Duration = Duration::from_secs(10);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A host with two addresses of each family, and its listener, of both families, and one beside it.
fn hosts() -> (Network, Netns, TcpListener, Netns) {
    let network = Network::new(24);
    let (host, client) =
        (network.host("node", [10, 9, 0, 1].into()), network.host("client", [10, 9, 0, 2].into()));
    for address in ["10.9.0.100/24", "10.9.0.101/24", "fd09::100/64", "fd09::101/64"] {
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        host.run("ip", &[&["address", "add", address, "dev", "eth0"], nodad].concat());
    }
    client.run("ip", &["address", "add", "fd09::2/64", "dev", "eth0", "nodad"]);
    let listener = host.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7))).unwrap();
    (network, host, listener, client)
}

fn end(host: &Netns, addresses: &[IpAddr], within: Duration) -> Ended {
    host.inside(|| connections::end(addresses, within)).unwrap()
}

#[test]
fn both_ends_of_a_connection_hear_of_its_end_and_no_other_does() {
    needs_namespaces!();
    let (_network, host, listener, client) = hosts();
    let own = host.inside(|| TcpListener::bind(("10.9.0.100", 8))).unwrap();
    let connect =
        |to: &str, port: u16| client.inside(|| TcpStream::connect(SocketAddr::new(ip(to), port))).unwrap();
    let session = |to: &str| (connect(to, 7), listener.accept().unwrap().0);
    let v4 = (connect("10.9.0.100", 8), own.accept().unwrap().0);
    let mapped = session("10.9.0.100");
    let v6 = session("fd09::100");
    // One that has said all, and listens on.
    let half = session("10.9.0.100");
    half.1.shutdown(Shutdown::Write).unwrap();
    // One that has all been said and heard, and is the client's to close.
    let mut over = session("10.9.0.100");
    over.1.write_all(b"all").unwrap();
    drop(over.1);
    // Of other addresses.
    let mut others = [session("10.9.0.101"), session("fd09::101")];
    let addresses = [ip("10.9.0.100"), ip("fd09::100"), ip("10.9.0.102")];
    let acknowledged = || host.run("ss", &["-Htn", "state", "fin-wait-2"]).lines().count() == 2;
    wait_until("ends are acknowledged", acknowledged);

    let ended = end(&host, &addresses, PATIENCE);
    assert_eq!(
        ended.connections.into_iter().collect::<Vec<_>>(),
        [(addresses[0], 3), (addresses[2], 0), (addresses[1], 1)]
    );
    assert!(ended.are_all);
    for (mut there, mut here) in [v4, mapped, v6] {
        there.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(there.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(here.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
    let (mut there, mut here) = half;
    assert_eq!(here.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert!(there.write_all(b"more").is_err());
    let mut heard = String::new();
    over.0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "all");
    for (there, here) in &mut others {
        there.write_all(b"x").unwrap();
        here.read_exact(&mut [0]).unwrap();
    }
    // Listeners are no connections.
    drop((session("10.9.0.100"), connect("10.9.0.100", 8)));
    let none = end(&host, &[ip("10.9.0.102")], PATIENCE);
    assert_eq!(none, Ended { connections: [(ip("10.9.0.102"), 0)].into(), are_all: true });
}

#[test]
fn a_crowd_is_ended_as_far_as_there_is_time() {
    needs_namespaces!();
    let (_network, host, listener, client) = hosts();
    let sessions: Vec<_> = (0..400)
        .map(|_| {
            let there = client.inside(|| TcpStream::connect("10.9.0.100:7")).unwrap();
            (there, listener.accept().unwrap().0)
        })
        .collect();
    let address = ip("10.9.0.100");
    let nothing = end(&host, &[address], Duration::ZERO);
    assert_eq!(nothing, Ended { connections: [(address, 0)].into(), are_all: false });
    assert_eq!(
        end(&host, &[address], PATIENCE),
        Ended { connections: [(address, 400)].into(), are_all: true }
    );
    assert_eq!(end(&host, &[address], PATIENCE).connections[&address], 0);
    for (mut there, _) in sessions {
        assert_eq!(there.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
