//! Real keepalived and vrrpd as routers of one virtual router: each takes over from the other, and exactly one of them has
//! the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testkit::{Keepalived, Network, Owners, VrrpNode, is_root, needs, skip};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100));
const TANDEM: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const KEEPALIVED: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// How both speak.
#[derive(Clone, Copy)]
struct Dialect {
    version: u8,
    unicast: bool,
    ipv6: bool,
}

impl Dialect {
    fn address(self) -> IpAddr {
        if self.ipv6 { VIP6 } else { VIP }
    }

    fn addresses(self) -> String {
        // Between addresses of the link alone nothing says which interface is meant.
        if self.ipv6 {
            format!("virtual_addresses: ['{VIP6}/64']\ninterface: eth0")
        } else {
            format!("virtual_addresses: [{VIP}/24]")
        }
    }

    fn tandem(self, priority: u8, more: &str) -> String {
        let authentication = if self.version == 2 { "authentication: { pass: \"1234\" }" } else { "" };
        let unicast = if self.unicast { "unicast: { peers: [10.9.0.2] }" } else { "" };
        // VRRPv2 counts in seconds.
        let interval = if self.version == 2 { "1s" } else { "200ms" };
        format!(
            "virtual_router_id: 51\nversion: {}\npriority: {priority}\n{}\ntrack: []\n\
             advert_interval: {interval}\n{authentication}\n{unicast}\n{more}",
            self.version,
            self.addresses()
        )
    }

    fn keepalived(self, priority: u8, more: &str) -> String {
        let authentication = "authentication {\nauth_type PASS\nauth_pass 1234\n}";
        let authentication = if self.version == 2 { authentication } else { "" };
        let unicast = "unicast_src_ip 10.9.0.2\nunicast_peer {\n10.9.0.1\n}";
        let unicast = if self.unicast { unicast } else { "" };
        let interval = if self.version == 2 { "1" } else { "0.2" };
        let length = if self.ipv6 { 64 } else { 24 };
        let address = format!("{}/{length}", self.address());
        format!(
            "state BACKUP\nvirtual_router_id 51\nversion {}\npriority {priority}\nadvert_int {interval}\n\
             virtual_ipaddress {{\n{address}\n}}\n{authentication}\n{unicast}\n{more}",
            self.version
        )
    }
}

struct Pair {
    tandem: VrrpNode,
    keepalived: Keepalived,
    owners: Owners,
    _network: Network,
}

/// Numbers of the hosts in `owners`.
const US: usize = 0;
const THEM: usize = 1;

impl Pair {
    fn start(dialect: Dialect, tandem: &str, keepalived: &str) -> Self {
        let network = Network::new(24);
        let (us, them) = (network.host("tandem", TANDEM), network.host("keepalived", KEEPALIVED));
        let owners = Owners::new(&[&us, &them], dialect.address());
        // Nobody sends from an address that is still being checked for duplicates.
        let is_checked = |host: &testkit::Netns| {
            host.run("ip", &["-6", "address", "show", "dev", "eth0", "tentative"]).is_empty()
        };
        testkit::wait_until("addresses can be used", || is_checked(&us) && is_checked(&them));
        let tandem = VrrpNode::start(us, tandem);
        let keepalived = Keepalived::start(them, "", keepalived);
        Self { tandem, keepalived, owners, _network: network }
    }
}

/// Each stops, and comes back, and is killed while the other listens.
fn take_turns(dialect: Dialect) {
    let mut pair = Pair::start(dialect, &dialect.tandem(150, ""), &dialect.keepalived(100, ""));
    pair.owners.wait_for(US);
    pair.tandem.wait_for_state("master");

    let watch = pair.owners.watch();
    pair.tandem.vrrpd.stop();
    pair.owners.wait_for(THEM);
    pair.tandem.vrrpd.start();
    pair.owners.wait_for(US);
    pair.tandem.wait_for_reason("has a lower priority");
    pair.tandem.vrrpd.stop();
    pair.owners.wait_for(THEM);
    watch.stop().assert_never_two();

    // As their backup.
    pair.tandem.configure(&dialect.tandem(50, ""));
    pair.tandem.vrrpd.start();
    pair.tandem.wait_for_state("backup");
    let watch = pair.owners.watch();
    pair.keepalived.stop();
    pair.owners.wait_for(US);
    pair.tandem.wait_for_reason("the master left");
    pair.keepalived.restart();
    pair.owners.wait_for(THEM);
    watch.stop().assert_never_two();
    pair.tandem.wait_for_state("backup");

    // Killed, they leave their address behind: only the silence counts.
    pair.keepalived.kill();
    pair.tandem.wait_for_state("master");
    pair.tandem.wait_for_reason("no master was heard");
    pair.keepalived.restart();
    pair.owners.wait_for(THEM);

    pair.tandem.configure(&dialect.tandem(150, ""));
    pair.tandem.vrrpd.reload();
    pair.owners.wait_for(US);
    pair.tandem.vrrpd.kill();
    // The address stays where vrrpd was; they have it too, until vrrpd comes back.
    testkit::wait_until("keepalived is master", || pair.owners.now().contains(&THEM));
    pair.tandem.vrrpd.start();
    pair.owners.wait_for(US);
    assert_eq!(pair.tandem.status()["counters"]["receive_errors"], serde_json::json!({}));
}

#[test]
fn takes_turns_with_version_2_and_a_password() {
    needs!("keepalived");
    if !is_root() {
        skip!("namespaces need root");
    }
    take_turns(Dialect { version: 2, unicast: false, ipv6: false });
}

#[test]
fn takes_turns_with_version_3() {
    needs!("keepalived");
    if !is_root() {
        skip!("namespaces need root");
    }
    take_turns(Dialect { version: 3, unicast: false, ipv6: false });
}

#[test]
fn takes_turns_with_version_2_by_unicast() {
    needs!("keepalived");
    if !is_root() {
        skip!("namespaces need root");
    }
    take_turns(Dialect { version: 2, unicast: true, ipv6: false });
}

#[test]
fn takes_turns_with_version_3_by_unicast() {
    needs!("keepalived");
    if !is_root() {
        skip!("namespaces need root");
    }
    take_turns(Dialect { version: 3, unicast: true, ipv6: false });
}

#[test]
fn takes_turns_with_version_3_over_ipv6() {
    needs!("keepalived");
    if !is_root() {
        skip!("namespaces need root");
    }
    take_turns(Dialect { version: 3, unicast: false, ipv6: true });
}

#[test]
fn equal_priorities_are_decided_by_address_and_nobody_is_preempted_who_should_not() {
    needs!("keepalived");
    if !is_root() {
        skip!("namespaces need root");
    }
    let dialect = Dialect { version: 3, unicast: false, ipv6: false };
    let mut pair = Pair::start(dialect, &dialect.tandem(100, ""), &dialect.keepalived(100, ""));
    // Between two masters theirs is the higher address; a backup stays a backup.
    testkit::wait_until("one of them has the address", || pair.owners.now().len() == 1);
    let first = pair.owners.now()[0];
    pair.owners.stay_with(first, std::time::Duration::from_secs(2));

    pair.tandem.vrrpd.stop();
    pair.owners.wait_for(THEM);
    pair.tandem.configure(&dialect.tandem(200, "preempt: false"));
    pair.tandem.vrrpd.start();
    pair.owners.stay_with(THEM, std::time::Duration::from_secs(2));
    pair.keepalived.stop();
    pair.owners.wait_for(US);
}
