//! What mastership depends on: a real lbd that dies, hangs, drains and stops; interfaces, gateways and commands.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Node, VIP, config};
use nix::sys::signal::Signal;
use testkit::{Addresses, Config, Daemon, Network, Program, text_command, wait_until};

/// A configuration whose instance tracks something.
fn tracking(priority: u8, track: &str) -> String {
    config(priority, &[]).replace("track: []", &format!("track: [{track}]"))
}

/// lbd as vrrpd sees it: its socket is in the node's run directory, whatever namespace it runs in.
fn lbd_of(node: &Node, addresses: &Addresses) -> Daemon {
    let mut config =
        Config::new(addresses.socket(1, 7080), addresses.socket(1, 7404), addresses.socket(1, 7406));
    config.check = "off".to_owned();
    config.servers = vec![("s1".to_owned(), addresses.socket(11, 7081).to_string())];
    config.lbd = "workers: 1\nverdict_wait: 0s".to_owned();
    let lbd = Daemon::new(Program::Lbd, &node.file(""));
    std::fs::write(lbd.config(), config.to_string()).unwrap();
    lbd
}

fn with_lbd(network: &Network, track: &str) -> (Node, Daemon) {
    let mut node = Node::new(network, 1, &tracking(200, track));
    let mut lbd = lbd_of(&node, &Addresses::claim());
    lbd.start();
    node.start();
    node.wait_to_have(VIP);
    (node, lbd)
}

#[test]
fn without_lbd_the_address_is_elsewhere() {
    let network = network!();
    let (node, mut lbd) = with_lbd(&network, "lbd");
    lbd.kill();
    node.wait_for_line(
        "VRRP web: master -> fault: tracker lbd fails: lbd is gone: the daemon closed the connection",
    );
    node.wait_not_to_have(VIP);
    lbd.start();
    node.wait_for_line("VRRP web: fault -> backup");
    node.wait_to_have(VIP);
}

#[test]
fn lbd_may_come_later() {
    let network = network!();
    let mut node = Node::new(&network, 1, &tracking(200, "lbd"));
    node.start();
    node.wait_for_line("VRRP web: init -> fault: tracker lbd fails: lbd is gone: cannot connect to");
    let mut lbd = lbd_of(&node, &Addresses::claim());
    lbd.start();
    node.wait_to_have(VIP);
}

#[test]
fn an_lbd_that_hangs_is_as_good_as_dead() {
    let network = network!();
    let (node, lbd) = with_lbd(&network, "{lbd: {hung_after: 240ms}}");
    lbd.freeze();
    node.wait_for_line(
        "VRRP web: master -> fault: tracker lbd fails: lbd hangs: it has said nothing for 240ms",
    );
    node.wait_not_to_have(VIP);
    lbd.thaw();
    node.wait_to_have(VIP);
}

#[test]
fn one_instances_patience_is_its_own() {
    const OTHER: &str = "10.9.0.101";
    let network = network!();
    let both = config(200, &[]) + &config(200, &[]).replace("instances:\n", "").replace(VIP, OTHER);
    let both = both.replacen("track: []", "track: [{lbd: {hung_after: 240ms}}]", 1);
    let both = both.replace("track: []", "track: [{lbd: {hung_after: 60s}}, {backend: app}]");
    let second = both.rfind("web").unwrap();
    let both = both[..second].to_owned() + &both[second..].replacen("web", "patient", 1).replace("51", "52");
    let mut node = Node::new(&network, 1, &both);
    let mut lbd = lbd_of(&node, &Addresses::claim());
    lbd.start();
    node.start();
    node.wait_to_have(VIP);
    node.wait_to_have(OTHER);
    let watch = node.watch();
    lbd.freeze();
    node.wait_for_line(
        "VRRP web: master -> fault: tracker lbd fails: lbd hangs: it has said nothing for 240ms",
    );
    node.wait_not_to_have(VIP);
    lbd.thaw();
    node.wait_to_have(VIP);
    assert!(node.has(OTHER) && !watch.has_seen_removal_of(OTHER), "{}", node.log());
    // The patient one hears of a death as soon as the other.
    lbd.kill();
    node.wait_not_to_have(OTHER);
}

#[test]
fn an_lbd_that_stops_is_told_when_the_address_has_left() {
    let network = network!();
    let (node, mut lbd) = with_lbd(&network, "lbd");
    assert!(lbd.stop().success());
    assert!(!node.has(VIP), "lbd ends after the address has left");
    assert!(lbd.stderr().contains("the virtual addresses have left this node"), "{}", lbd.stderr());
    node.wait_for_line("VRRP web: master -> fault: tracker lbd fails: lbd is stopping");
}

