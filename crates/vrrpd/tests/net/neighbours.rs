//! Announcements, questions, and claims.

use std::net::{IpAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use testkit::{needs, wait_until};
use vrrpd::net::{Claim, Link, Mac, Neighbours};

use crate::lan::{Host, Lan, in_time, inside, needs_namespaces, seen};

const IPV4: &str = "10.66.0.100";
const IPV6: &str = "fe80::100";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn open(host: &Host) -> Neighbours {
    forge(host, mac(host))
}

/// Speaks from a host in the name of some hardware address.
fn forge(host: &Host, mac: Mac) -> Neighbours {
    let link = Link { mac: Some(mac), ..host.link.clone() };
    inside(&host.netns, || Neighbours::open(&link)).unwrap()
}

fn mac(host: &Host) -> Mac {
    host.link.mac.unwrap()
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

async fn claim(neighbours: &Neighbours) -> Claim {
    in_time("a claim", neighbours.claim()).await.unwrap()
}

#[tokio::test]
async fn announcements_replace_what_others_remember() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let left = open(&lan.left);
    for address in [IPV4, IPV6] {
        lan.right.ip(&format!("neighbour replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud stale"));
        wait_until("the other host knows where the address is", || {
            left.announce(ip(address)).unwrap();
            lan.right.ip(&format!("neighbour show {address} dev eth0")).contains(&text(mac(&lan.left)))
        });
    }
}

#[tokio::test]
async fn tshark_sees_a_gratuitous_arp_request() {
    needs_namespaces!();
    needs!("tshark");
    let lan = Lan::new().await;
    let left = open(&lan.left);
    let fields =
        ["eth.dst", "eth.src", "arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.proto_ipv4"];
    let own = text(mac(&lan.left));
    let packet = seen(&lan.right, "arp.isgratuitous == 1", &fields, || left.announce(ip(IPV4)).unwrap());
    assert_eq!(packet, ["ff:ff:ff:ff:ff:ff", &own, "1", &own, IPV4, IPV4]);
    let packet = seen(&lan.right, "arp.isprobe == 1", &fields, || left.probe(ip(IPV4)).unwrap());
    assert_eq!(packet, ["ff:ff:ff:ff:ff:ff", &own, "1", &own, "0.0.0.0", IPV4]);
}

#[tokio::test]
async fn tshark_sees_an_overriding_neighbour_advertisement() {
    needs_namespaces!();
    needs!("tshark");
    let lan = Lan::new().await;
    let left = open(&lan.left);
    let fields = [
        "eth.dst",
        "ipv6.dst",
        "ipv6.hlim",
        "icmpv6.nd.na.flag.r",
        "icmpv6.nd.na.flag.s",
        "icmpv6.nd.na.flag.o",
        "icmpv6.opt.linkaddr",
        "icmpv6.checksum.status",
    ];
    let filter = "icmpv6.nd.na.target_address == fe80::100";
    let packet = seen(&lan.right, filter, &fields, || left.announce(ip(IPV6)).unwrap());
    let own = text(mac(&lan.left));
    assert_eq!(packet, ["33:33:00:00:00:01", "ff02::1", "255", "0", "0", "1", &own, "1"]);
}

#[tokio::test]
async fn who_has_an_address_answers_a_probe() {
    needs_namespaces!();
    let lan = Lan::new().await;
    lan.right.ip("address add 10.66.0.100/24 dev eth0");
    lan.right.ip("address add fe80::100/64 dev eth0 nodad");
    // The kernel joins the address's group in the background, and is deaf to questions until then.
    wait_until("the holder listens", || lan.right.ip("maddress show dev eth0").contains("ff02::1:ff00:100"));
    let left = open(&lan.left);
    left.watch(&[ip(IPV4), ip(IPV6)]).unwrap();
    for address in [IPV4, IPV6] {
        left.probe(ip(address)).unwrap();
        assert_eq!(claim(&left).await, Claim { ip: ip(address), mac: mac(&lan.right) });
        let from = if ip(address).is_ipv6() { lan.left.ipv6 } else { lan.left.ipv4 };
        left.ask(ip(address), from).unwrap();
        assert_eq!(claim(&left).await, Claim { ip: ip(address), mac: mac(&lan.right) });
    }
}

#[tokio::test]
async fn only_claims_by_others_of_watched_addresses_are_told() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let left = open(&lan.left);
    let own = forge(&lan.right, mac(&lan.left));
    let right = open(&lan.right);
    let twice = forge(&lan.right, [2, 0, 0, 0, 0, 1]);
    for (address, other) in [(IPV4, "10.66.0.101"), (IPV6, "fe80::101")] {
        right.announce(ip(address)).unwrap();
        left.watch(&[ip(address)]).unwrap();
        left.announce(ip(address)).unwrap();
        own.announce(ip(address)).unwrap();
        right.announce(ip(other)).unwrap();
        right.probe(ip(address)).unwrap();
        twice.announce(ip(address)).unwrap();
        assert_eq!(claim(&left).await, Claim { ip: ip(address), mac: [2, 0, 0, 0, 0, 1] });
        left.watch(&[]).unwrap();
        twice.announce(ip(address)).unwrap();
        left.watch(&[ip(other)]).unwrap();
        right.announce(ip(other)).unwrap();
        assert_eq!(claim(&left).await, Claim { ip: ip(other), mac: mac(&lan.right) });
    }
}

#[tokio::test]
async fn an_advertisement_that_was_routed_is_no_claim() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let left = open(&lan.left);
    left.watch(&[ip(IPV6)]).unwrap();
    let forger =
        inside(&lan.right.netns, || Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))).unwrap();
    forger.set_multicast_hops_v6(254).unwrap();
    let IpAddr::V6(target) = ip(IPV6) else { panic!("an IPv6 address") };
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1, 2, 0, 0, 0, 0, 9]);
    let all = SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, lan.right.link.index);
    forger.send_to(&message, &all.into()).unwrap();
    open(&lan.right).announce(ip(IPV6)).unwrap();
    assert_eq!(claim(&left).await.mac, mac(&lan.right));
}

#[tokio::test]
async fn claims_are_heard_again_after_the_interface_was_down() {
    needs_namespaces!();
    let mut lan = Lan::new().await;
    let left = open(&lan.left);
    left.watch(&[ip(IPV4)]).unwrap();
    lan.left.ip("link set eth0 down");
    assert!(left.announce(ip(IPV4)).is_err(), "nobody can hear it");
    lan.left.ip("link set eth0 up");
    lan.left.until("eth0 is running", |link| link.is_some_and(|link| link.running)).await;
    lan.wait_until_joined();
    open(&lan.right).announce(ip(IPV4)).unwrap();
    assert_eq!(claim(&left).await.mac, mac(&lan.right));
}

#[tokio::test]
async fn an_interface_without_hardware_address_is_refused_in_words() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let link = Link { mac: None, ..lan.left.link.clone() };
    let error = inside(&lan.left.netns, || Neighbours::open(&link)).unwrap_err();
    assert!(error.to_string().contains("eth0 has no hardware address"), "{error}");
}
