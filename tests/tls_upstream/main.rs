//! TLS to servers: Debian's nginx with certificates of every kind, a server that speaks first, and HAProxy beside.

mod beside;
mod checks;
mod files;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{
    Authority, CertificateKey, Haproxy, Nginx, NginxTls, Process, Stack, StackBuilder, get, needs, wait_until,
};

const NAMES: &[&str] = &["app.example", "*.apps.example"];

/// Where server number 1 of a stack is.
const SERVER: u8 = 11;

/// A stack before one server, which is to be started there with the certificate in a file, with these settings of the
/// backend's TLS.
fn before(tls: &str, start: impl FnOnce(SocketAddr) -> Nginx) -> (StackBuilder, Nginx) {
    let mut nginx = None;
    let stack = Stack::builder().servers(0).unchecked().config(|config, addresses| {
        let address = addresses.socket(SERVER, testkit::SERVER_PORT);
        config.server("s1", address);
        config.backend = format!("tls: {{ {tls} }}");
        config.lbd = "workers: 1".to_owned();
        nginx = Some(start(address));
    });
    (stack, nginx.unwrap())
}

fn secured(certificate: PathBuf) -> impl FnOnce(SocketAddr) -> Nginx {
    |address| Nginx::start_secured(1, address, NginxTls::new(certificate))
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn verified(authority: &Authority, more: &str) -> String {
    format!("server_ca: {}{more}", quoted(&authority.ca_file()))
}

fn handshakes(stack: &Stack, result: &str) -> f64 {
    let series =
        format!("tandem_server_tls_handshakes_total{{proxy=\"app\",server=\"s1\",result=\"{result}\"}}");
    stack.metric(&series).unwrap()
}

/// What nginx says of the connection, by its word.
fn told(answer: &str, word: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {word} in {answer}")).to_owned()
}

#[test]
fn servers_are_asked_for_by_name_and_verified() {
    let authority = Authority::new();
    for key in [CertificateKey::Ecdsa, CertificateKey::Rsa] {
        let tls = verified(&authority, ", server_name: app.example");
        let (stack, _nginx) = before(&tls, secured(authority.issue("app.pem", NAMES, key)));
        let mut stack = stack.start();
        let answer = stack.get("/tls");
        assert_eq!(answer.status, 200);
        let answer = answer.text();
        assert_eq!(
            ["name", "protocol", "alpn"].map(|word| told(&answer, word)),
            ["app.example", "TLSv1.3", "http/1.1"]
        );
        // A server may have a name of its own.
        let address = stack.server_address(1);
        stack.config.server("s1", format!("{{ address: \"{address}\", server_name: b.apps.example }}"));
        stack.write_config();
        assert!(stack.command("reload").contains("reloaded"));
        assert_eq!(told(&stack.get("/tls").text(), "name"), "b.apps.example");
    }
}

#[test]
fn an_address_without_a_name_is_what_the_certificate_is_for() {
    let authority = Authority::new();
    let (stack, _nginx) = before(&verified(&authority, ""), |address| {
        let certificate = authority.issue("ip.pem", &[&address.ip().to_string()], CertificateKey::Ecdsa);
        secured(certificate)(address)
    });
    let stack = stack.start();
    let answer = stack.get("/tls").text();
    assert_eq!(told(&answer, "name"), "", "no address is sent as a name (RFC 6066 section 3)");
    assert_eq!(handshakes(&stack, "full"), 1.0);
}

#[test]
fn who_is_not_who_it_should_be_gets_no_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = || authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let expired = authority.issue_until("old.pem", NAMES, CertificateKey::Ecdsa, Some((2021, 2, 3)));
    let named = |authority: &Authority, name: &str| verified(authority, &format!(", server_name: {name}"));
    for (tls, certificate, reason) in [
        ("server_name: app.example".to_owned(), good(), "unknown issuer"),
        (
            named(&stranger, "app.example"),
            good(),
            "bad signature: the authority of that name that is known has another key",
        ),
        (
            named(&authority, "other.example"),
            good(),
            "the server's certificate is for app.example, *.apps.example, not other.example",
        ),
        (verified(&authority, ""), good(), "is for app.example, *.apps.example, not 127."),
        (named(&authority, "app.example"), expired.clone(), "the server's certificate expired on 2021-02-03"),
    ] {
        let (stack, nginx) = before(&tls, secured(certificate));
        let stack = stack.start();
        assert_eq!(stack.get("/").status, 503, "{reason}");
        assert_eq!(nginx.requests(), Vec::<String>::new());
        assert_eq!((handshakes(&stack, "full"), handshakes(&stack, "resumed")), (0.0, 0.0));
        let failed = handshakes(&stack, "failed");
        assert!(failed >= 1.0 && stack.stat("app", "s1").text("econ") == failed.to_string(), "{failed}");
        wait_until(reason, || stack.lbd.stderr().contains(reason));
        assert_eq!(
            stack.lbd.stderr().matches("no TLS with this server").count(),
            1,
            "told at a bounded rate"
        );
    }
    // Unless anybody will do, which is said loudly.
    let (stack, _nginx) = before("verify: false", secured(expired));
    let stack = stack.start();
    assert_eq!(stack.get("/").text(), "NGINX Instance 1\n");
    assert!(stack.lbd.stderr().contains("does not verify its servers"), "{}", stack.lbd.stderr());
}

