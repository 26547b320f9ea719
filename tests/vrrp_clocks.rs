//! Signed adverts: a living master with another clock keeps its addresses, a recording holds nothing up, and keys come to a
//! pair that runs.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use testkit::{Netns, Network, Owners, PATIENCE, VrrpNode, is_root, needs, skip, wait_until};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const LIAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 66);
/// A backup waits three of them and a bit.
const INTERVAL: Duration = Duration::from_millis(200);

/// Two routers that share a key, neither running; the first has the higher priority.
struct Pair {
    network: Network,
    first: VrrpNode,
    second: VrrpNode,
    owners: Owners,
}

impl Pair {
    fn new(options: &str) -> Self {
        let network = Network::new(24);
        let [first, second] =
            [("lb1", 1), ("lb2", 2)].map(|(name, last)| network.host(name, Ipv4Addr::new(10, 9, 0, last)));
        let owners = Owners::new(&[&first, &second], VIP);
        let node = |host, priority| {
            let node = VrrpNode::new(host, &config(priority, options));
            fs::write(node.dir().join("key"), "correct horse battery staple, and no better master").unwrap();
            node
        };
        Self { first: node(first, 200), second: node(second, 100), network, owners }
    }
}

fn config(priority: u8, options: &str) -> String {
    format!("{}\nauthentication: {{ hmac: {{ key_file: key{options} }} }}", without_key(priority))
}

fn without_key(priority: u8) -> String {
    format!(
        "virtual_router_id: 51\npriority: {priority}\nvirtual_addresses: [10.9.0.100/24]\ntrack: []\n\
         advert_interval: {}ms",
        INTERVAL.as_millis()
    )
}

/// What a node knows of the other router.
fn peer(node: &VrrpNode) -> Value {
    node.status()["peers"][0].clone()
}

/// The time in which a backup would have taken over several times.
fn several_waits() -> Duration {
    INTERVAL * 20
}

#[test]
fn a_living_master_with_another_clock_keeps_its_addresses() {
    if !is_root() {
        skip!("namespaces need root");
    }
    needs!("faketime");
    for (offset, ahead) in [("-40s", -40_000), ("+3600s", 3_600_000)] {
        let Pair { network, mut first, mut second, owners } = Pair::new("");
        first.vrrpd.clock(offset);
        first.vrrpd.start();
        first.wait_for_state("master");
        second.vrrpd.start();
        wait_until("the backup hears the master", || peer(&second)["doubt"] == "window");
        let told = peer(&second)["clock_ahead_ms"].as_i64().unwrap();
        assert!((told - ahead).abs() < 5000, "{told} ms");
        owners.stay_with(0, several_waits());
        assert_eq!(second.transitions().len(), 1, "{:?}", second.transitions());
        assert_eq!(second.status()["master"], "10.9.0.1", "it knows who is master");
        assert!(second.vrrpd.stderr().contains("clocks differ: 10.9.0.1 is"), "{}", second.vrrpd.stderr());
        assert!(second.receive_errors("hmac_stale") > 0);

        // Both are masters where they do not hear each other, and one is afterwards.
        network.cut("lb1");
        second.wait_for_state("master");
        network.mend("lb1");
        second.wait_for_state("backup");
        owners.stay_with(0, several_waits());

        // A better router whose clock is another does not preempt: it would not be believed.
        first.vrrpd.stop();
        second.wait_for_state("master");
        first.vrrpd.start();
        owners.stay_with(1, several_waits());

        // Once the clock is right everything is as always.
        first.vrrpd.stop();
        first.vrrpd.clock("+0s");
        first.vrrpd.start();
        first.wait_for_state("master");
        owners.wait_for(0);
        wait_until("the backup believes it", || peer(&second)["doubt"].is_null());
    }
}

#[test]
fn a_restart_with_the_clock_set_back_makes_no_second_owner() {
    if !is_root() {
        skip!("namespaces need root");
    }
    needs!("faketime");
    for window in ["", ", window: off"] {
        let Pair { network: _network, mut first, mut second, owners } = Pair::new(window);
        first.vrrpd.start();
        first.wait_for_state("master");
        second.vrrpd.start();
        wait_until("the backup hears the master", || second.counter("adverts_received") > 1);
        first.vrrpd.kill();
        first.vrrpd.clock("-3600s");
        first.vrrpd.start();
        first.wait_for_state("master");
        let seen = owners.watch();
        owners.stay_with(0, several_waits());
        seen.stop().assert_never_two();
        assert_eq!(second.state(), "backup");
    }
}

/// As of keepalived, which goes by sequences alone: nobody asks who answers for the address.
#[test]
fn a_restart_with_the_clock_set_back_is_believed_by_its_sequence() {
    if !is_root() {
        skip!("namespaces need root");
    }
    needs!("faketime");
    for (window, offset) in [("off", "-3600s"), ("24h", "-3600s"), ("5s", "-3s")] {
        let Pair { network: _network, mut first, mut second, owners } = Pair::new("");
        for (node, priority) in [(&first, 200), (&second, 100)] {
            node.configure(&format!("{}\nprobe: off", config(priority, &format!(", window: {window}"))));
        }
        first.vrrpd.start();
        first.wait_for_state("master");
        second.vrrpd.start();
        wait_until("the backup hears the master", || second.counter("adverts_received") > 1);
        let seen = owners.watch();
        wait_to_be_kept(&first);
        first.vrrpd.kill();
        first.vrrpd.clock(offset);
        first.vrrpd.start();
        first.wait_for_state("master");
        owners.stay_with(0, several_waits());
        seen.stop().assert_never_two();
        assert_eq!(second.receive_errors("hmac_replay") + second.receive_errors("hmac_stale"), 0);
        assert_eq!(second.transitions().len(), 1, "{:?}", second.transitions());
        first.vrrpd.wait_to_tell("they go on from there, as others remember it");

        // Without what is kept it is not believed.
        first.vrrpd.kill();
        fs::remove_file(kept(&first)).unwrap();
        first.vrrpd.clock("-7200s");
        first.vrrpd.start();
        wait_until("its adverts are doubtful", || peer(&second)["doubt"].is_string());
    }
}

