//! Interfaces and addresses.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use config::VirtualAddress;
use tokio::time::timeout;
use vrrpd::net::{Link, LinkAddress, Netlink, NextHops};

use crate::lan::{Lan, in_time, inside, needs_namespaces};

/// How long without news there are none.
const QUIET: Duration = Duration::from_millis(200);

fn address(text: &str, prefix: u8) -> VirtualAddress {
    VirtualAddress { ip: text.parse().unwrap(), prefix }
}

fn found(link: Option<&Link>, ip: IpAddr) -> Vec<LinkAddress> {
    link.map(|link| link.addresses.iter().filter(|address| address.ip == ip).copied().collect())
        .unwrap_or_default()
}

#[tokio::test]
async fn addresses_are_added_with_the_mark_and_removed_as_often_as_one_likes() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let host = &lan.left;
    let index = host.link.index;
    let addresses = [
        address("10.66.0.100", 24),
        address("10.66.0.101", 32),
        address("2001:db8::100", 64),
        address("fe80::100", 128),
    ];
    for added in addresses {
        for _ in 0..2 {
            host.netlink.add_address(index, added).await.unwrap();
            let there =
                LinkAddress { ip: added.ip, prefix: added.prefix, ours: true, usable: added.ip.is_ipv4() };
            assert_eq!(found(host.now("eth0").await.as_ref(), added.ip), [there]);
        }
    }
    let theirs = found(host.now("eth0").await.as_ref(), host.ipv4);
    assert_eq!(theirs, [LinkAddress { ip: host.ipv4, prefix: 24, ours: false, usable: true }]);

    // The mark is the kernel's: another run sees it.
    let (another, _) = inside(&host.netns, Netlink::open).unwrap();
    let links = another.links().await.unwrap();
    let ours = links.iter().flat_map(|link| &link.addresses).filter(|address| address.ours).count();
    assert_eq!(ours, addresses.len());

    for removed in addresses {
        for _ in 0..2 {
            another.remove_address(index, removed).await.unwrap();
        }
    }
    let left = host.now("eth0").await.unwrap();
    assert!(left.addresses.iter().all(|address| !address.ours), "{left:?}");
    another.remove_address(index + 1000, addresses[0]).await.unwrap();
    let refused = another.add_address(index + 1000, addresses[0]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("cannot add 10.66.0.100/24"), "{refused:#}");
}

#[tokio::test]
async fn an_address_that_somebody_else_has_added_becomes_ours() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let host = &lan.left;
    for (added, command) in [
        (address("10.66.0.100", 24), "address add 10.66.0.100/24 dev eth0"),
        (address("2001:db8::100", 64), "address add 2001:db8::100/64 dev eth0 nodad"),
    ] {
        host.ip(command);
        let expected = |ours| LinkAddress {
            ip: added.ip,
            prefix: added.prefix,
            ours,
            usable: added.ip.is_ipv4() || !ours,
        };
        assert_eq!(found(host.now("eth0").await.as_ref(), added.ip), [expected(false)]);
        host.netlink.add_address(host.link.index, added).await.unwrap();
        assert_eq!(found(host.now("eth0").await.as_ref(), added.ip), [expected(true)]);
    }
}

#[tokio::test]
async fn an_ipv6_address_serves_at_once_but_no_connection_begins_there() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let host = &lan.left;
    host.ip("address add 2001:db8::1/64 dev eth0 nodad");
    host.netlink.add_address(host.link.index, address("2001:db8::100", 64)).await.unwrap();
    let shown = host.ip("-oneline address show dev eth0 to 2001:db8::100");
    assert!(!shown.contains("tentative"), "{shown}");
    let route = host.ip("route get 2001:db8::2");
    assert!(route.contains("src 2001:db8::1 "), "{route}");
}

#[tokio::test]
async fn somebody_else_removes_an_address() {
    needs_namespaces!();
    let mut lan = Lan::new().await;
    let host = &mut lan.left;
    let ip = "10.66.0.100".parse().unwrap();
    host.netlink.add_address(host.link.index, address("10.66.0.100", 24)).await.unwrap();
    host.until("the address is there", |link| !found(link, ip).is_empty()).await;
    host.ip("address delete 10.66.0.100/24 dev eth0");
    host.until("the address is gone", |link| found(link, ip).is_empty()).await;
}

#[tokio::test]
async fn an_interface_goes_and_comes_back_under_another_name() {
    needs_namespaces!();
    let mut lan = Lan::new().await;
    let host = &mut lan.left;
    host.ip("link delete eth0");
    host.until("the interface is gone", |link| link.is_none()).await;
    host.ip("link add eth1 type veth peer name far");
    host.ip("address add 10.66.0.1/24 dev eth1");
    host.ip("link set eth1 up");
    host.ip("link set far up");
    let back = loop {
        match host.now("eth1").await {
            Some(link) if link.running => break link,
            _ => in_time("the interface is back", host.changes.next()).await,
        }
    };
    assert_ne!(back.index, host.link.index);
    assert_eq!(found(Some(&back), host.ipv4).len(), 1);
}

