//! More than there is room for: limits of servers, queues, connections and descriptors, and what becomes of what is too much.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use socket2::SockRef;
use testkit::{Client, Load, Peer, RawServer, Stack, get, wait_for, wait_until};

/// A server's door: it counts who is inside, and lets nobody out before the test says so.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Default)]
struct Inside {
    now: usize,
    most: usize,
    open: bool,
    seen: usize,
}

impl Gate {
    /// Answers one request after the other, each once the gate is open.
    fn serve(&self, peer: &mut Peer) -> io::Result<()> {
        loop {
            peer.read_request()?;
            self.change(|inside| {
                inside.now += 1;
                inside.seen += 1;
                inside.most = inside.most.max(inside.now);
            });
            let (inside, changed) = &*self.0;
            drop(changed.wait_while(inside.lock().unwrap(), |inside| !inside.open).unwrap());
            // Long enough to meet another one, if there is any.
            std::thread::sleep(Duration::from_millis(1));
            self.change(|inside| inside.now -= 1);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }

    fn open(&self) {
        self.change(|inside| inside.open = true);
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn seen(&self) -> usize {
        self.0.0.lock().unwrap().seen
    }

    fn most(&self) -> usize {
        self.0.0.lock().unwrap().most
    }
}

/// lbd in front of one server behind a gate, with that maxconn and further lines for the backend.
fn gated(maxconn: usize, backend: &str) -> (Stack, RawServer, Gate) {
    let gate = Gate::default();
    let server = gate.clone();
    let (mut stack, raw) = Stack::builder().backend(backend).start_before(move |peer| server.serve(peer));
    stack.config.server("raw", format!("{{ address: \"{}\", maxconn: {maxconn} }}", raw.address()));
    reload(&stack);
    (stack, raw, gate)
}

/// Has lbd alone read the configuration.
fn reload(stack: &Stack) {
    stack.write_config();
    let said = stack.command("reload");
    assert!(said.contains("configuration reloaded"), "{said}");
}

fn request(stack: &Stack, path: &str) -> Client {
    let mut client = stack.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

fn queued(stack: &Stack) -> u64 {
    stack.stat("app", "BACKEND").number("qcur")
}

fn reset(client: Client) {
    SockRef::from(&client.into_stream()).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The line of the access log about a path.
fn logged(stack: &Stack, path: &str) -> Vec<String> {
    wait_for(&format!("a line of access log about {path}"), || {
        let log = stack.lbd.stdout();
        let line = log.lines().find(|line| line.contains(&format!("GET {path} ")))?;
        Some(line.splitn(12, ' ').map(str::to_owned).collect())
    })
}

#[test]
fn a_server_never_has_more_requests_than_it_may() {
    for maxconn in [1, 3] {
        let (stack, _raw, gate) = gated(maxconn, "queue: { timeout: 30s }");
        gate.open();
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    let mut kept = stack.client();
                    for _ in 0..15 {
                        assert_eq!(kept.get("/kept").status, 200);
                        assert_eq!(stack.get("/new").status, 200);
                    }
                });
            }
        });
        assert_eq!(gate.most(), maxconn, "of two workers together");
        wait_until("nothing is left", || {
            let row = stack.stat("app", "raw");
            row.number("scur") == 0 && queued(&stack) == 0
        });
        let row = stack.stat("app", "raw");
        assert_eq!(row.number("slim"), maxconn as u64);
        assert!(stack.stat("app", "BACKEND").number("qmax") > 0);
    }
}

#[test]
fn who_waits_gets_a_place_in_turn_or_503_in_time() {
    let (stack, _raw, gate) = gated(1, "queue: { timeout: 1s, max: 2 }");
    let mut first = request(&stack, "/first");
    wait_until("the first is served", || gate.seen() == 1);
    let mut second = request(&stack, "/second");
    wait_until("the second waits", || queued(&stack) == 1);
    let mut third = request(&stack, "/third");
    wait_until("the third waits", || queued(&stack) == 2);
    let mut fourth = request(&stack, "/fourth");
    assert_eq!(fourth.response().status, 503, "the queue is full");
    let backend = stack.stat("app", "BACKEND");
    assert_eq!((backend.number("qlimit"), backend.number("qmax")), (2, 2));
    assert_eq!((second.response().status, third.response().status), (503, 503), "they waited for too long");
    gate.open();
    assert_eq!(first.response().status, 200);
    assert_eq!(stack.get("/later").status, 200);
    assert_eq!(gate.seen(), 2, "who did not get a place was never sent to the server");

    let line = logged(&stack, "/third");
    let times: Vec<i64> = line[4].split('/').map(|time| time.parse().unwrap()).collect();
    assert!(times[1] >= 900 && times[2] == -1 && times[3] == -1, "{line:?}");
    assert_eq!((&*line[3], &*line[5], &*line[9]), ("app/<NOSRV>", "503", "sQ--"), "{line:?}");
    assert!(line[11].starts_with("0/1 "), "it queued up behind one other: {line:?}");
    assert_eq!(logged(&stack, "/fourth")[9], "sQ--");
    assert_eq!(stack.metric("tandem_backend_queue_refused_total{proxy=\"app\"}"), Some(3.0));
    assert_eq!(queued(&stack), 0);
}