#[test]
fn another_server_takes_what_one_has_no_certificate_for() {
    let authority = Authority::new();
    let tls = verified(&authority, ", server_name: app.example");
    let wrong = authority.issue("wrong.pem", &["wrong.example"], CertificateKey::Ecdsa);
    let right = authority.issue("right.pem", NAMES, CertificateKey::Ecdsa);
    let (stack, _wrong) = before(&tls, secured(wrong));
    let mut second = None;
    let stack = stack.config(|config, addresses| {
        let address = addresses.socket(12, testkit::SERVER_PORT);
        second = Some(Nginx::start_secured(2, address, NginxTls::new(right)));
        config.server("s2", address);
        config.backend += "\nretries: 1";
    });
    let stack = stack.start();
    for _ in 0..6 {
        assert_eq!(stack.get("/").text(), "NGINX Instance 2\n");
    }
    assert!(stack.stat("app", "s1").number("wredis") >= 1);
}

#[test]
fn lbd_shows_its_own_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let own = clients.issue("lbd.pem", &["lbd.example"], CertificateKey::Ecdsa);
    for (more, status) in [(String::new(), 400), (format!(", certificate: {}", quoted(&own)), 200)] {
        let tls = verified(&authority, &format!(", server_name: app.example{more}"));
        let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
        let (stack, _nginx) = before(&tls, |address| {
            Nginx::start_secured(
                1,
                address,
                NginxTls { client_ca: Some(clients.ca_file()), ..NginxTls::new(certificate) },
            )
        });
        let stack = stack.start();
        let answer = stack.get("/tls");
        assert_eq!(answer.status, status);
        if status == 200 {
            assert_eq!(told(&answer.text(), "client"), "SUCCESS");
        }
    }
}

#[test]
fn connections_are_kept_and_sessions_go_on() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        kept_and_going_on(version);
    }
}

