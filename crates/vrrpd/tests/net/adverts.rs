//! Adverts from one host to another.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use testkit::needs;
use vrrp::packet::{Advert, ChecksumForm, IP_PROTOCOL, Protection, encode};
use vrrp::{AdvertInterval, Priority, Version, VirtualRouterId};
use vrrpd::net::AdvertSocket;

use crate::lan::{Host, Lan, in_time, inside, needs_namespaces, seen};

fn open(host: &Host, source: IpAddr, multicast: bool) -> AdvertSocket {
    inside(&host.netns, || AdvertSocket::open(host.link.index, &host.link.name, source, multicast)).unwrap()
}

fn advert(from: &AdvertSocket, to: IpAddr, address: &str) -> Vec<u8> {
    let advert = Advert {
        version: Version::V3,
        virtual_router: VirtualRouterId::new(51).unwrap(),
        priority: Priority::DEFAULT,
        interval: AdvertInterval::new(Version::V3, Duration::from_secs(1)).unwrap(),
        addresses: vec![address.parse().unwrap()],
    };
    encode(&advert, from.endpoints(to), ChecksumForm::default(), Protection::None).unwrap()
}

/// What arrives next: source, destination, TTL, payload.
async fn next(socket: &AdvertSocket) -> (IpAddr, IpAddr, u8, Vec<u8>) {
    let mut buffer = [0; 1500];
    loop {
        in_time("a packet", socket.readable()).await.unwrap();
        if let Some(arrived) = socket.try_receive(&mut buffer).unwrap() {
            let payload = buffer[arrived.payload].to_vec();
            return (arrived.endpoints.source, arrived.endpoints.destination, arrived.ttl, payload);
        }
    }
}

#[tokio::test]
async fn the_group_hears_an_advert_and_its_sender_does_not() {
    needs_namespaces!();
    let lan = Lan::new().await;
    for (ipv6, address) in [(false, "10.66.0.100"), (true, "fe80::100")] {
        let own = |host: &Host| if ipv6 { host.ipv6 } else { host.ipv4 };
        let group = AdvertSocket::group(ipv6);
        let left = open(&lan.left, own(&lan.left), true);
        let right = open(&lan.right, own(&lan.right), true);
        let bytes = advert(&left, group, address);
        left.send(&bytes, group).unwrap();
        assert_eq!(next(&right).await, (own(&lan.left), group, 255, bytes));
        // Had the first one come back, it would be here by now.
        let answer = advert(&right, group, address);
        right.send(&answer, group).unwrap();
        assert_eq!(next(&left).await, (own(&lan.right), group, 255, answer));
    }
}

#[tokio::test]
async fn a_peer_hears_what_is_sent_to_it_alone() {
    needs_namespaces!();
    let lan = Lan::new().await;
    for (ipv6, address) in [(false, "10.66.0.100"), (true, "fe80::100")] {
        let own = |host: &Host| if ipv6 { host.ipv6 } else { host.ipv4 };
        let to_all = open(&lan.left, own(&lan.left), true);
        let left = open(&lan.left, own(&lan.left), false);
        let right = open(&lan.right, own(&lan.right), false);
        to_all.send(b"to the group", AdvertSocket::group(ipv6)).unwrap();
        let bytes = advert(&left, own(&lan.right), address);
        left.send(&bytes, own(&lan.right)).unwrap();
        assert_eq!(next(&right).await, (own(&lan.left), own(&lan.right), 255, bytes));
    }
}

#[tokio::test]
async fn tshark_finds_nothing_wrong_with_an_advert() {
    needs_namespaces!();
    needs!("tshark");
    let lan = Lan::new().await;
    let left = open(&lan.left, lan.left.ipv4, true);
    let group = AdvertSocket::group(false);
    let bytes = advert(&left, group, "10.66.0.100");
    let fields = ["eth.dst", "ip.src", "ip.dst", "ip.ttl", "ip.dsfield", "vrrp.checksum.status"];
    let packet = seen(&lan.right, "vrrp", &fields, || left.send(&bytes, group).unwrap());
    assert_eq!(packet, ["01:00:5e:00:00:12", "10.66.0.1", "224.0.0.18", "255", "0xc0", "1"]);

    let left = open(&lan.left, lan.left.ipv6, true);
    let group = AdvertSocket::group(true);
    let bytes = advert(&left, group, "fe80::100");
    let fields = ["eth.dst", "ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.tclass", "vrrp.checksum.status"];
    let packet = seen(&lan.right, "vrrp", &fields, || left.send(&bytes, group).unwrap());
    assert_eq!(packet, ["33:33:00:00:00:12", "fe80::1", "ff02::12", "255", "0x000000c0", "1"]);
}

#[tokio::test]
async fn a_packet_that_was_routed_arrives_with_the_ttl_that_is_left() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let protocol = Some(Protocol::from(i32::from(IP_PROTOCOL)));
    let raw = |domain| inside(&lan.left.netns, || Socket::new(domain, Type::RAW, protocol)).unwrap();

    let right = open(&lan.right, lan.right.ipv4, false);
    let forger = raw(Domain::IPV4);
    forger.set_header_included_v4(true).unwrap();
    // With options, which move the payload.
    let mut packet =
        vec![0x46, 0xc0, 0, 28, 0, 1, 0, 0, 7, IP_PROTOCOL, 0, 0, 10, 66, 0, 77, 10, 66, 0, 2, 1, 1, 1, 0];
    packet.extend(b"data");
    forger.send_to(&packet, &SocketAddr::new(lan.right.ipv4, 0).into()).unwrap();
    let source = "10.66.0.77".parse().unwrap();
    assert_eq!(next(&right).await, (source, lan.right.ipv4, 7, b"data".to_vec()));

    let right = open(&lan.right, lan.right.ipv6, true);
    let IpAddr::V6(group) = AdvertSocket::group(true) else { panic!("the group of IPv6 is of IPv6") };
    let forger = raw(Domain::IPV6);
    forger.set_multicast_hops_v6(7).unwrap();
    let to = SocketAddrV6::new(group, 0, 0, lan.left.link.index);
    forger.send_to(b"data", &to.into()).unwrap();
    let (_, destination, hop_limit, payload) = next(&right).await;
    assert_eq!((destination, hop_limit, payload), (group.into(), 7, b"data".to_vec()));
}

#[tokio::test]
async fn what_comes_in_through_another_interface_is_not_heard() {
    needs_namespaces!();
    let lan = Lan::new().await;
    lan.right.ip("link add other type veth peer name far");
    lan.right.ip("address add 10.66.1.1/24 dev far");
    for name in ["far", "other"] {
        lan.right.ip(&format!("link set {name} up"));
    }
    let far = lan.right.now("far").await.unwrap();
    let from_far = inside(&lan.right.netns, || {
        AdvertSocket::open(far.index, &far.name, "10.66.1.1".parse().unwrap(), true).unwrap()
    });
    let right = open(&lan.right, lan.right.ipv4, true);
    let left = open(&lan.left, lan.left.ipv4, true);
    let group = AdvertSocket::group(false);
    from_far.send(b"from elsewhere", group).unwrap();
    left.send(b"from this link", group).unwrap();
    assert_eq!(next(&right).await.3, b"from this link");
}