#[tokio::test]
async fn an_interface_without_carrier_does_not_run() {
    needs_namespaces!();
    let mut lan = Lan::new().await;
    let host = &mut lan.left;
    host.ip("link set eth0 down");
    host.until("eth0 is down", |link| link.is_some_and(|link| !link.running)).await;
    host.ip("link add near type veth peer name far");
    host.ip("link set near up");
    assert!(!host.now("near").await.unwrap().running, "the other end is down");
    host.ip("link set far up");
    while !host.now("near").await.unwrap().running {
        in_time("near is running", host.changes.next()).await;
    }
}

#[tokio::test]
async fn the_gateway_is_where_the_default_route_of_the_interface_leads() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let host = &lan.left;
    let index = host.link.index;
    let next_hops = inside(&host.netns, NextHops::open).unwrap();
    let gateway = async |index, ipv6| host.netlink.gateway(index, ipv6, &next_hops).await.unwrap();
    assert_eq!(gateway(index, false).await, None);
    host.ip("route add 192.0.2.0/24 via 10.66.0.9");
    host.ip("route add default via 10.66.0.254");
    host.ip("route add default via fe80::2 dev eth0");
    assert_eq!(gateway(index, false).await, Some("10.66.0.254".parse().unwrap()));
    assert_eq!(gateway(index, true).await, Some("fe80::2".parse().unwrap()));
    assert_eq!(gateway(index + 1, false).await, None);
}

#[tokio::test]
async fn a_default_route_has_many_forms() {
    needs_namespaces!();
    let lan = Lan::new().await;
    let host = &lan.left;
    host.ip("link add other type veth peer name far");
    for name in ["far", "other"] {
        host.ip(&format!("link set {name} up"));
    }
    host.ip("address add 10.67.0.1/24 dev other");
    for id in [1, 2] {
        host.ip(&format!("nexthop add id {id} via 10.6{}.0.253 dev {}", 8 - id, ["other", "eth0"][id - 1]));
    }
    host.ip("nexthop add id 3 group 1/2");
    host.ip("nexthop add id 4 via fe80::7 dev eth0");
    host.ip("nexthop add id 5 via fe80::8 dev other");
    host.ip("nexthop add id 6 group 5/4");
    let next_hops = inside(&host.netns, NextHops::open).unwrap();
    let routes = [
        ("-4", "via inet6 fe80::9 dev eth0", "fe80::9"),
        ("-4", "nexthop via 10.67.0.254 dev other nexthop via 10.66.0.254 dev eth0", "10.66.0.254"),
        ("-4", "nhid 3", "10.66.0.253"),
        ("-4", "nhid 2", "10.66.0.253"),
        ("-6", "nexthop via fe80::5 dev other nexthop via fe80::6 dev eth0", "fe80::6"),
        ("-4", "nhid 4", "fe80::7"),
        ("-6", "nhid 4", "fe80::7"),
        ("-6", "nhid 6", "fe80::7"),
    ];
    // With 0 the kernel tells nothing of a next hop but its number.
    for compat in ["1", "0"] {
        host.netns.run("sysctl", &["-q", "-w", &format!("net.ipv4.nexthop_compat_mode={compat}")]);
        for (family, route, gateway) in routes {
            host.ip(&format!("{family} route add default {route}"));
            let found = host.netlink.gateway(host.link.index, family == "-6", &next_hops).await.unwrap();
            assert_eq!(found, Some(gateway.parse().unwrap()), "{route}, nexthop_compat_mode={compat}");
            host.ip(&format!("{family} route del default"));
        }
    }
}

#[tokio::test]
async fn a_flood_of_changes_is_one_and_too_many_for_the_kernel_are_still_news() {
    needs_namespaces!();
    let mut lan = Lan::new().await;
    let host = &mut lan.left;
    let mut batch = String::new();
    for number in 0..2000 {
        let verb = if number % 2 == 0 { "add" } else { "delete" };
        batch += &format!("address {verb} 10.66.7.7/24 dev eth0\n");
    }
    let mut child = host.netns.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());

    let mut wakes = 0;
    while timeout(QUIET, host.changes.next()).await.is_ok() {
        wakes += 1;
    }
    assert!(wakes > 0, "no news of 2000 changes");
    assert!(wakes < 20, "{wakes} wakes for 2000 changes");
    host.ip("address add 10.66.8.8/24 dev eth0");
    let ip = "10.66.8.8".parse().unwrap();
    host.until("the change after the flood", |link| !found(link, ip).is_empty()).await;
}