#[test]
fn a_client_that_resets_its_connection_frees_its_place() {
    let (stack, _raw, gate) = gated(1, "queue: { timeout: 30s }\ntimeouts: { server: 1h }");
    let first = request(&stack, "/first");
    wait_until("the first is served", || gate.seen() == 1);
    let second = request(&stack, "/second");
    wait_until("the second waits", || queued(&stack) == 1);
    let third = request(&stack, "/third");
    wait_until("the third waits", || queued(&stack) == 2);
    reset(second);
    wait_until("the second has left the queue", || queued(&stack) == 1);
    // The server hangs: only the client's leaving can make room.
    reset(first);
    wait_until("the third is served", || gate.seen() == 2 && queued(&stack) == 0);
    gate.open();
    let mut third = third;
    assert_eq!(third.response().status, 200);
    assert_eq!(logged(&stack, "/second")[9], "CQ--");
    assert_eq!(logged(&stack, "/first")[9], "CH--");
    assert_eq!(stack.stat("app", "BACKEND").number("cli_abrt"), 2);
}

#[test]
fn the_end_of_what_a_client_sends_is_a_hang_up_only_where_it_is_said_so() {
    let (mut stack, _raw, gate) = gated(1, "queue: { timeout: 30s }");
    let mut first = request(&stack, "/first");
    wait_until("the first is served", || gate.seen() == 1);
    let mut second = request(&stack, "/second");
    wait_until("the second waits", || queued(&stack) == 1);
    first.finish_sending();
    second.finish_sending();
    gate.open();
    assert_eq!((first.response().status, second.response().status), (200, 200));

    gate.change(|inside| inside.open = false);
    stack.config.backend = "abort_on_close: on\nqueue: { timeout: 30s }\ntimeouts: { server: 1h }".into();
    reload(&stack);
    let third = request(&stack, "/third");
    wait_until("the third is served", || gate.seen() == 3);
    let fourth = request(&stack, "/fourth");
    wait_until("the fourth waits", || queued(&stack) == 1);
    fourth.finish_sending();
    wait_until("the fourth has left the queue", || queued(&stack) == 0);
    third.finish_sending();
    wait_until("the third has left the server", || stack.stat("app", "raw").number("scur") == 0);
}