#[test]
fn an_lbd_that_costs_but_priority_hands_over_when_it_stops() {
    let network = network!();
    let (node, mut lbd) = with_lbd(&network, "{lbd: {}, weight: -10}");
    let mut other = Node::new(&network, 2, &config(100, &[]));
    other.start();
    other.wait_for_line("init -> backup");
    assert!(lbd.stop().success());
    assert!(!node.has(VIP), "lbd ends after the address has left");
    other.wait_to_have(VIP);
    assert!(lbd.stderr().contains("the virtual addresses have left this node"), "{}", lbd.stderr());
    lbd.start();
    node.wait_to_have(VIP);
}

#[test]
fn an_lbd_that_stops_is_told_when_nobody_takes_the_address() {
    let network = network!();
    let (node, mut lbd) = with_lbd(&network, "{lbd: {}, weight: -10}");
    let watch = node.watch();
    assert!(lbd.stop().success());
    assert!(node.has(VIP) && !watch.has_seen_removal_of(VIP));
    let log = lbd.stderr();
    assert!(
        log.contains("nobody takes the virtual addresses") && !log.contains("have left this node"),
        "{log}"
    );
}

#[test]
fn a_vrrpd_that_stops_has_lbd_hold_its_clients_meanwhile() {
    let network = network!();
    let (mut node, lbd) = with_lbd(&network, "lbd");
    assert!(node.stop().success());
    assert!(!node.has(VIP));
    lbd.wait_to_tell("lbd drains");
    lbd.wait_to_tell("takes new connections again");
    assert!(!lbd.stderr().contains("nobody has said"), "{}", lbd.stderr());
}

#[test]
fn a_vrrpd_that_stops_does_not_wait_for_a_hung_lbd() {
    let network = network!();
    let (mut node, lbd) = with_lbd(&network, "{lbd: {hung_after: 60s}}");
    lbd.freeze();
    assert!(node.stop().success());
    assert!(!node.has(VIP));
    node.wait_for_line("lbd cannot be spoken with");
    lbd.thaw();
}

#[test]
fn a_backend_without_usable_servers_costs_priority() {
    let network = network!();
    let (node, lbd) = with_lbd(&network, "lbd, {backend: app, weight: -150}");
    node.wait_for_line("backend app has 1 usable server");
    let mut other = Node::new(&network, 2, &config(100, &[]));
    other.start();
    text_command(&lbd.socket(), "set server app/s1 state maint");
    node.wait_for_line("tracker fails: backend app has no usable server");
    other.wait_to_have(VIP);
    node.wait_not_to_have(VIP);
    text_command(&lbd.socket(), "set server app/s1 state ready");
    node.wait_to_have(VIP);
}

#[test]
fn a_tracked_interface_has_to_be_up() {
    let network = network!();
    let mut node = Node::new(&network, 1, &tracking(200, "{interface: uplink}"));
    node.start();
    node.wait_for_line("tracker interface uplink fails: there is no interface uplink");
    network.plug(&node.host, "more", "uplink", [192, 0, 2, 1].into());
    node.wait_to_have(VIP);
    node.ip("link set uplink down");
    node.wait_for_line("uplink is down, or has no carrier");
    node.wait_not_to_have(VIP);
    node.ip("link set uplink up");
    node.wait_to_have(VIP);
}

#[test]
fn a_gateway_has_to_answer() {
    let network = network!();
    let gateway = network.host("gateway", [10, 9, 0, 254].into());
    let track = "{gateway: default, interval: 200ms, name: gateway}";
    let mut node = Node::new(&network, 1, &tracking(200, track));
    node.start();
    node.wait_for_line("tracker gateway fails: there is no default route through eth0");
    node.ip("route add default via 10.9.0.254");
    node.wait_for_line("10.9.0.254 answers");
    node.wait_to_have(VIP);
    network.cut("gateway");
    node.wait_for_line(
        "VRRP web: master -> fault: tracker gateway fails: 10.9.0.254 does not answer on eth0",
    );
    node.wait_not_to_have(VIP);
    network.mend("gateway");
    node.wait_to_have(VIP);
    drop(gateway);
}

#[test]
fn an_ipv6_gateway_has_to_answer() {
    let network = network!();
    let gateway = network.host("gateway", [10, 9, 0, 254].into());
    gateway.run("ip", &["address", "add", "fe80::254/64", "dev", "eth0", "nodad"]);
    let config = tracking(200, "{gateway: 'fe80::254', interval: 200ms}")
        .replace(&format!("[{VIP}/24]"), "['fe80::100/64']\n    interface: eth0");
    let mut node = Node::new(&network, 1, &config);
    node.start();
    node.wait_for_line("fe80::254 answers");
    node.wait_to_have("fe80::100");
    network.cut("gateway");
    node.wait_for_line("fe80::254 does not answer on eth0");
    node.wait_not_to_have("fe80::100");
}

