//! Rules for packets, and connections that are counted, as the kernel understands them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use testkit::{Netns, needs};
use vrrpd::net::connections;
use vrrpd::net::rules::{self, Part, Rule};

use crate::lan::needs_namespaces;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn passes(address: &str, to: &[&str]) -> Rule {
    let to = to.iter().map(|to| ip(to)).collect();
    Rule { address: ip(address), part: Part::Passes { interface: 1, to } }
}

fn keeps(address: &str, own: &str) -> Rule {
    Rule { address: ip(address), part: Part::Keeps { own: ip(own) } }
}

#[test]
fn rules_take_the_place_of_others_and_leave_those_of_the_machine() {
    needs_namespaces!();
    needs!("nft");
    let host = Netns::new("rules");
    let listed = || host.run("nft", &["list", "ruleset"]);
    let set = |rules: &[Rule]| host.inside(|| rules::set(rules)).unwrap();
    host.run("nft", &["add", "table", "ip", "mine"]);
    set(&[]);
    assert_eq!(listed(), "table ip mine {\n}\n");
    host.inside(rules::probe).unwrap();
    assert_eq!(listed(), "table ip mine {\n}\n", "who only asks changes nothing");

    set(&[passes("10.9.0.100", &["10.9.0.1", "10.9.0.3"]), passes("fd09::100", &["fe80::1"])]);
    let ruleset = listed();
    for rule in
        ["dup to 10.9.0.1 device \"lo\"", "dup to 10.9.0.3 device \"lo\"", "dup to fe80::1 device \"lo\""]
    {
        assert!(ruleset.contains(rule), "{ruleset}");
    }
    host.inside(rules::probe).unwrap();
    assert_eq!(listed(), ruleset);
    set(&[passes("fd09::100", &[]), keeps("10.9.0.100", "10.9.0.2")]);
    let ruleset = listed();
    assert!(ruleset.contains("table ip mine {") && !ruleset.contains("dup to"), "{ruleset}");
    assert!(ruleset.contains("arp saddr ip set 10.9.0.2"), "{ruleset}");
    // As many as fit an advert, passed on to as many as are believed.
    let many: Vec<Rule> = (0..255)
        .map(|number| {
            let to: Vec<String> = (1..=8).map(|to| format!("10.9.0.{to}")).collect();
            passes(&format!("10.9.1.{number}"), &to.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    set(&many);
    assert_eq!(listed().matches("dup to").count(), 255 * 8);
    set(&[]);
    assert_eq!(listed(), "table ip mine {\n}\n");
}

#[test]
fn connections_are_counted_by_their_address_here_whatever_the_family_of_the_socket() {
    needs_namespaces!();
    let host = Netns::new("connections");
    host.run("ip", &["address", "add", "10.9.0.100/32", "dev", "lo"]);
    host.run("ip", &["address", "add", "fd09::100/128", "dev", "lo", "nodad"]);
    let addresses = [ip("10.9.0.100"), ip("fd09::100"), ip("10.9.0.101")];
    let count = || host.inside(|| connections::count(&addresses)).unwrap().into_values().collect::<Vec<_>>();
    assert_eq!(count(), [0, 0, 0]);
    // Of both families, and each connection has both its ends here.
    let listener = host.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 7))).unwrap();
    let connect = |to: &str, times: usize| {
        let to = SocketAddr::new(ip(to), 7);
        let pair = || (TcpStream::connect(to).unwrap(), listener.accept().unwrap());
        host.inside(|| (0..times).map(|_| pair()).collect::<Vec<_>>())
    };
    let old = connect("10.9.0.100", 3);
    let _new = connect("fd09::100", 2);
    let [v4, other, v6] = count().try_into().unwrap();
    assert!((3..=6).contains(&v4) && other == 0 && (2..=4).contains(&v6), "{v4} {other} {v6}");
    drop(old);
    assert_eq!(count()[0], 0);
}