/// Where vrrpd keeps sequences for the next one.
fn kept(node: &VrrpNode) -> PathBuf {
    node.dir().join("vrrpd/vrrpd.sequences")
}

/// Waits until what a node has sent and accepted is kept, and returns just after that.
fn wait_to_be_kept(node: &VrrpNode) {
    let file = || fs::metadata(kept(node)).and_then(|file| file.modified()).ok();
    let before = file();
    wait_until("sequences are kept", || file() > before);
}

/// Somebody on the link without the key.
struct Liar(Netns);

impl Liar {
    fn new(network: &Network) -> Self {
        Self(network.host("liar", LIAR))
    }

    /// Whole packets, as many as that.
    fn record(&self, packets: usize) -> Vec<Vec<u8>> {
        self.0.inside(|| {
            let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
            socket.join_multicast_v4(&GROUP, &LIAR).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut record = || {
                let mut packet = vec![0; 1500];
                let length = socket.read(&mut packet).unwrap();
                packet.truncate(length);
                packet
            };
            (0..packets).map(|_| record()).collect()
        })
    }

    /// Plays what was recorded again and again, as long as `meanwhile` runs.
    fn play(&self, recorded: &[Vec<u8>], meanwhile: impl FnOnce()) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                self.0.inside(|| {
                    // IP header and all: the liar puts the other router's address there.
                    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
                    socket.set_header_included_v4(true).unwrap();
                    socket.set_multicast_if_v4(&LIAR).unwrap();
                    for packet in recorded.iter().cycle().take_while(|_| !over.load(Relaxed)) {
                        socket.send_to(packet, &SocketAddrV4::new(GROUP, 0).into()).unwrap();
                        std::thread::sleep(INTERVAL);
                    }
                });
            });
            let result = catch_unwind(AssertUnwindSafe(meanwhile));
            over.store(true, Relaxed);
            result.unwrap_or_else(|failure| resume_unwind(failure));
        });
    }
}

#[test]
fn a_recording_that_nobody_heard_holds_no_takeover_up() {
    if !is_root() {
        skip!("namespaces need root");
    }
    needs!("faketime");
    let Pair { network, mut first, mut second, owners } = Pair::new("");
    let liar = Liar::new(&network);
    // Of a router with another clock, as of one long ago: the backup, which does not run, can have no mark of it.
    first.vrrpd.clock("-3600s");
    first.vrrpd.start();
    first.wait_for_state("master");
    let recorded = liar.record(40);
    network.cut("lb1");
    liar.play(&recorded, || {
        second.vrrpd.start();
        wait_until("it hears the recording", || peer(&second)["doubt"] == "window");
        second.wait_for_state("master");
        // Nor does it end a mastership.
        let heard = second.receive_errors("hmac_stale");
        wait_until("it hears more of it", || second.receive_errors("hmac_stale") > heard + 5);
        assert_eq!(second.state(), "master");
        assert_eq!(second.transitions().len(), 2, "{:?}", second.transitions());
    });
    // The better router was alive all the time.
    network.mend("lb1");
    owners.wait_for(0);
}

#[test]
fn a_recording_from_before_a_restart_ends_no_mastership() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let Pair { network, mut first, mut second, owners } = Pair::new(", window: off");
    let liar = Liar::new(&network);
    first.vrrpd.start();
    first.wait_for_state("master");
    second.vrrpd.start();
    let recorded = liar.record(20);
    // The first time may have begun before the last of it was heard.
    wait_to_be_kept(&second);
    wait_to_be_kept(&second);
    network.cut("lb1");
    second.wait_for_state("master");
    second.vrrpd.kill();
    second.vrrpd.start();
    second.wait_for_state("master");
    let before = second.transitions();
    liar.play(&recorded, || {
        wait_until("it hears the recording", || second.receive_errors("hmac_replay") > 5);
    });
    assert_eq!(second.transitions(), before);
    network.mend("lb1");
    owners.wait_for(0);
}

#[test]
fn keys_come_to_a_running_pair_without_a_gap_and_go_again() {
    if !is_root() {
        skip!("namespaces need root");
    }
    let Pair { network: _network, mut first, mut second, owners } = Pair::new("");
    let mut nodes = [(&mut first, 200), (&mut second, 100)];
    for (node, priority) in &mut nodes {
        node.configure(&without_key(*priority));
        node.vrrpd.start();
    }
    owners.wait_for(0);
    let seen = owners.watch();
    let steps = [Some(", mode: receive_only"), Some(", mode: send"), Some("")];
    for step in steps.into_iter().chain([Some(", mode: send"), Some(", mode: receive_only"), None]) {
        for (node, priority) in &mut nodes {
            let reloads = || node.vrrpd.stderr().matches("configuration reloaded").count();
            let before = reloads();
            node.configure(&step.map_or_else(|| without_key(*priority), |step| config(*priority, step)));
            node.vrrpd.reload();
            wait_until("it has read the file", || reloads() > before);
            owners.stay_with(0, several_waits() / 2);
        }
        let [(first, _), (second, _)] = &nodes;
        let heard = second.counter("adverts_received");
        wait_until("the backup still believes the master", || second.counter("adverts_received") > heard);
        assert_eq!((first.transitions().len(), second.transitions().len()), (2, 1), "{step:?}");
    }
    assert_eq!(seen.stop().courses, [[0]]);
}
