//! Servers that are found while Tandem runs: in a file, and by real name servers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{
    Authority, CertificateKey, Load, Nginx, NginxTls, Process, SERVER_PORT, Stack, needs, text_command,
    wait_until,
};

/// The servers that lbd shows, with their states.
fn servers(stack: &Stack) -> Vec<(String, String)> {
    let rows = stack.stats();
    let of_app = rows.iter().filter(|row| row.text("pxname") == "app");
    let servers = of_app.filter(|row| !matches!(row.text("svname"), "FRONTEND" | "BACKEND"));
    servers.map(|row| (row.text("svname").to_owned(), row.text("status").to_owned())).collect()
}

fn wait_for_servers(stack: &Stack, names: &[&str]) {
    let expected: Vec<_> = names.iter().map(|name| ((*name).to_owned(), "UP".to_owned())).collect();
    let mut shown = Vec::new();
    wait_until(&format!("the servers are {names:?}, all of them up"), || {
        shown = servers(stack);
        shown == expected
    });
}

/// What healthd says of where the servers of `app` are found.
fn discovery(stack: &Stack) -> String {
    let text = text_command(&stack.healthd.socket(), "show discovery");
    text.lines().find(|line| line.starts_with("app ")).unwrap_or_default().to_owned()
}

fn wait_for_discovery(stack: &Stack, words: &str) {
    wait_until(&format!("healthd says {words:?} of where servers are found"), || {
        discovery(stack).contains(words)
    });
}

/// A file with these servers takes the place of the one before, as it is meant to be written.
fn replace(file: &Path, servers: &[(&str, SocketAddr)]) {
    let mut text = "servers:".to_owned();
    for (name, address) in servers {
        write!(text, "\n  {name}: \"{address}\"").unwrap();
    }
    if servers.is_empty() {
        text.push_str(" {}");
    }
    replace_text(file, &text);
}