/// A script in the node's directory.
fn script(node: &Node, text: &str) -> PathBuf {
    let path = node.file("script");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn with_command(network: &Network, text: &str, options: &str) -> Node {
    let mut node = Node::new(network, 1, "");
    let path = script(&node, text);
    let track = format!("{{command: {}, interval: 200ms, name: script{options}}}", path.display());
    node.configure(&tracking(200, &track));
    node.start();
    node
}

#[test]
fn a_command_decides_by_its_exit_code() {
    let network = network!();
    let text = r#"if [ -e "$0.fails" ]; then echo disk full >&2; exit 3; fi"#;
    let node = with_command(&network, text, ", rise: 2, fall: 3");
    node.wait_to_have(VIP);
    let switch = node.file("script.fails");
    std::fs::write(&switch, "").unwrap();
    node.wait_for_line("script failed: exit status: 3: disk full");
    node.wait_not_to_have(VIP);
    std::fs::remove_file(&switch).unwrap();
    node.wait_to_have(VIP);
}

/// Whether a process runs whose arguments contain something.
fn runs(what: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(what))
}

#[test]
fn a_command_that_hangs_fails_and_ends_with_what_it_started() {
    let network = network!();
    let slept = format!("86{}.5", std::process::id());
    let mut node = with_command(&network, &format!("sleep {slept} & sleep {slept}"), "");
    node.wait_for_line("VRRP web: init -> fault: tracker script fails");
    node.wait_for_line("script took longer than 200ms and was killed");
    assert!(node.stop().success());
    wait_until("everything has ended", || !runs(&slept));
}

#[test]
fn a_command_leaves_nothing_behind() {
    let network = network!();
    let slept = format!("87{}.5", std::process::id());
    // Later runs start nothing: what there is is the first one's.
    let text = format!(r#"[ -e "$0.ran" ] && exit; sleep {slept} & : > "$0.ran""#);
    let node = with_command(&network, &text, "");
    node.wait_to_have(VIP);
    assert!(node.file("script.ran").exists());
    wait_until("what the first run started has ended", || !runs(&slept));
}

#[test]
fn a_vrrpd_that_is_killed_takes_its_command_along() {
    let network = network!();
    let slept = format!("88{}.5", std::process::id());
    let mut node = with_command(&network, &format!("sleep {slept} & sleep {slept}"), "");
    wait_until("it runs", || runs(&slept));
    node.process().kill();
    wait_until("everything has ended", || !runs(&slept));
}

#[test]
fn a_command_that_cannot_be_run_fails() {
    let network = network!();
    let mut node = Node::new(&network, 1, &tracking(200, "{command: /nonexistent/check}"));
    node.start();
    node.wait_for_line("cannot run /nonexistent/check: No such file or directory");
    assert!(!node.has(VIP));
}

#[test]
fn a_reload_leaves_trackers_alone_that_stay() {
    let network = network!();
    let node = with_command(&network, r#"echo >> "$0.runs""#, "");
    node.wait_to_have(VIP);
    let text = std::fs::read_to_string(node.file("vrrp.yaml")).unwrap();
    // A tracker of another script, whose next run would be in an hour: every further one is of another tracker.
    let [frequent, rare] = ["script", "rare"].map(|name| node.file(name));
    std::fs::copy(&frequent, &rare).unwrap();
    let command = |path: &Path, interval| format!("command: {}, interval: {interval}", path.display());
    let hourly = text.replace(&command(&frequent, "200ms"), &command(&rare, "1h"));
    assert_ne!(hourly, text);
    let reload = |text: &str, generation: u32| {
        node.configure(text);
        node.signal(Signal::SIGHUP);
        node.wait_for_line(&format!("generation={generation}"));
    };
    let runs = || std::fs::read_to_string(node.file("rare.runs")).map_or(0, |text| text.lines().count());
    reload(&hourly, 2);
    wait_until("the new tracker has run", || runs() == 1);
    let other = hourly.replace("priority: 200", "priority: 201");
    assert_ne!(other, hourly);
    reload(&other, 3);
    reload(&other.replace("interval: 1h", "interval: 59m"), 4);
    wait_until("another tracker has run", || runs() >= 2);
    assert_eq!(runs(), 2);
    assert_eq!(node.count("master -> "), 0, "{}", node.log());
}
