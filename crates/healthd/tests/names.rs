//! Names asked of a real name server, whose records change while healthd uses them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

mod dns;

use std::fs;
use std::time::Duration;

use config::Resolvers;
use dns::Dns;
use dns::watching::{config, counter, files, group, ip, until, until_address};
use healthd::resolve::{NameWatch, Names, Resolved};
use testkit::{Addresses, PATIENCE};

#[tokio::test]
async fn an_address_that_changes_vanishes_and_returns() {
    let addresses = Addresses::claim();
    let dir = tempfile::tempdir().unwrap();
    let mut dns = Dns::start(addresses.socket(1, 5353), "10.9.0.1 nginx1\n");
    let queries = counter();
    let names = Names::new(&config(&[dns.address]), files(&dir), queries.clone());
    let mut watch = names.watch("nginx1", group());
    assert_eq!(watch.resolved(), Resolved::default());
    until_address(&mut watch, "10.9.0.1").await;

    dns.change("10.9.0.2 nginx1\n");
    until_address(&mut watch, "10.9.0.2").await;

    // The name of a stopped container is gone: its address stays in use, and the reason is known.
    dns.change("10.9.0.3 other\n");
    let gone = until(&mut watch, "an error", |resolved| resolved.error.is_some()).await;
    assert_eq!(gone.address, Some(ip("10.9.0.2")));
    let expected = format!("nginx1: no such host (NXDOMAIN from {})", dns.address);
    assert_eq!(gone.error.as_deref(), Some(expected.as_str()));
    let [resolution] = names.resolutions().try_into().unwrap();
    assert_eq!((resolution.name.as_str(), resolution.addresses), ("nginx1", vec![ip("10.9.0.2")]));
    assert_eq!(resolution.error, Some(expected));
    assert!(resolution.resolved >= 2 && resolution.failed >= 1);

    dns.change("10.9.0.4 nginx1\n");
    until_address(&mut watch, "10.9.0.4").await;
    dns.stop();
    let silent = until(&mut watch, "an error", |resolved| resolved.error.is_some()).await;
    assert_eq!(silent.address, Some(ip("10.9.0.4")));
    dns.write("10.9.0.5 nginx1\n");
    dns.run();
    until_address(&mut watch, "10.9.0.5").await;
    assert!(queries.with_label_values(&["nxdomain"]).get() >= 1);
    assert!(queries.with_label_values(&["resolved"]).get() >= 4);
}

