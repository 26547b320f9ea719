//! tshark as the referee of what vrrpd sends.

use std::net::Ipv4Addr;

use testkit::{Network, Tshark, VrrpNode, is_root, needs, skip, wait_until};

/// What becoming master puts on the wire, in the view of tshark on another host.
fn capture(lines: &str, prepare: impl Fn(&testkit::Netns)) -> Tshark {
    let network = Network::new(24);
    let router = network.host("router", Ipv4Addr::new(10, 9, 0, 1));
    let witness = network.host("witness", Ipv4Addr::new(10, 9, 0, 9));
    for host in [&router, &witness] {
        prepare(host);
    }
    let mut tshark = Tshark::start(&witness);
    let mut node =
        VrrpNode::start(router, &format!("virtual_router_id: 51\npriority: 200\ntrack: []\n{lines}"));
    node.wait_for_state("master");
    wait_until("some adverts were sent", || node.counter("adverts_sent") > 3);
    wait_until("the address was announced", || node.counter("announcements") >= 5);
    node.vrrpd.stop();
    wait_until("tshark has seen the farewell", || tshark.count("vrrp.prio == 0") >= 2);
    tshark.finish();
    let bad = tshark.packets("_ws.malformed || vrrp.checksum.status == 0", &["frame.number", "_ws.col.Info"]);
    assert_eq!(bad, Vec::<Vec<String>>::new(), "malformed");
    assert!(!tshark.packets("vrrp", &["frame.number"]).is_empty());
    tshark
}

fn all_are(tshark: &Tshark, filter: &str, expected: &[(&str, &str)]) {
    let fields: Vec<_> = expected.iter().map(|(field, _)| *field).collect();
    let expected: Vec<_> = expected.iter().map(|(_, value)| *value).collect();
    let packets = tshark.packets(filter, &fields);
    assert!(!packets.is_empty(), "{filter}");
    for packet in packets {
        assert_eq!(packet, expected, "{fields:?} of {filter}");
    }
}

const IPV4: [(&str, &str); 9] = [
    ("ip.src", "10.9.0.1"),
    ("ip.dst", "224.0.0.18"),
    ("eth.dst", "01:00:5e:00:00:12"),
    ("ip.ttl", "255"),
    ("ip.dsfield", "0xc0"),
    ("ip.checksum.status", "1"),
    ("vrrp.checksum.status", "1"),
    ("vrrp.virt_rtr_id", "51"),
    ("vrrp.ip_addr", "10.9.0.100"),
];

fn announced_by_arp(tshark: &Tshark) {
    // RFC 5227: a request, from the address for the address. To all, five times.
    let announcement = [
        ("eth.dst", "ff:ff:ff:ff:ff:ff"),
        ("arp.opcode", "1"),
        ("arp.src.proto_ipv4", "10.9.0.100"),
        ("arp.dst.proto_ipv4", "10.9.0.100"),
    ];
    all_are(tshark, "arp.isgratuitous == 1", &announcement);
    assert!(tshark.packets("arp.isgratuitous == 1", &["frame.number"]).len() >= 5);
    let senders = tshark.packets("arp.isgratuitous == 1 && eth.src != arp.src.hw_mac", &["frame.number"]);
    assert!(senders.is_empty(), "the sender is who it says");
}

#[test]
fn version_2_with_and_without_a_password() {
    needs!("tshark");
    if !is_root() {
        skip!("namespaces need root");
    }
    for (authentication, kind, text) in [("authentication: { pass: \"1234\" }", "1", "1234"), ("", "0", "")] {
        let lines = format!("version: 2\nvirtual_addresses: [10.9.0.100/24]\n{authentication}");
        let tshark = capture(&lines, |_| {});
        all_are(&tshark, "vrrp", &IPV4);
        let own = [
            ("vrrp.version", "2"),
            ("vrrp.auth_type", kind),
            ("vrrp.auth_string", text),
            ("vrrp.adver_int", "1"),
            ("ip.len", "40"),
        ];
        all_are(&tshark, "vrrp", &own);
        announced_by_arp(&tshark);
    }
}

#[test]
fn version_3_over_ipv4() {
    needs!("tshark");
    if !is_root() {
        skip!("namespaces need root");
    }
    let tshark = capture("virtual_addresses: [10.9.0.100/24]\nadvert_interval: 250ms", |_| {});
    all_are(&tshark, "vrrp", &IPV4);
    all_are(&tshark, "vrrp", &[("vrrp.version", "3"), ("vrrp.short_adver_int", "25"), ("ip.len", "32")]);
    all_are(&tshark, "vrrp.prio != 0", &[("vrrp.prio", "200")]);
    announced_by_arp(&tshark);
}

#[test]
fn version_3_over_ipv6() {
    needs!("tshark");
    if !is_root() {
        skip!("namespaces need root");
    }
    let tshark = capture(
        "virtual_addresses: [fe80::100/64, 2001:db8::100/64]\nadvert_interval: 250ms\ninterface: eth0",
        |host| {
            host.run("sysctl", &["-qw", "net.ipv6.conf.eth0.accept_dad=0"]);
            host.run("ip", &["address", "add", &format!("fe80::{:x}/64", host.name().len()), "dev", "eth0"]);
        },
    );
    let expected = [
        ("ipv6.dst", "ff02::12"),
        ("eth.dst", "33:33:00:00:00:12"),
        ("ipv6.hlim", "255"),
        ("vrrp.checksum.status", "1"),
        ("vrrp.version", "3"),
        ("vrrp.ipv6_addr", "fe80::100,2001:db8::100"),
    ];
    all_are(&tshark, "vrrp", &expected);
    let announced = "icmpv6.type == 136 && icmpv6.nd.na.target_address == 2001:db8::100";
    let expected = [
        ("ipv6.dst", "ff02::1"),
        ("ipv6.hlim", "255"),
        ("icmpv6.nd.na.flag.s", "0"),
        ("icmpv6.nd.na.flag.o", "1"),
        ("icmpv6.checksum.status", "1"),
    ];
    all_are(&tshark, announced, &expected);
}