/// Two servers that take one request each. One is held there, and another waits for that server, as the other one has just
/// closed its connection instead of answering.
#[test]
fn nobody_waits_behind_somebody_who_waits_for_another_server() {
    let gate = Gate::default();
    let door = gate.clone();
    let closed = Arc::new(AtomicBool::new(false));
    let script = move |peer: &mut Peer| loop {
        let head = peer.read_request()?;
        if head.starts_with("GET /hold ") {
            door.change(|inside| inside.seen += 1);
            let (inside, changed) = &*door.0;
            drop(changed.wait_while(inside.lock().unwrap(), |inside| !inside.open).unwrap());
        }
        if head.starts_with("GET /head ") && !closed.swap(true, SeqCst) {
            return Ok(());
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    };
    let (mut stack, one) = Stack::builder()
        .backend("queue: { timeout: 30s }")
        .config(|config, _| config.lbd = "workers: 1".into())
        .start_before(script.clone());
    let two = RawServer::start(stack.addresses.socket(101, 7081), script);
    for (name, address) in [("raw", one.address()), ("other", two.address())] {
        stack.config.server(name, format!("{{ address: \"{address}\", maxconn: 1 }}"));
    }
    reload(&stack);
    let mut held = request(&stack, "/hold");
    wait_until("a server is busy", || gate.seen() == 1);
    let mut head = request(&stack, "/head");
    wait_until("it waits for the busy server", || queued(&stack) == 1);
    let served = (0..60).filter(|_| stack.get("/other").status == 200).count();
    assert_eq!((served, queued(&stack)), (60, 1), "the other server was idle");
    gate.open();
    assert_eq!((held.response().status, head.response().status), (200, 200));
}

#[test]
fn nobody_queues_where_a_server_without_a_limit_can_answer() {
    let (mut stack, _raw, gate) = gated(1, "queue: { timeout: 30s }");
    let other = RawServer::start(stack.addresses.socket(101, 7081), |peer: &mut Peer| {
        loop {
            peer.read_request()?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    });
    stack.config.server("other", other.address());
    reload(&stack);
    let mut clients = Vec::new();
    wait_until("the limited server is full", || {
        clients.push(request(&stack, "/held"));
        gate.seen() == 1
    });
    assert!((0..20).all(|_| stack.get("/").status == 200));
    assert_eq!(stack.stat("app", "BACKEND").number("qmax"), 0);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

/// A limit that is raised, and a server that comes up, let in as many as there is room for.
#[test]
fn many_places_at_once_serve_many_at_once() {
    let (mut stack, raw, gate) = gated(1, "queue: { timeout: 30s }");
    let mut clients: Vec<Client> = (0..31).map(|_| request(&stack, "/")).collect();
    wait_until("all but one wait", || gate.seen() == 1 && queued(&stack) == 30);
    stack.command("set maxconn server app/raw 11");
    wait_until("ten more are served", || gate.seen() == 11 && queued(&stack) == 20);
    let server = gate.clone();
    let other = RawServer::start(stack.addresses.socket(101, 7081), move |peer| server.serve(peer));
    stack.config.server("raw", format!("{{ address: \"{}\", maxconn: 11 }}", raw.address()));
    stack.config.server("other", format!("{{ address: \"{}\", maxconn: 10 }}", other.address()));
    stack.command("set maxconn server app/raw 11");
    reload(&stack);
    wait_until("another ten are served", || gate.seen() == 21 && queued(&stack) == 10);
    // A server without a limit is never waited for.
    stack.config.server("other", format!("\"{}\"", other.address()));
    reload(&stack);
    wait_until("all are served", || gate.seen() == 31 && queued(&stack) == 0);
    let mut more: Vec<Client> = (0..10).map(|_| request(&stack, "/")).collect();
    wait_until("more are, too", || gate.seen() == 41 && queued(&stack) == 0);
    gate.open();
    assert!(clients.iter_mut().chain(&mut more).all(|client| client.response().status == 200));
}

#[test]
fn failed_attempts_give_their_places_back() {
    let gate = Gate::default();
    gate.open();
    let server = gate.clone();
    let (mut stack, raw) = Stack::builder()
        .backend("queue: { timeout: 30s }\nretry_budget: 100%")
        .start_before(move |peer| server.serve(peer));
    let dead = stack.addresses.socket(101, 7081);
    stack.config.server("dead", format!("{{ address: \"{dead}\", maxconn: 1 }}"));
    stack.config.server("raw", format!("{{ address: \"{}\", maxconn: 1 }}", raw.address()));
    reload(&stack);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(stack.get("/").status, 200);
                }
            });
        }
    });
    assert_eq!(gate.most(), 1);
    assert!(stack.stat("app", "dead").number("econ") > 0, "it was tried");

    // With nobody else to go to, too: the next request finds its place free.
    stack.config.remove_server("raw");
    reload(&stack);
    for _ in 0..3 {
        assert_eq!(stack.get("/alone").status, 503);
    }
    assert_eq!(queued(&stack), 0);
    let _server = RawServer::start(dead, move |peer| gate.serve(peer));
    wait_until("the server that is back is used", || stack.get("/back").status == 200);
}

#[test]
fn a_limit_is_changed_while_it_is_in_force() {
    let (stack, _raw, gate) = gated(1, "queue: { timeout: 30s }");
    let mut clients: Vec<Client> = (0..3).map(|_| request(&stack, "/")).collect();
    wait_until("two wait", || gate.seen() == 1 && queued(&stack) == 2);
    assert_eq!(stack.command("set maxconn server app/raw 2").trim(), "");
    wait_until("one waits", || gate.seen() == 2 && queued(&stack) == 1);
    let said = stack.tandemctl_ok(&["maxconn", "raw", "0"]);
    assert!(said.contains("no maxconn"), "{said}");
    wait_until("none waits", || gate.seen() == 3);
    assert_eq!(stack.stat("app", "raw").text("slim"), "");
    // What operators set outlives a reload.
    stack.tandemctl_ok(&["maxconn", "app/raw", "7"]);
    reload(&stack);
    assert_eq!(stack.stat("app", "raw").number("slim"), 7);
    gate.open();
    assert!(clients.iter_mut().all(|client| client.response().status == 200));
}

