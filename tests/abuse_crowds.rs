//! More connections than is usual: idle ones by the thousand, and floods beyond what lbd may hold.

use std::time::Duration;

use testkit::{Crowd, Load, Stack, raise_descriptors, skip};

/// What an idle connection may cost, in bytes: its task, its place in tables and timers, a request line of usual length.
/// A buffer alone would be four times as much.
const IDLE_BYTES: u64 = 8 << 10;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Adds connections that have been answered once each, and are idle now.
fn add_idle(crowd: &mut Crowd, stack: &Stack, count: usize) {
    let goal = crowd.members.len() + count;
    while crowd.members.len() < goal {
        // A few at a time: the servers are not what is tested.
        let some = (goal - crowd.members.len()).min(100);
        crowd.join(some, || stack.client());
        crowd.send(REQUEST);
        crowd.wait_for_all("every client is answered", |member| member.length > 0);
    }
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_harm_nobody() {
    let allowed = raise_descriptors();
    // lbd takes half of its descriptors for clients; some are left for the others in this test.
    let room = usize::try_from(allowed.saturating_sub(128) / 2).unwrap().saturating_sub(100);
    let count = room.min(10_000);
    if count < 1000 {
        skip!("a process may have {allowed} descriptors here, too few for many connections");
    }
    if count < 10_000 {
        eprintln!("{count} connections instead of 10,000: a process may have {allowed} descriptors here");
    }
    let stack = Stack::builder()
        .servers(1)
        .unchecked()
        .frontend("timeouts: { keep_alive: 10m }")
        .config(|config, _| config.lbd = "workers: 1".to_owned())
        .start();
    let others = Load { clients: 2, ..Load::default() }.start(stack.web());
    others.wait_for_requests(100);
    let before = stack.footprint_at_rest();
    let mut crowd = Crowd::default();
    // The first ones also fill the pool of buffers, which is not a matter of their number.
    add_idle(&mut crowd, &stack, 100);
    let warm = stack.footprint();
    for goal in [1000, count] {
        let more = goal - crowd.members.len();
        add_idle(&mut crowd, &stack, more);
        let grown = stack.growth_kib(warm) * 1024 / (goal as u64 - 100);
        eprintln!("{goal} idle connections: {grown} bytes each, {} KiB in all", stack.growth_kib(warm));
        assert!(grown < IDLE_BYTES, "{goal} idle connections hold {grown} bytes each");
    }
    assert_eq!(stack.stat("web", "FRONTEND").number("scur"), count as u64 + 2);
    others.wait_for_requests(200);
    // Each of them is as good as ever.
    for member in crowd.members.iter_mut().step_by(50) {
        let had = member.length;
        member.send(REQUEST.as_bytes());
        testkit::wait_until("an old connection is answered", || {
            member.receive();
            member.length == 2 * had
        });
    }
    drop(crowd);
    others.stop().assert_nothing_lost();
    stack.wait_until_calm(before);
}

/// A stack whose lbd may have so few descriptors that it holds at most 100 clients.
fn narrow(builder: testkit::StackBuilder, workers: usize) -> Stack {
    let mut stack = builder
        .servers(1)
        .unchecked()
        .config(|config, _| config.lbd = format!("workers: {workers}"))
        .without_lbd()
        .start();
    // Besides lbd's own, two for each client, and an eighth for pipes.
    stack.lbd.open_files(128 + 2 * 100 + 28);
    stack.lbd.start();
    stack
}

#[test]
fn a_flood_beyond_the_limit_is_served_as_places_become_free() {
    let stack = narrow(Stack::builder().frontend("timeouts: { keep_alive: 1s }"), 1);
    let before = stack.footprint_at_rest();
    let mut hoard = Crowd::default();
    add_idle(&mut hoard, &stack, 100);
    // More than are let in wait in the kernel; nobody is refused.
    let mut flood = Crowd::connect(stack.web(), 1000);
    flood.send("GET /flood HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    flood.wait_for_all("everybody was served", |member| member.ended);
    assert_eq!(flood.count(200), 1000);
    let lines = stack.log_lines(1000, |line| line.target == "/flood");
    assert!(lines.iter().all(|line| line.status == 200 && line.termination == "--"), "{lines:?}");
    assert!(stack.stat("web", "FRONTEND").number("smax") <= 100);
    let hasty = Load { clients: 16, keep_alive: false, pause: Duration::ZERO, ..Load::default() };
    hasty.run(stack.web(), 3000).assert_nothing_lost();
    drop(hoard);
    stack.wait_until_calm(before);
}

/// Backends of one server each, which keep their idle connections for long.
fn hoarding(workers: usize) -> Stack {
    let backend = |name: &str, server| {
        format!(
            "{name}:\n  check: off\n  timeouts: {{ keep_alive: 10m }}\n  servers: {{ s1: \"{server}\" }}\n"
        )
    };
    let builder = Stack::builder().config(|config, addresses| {
        for (name, last) in [("one", 2), ("two", 3), ("three", 4)] {
            config.more_backends += &backend(name, addresses.socket(11, testkit::SERVER_PORT));
            let bind = addresses.socket(last, 7080);
            config.more_frontends += &format!("{name}:\n  bind: [\"{bind}\"]\n  backend: {name}\n");
        }
    });
    let stack = narrow(builder, workers);
    stack.nginx[0].file("page", 32 << 10);
    stack
}

/// So many clients at once of the frontend at that address, all of which are served.
fn visit(stack: &Stack, last: u8, clients: usize) {
    let mut crowd = Crowd::connect(stack.addresses.socket(last, 7080), clients);
    crowd.send("GET /slow/page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    crowd.wait_for_all("everybody was served", |member| member.ended);
    let served = crowd.members.iter().filter(|member| member.status() == 200).count();
    assert_eq!(served, clients, "of the clients of 127.x.y.{last}");
}

#[test]
fn idle_connections_to_servers_give_way_to_clients() {
    for workers in [1, 2] {
        let stack = hoarding(workers);
        let before = stack.footprint_at_rest();
        // Each backend in turn is so busy that it keeps as many idle connections as there are clients: in all more than fit.
        for last in [2, 3, 4, 1] {
            visit(&stack, last, 95);
        }
        let log = stack.lbd.stderr();
        assert!(!log.contains("cannot accept"), "nobody has to wait for a descriptor: {log}");
        stack.wait_until_calm(before);
    }
}

#[test]
fn no_more_idle_connections_give_way_than_are_needed_and_the_oldest_first() {
    for workers in [1, 2] {
        let stack = hoarding(workers);
        visit(&stack, 2, 95);
        visit(&stack, 3, 95);
        let idle = |backend: &str| {
            let series =
                format!("tandem_server_idle_connections_current{{proxy=\"{backend}\",server=\"s1\"}}");
            stack.metric(&series).unwrap()
        };
        let before = [idle("one"), idle("two")];
        // With these there are some dozens of descriptors too few.
        visit(&stack, 4, 95);
        let after = [idle("one"), idle("two")];
        assert!(after.iter().sum::<f64>() >= 80.0, "{before:?} became {after:?}");
        assert!(after[0] < before[0] && after[0] <= after[1], "{before:?} became {after:?}");
    }
}