fn kept_and_going_on(versions: &'static str) {
    let authority = Authority::new();
    let tls = verified(&authority, ", server_name: app.example");
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let tls_of_server = NginxTls { versions, ..NginxTls::new(certificate) };
    let (stack, _nginx) = before(&tls, |address| Nginx::start_secured(1, address, tls_of_server));
    let mut stack = stack.start();
    let mut connections = BTreeSet::new();
    for number in 1..=20 {
        let answer = stack.get("/tls").text();
        assert_eq!(
            [told(&answer, "protocol"), told(&answer, "request")],
            [versions.to_owned(), number.to_string()]
        );
        connections.insert(told(&answer, "connection"));
    }
    assert_eq!((connections.len(), handshakes(&stack, "full")), (1, 1.0));
    // What cannot be repeated takes a kept connection, too.
    let mut client = stack.client();
    client.send("POST /tls HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().status, 200);
    assert_eq!(handshakes(&stack, "full"), 1.0);

    // With the same settings a reload keeps connections as well as sessions.
    stack.reload_lbd();
    assert_eq!(told(&stack.get("/tls").text(), "request"), "22");
    stack.config.backend += "\ntimeouts: { keep_alive: off }";
    stack.reload_lbd();
    for _ in 0..10 {
        let answer = stack.get("/tls").text();
        assert_eq!((told(&answer, "request"), told(&answer, "reused")), ("1".to_owned(), "r".to_owned()));
    }
    assert_eq!((handshakes(&stack, "full"), handshakes(&stack, "resumed")), (1.0, 10.0));
    // With others it does not.
    stack.config.backend = stack.config.backend.replace("app.example", "a.apps.example");
    stack.reload_lbd();
    let answer = stack.get("/tls").text();
    assert_eq!(
        (told(&answer, "name"), told(&answer, "reused")),
        ("a.apps.example".to_owned(), ".".to_owned())
    );
}

/// Has lbd alone read the configuration anew.
trait ReloadLbd {
    fn reload_lbd(&self);
}

impl ReloadLbd for Stack {
    fn reload_lbd(&self) {
        self.write_config();
        let answer = self.command("reload");
        assert!(answer.contains("reloaded"), "{answer}");
    }
}

#[test]
fn bodies_of_every_size_arrive_whole_both_ways() {
    let authority = Authority::new();
    let tls = verified(&authority, ", server_name: app.example");
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let (stack, nginx) = before(&tls, secured(certificate));
    let stack = stack.start();
    for (number, size) in
        [0, 1, 100, 16_383, 16_384, 16_385, 70_000, 1 << 20, 20 << 20].into_iter().enumerate()
    {
        let name = format!("f{number}");
        let body = nginx.file(&name, size);
        for path in ["files", "chunked"] {
            assert!(stack.get(&format!("/{path}/{name}")).body == body, "{path} of {size}");
        }
        let mut client = stack.client();
        let head = format!("PUT /upload/{name} HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n");
        let mut sender = client.sender();
        let sent = body.clone();
        let sending = std::thread::spawn(move || {
            sender.send(head);
            sender.send(sent);
        });
        assert!(client.response().status < 300, "{size}");
        sending.join().unwrap();
        assert!(nginx.uploaded(&name) == Some(body), "{size}");
    }
}

#[test]
fn haproxy_reaches_and_refuses_the_same_servers() {
    needs!("haproxy");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    for (ca, name) in [(&authority, "app.example"), (&stranger, "app.example"), (&authority, "other.example")]
    {
        let tls = verified(ca, &format!(", server_name: {name}"));
        let (stack, _nginx) = before(&tls, secured(certificate.clone()));
        let stack = stack.start();
        let server = stack.server_address(1);
        let other = Haproxy::beside(&stack, "http", |bind| {
            format!(
                "listen web\n bind {bind}\n retries 1\n option forwardfor\n server s {server} ssl verify required ca-file {} sni str({name}) alpn http/1.1\n",
                ca.ca_file().display()
            )
        });
        let [ours, theirs] = [stack.web(), other.address()].map(|address| get(address, "/headers"));
        assert_eq!(ours.status, theirs.status, "{name}");
        if ours.status == 200 {
            let without_proto =
                |text: String| text.replace("x-forwarded-proto=http\n", "x-forwarded-proto=\n");
            assert_eq!(without_proto(ours.text()), theirs.text());
        }
    }
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    let authority = Authority::new();
    let tls = verified(&authority, ", server_name: app.example");
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let (stack, _nginx) =
        before(&tls, |address| Nginx::start_introduced_and_secured(1, address, NginxTls::new(certificate)));
    let stack = stack.config(|config, _| config.backend += "\nsend_proxy: v2").start();
    let mut client = stack.client();
    for request in ["request=1", "request=2"] {
        let answer = client.get("/proxy").text();
        assert!(answer.contains(&format!("from={}", client.local_address().ip())), "{answer}");
        assert!(answer.contains(request), "{answer}");
    }
}

/// A server of bytes that greets, reads until the end, and says how much that was.
fn greeting(address: SocketAddr, certificate: &Path, dir: &Path) -> Process {
    let python = "import socket, ssl, sys, threading\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain(sys.argv[1])\n\
        context.set_alpn_protocols(['greeting'])\n\
        def serve(raw):\n\
        \ttry:\n\
        \t\tpeer = context.wrap_socket(raw, server_side=True)\n\
        \t\tpeer.sendall(('hello ' + str(peer.selected_alpn_protocol()) + '\\n').encode())\n\
        \t\tall = 0\n\
        \t\twhile True:\n\
        \t\t\tgot = peer.recv(65536)\n\
        \t\t\tif not got: break\n\
        \t\t\tall += len(got)\n\
        \t\tpeer.sendall(f'{all} bytes\\n'.encode())\n\
        \t\tpeer.unwrap().close()\n\
        \texcept OSError: pass\n\
        listener = socket.create_server((sys.argv[2], int(sys.argv[3])))\n\
        while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()\n";
    let mut command = Command::new("python3");
    command.args(["-c", python]).arg(certificate);
    command.args([address.ip().to_string(), address.port().to_string()]);
    let process = Process::spawn("greeting", command, dir);
    wait_until("the server listens", || std::net::TcpStream::connect(address).is_ok());
    process
}

#[test]
fn bytes_that_nobody_understands_are_carried_in_tls() {
    let authority = Authority::new();
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let tls = verified(&authority, ", server_name: app.example, alpn: [other, greeting]");
    let mut server = None;
    let stack = Stack::builder().servers(0).unchecked().frontend("mode: tcp").config(|config, addresses| {
        let address = addresses.socket(SERVER, testkit::SERVER_PORT);
        server = Some(greeting(address, &certificate, authority.dir()));
        config.server("s1", address);
        config.backend = format!("mode: tcp\ntls: {{ {tls} }}");
        config.lbd = "workers: 1".to_owned();
    });
    let mut stack = stack.start();
    for round in 0..3 {
        let mut client = stack.client();
        assert_eq!(client.take(15).unwrap(), b"hello greeting\n");
        client.send(vec![b'x'; 300_000]);
        client.finish_sending();
        assert_eq!(String::from_utf8(client.take_all()).unwrap(), "300000 bytes\n");
        assert_eq!([handshakes(&stack, "full"), handshakes(&stack, "resumed")], [1.0, f64::from(round)]);
    }
    // Who cannot show who it is gets nothing of the client's.
    stack.config.backend = stack.config.backend.replace("app.example", "other.example");
    stack.reload_lbd();
    let mut client = stack.client();
    client.send("a secret");
    assert_eq!(client.take_all(), b"");
    wait_until("it is told", || stack.lbd.stderr().contains("not other.example"));
}

#[test]
fn checks_are_secured_as_requests_are() {
    let authority = Authority::new();
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    for (check, code) in [
        ("{ http: { path: /health }", "L7OK"),
        ("{ tcp: {}", "L6OK"),
        ("{ tls: {}", "L6OK"),
        (
            "{ tcp: { steps: [ { send: \"GET /health HTTP/1.0\\r\\n\\r\\n\" }, { expect: \"200 OK\" } ] }",
            "L7OK",
        ),
    ] {
        let tls = verified(&authority, ", server_name: app.example");
        let (stack, _nginx) = checked(&tls, check, secured(certificate.clone()));
        wait_until(code, || stack.stat("app", "s1").text("check_status") == code);
        assert_eq!(stack.get("/").text(), "NGINX Instance 1\n");

        let tls = verified(&authority, ", server_name: other.example");
        let (stack, nginx) = checked(&tls, check, secured(certificate.clone()));
        stack.wait_for_status("s1", "DOWN");
        let why = stack.stat("app", "s1").text("last_chk").to_owned();
        assert!(why.contains("is for app.example, *.apps.example, not other.example"), "{why}");
        assert_eq!(stack.get("/").status, 503);
        drop(nginx);
    }
}

#[test]
fn the_end_of_a_servers_certificate_is_seen_before_it_hurts() {
    let authority = Authority::new();
    let output = Command::new("date").args(["-u", "-d", "+5 days", "+%Y %-m %-d %s"]).output().unwrap();
    let date = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<u32> = date.split_whitespace().map(|part| part.parse().unwrap()).collect();
    let end =
        (i32::try_from(parts[0]).unwrap(), u8::try_from(parts[1]).unwrap(), u8::try_from(parts[2]).unwrap());
    let soon = authority.issue_until("app.pem", NAMES, CertificateKey::Ecdsa, Some(end));
    let tls = verified(&authority, ", server_name: app.example");
    let (stack, mut nginx) = checked(&tls, "{ http: { path: /health }", secured(soon));
    let series = "tandem_health_server_certificate_expiry_timestamp_seconds{proxy=\"app\",server=\"s1\"}";
    let expiry = || {
        let text = get(stack.config.healthd_admin, "/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok())
    };
    let midnight = f64::from(parts[3] - parts[3] % 86_400);
    wait_until("the end is known", || expiry() == Some(midnight));
    let told = || stack.healthd.stderr().matches("server's certificate expires soon").count();
    wait_until("it is told", || told() == 1);
    // A new certificate is seen with the next check.
    authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    nginx.restart();
    wait_until("the new end is known", || expiry().is_some_and(|expiry| expiry > midnight));
    assert_eq!(told(), 1, "once");
}

/// The same with checks, of which all but the end is given.
fn checked(tls: &str, check: &str, start: impl FnOnce(SocketAddr) -> Nginx) -> (Stack, Nginx) {
    let mut nginx = None;
    let stack = Stack::builder().servers(0).config(|config, addresses| {
        let address = addresses.socket(SERVER, testkit::SERVER_PORT);
        config.server("s1", address);
        config.check = format!("{check}, interval: 200ms, timeout: 2s, fall: 3, rise: 2 }}");
        config.backend = format!("tls: {{ {tls} }}");
        nginx = Some(start(address));
    });
    (stack.start(), nginx.unwrap())
}