#[test]
fn connections_beyond_the_limit_wait_in_the_backlog() {
    for (lbd, frontend) in [("workers: 2\nmaxconn: 2", ""), ("workers: 2", "maxconn: 2")] {
        let mut stack = Stack::builder()
            .servers(1)
            .unchecked()
            .frontend(&format!("timeouts: {{ keep_alive: 1h }}\n{frontend}"))
            .config(|config, _| config.lbd = lbd.into())
            .start();
        let mut held = [stack.client(), stack.client()];
        held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
        let mut third = request(&stack, "/third");
        third.set_read_timeout(Duration::from_millis(300));
        assert!(third.try_response("GET").is_err(), "it is not served");
        let row = stack.stat("web", "FRONTEND");
        assert_eq!((row.number("scur"), row.number("slim"), row.number("stot")), (2, 2, 2), "{row:?}");
        let [one, _two] = held;
        drop(one);
        third.set_read_timeout(testkit::PATIENCE);
        assert_eq!(third.response().status, 200);

        // A reload raises the limit for those that wait.
        let mut fourth = request(&stack, "/fourth");
        (stack.config.lbd, stack.config.frontend) = ("workers: 2\nmaxconn: 100".into(), String::new());
        reload(&stack);
        assert_eq!(fourth.response().status, 200);
    }
}

#[test]
fn descriptors_are_counted_before_clients_are() {
    let mut stack = Stack::builder()
        .servers(1)
        .without_healthd()
        .without_lbd()
        .config(|config, _| config.lbd = "workers: 1\nmaxconn: 1000\nverdict_wait: 0s".into())
        .start();
    stack.lbd.open_files(1024);
    drop(stack.lbd.spawn());
    assert_eq!(stack.lbd.wait().code(), Some(78));
    let log = stack.lbd.stderr();
    for part in ["maxconn is 1000", "needs 2128", "allows lbd 1024", "at most 448", "LimitNOFILE"] {
        assert!(log.contains(part), "{part}: {log}");
    }

    stack.config.lbd = "workers: 1\nmaxconn: 448\nverdict_wait: 0s".into();
    stack.write_config();
    stack.lbd.start();
    let info = stack.command("show info");
    assert!(info.contains("Maxconn: 448") && info.contains("Ulimit-n: 1024"), "{info}");
    assert_eq!(stack.metric("tandem_lbd_max_connections"), Some(448.0));
    stack.config.lbd = "workers: 1\nmaxconn: 449\nverdict_wait: 0s".into();
    stack.write_config();
    let refused = stack.command("reload");
    assert!(refused.contains("refused") && refused.contains("needs 1026"), "{refused}");
    assert_eq!(stack.get("/").status, 200);

    // Clients may need all of them: large bodies are copied, until a reload leaves some for pipes.
    stack.nginx[0].file("large", 1 << 20);
    let pipes = |stack: &Stack| stack.lbd.descriptors().0;
    let before = pipes(&stack);
    assert_eq!(stack.get("/files/large").body.len(), 1 << 20);
    assert_eq!(pipes(&stack), before);
    stack.config.lbd = "workers: 1\nmaxconn: 447\nverdict_wait: 0s".into();
    reload(&stack);
    assert_eq!(stack.get("/files/large").body.len(), 1 << 20);
    assert_eq!(pipes(&stack), before + 2);
}

#[test]
fn a_server_that_comes_up_warms_up() {
    let mut stack = Stack::builder().backend("slow_start: 3s").start();
    let throttle = |stack: &Stack, server| stack.stat("app", server).text("throttle").to_owned();
    assert!(["s1", "s2", "s3"].iter().all(|server| throttle(&stack, server).is_empty()), "not at the start");
    for how in ["health", "maintenance"] {
        if how == "health" {
            stack.nginx[0].stop();
            stack.wait_for_status("s1", "DOWN");
            stack.nginx[0].restart();
        } else {
            stack.tandemctl_ok(&["maint", "s1"]);
            stack.wait_for_status("s1", "MAINT");
            stack.tandemctl_ok(&["ready", "s1"]);
        }
        let mut seen = Vec::new();
        wait_until("it warms up", || {
            seen.push(throttle(&stack, "s1"));
            !seen.last().unwrap().is_empty()
        });
        wait_until("it is warm", || {
            seen.push(throttle(&stack, "s1"));
            seen.last().unwrap().is_empty()
        });
        let shares: Vec<u64> = seen.iter().filter_map(|percent| percent.parse().ok()).collect();
        assert!(
            shares.is_sorted() && shares.iter().all(|share| (5..=100).contains(share)),
            "{how}: {shares:?}"
        );
        let report = Load::default().run(stack.web(), 60);
        report.assert_nothing_lost();
        // Each worker's turns are exact, and which of them a connection comes to is the kernel's choice.
        let own = report.by_instance.get(&1).copied().unwrap_or(0);
        assert!((17..=23).contains(&own), "it has a full share again, {how}: {report:?}");
    }
}