fn replace_text(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// Three servers that nobody knows yet, and a stack that finds some in the way that `discover` says.
fn finding(discover: &str, more: &str) -> Stack {
    finding_for("", discover, more)
}

/// The same with lines of the backend's own.
fn finding_for(backend: &str, discover: &str, more: &str) -> Stack {
    let stack = Stack::builder().servers(0).backend(backend).without_healthd().without_lbd();
    let mut stack = stack
        .config(|config, _| {
            config.server("discover", discover);
            config.more = more.to_owned();
        })
        .start();
    for _ in 0..3 {
        stack.add_nginx();
    }
    stack
}

fn start(stack: &mut Stack) {
    stack.healthd.start();
    stack.lbd.start();
}

/// The first two of the servers are in a file.
fn from_file(more: &str) -> (Stack, PathBuf) {
    from_file_for("", more)
}

/// The same with lines of the backend's own.
fn from_file_for(backend: &str, more: &str) -> (Stack, PathBuf) {
    let mut stack = finding_for(backend, &format!("{{ file: servers.yaml, hold: 1s{more} }}"), "");
    let file = stack.dir().join("servers.yaml");
    replace(&file, &[("s1", stack.server_address(1)), ("s2", stack.server_address(2))]);
    start(&mut stack);
    wait_for_servers(&stack, &["s1", "s2"]);
    (stack, file)
}

#[test]
fn a_file_says_who_serves_and_its_changes_lose_no_request() {
    let (stack, file) = from_file("");
    let load = Load::default().start(stack.web());
    load.wait_for_requests(50);
    let [one, two, three] = [1, 2, 3].map(|number| stack.server_address(number));
    for _ in 0..3 {
        replace(&file, &[("s2", two), ("s3", three)]);
        wait_for_servers(&stack, &["s2", "s3"]);
        load.wait_for_requests(50);
        replace(&file, &[("s1", one), ("s2", two), ("s3", three)]);
        wait_for_servers(&stack, &["s1", "s2", "s3"]);
        replace(&file, &[("s1", one)]);
        wait_for_servers(&stack, &["s1"]);
        load.wait_for_requests(50);
    }
    load.stop().assert_nothing_lost();
    assert_serves_alone(&stack, 1);
}

fn assert_serves_alone(stack: &Stack, number: usize) {
    let report = Load::default().run(stack.web(), 20);
    assert!(
        report.by_instance.len() == 1 && report.by_instance.contains_key(&number),
        "{:?}",
        report.by_instance
    );
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_is_told_of() {
    let (stack, file) = from_file("");
    let load = Load::default().start(stack.web());
    replace_text(&file, "servers:\n  s1: \"127.0.0.1:80\"\n  s2: nowhere\n");
    wait_for_discovery(&stack, "servers.yaml:3:7: error: server 's2' is 'nowhere'; the port is missing");
    stack.healthd.wait_to_tell("servers are not found as they should be");
    fs::remove_file(&file).unwrap();
    wait_for_discovery(&stack, "there is no such file");
    let status = stack.tandemctl_ok(&["status"]);
    assert!(status.contains("there is no such file"), "{status}");
    assert_eq!(servers(&stack).len(), 2);
    load.wait_for_requests(100);
    // An empty one counts, but only after a while.
    replace(&file, &[]);
    wait_for_discovery(&stack, "the answer names 0 servers, and 'min' is 1");
    load.stop().assert_nothing_lost();
    wait_for_servers(&stack, &[]);
    assert_eq!(stack.get("/").status, 503);
    replace(&file, &[("s3", stack.server_address(3))]);
    wait_for_servers(&stack, &["s3"]);
    wait_until("it serves", || stack.get("/").instance() == Some(3));
}

#[test]
fn who_was_found_is_known_to_the_next_daemons() {
    let (mut stack, file) = from_file("");
    let load = Load::default().start(stack.web());
    fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        stack.healthd.kill();
        stack.healthd.start();
        load.wait_for_requests(50);
        wait_for_discovery(&stack, "there is no such file");
        wait_for_servers(&stack, &["s1", "s2"]);
    }
    load.stop().assert_nothing_lost();
    stack.healthd.kill();
    stack.lbd.stop();
    stack.lbd.start();
    let report = Load::default().run(stack.web(), 40);
    report.assert_nothing_lost();
    assert_eq!(report.by_instance.len(), 2, "lbd remembers who was found");
    stack.healthd.start();
    replace(&file, &[("s3", stack.server_address(3))]);
    wait_for_servers(&stack, &["s3"]);
}

#[test]
fn a_server_that_leaves_ends_what_it_has_and_takes_nothing_new() {
    let (stack, file) = from_file("");
    for nginx in &stack.nginx {
        nginx.file("large", 64 * 1024);
    }
    let mut client = stack.client();
    client.send("GET /slow/large HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("a server sends", || servers_with_sessions(&stack).len() == 1);
    let [(busy, _)] = &servers_with_sessions(&stack)[..] else { panic!("one is busy") };
    let other = if busy == "s1" { "s2" } else { "s1" };
    let number = if other == "s1" { 1 } else { 2 };
    replace(&file, &[(other, stack.server_address(number))]);
    wait_until("it is in drain", || servers(&stack).contains(&(busy.clone(), "DRAIN".to_owned())));
    assert_serves_alone(&stack, number);
    let status = stack.tandemctl_ok(&["status"]);
    assert!(status.contains("belongs to the backend no more"), "{status}");
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, 64 * 1024));
    wait_for_servers(&stack, &[other]);
}

fn servers_with_sessions(stack: &Stack) -> Vec<(String, u64)> {
    let rows = stack.stats();
    let of_app = rows.iter().filter(|row| row.text("pxname") == "app" && row.text("type") == "2");
    let busy = of_app.map(|row| (row.text("svname").to_owned(), row.number("scur")));
    busy.filter(|(_, sessions)| *sessions > 0).collect()
}

#[test]
fn what_operators_want_of_a_server_outlives_its_absence() {
    let (stack, file) = from_file("");
    let [one, two] = [1, 2].map(|number| stack.server_address(number));
    stack.tandemctl_ok(&["drain", "app/s1"]);
    replace(&file, &[("s2", two)]);
    wait_for_servers(&stack, &["s2"]);
    replace(&file, &[("s1", one), ("s2", two)]);
    let drained = ("s1".to_owned(), "DRAIN".to_owned());
    wait_until("it is back, as it was wanted", || servers(&stack).contains(&drained));
    stack.tandemctl_ok(&["ready", "app/s1"]);
    wait_for_servers(&stack, &["s1", "s2"]);
}

