//! Adverts from one host to another.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use testkit::needs;
use vrrp::packet::{Advert, ChecksumForm, IP_PROTOCOL, Protection, encode};
use vrrp::{AdvertInterval, Priority, Version, VirtualRouterId};
use vrrpd::net::{AdvertSocket, Link};

use crate::lan::{Host, Lan, in_time, inside, needs_namespaces, seen};

fn router(id: u8) -> VirtualRouterId {
    VirtualRouterId::new(id).unwrap()
}

fn open(host: &Host, source: IpAddr, multicast: bool) -> AdvertSocket {
    let Link { index, name, .. } = &host.link;
    inside(&host.netns, || AdvertSocket::open(*index, name, source, router(51), multicast)).unwrap()
}

fn advert(from: &AdvertSocket, to: IpAddr, address: &str) -> Vec<u8> {
    advert_of(51, from, to, address)
}

fn advert_of(id: u8, from: &AdvertSocket, to: IpAddr, address: &str) -> Vec<u8> {
    let advert = Advert {
        version: Version::V3,
        virtual_router_id: router(id),
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

// RFC 9568 section 5.1.1.3: "The TTL MUST be set to 255."
// RFC 9568 section 5.1.2.3: "The Hop Limit MUST be set to 255."
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
async fn the_kernel_drops_what_is_for_others_or_was_forwarded() {
    needs_namespaces!();
    let lan = Lan::new().await;
    for (ipv6, address) in [(false, "10.66.0.100"), (true, "fe80::100")] {
        let own = |host: &Host| if ipv6 { host.ipv6 } else { host.ipv4 };
        let group = AdvertSocket::group(ipv6);
        let left = open(&lan.left, own(&lan.left), true);
        let right = open(&lan.right, own(&lan.right), true);
        let (first, other) = (advert(&left, group, address), advert_of(52, &left, group, address));
        for packet in [&other[..], &[0x31], &[], &first] {
            left.send(packet, group).unwrap();
        }
        assert_eq!(next(&right).await.3, first);

        right.hear(router(52)).unwrap();
        forwarded(&lan.left, ipv6, &other);
        for packet in [&first, &other] {
            left.send(packet, group).unwrap();
        }
        assert_eq!(next(&right).await, (own(&lan.left), group, 255, other));
    }
}

/// Sends a packet to the group as if a router had forwarded it.
fn forwarded(host: &Host, ipv6: bool, payload: &[u8]) {
    let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket =
        inside(&host.netns, || Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(IP_PROTOCOL)))));
    let socket = socket.unwrap();
    let to = match AdvertSocket::group(ipv6) {
        IpAddr::V4(group) => {
            socket.set_multicast_ttl_v4(254).unwrap();
            socket.bind_device(Some(host.link.name.as_bytes())).unwrap();
            SocketAddr::new(group.into(), 0)
        }
        IpAddr::V6(group) => {
            socket.set_multicast_hops_v6(254).unwrap();
            SocketAddrV6::new(group, 0, 0, host.link.index).into()
        }
    };
    socket.send_to(payload, &to.into()).unwrap();
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
        let group = AdvertSocket::group(ipv6);
        to_all.send(&advert(&to_all, group, address), group).unwrap();
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
    // Whatever it says, it names the instance.
    let payload = b"\x31\x33data";
    packet.extend(payload);
    packet[3] = u8::try_from(packet.len()).unwrap();
    forger.send_to(&packet, &SocketAddr::new(lan.right.ipv4, 0).into()).unwrap();
    let source = "10.66.0.77".parse().unwrap();
    assert_eq!(next(&right).await, (source, lan.right.ipv4, 7, payload.to_vec()));

    let right = open(&lan.right, lan.right.ipv6, false);
    let IpAddr::V6(peer) = lan.right.ipv6 else { panic!("it is of IPv6") };
    let forger = raw(Domain::IPV6);
    forger.set_unicast_hops_v6(7).unwrap();
    let to = SocketAddrV6::new(peer, 0, 0, lan.left.link.index);
    forger.send_to(payload, &to.into()).unwrap();
    let (_, destination, hop_limit, arrived) = next(&right).await;
    assert_eq!((destination, hop_limit, arrived), (peer.into(), 7, payload.to_vec()));
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
        AdvertSocket::open(far.index, &far.name, "10.66.1.1".parse().unwrap(), router(51), true).unwrap()
    });
    let right = open(&lan.right, lan.right.ipv4, true);
    let left = open(&lan.left, lan.left.ipv4, true);
    let group = AdvertSocket::group(false);
    let bytes = advert(&left, group, "10.66.0.100");
    from_far.send(&advert(&from_far, group, "10.66.1.100"), group).unwrap();
    left.send(&bytes, group).unwrap();
    assert_eq!(next(&right).await.3, bytes);
}