#[test]
fn where_all_are_down_they_are_tried_if_that_is_wanted() {
    let failing = "{ http: { path: /status/500 }, interval: 100ms, timeout: 2s, fall: 2, rise: 2 }";
    let mut stack = Stack::builder().backend("when_all_down: try").start();
    let last_resort = |stack: &Stack| stack.metric("tandem_backend_last_resort{proxy=\"app\"}");
    assert_eq!(last_resort(&stack), Some(0.0));
    stack.command("set server app/s3 state maint");
    let good = std::mem::replace(&mut stack.config.check, failing.into());
    stack.reload();
    wait_until("requests go to servers that are down", || last_resort(&stack) == Some(1.0));
    let mut by_instance = BTreeMap::new();
    for _ in 0..20 {
        let response = stack.get("/");
        assert_eq!(response.status, 200);
        *by_instance.entry(response.instance().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(by_instance.keys().copied().collect::<Vec<_>>(), [1, 2], "not to the one in maint");
    let row = stack.stat("app", "BACKEND");
    assert_eq!((row.text("status"), row.number("act")), ("DOWN", 0), "VRRP counts no usable server: {row:?}");
    assert!(row.text("last_chk").contains("used all the same"), "{row:?}");
    assert!(stack.tandemctl_ok(&["status"]).contains("used all the same"));
    assert!(get(stack.config.admin, "/").text().contains("used all the same"));
    stack.lbd.wait_to_tell("they are used all the same");

    stack.config.check = good;
    stack.reload();
    wait_until("it is over", || last_resort(&stack) == Some(0.0));
    stack.lbd.wait_to_tell("backend has a usable server");

    stack.config.backend = String::new();
    stack.config.check = failing.into();
    stack.reload();
    wait_until("clients get 503", || stack.get("/").status == 503);
    let log = stack.lbd.stderr();
    assert_eq!(log.matches("they are used all the same").count(), 1, "{log}");
}

#[test]
fn what_servers_do_wrong_is_told_to_healthd() {
    type Answer = fn(&mut Peer) -> io::Result<()>;
    let wrong: [(&str, Answer); 3] = [
        ("a 5xx", |peer| peer.send("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")),
        ("garbage", |peer| peer.send("garbage\r\n\r\n")),
        ("a reset", Peer::reset),
    ];
    for (what, answer) in wrong {
        let mut stack = Stack::builder()
            .servers(0)
            .config(|config, addresses| config.server("raw", addresses.socket(100, 7081)))
            .start();
        let address = stack.addresses.socket(100, 7081);
        let _server = RawServer::start(address, move |peer| {
            let head = peer.read_request()?;
            if head.starts_with("GET /health ") {
                return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
            answer(peer)
        });
        stack.wait_for_status("raw", "UP");
        let count = |stack: &Stack| {
            let text = get(stack.config.healthd_admin, "/metrics").text();
            let series = "tandem_health_observations_total{kind=\"bad_response\"} ";
            text.lines().find_map(|line| line.strip_prefix(series)?.parse::<u64>().ok()).unwrap_or(0)
        };
        assert!(stack.get("/").status >= 500, "{what}");
        wait_until(&format!("healthd knows of {what}"), || count(&stack) >= 1);
        assert!(stack.healthd.is_running() && stack.lbd.is_running());
    }
}

#[test]
fn retries_beyond_the_budget_are_counted() {
    let mut stack = Stack::builder()
        .servers(0)
        .unchecked()
        .backend("retries: 3\nretry_budget: 0%")
        .config(|config, addresses| {
            config.lbd = "workers: 1".into();
            config.server("nobody", addresses.socket(100, 7081));
        })
        .start();
    let refused = |stack: &Stack| stack.metric("tandem_backend_retries_refused_total{proxy=\"app\"}");
    assert_eq!(refused(&stack), Some(0.0));
    for _ in 0..20 {
        assert_eq!(stack.get("/").status, 503);
    }
    assert!(refused(&stack) > Some(0.0));
    assert!(stack.lbd.is_running());
}

#[test]
fn a_backend_without_limits_has_no_queue() {
    let stack = Stack::builder().servers(1).start();
    let row = stack.stat("app", "BACKEND");
    assert_eq!((row.number("qcur"), row.text("qlimit"), row.text("slim")), (0, "", ""));
    assert_eq!(stack.metric("tandem_backend_current_queue{proxy=\"app\"}"), None);
}