#[tokio::test]
async fn a_doubted_address_is_asked_for_before_its_ttl_ends() {
    let addresses = Addresses::claim();
    let dir = tempfile::tempdir().unwrap();
    let dns = Dns::start_with_ttl(addresses.socket(1, 5353), "10.9.0.1 nginx1.test\n", 600);
    let queries = counter();
    let patient = Resolvers { max_ttl: Duration::from_secs(600), ..config(&[dns.address]) };
    let names = Names::new(&patient, files(&dir), queries.clone());
    let mut watch = names.watch("nginx1.test", group());
    until_address(&mut watch, "10.9.0.1").await;
    let [resolution] = names.resolutions().try_into().unwrap();
    assert!(resolution.next_query_ms > 500_000, "the answer holds for its TTL: {resolution:?}");
    dns.change("10.9.0.2 nginx1.test\n");
    // dnsmasq reads its records at its leisure after the signal: a doubt may come too early for it.
    let wait = async {
        while watch.resolved().address != Some(ip("10.9.0.2")) {
            watch.doubt();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(queries.with_label_values(&["resolved"]).get(), names.resolutions()[0].resolved);
}

#[tokio::test]
async fn other_name_servers_after_a_reload_are_asked_at_once() {
    let addresses = Addresses::claim();
    let dir = tempfile::tempdir().unwrap();
    let before = Dns::start_with_ttl(addresses.socket(1, 5353), "10.9.0.1 nginx1.test\n", 600);
    let after = Dns::start_with_ttl(addresses.socket(2, 5353), "10.9.0.2 nginx1.test\n", 600);
    let patient = Resolvers { max_ttl: Duration::from_secs(600), ..config(&[before.address]) };
    let names = Names::new(&patient, files(&dir), counter());
    let mut watch = names.watch("nginx1.test", group());
    until_address(&mut watch, "10.9.0.1").await;
    names.configure(&Resolvers { nameservers: vec![after.address], ..patient });
    until_address(&mut watch, "10.9.0.2").await;
}

#[tokio::test]
async fn servers_of_one_name_spread_over_its_addresses() {
    let addresses = Addresses::claim();
    let dir = tempfile::tempdir().unwrap();
    let dns =
        Dns::start(addresses.socket(1, 5353), "10.9.0.1 web.test\n10.9.0.2 web.test\nfd00::1 web.test\n");
    let names = Names::new(&config(&[dns.address]), files(&dir), counter());
    let mut watches: Vec<NameWatch> = (0..4).map(|_| names.watch("web.test", group())).collect();
    let [a, b, c, d] = watches.as_mut_slice() else { panic!("four watches") };
    until_address(a, "10.9.0.1").await;
    until_address(b, "10.9.0.2").await;
    until_address(c, "fd00::1").await;
    until_address(d, "10.9.0.1").await;
    dns.change("10.9.0.2 web.test\n10.9.0.3 web.test\nfd00::1 web.test\n");
    until_address(a, "10.9.0.3").await;
    until_address(b, "10.9.0.2").await;
    until_address(c, "fd00::1").await;
    assert_eq!(names.resolutions().len(), 1, "one task for all of them");
    drop(watches);
    assert_eq!(names.resolutions(), [], "a name that nobody uses is forgotten");
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir);
    fs::write(&files.hosts, "10.9.1.1 nginx1 www\n").unwrap();
    // There is no resolv.conf, and no name server on this machine to ask.
    let names = Names::new(&config(&[]), files.clone(), counter());
    let mut known = names.watch("Nginx1", group());
    until_address(&mut known, "10.9.1.1").await;
    let mut unknown = names.watch("elsewhere", group());
    until(&mut unknown, "an error", |resolved| resolved.error.is_some()).await;
    fs::write(&files.hosts, "10.9.1.22 nginx1\n10.9.1.3 elsewhere\n").unwrap();
    until_address(&mut known, "10.9.1.22").await;
    until_address(&mut unknown, "10.9.1.3").await;
}

#[tokio::test]
async fn the_systems_name_servers_and_search_list() {
    if !testkit::is_root() {
        testkit::skip!("resolv.conf has no ports, and binding port 53 needs root");
    }
    let addresses = Addresses::claim();
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir);
    let records = "10.9.0.1 nginx1.cluster.test\n10.9.0.2 nginx2\n10.9.0.3 nginx2.sub.cluster.test\n";
    let dns = Dns::start(addresses.socket(1, 53), records);
    let server = format!("nameserver {}\n", dns.address.ip());
    fs::write(&files.resolv_conf, format!("{server}search other.test cluster.test\n")).unwrap();
    let names = Names::new(&config(&[]), files.clone(), counter());
    // A single label goes along the search list first, then as it is; a name with a dot the other way round, and the
    // server refuses to answer for `sub.`.
    until_address(&mut names.watch("nginx1", group()), "10.9.0.1").await;
    until_address(&mut names.watch("nginx2", group()), "10.9.0.2").await;
    until_address(&mut names.watch("nginx2.sub", group()), "10.9.0.3").await;
    until_address(&mut names.watch("nginx1.cluster.test", group()), "10.9.0.1").await;
    let mut absolute = names.watch("nginx1.", group());
    let missing = until(&mut absolute, "an error", |resolved| resolved.error.is_some()).await;
    let text = missing.error.unwrap();
    assert_eq!(*text, format!("nginx1.: no such host (NXDOMAIN from {})", dns.address.ip()));

    // The file changes when a container joins a network. As in Docker, names are then taken as they are first.
    let mut nginx1 = names.watch("nginx1", group());
    until_address(&mut nginx1, "10.9.0.1").await;
    fs::write(&files.resolv_conf, format!("{server}options ndots:0\n")).unwrap();
    let missing = until(&mut nginx1, "an error", |resolved| resolved.error.is_some()).await;
    assert!(missing.error.unwrap().starts_with("nginx1: no such host"), "there is no search list any more");
}

#[tokio::test]
async fn a_dead_name_server_does_not_hide_a_living_one() {
    let addresses = Addresses::claim();
    let dir = tempfile::tempdir().unwrap();
    let silent = tokio::net::UdpSocket::bind(addresses.socket(2, 5353)).await.unwrap();
    let denying = Dns::start(addresses.socket(3, 5353), "10.9.0.9 other.test\n");
    let knowing = Dns::start(addresses.socket(1, 5353), "10.9.0.1 nginx1.test\n");
    let servers = [silent.local_addr().unwrap(), denying.address, knowing.address];
    let names = Names::new(&config(&servers), files(&dir), counter());
    until_address(&mut names.watch("nginx1.test", group()), "10.9.0.1").await;
}

#[tokio::test]
async fn a_silent_name_server_is_said_to_be_silent() {
    let addresses = Addresses::claim();
    let dir = tempfile::tempdir().unwrap();
    let silent = tokio::net::UdpSocket::bind(addresses.socket(2, 5353)).await.unwrap();
    let server = silent.local_addr().unwrap();
    let names = Names::new(&config(&[server]), files(&dir), counter());
    let mut watch = names.watch("nginx1.test", group());
    let missing = until(&mut watch, "an error", |resolved| resolved.error.is_some()).await;
    assert_eq!(
        missing.error.as_deref(),
        Some(format!("nginx1.test: no answer from {server} in 500 ms").as_str())
    );
}