/// Of those who are known by a cookie nobody is moved that need not be, and of those who are known by a hash a new server's share alone.
#[test]
fn clients_keep_their_servers_while_others_come_and_go() {
    const CLIENTS: usize = 120;
    for (backend, moves) in
        [("sticky: { cookie: SRV }", false), ("balance: { hash: { header: X-User } }", true)]
    {
        let (stack, file) = from_file_for(backend, "");
        let [one, two, three] = [1, 2, 3].map(|number| stack.server_address(number));
        let mut cookies = vec![String::new(); CLIENTS];
        let mut visit = || -> Vec<usize> {
            let of_all = cookies.iter_mut().enumerate();
            let answers = of_all.map(|(user, cookie)| {
                let mut client = stack.client();
                client
                    .send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\nCookie: {cookie}\r\n\r\n"));
                let response = client.response();
                if let Some(set) = response.field("set-cookie") {
                    set.split(';').next().unwrap_or_default().clone_into(cookie);
                }
                response.instance().unwrap()
            });
            answers.collect()
        };
        let first = visit();
        assert!(first.contains(&1) && first.contains(&2), "{first:?}");
        assert_eq!(visit(), first);

        replace(&file, &[("s1", one), ("s2", two), ("s3", three)]);
        wait_for_servers(&stack, &["s1", "s2", "s3"]);
        let second = visit();
        let moved: Vec<_> = first.iter().zip(&second).filter(|(before, now)| before != now).collect();
        assert!(moved.iter().all(|(_, now)| **now == 3), "{moved:?}");
        assert_eq!(!moved.is_empty(), moves, "{backend}");
        assert!(moved.len() < CLIENTS / 2, "{moved:?}");

        replace(&file, &[("s2", two), ("s3", three)]);
        wait_for_servers(&stack, &["s2", "s3"]);
        let third = visit();
        for (before, now) in second.iter().zip(&third) {
            assert!(*now != 1 && (before == now || *before == 1), "from {before} to {now}");
        }
        assert_eq!(visit(), third);
    }
}

#[test]
fn a_newcomer_warms_up() {
    let (stack, file) = from_file(", slow_start: 1h");
    let [one, two, three] = [1, 2, 3].map(|number| stack.server_address(number));
    replace(&file, &[("s1", one), ("s2", two), ("s3", three)]);
    wait_for_servers(&stack, &["s1", "s2", "s3"]);
    wait_until("it has requests", || stack.get("/").instance() == Some(3));
    let report = Load::default().run(stack.web(), 300);
    report.assert_nothing_lost();
    assert!(report.share(3) < 0.15, "{:?}", report.by_instance);
}

#[test]
fn of_too_many_servers_as_many_are_taken_as_may_be() {
    let mut stack = finding("{ file: servers.yaml, max: 20, check: off }", "");
    let file = stack.dir().join("servers.yaml");
    replace(&file, &[("s1", stack.server_address(1))]);
    start(&mut stack);
    let at = |number: u16| SocketAddr::from(([127, 0, 0, 1], 20_000 + number));
    let addresses: Vec<_> = (0..10_000).map(|number| (format!("n{number}"), at(number % 1000))).collect();
    let named: Vec<(&str, SocketAddr)> = addresses.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    replace(&file, &named);
    wait_for_discovery(&stack, "the answer names 9980 more than 'max' allows");
    wait_until("lbd shows as many", || servers(&stack).len() == 20);
    let metric = text_of_metrics(&stack);
    assert!(metric.contains("tandem_health_discovery_surplus{proxy=\"app\"} 9980"), "{metric}");
    assert!(metric.contains("tandem_health_discovery_ok{proxy=\"app\"} 0"), "{metric}");
}

