//! FRR's vrrpd and ours as routers of one virtual router, with VRRPv3.

use std::net::{IpAddr, Ipv4Addr};

use testkit::{Frr, Network, Owners, VrrpNode, is_root, skip};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

fn tandem(priority: u8) -> String {
    format!(
        "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [{ADDRESS}/24]\nadvert_interval: 500ms\ntrack: []"
    )
}

#[test]
fn each_takes_over_from_the_other() {
    if !is_root() || !Frr::is_installed() {
        skip!("namespaces need root, and frr has to be installed");
    }
    let network = Network::new(24);
    let us = network.host("tandem", Ipv4Addr::new(10, 9, 0, 1));
    let them = network.host("frr", Ipv4Addr::new(10, 9, 0, 2));
    let owners = Owners::new(&[&us, &them], IpAddr::V4(ADDRESS));
    let mut frr = Frr::start(them, 51, ADDRESS, &["priority 100", "advertisement-interval 500"]);
    owners.wait_for(1);

    // As its backup, until it leaves.
    let mut node = VrrpNode::start(us, &tandem(50));
    assert!(node.transitions().iter().all(|told| !told.contains("master")), "it listens");
    node.wait_for_state("backup");
    testkit::wait_until("it is heard", || node.counter("adverts_received") > 2);
    owners.stay_with(1, std::time::Duration::from_secs(2));
    frr.stop();
    node.wait_for_state("master");
    node.wait_for_reason("the master left");

    // As its master, until we leave.
    frr.start_again();
    owners.wait_for(1);
    node.configure(&tandem(150));
    node.vrrpd.reload();
    owners.wait_for(0);
    node.vrrpd.stop();
    owners.wait_for(1);
    node.vrrpd.start();
    owners.wait_for(0);
    assert_eq!(node.status()["counters"]["receive_errors"], serde_json::json!({}));

    // Killed it falls silent.
    node.configure(&tandem(50));
    node.vrrpd.reload();
    owners.wait_for(1);
    frr.kill();
    node.wait_for_state("master");
    node.wait_for_reason("no master was heard");
}
