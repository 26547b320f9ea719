//! SIGHUP: what changes is changed, what does not is not touched.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use common::{Node, VIP, config, pair};
use nix::sys::signal::Signal;
use testkit::{text_command, wait_until};

fn reload(node: &Node, config: &str) {
    let reloads = || node.count("configuration reloaded") + node.count("reload refused");
    let before = reloads();
    node.configure(config);
    node.signal(Signal::SIGHUP);
    wait_until("the reload has ended", || reloads() > before);
}

#[test]
fn nothing_flaps() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    let watch = first.watch();
    for priority in [200, 210, 190, 200] {
        reload(&first, &config(priority, &[]));
    }
    reload(&first, &config(200, &["preempt: false", "gratuitous: { repeat: 2 }"]));
    assert_eq!(first.count("configuration reloaded"), 5);
    assert!(!watch.has_seen_removal_of(VIP));
    assert_eq!(first.count("master -> "), 0);
    assert!(!second.has(VIP));
}

#[test]
fn a_bad_file_changes_nothing() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    let watch = first.watch();
    reload(&first, &config(200, &["virtual_adresses: [10.9.0.7/24]"]));
    first.wait_for_line("reload refused");
    first.wait_for_line("virtual_addresses");
    assert!(first.has(VIP) && !second.has(VIP));
    assert!(!watch.has_seen_removal_of(VIP));
    // It is still there to be talked to.
    reload(&first, &config(200, &[]));
    first.wait_for_line("configuration reloaded");
}

#[test]
fn reloads_that_come_at_once_are_carried_out_one_after_the_other() {
    let network = network!();
    let (first, _second) = pair(&network, &[]);
    first.configure(&config(210, &[]));
    let socket = first.file("vrrpd/vrrpd.sock");
    let answers: Vec<String> = std::thread::scope(|scope| {
        let ask = || {
            let answer = text_command(&socket, "reload");
            let status = text_command(&socket, "show vrrp web");
            assert!(status.contains("210 configured"), "what is answered is in force: {answer} {status}");
            answer
        };
        let asked = [(); 3].map(|()| scope.spawn(ask));
        first.signal(Signal::SIGHUP);
        asked.map(|one| one.join().unwrap()).into()
    });
    wait_until("all have ended", || first.count("configuration reloaded") == 4);
    for answer in &answers {
        assert!(answer.starts_with("generation "), "none is dropped: {answers:?}");
    }
    let generations: std::collections::BTreeSet<_> = answers.iter().collect();
    assert_eq!(generations.len(), 3, "each has its own: {answers:?}");
    assert!(first.has(VIP));
}

#[test]
fn a_new_tracker_changes_nothing_before_it_has_reported() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    let watch = first.watch();
    let go = first.file("go");
    // A pipe that nobody has written to yet. The name is a user's as any other.
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let track = format!(
        "track: [{{ command: [/bin/sh, -c, 'read code < {}; exit $code'], interval: 1h, name: interface }}]",
        go.display()
    );
    let tracking = config(200, &[]).replace("track: []", &track);
    reload(&first, &tracking);
    first.wait_for_line("configuration reloaded");
    let shown = || text_command(&first.file("vrrpd/vrrpd.sock"), "show vrrp web");
    assert!(shown().contains("interface: unknown"), "{}", shown());
    // And goes on changing nothing.
    reload(&first, &tracking.replace("priority: 200", "priority: 210"));
    assert_eq!(first.count("master -> "), 0, "{}", first.log());
    assert!(!watch.has_seen_removal_of(VIP) && !second.has(VIP));

    std::fs::write(&go, "1\n").unwrap();
    first.wait_for_line("VRRP web: master -> fault: tracker interface fails");
    second.wait_to_have(VIP);
}

#[test]
fn addresses_and_instances_come_and_go() {
    let network = network!();
    let (first, _second) = pair(&network, &[]);
    let watch = first.watch();
    reload(&first, &config(200, &["excluded_addresses: [10.9.0.103/24]"]));
    first.wait_to_have("10.9.0.103");
    let two = format!(
        "{}  more:\n    virtual_router_id: 52\n    virtual_addresses: [10.9.0.104/24]\n    advert_interval: 200ms\n    \
         track: []\n",
        config(200, &[])
    );
    reload(&first, &two);
    first.wait_not_to_have("10.9.0.103");
    first.wait_to_have("10.9.0.104");
    reload(&first, &config(200, &[]));
    first.wait_not_to_have("10.9.0.104");
    assert!(first.has(VIP) && !watch.has_seen_removal_of(VIP));
}

#[test]
fn a_lower_priority_gives_way() {
    let network = network!();
    let (first, second) = pair(&network, &[]);
    reload(&first, &config(50, &[]));
    second.wait_to_have(VIP);
    first.wait_not_to_have(VIP);
}