fn text_of_metrics(stack: &Stack) -> String {
    let response = testkit::get(stack.config.healthd_admin, "/metrics");
    let lines = response.text();
    lines.lines().filter(|line| line.contains("discover")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_backend_may_get_its_servers_from_elsewhere_by_a_reload() {
    let mut stack = Stack::builder().servers(3).start();
    let load = Load::default().start(stack.web());
    let named = stack.config.servers.clone();
    let file = stack.dir().join("servers.yaml");
    let all = [1, 2, 3].map(|number| (format!("s{number}"), stack.server_address(number)));
    replace(&file, &all.each_ref().map(|(name, address)| (name.as_str(), *address)));
    stack.config.servers = vec![("discover".to_owned(), "{ file: servers.yaml }".to_owned())];
    stack.reload();
    wait_for_servers(&stack, &["s1", "s2", "s3"]);
    load.wait_for_requests(50);
    stack.config.servers = named;
    stack.reload();
    wait_for_servers(&stack, &["s1", "s2", "s3"]);
    load.wait_for_requests(50);
    load.stop().assert_nothing_lost();
}

/// dnsmasq, whose records are those of a file that it reads when it starts.
struct NameServer {
    dnsmasq: Option<Process>,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl NameServer {
    fn start(address: SocketAddr, records: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("tandem-discover-").tempdir().unwrap();
        let mut server = Self { dnsmasq: None, address, dir };
        server.change(records);
        server
    }

    /// Answers with these records from now on, and denies all other names.
    fn change(&mut self, records: &str) {
        self.stop();
        let config = self.dir.path().join("dnsmasq.conf");
        fs::write(&config, records).unwrap();
        let mut command = Command::new("dnsmasq");
        command
            .args(["--keep-in-foreground", "--no-hosts", "--no-resolv", "--local=/#/", "--bind-interfaces"])
            .args(["--local-ttl=1", "--pid-file="])
            .arg(format!("--conf-file={}", config.display()))
            .arg(format!("--listen-address={}", self.address.ip()))
            .arg(format!("--port={}", self.address.port()));
        if testkit::is_root() {
            command.arg("--user=root");
        }
        self.dnsmasq = Some(Process::spawn("dnsmasq", command, self.dir.path()));
        wait_until("dnsmasq listens", || std::net::TcpStream::connect(self.address).is_ok());
    }

    fn stop(&mut self) {
        if let Some(mut dnsmasq) = self.dnsmasq.take() {
            dnsmasq.kill();
        }
    }
}

/// A stack that finds its servers by a name server with these records.
fn by_name(discover: &str, records: impl FnOnce(&Stack) -> String) -> (Stack, NameServer) {
    let mut stack = finding(discover, "");
    let address = stack.addresses.socket(1, 7053);
    stack.config.more = format!("resolvers: {{ nameservers: [\"{address}\"], max_ttl: 1s }}");
    stack.write_config();
    let names = NameServer::start(address, &records(&stack));
    start(&mut stack);
    (stack, names)
}

/// `app.test` has the addresses of these servers.
fn addresses(stack: &Stack, numbers: &[usize]) -> String {
    let record = |number: &usize| format!("host-record=app.test,{}\n", stack.server_address(*number).ip());
    numbers.iter().map(record).collect()
}

/// What servers are called that are found by address.
fn called(stack: &Stack, numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|number| stack.server_address(*number).to_string()).collect()
}

fn wait_for(stack: &Stack, numbers: &[usize]) {
    let names = called(stack, numbers);
    wait_for_servers(stack, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn each_address_of_a_name_is_a_server() {
    needs!("dnsmasq");
    let discover = format!("{{ host: \"app.test:{SERVER_PORT}\", hold: 2s }}");
    let (stack, mut names) = by_name(&discover, |stack| addresses(stack, &[1, 2]));
    wait_for(&stack, &[1, 2]);
    let load = Load::default().start(stack.web());
    names.change(&addresses(&stack, &[1, 2, 3]));
    wait_for(&stack, &[1, 2, 3]);
    names.change(&addresses(&stack, &[3]));
    wait_for(&stack, &[3]);
    // Silence changes nothing.
    names.stop();
    wait_for_discovery(&stack, "app.test: ");
    load.wait_for_requests(100);
    wait_for(&stack, &[3]);
    load.stop().assert_nothing_lost();
    // A denial counts when it lasts.
    names.change("");
    wait_for_servers(&stack, &[]);
    names.change(&addresses(&stack, &[1]));
    wait_for(&stack, &[1]);
    assert_eq!(stack.get("/").instance(), Some(1));
}

#[test]
fn services_have_ports_weights_and_priorities() {
    needs!("dnsmasq");
    let records = |stack: &Stack, backup: &str| {
        let mut text = String::new();
        for (number, (name, priority, weight)) in
            [("one", 10, 60), ("two", 10, 20), (backup, 20, 5)].iter().enumerate()
        {
            let ip = stack.server_address(number + 1).ip();
            writeln!(text, "host-record={name}.test,{ip}").unwrap();
            writeln!(text, "srv-host=_http._tcp.app.test,{name}.test,{SERVER_PORT},{priority},{weight}")
                .unwrap();
        }
        text
    };
    let (mut stack, mut names) = by_name("{ srv: _http._tcp.app.test }", |stack| records(stack, "three"));
    let at = |name: &str| format!("{name}.test:{SERVER_PORT}");
    let [one, two, three] = ["one", "two", "three"].map(at);
    wait_until("all are up", || servers(&stack).iter().filter(|(_, status)| status == "UP").count() == 3);
    let stat = |name: &str, column: &str| stack.stat("app", name).text(column).to_owned();
    assert_eq!([&one, &two, &three].map(|name| stat(name, "weight")), ["3", "1", "1"]);
    assert_eq!([&one, &two, &three].map(|name| stat(name, "bck")), ["0", "0", "1"]);
    let report = Load::default().run(stack.web(), 80);
    report.assert_nothing_lost();
    assert!((0.65..0.85).contains(&report.share(1)), "{:?}", report.by_instance);
    stack.nginx[0].stop();
    stack.nginx[1].stop();
    wait_until("the other priority serves", || stack.get("/").instance() == Some(3));
    names.change(&records(&stack, "four"));
    let four = at("four");
    wait_until("another one is found", || servers(&stack).iter().any(|(name, _)| *name == four));
}

#[test]
fn addresses_of_both_families_are_servers() {
    needs!("dnsmasq");
    // A port that nobody else has on the one IPv6 address that there is.
    let free = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let _six = Nginx::start(6, free);
    let mut four = None;
    let discover = format!("{{ host: \"app.test:{}\" }}", free.port());
    let (stack, mut names) = by_name(&discover, |stack| {
        let address = SocketAddr::new(stack.server_address(1).ip(), free.port());
        four = Some(Nginx::start(4, address));
        format!("host-record=app.test,{},::1\n", address.ip())
    });
    let four = four.unwrap();
    wait_for_servers(&stack, &[&four.address().to_string(), &free.to_string()]);
    let report = Load::default().run(stack.web(), 20);
    report.assert_nothing_lost();
    assert_eq!(report.by_instance.keys().copied().collect::<Vec<_>>(), [4, 6]);
    names.change("host-record=app.test,::1\n");
    wait_for_servers(&stack, &[&free.to_string()]);
}

/// Each is asked for by the name that its record has, and shows that it is who is called so.
#[test]
fn services_are_verified_by_their_own_names() {
    needs!("dnsmasq");
    let authority = Authority::new();
    let stack = Stack::builder().servers(0).without_healthd().without_lbd();
    let mut servers_there = Vec::new();
    let mut records = String::new();
    let mut name_server = None;
    let mut stack = stack
        .config(|config, addresses| {
            for (last, name, shown) in [(21, "one", "one"), (22, "two", "two"), (23, "three", "another")] {
                let address = addresses.socket(last, SERVER_PORT);
                let certificate = authority.issue(
                    &format!("{name}.pem"),
                    &[&format!("{shown}.test")],
                    CertificateKey::Ecdsa,
                );
                let tls = NginxTls::new(certificate);
                servers_there.push(Nginx::start_secured(usize::from(last - 20), address, tls));
                writeln!(records, "host-record={name}.test,{}", address.ip()).unwrap();
                writeln!(records, "srv-host=_https._tcp.app.test,{name}.test,{SERVER_PORT},10,10").unwrap();
            }
            let address = addresses.socket(1, 7053);
            name_server = Some(address);
            config.server("discover", "{ srv: _https._tcp.app.test }");
            config.backend = format!("tls: {{ server_ca: \"{}\" }}", authority.ca_file().display());
            config.more = format!("resolvers: {{ nameservers: [\"{address}\"], max_ttl: 1s }}");
        })
        .start();
    let _names = NameServer::start(name_server.unwrap(), &records);
    start(&mut stack);
    let state = |name: &str, status: &str| (format!("{name}.test:{SERVER_PORT}"), status.to_owned());
    let expected = [state("one", "UP"), state("three", "DOWN"), state("two", "UP")];
    wait_until("who shows another name is down", || {
        let mut shown = servers(&stack);
        shown.sort();
        shown == expected
    });
    let report = Load::default().run(stack.web(), 20);
    report.assert_nothing_lost();
    assert_eq!(report.by_instance.keys().copied().collect::<Vec<_>>(), [1, 2]);
    let asked: BTreeSet<String> = (0..4).map(|_| stack.get("/tls").text()).collect();
    for name in ["one", "two"] {
        assert!(asked.iter().any(|answer| answer.contains(&format!("name={name}.test"))), "{asked:?}");
    }
}

#[test]
fn five_hundred_services_of_one_name_are_found_by_tcp() {
    needs!("dnsmasq");
    let discover = "{ srv: _http._tcp.app.test, max: 1000, check: off }";
    let (stack, mut names) = by_name(discover, |_| {
        (0..500).map(|number| format!("srv-host=_http._tcp.app.test,web-{number}.app.test,80\n")).collect()
    });
    wait_for_discovery(&stack, "app 500 1000 0 0 ");
    wait_until("lbd shows them", || servers(&stack).len() == 500);
    names.change("srv-host=_http._tcp.app.test,web-7.app.test,80\n");
    wait_for_discovery(&stack, "app 1 1000 0 0 ");
    wait_until("lbd shows one", || servers(&stack).len() == 1);
}

/// Knot, which is authoritative for `test` and says so with nothing in a datagram that is too small.
struct Knot {
    process: Option<Process>,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Knot {
    fn start(address: SocketAddr, records: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("tandem-knot-").tempdir().unwrap();
        let home = dir.path().display();
        let config = format!(
            "server:\n    rundir: \"{home}\"\n    listen: {}@{}\ndatabase:\n    storage: \"{home}\"\n\
             log:\n  - target: stderr\n    any: warning\n\
             zone:\n  - domain: test.\n    file: \"{home}/test.zone\"\n    journal-content: none\n",
            address.ip(),
            address.port()
        );
        fs::write(dir.path().join("knot.conf"), config).unwrap();
        let mut knot = Self { process: None, address, dir };
        knot.change(records);
        knot
    }

    fn change(&mut self, records: &str) {
        let head = "$ORIGIN test.\n$TTL 1\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n";
        fs::write(self.dir.path().join("test.zone"), format!("{head}{records}")).unwrap();
        self.restart();
    }

    /// Has a zone, and nothing to say of it: the answer is SERVFAIL.
    fn lose(&mut self) {
        fs::remove_file(self.dir.path().join("test.zone")).unwrap();
        self.restart();
    }

    fn restart(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        let mut command = Command::new("knotd");
        command.arg("--config").arg(self.dir.path().join("knot.conf"));
        self.process = Some(Process::spawn("knotd", command, self.dir.path()));
        wait_until("knotd listens", || std::net::TcpStream::connect(self.address).is_ok());
    }
}

/// A stack that finds its servers by a Knot that is to be started there.
fn by_knot(discover: &str) -> (Stack, SocketAddr) {
    let mut stack = finding(discover, "");
    let address = stack.addresses.socket(2, 7054);
    stack.config.more = format!("resolvers: {{ nameservers: [\"{address}\"], max_ttl: 1s }}");
    stack.write_config();
    (stack, address)
}

#[test]
fn a_name_server_that_fails_takes_nobody_out() {
    needs!("knotd");
    let (mut stack, address) = by_knot(&format!("{{ host: \"app.test:{SERVER_PORT}\", hold: 0s }}"));
    let records = |numbers: &[usize]| -> String {
        numbers.iter().map(|number| format!("app A {}\n", stack.server_address(*number).ip())).collect()
    };
    let (before, after) = (records(&[1, 2]), records(&[3]));
    let mut knot = Knot::start(address, &before);
    start(&mut stack);
    wait_for(&stack, &[1, 2]);
    let load = Load::default().start(stack.web());
    knot.lose();
    wait_for_discovery(&stack, "SERVFAIL");
    stack.healthd.wait_to_tell("SERVFAIL");
    load.wait_for_requests(200);
    wait_for(&stack, &[1, 2]);
    // The next daemons are told as little, and know as much.
    stack.healthd.kill();
    stack.healthd.start();
    wait_for_discovery(&stack, "SERVFAIL");
    load.wait_for_requests(100);
    wait_for(&stack, &[1, 2]);
    knot.change(&after);
    wait_for(&stack, &[3]);
    load.stop().assert_nothing_lost();
}

#[test]
fn a_datagram_that_holds_none_of_many_services_is_asked_for_by_tcp() {
    needs!("knotd");
    let (mut stack, address) = by_knot("{ srv: _http._tcp.app.test, max: 400, check: off }");
    let services = |numbers: std::ops::Range<u32>| -> String {
        numbers.map(|number| format!("_http._tcp.app SRV 10 0 80 web-{number}.app\n")).collect()
    };
    let mut knot = Knot::start(address, &services(0..500));
    start(&mut stack);
    wait_for_discovery(&stack, "app 400 400 0 100 ");
    wait_for_discovery(&stack, "the answer names 100 more than 'max' allows");
    knot.change(&services(0..300));
    wait_until("those that are gone have left", || !discovery(&stack).contains("more than"));
    // "empty non-terminal": the name is there, without records.
    knot.change("a._http._tcp.app A 127.0.0.1\n");
    wait_for_discovery(&stack, "the answer names 0 servers, and 'min' is 1");
    assert!(
        discovery(&stack).starts_with("app 3") || discovery(&stack).starts_with("app 4"),
        "nobody leaves at once"
    );
}
