//! TLS in front: real clients (openssl, curl, Python), certificates that change, sessions that go on at the other node, and HAProxy
//! beside.

mod clients;
mod flood;
mod inside;
mod java;
mod openssl;
mod sslyze;
mod staples;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use testkit::{
    Authority, CertificateKey, Client, Haproxy, Stack, StackBuilder, curl_secured, needs, stdout, text,
    wait_until,
};

const NAMES: &[&str] = &["app.example", "*.apps.example", "localhost"];

/// A stack whose frontend has TLS, with more of its settings.
fn with_tls(authority: &Authority, more: &str) -> StackBuilder {
    let file = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let tls = format!("{{ certificates: [\"{}\"]{more} }}", file.display());
    Stack::builder().unchecked().config(|config, _| config.tls = tls)
}

/// openssl's client, which says `says` and reads until the end.
fn s_client(address: SocketAddr, args: &[&str], says: &[u8]) -> Output {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-ign_eof"]).args(args);
    let mut client =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever is refused reads nothing.
    let _ = client.stdin.take().unwrap().write_all(says);
    client.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n";

#[test]
fn clients_of_every_kind_are_answered() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "").servers(1).start();
    for version in ["1.2", "1.3"] {
        let mut command = curl_secured(&authority, stack.web(), "/headers");
        command.args([
            "--http1.1",
            &format!("--tlsv{version}"),
            "--tls-max",
            version,
            "-w",
            "%{http_version} %{num_connects}\n",
        ]);
        // Twice, on one connection.
        command.arg("https://app.example/headers");
        let answer = text(command);
        assert_eq!(answer.matches("\nx-forwarded-proto=https\n").count(), 2, "{answer}");
        assert_eq!(answer.matches("1.1 1\n").count() + answer.matches("1.1 0\n").count(), 2, "{answer}");
    }
    let python = "import ssl, sys, http.client\n\
        context = ssl.create_default_context(cafile=sys.argv[1])\n\
        client = http.client.HTTPSConnection('localhost', int(sys.argv[3]), context=context)\n\
        client.connect = lambda: None\n\
        import socket\n\
        client.sock = context.wrap_socket(socket.create_connection((sys.argv[2], int(sys.argv[3]))), server_hostname='app.example')\n\
        client.sock.suppress_ragged_eofs = False\n\
        for _ in range(3):\n\
        \tclient.request('GET', '/')\n\
        \tprint(client.getresponse().read().decode().strip())\n\
        client.sock.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n\
        while client.sock.recv(1000): pass\n\
        print(client.sock.version(), 'ended in order')\n";
    let mut command = Command::new("python3");
    command.args(["-c", python]).arg(authority.ca_file());
    command.args([stack.web().ip().to_string(), stack.web().port().to_string()]);
    assert_eq!(text(command), format!("{}TLSv1.3 ended in order\n", "NGINX Instance 1\n".repeat(3)));
    for version in ["-tls1_2", "-tls1_3"] {
        let answer = said(&s_client(stack.web(), &[version, "-servername", "a.apps.example"], LAST_REQUEST));
        assert!(answer.contains("NGINX Instance 1"), "{answer}");
        assert!(answer.contains("closed"), "{answer}");
    }
    assert_eq!(
        stack.metric("tandem_frontend_tls_handshakes_total{proxy=\"web\",result=\"full\"}"),
        Some(5.0)
    );
}

#[test]
fn bodies_of_every_size_arrive_whole_both_ways() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "").servers(1).start();
    for (number, size) in
        [0, 1, 100, 16_383, 16_384, 16_385, 70_000, 1 << 20, 20 << 20].into_iter().enumerate()
    {
        let name = format!("f{number}");
        let body = stack.nginx[0].file(&name, size);
        for path in ["files", "chunked"] {
            assert!(
                stdout(curl_secured(&authority, stack.web(), &format!("/{path}/{name}"))) == body,
                "{path} of {size}"
            );
        }
        let file = stack.dir().join(&name);
        fs::write(&file, &body).unwrap();
        for how in ["Content-Length", "Transfer-Encoding: chunked"] {
            let mut command = curl_secured(&authority, stack.web(), &format!("/upload/{name}"));
            command.args(["-T", &file.display().to_string()]);
            if how != "Content-Length" {
                command.args(["-H", how]);
            }
            stdout(command);
            assert!(stack.nginx[0].uploaded(&name) == Some(body.clone()), "{how} of {size}");
        }
    }
}

#[test]
fn the_answers_are_those_of_haproxy() {
    needs!("haproxy");
    let authority = Authority::new();
    let stack = with_tls(&authority, "")
        .servers(1)
        .frontend("forwarded: [X-Forwarded-For, X-Forwarded-Proto]\nroutes:\n  - { tls: false, deny: 403 }\n  - { tls: true, path: /moved, redirect: { path: /there } }")
        .start();
    let server = stack.server_address(1);
    let other = Haproxy::beside(&stack, "http", |bind| {
        let file = authority.dir().join("app.pem").display().to_string();
        format!(
            "frontend web\n bind {bind} ssl crt {file} alpn http/1.1\n option forwardfor\n http-request set-header X-Forwarded-Proto https\n \
             http-request redirect location https://app.example/there if {{ path /moved }}\n default_backend app\nbackend app\n server s {server}\n"
        )
    });
    for path in ["/", "/headers", "/status/204", "/status/500", "/moved"] {
        let [ours, theirs] = [stack.web(), other.address()].map(|address| {
            let mut command = curl_secured(&authority, address, path);
            command.args(["-w", "\n%{http_code} %{redirect_url} %{ssl_verify_result}"]);
            text(command)
        });
        assert_eq!(ours, theirs, "{path}");
    }
}

#[test]
fn the_certificate_is_that_of_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let two = authority.issue("two.pem", &["two.example"], CertificateKey::Ecdsa);
    let rsa = authority.issue("two-rsa.pem", &["two.example"], CertificateKey::Rsa);
    let more = |strict: bool| {
        let app = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
        let files = [&app, &two, &rsa].map(|file| format!("\"{}\"", file.display())).join(", ");
        format!("{{ certificates: [{files}], strict_sni: {strict} }}")
    };
    let mut stack =
        Stack::builder().unchecked().servers(1).config(|config, _| config.tls = more(false)).start();
    let presented = |stack: &Stack, args: &[&str]| {
        let said = said(&s_client(stack.web(), args, LAST_REQUEST));
        let line = said.lines().find_map(|line| line.trim().strip_prefix("subject=")).map(str::to_owned);
        line.map(|line| line.rsplit('=').next().unwrap_or_default().trim().to_owned())
    };
    for (args, name) in [
        (&["-servername", "two.example"][..], "two.example"),
        (&["-servername", "TWO.example"], "two.example"),
        (&["-servername", "two.example", "-sigalgs", "RSA-PSS+SHA256"], "two.example"),
        (&["-servername", "a.apps.example"], "app.example"),
        (&["-servername", "unknown.example"], "app.example"),
        (&["-noservername"], "app.example"),
    ] {
        assert_eq!(presented(&stack, args).as_deref(), Some(name), "{args:?}");
    }
    stack.config.tls = more(true);
    stack.write_config();
    assert!(stack.command("reload").contains("reloaded"));
    assert_eq!(presented(&stack, &["-servername", "two.example"]).as_deref(), Some("two.example"));
    for args in [&["-servername", "unknown.example"][..], &["-noservername"]] {
        assert_eq!(presented(&stack, args), None, "{args:?}");
    }
    assert_eq!(stack.metric("tandem_lbd_refused_requests_total{reason=\"tls_no_certificate\"}"), Some(2.0));
}

#[test]
fn a_session_goes_on_at_the_other_node() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let keys = dir.path().join("tickets");
    let secrets = [1, 2].map(|n: u8| format!("{n:02x}").repeat(32));
    let node = |first: usize| {
        fs::write(&keys, format!("{}\n{}\n", secrets[first], secrets[1 - first])).unwrap();
        with_tls(&authority, &format!(", ticket_keys: \"{}\"", keys.display())).servers(1).start()
    };
    // In the middle of a change of keys: each seals with another one, and opens both.
    let shared = [node(0), node(1)];
    let alone = with_tls(&authority, "").servers(1).start();
    let session = dir.path().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        for (from, to, goes_on) in [(0, 1, true), (1, 0, true), (0, 2, false)] {
            let stacks = [&shared[0], &shared[1], &alone];
            let name = ["-servername", "app.example", version];
            let first = said(&s_client(
                stacks[from].web(),
                &[&name[..], &["-sess_out", &session]].concat(),
                LAST_REQUEST,
            ));
            assert!(first.contains("\nNew, TLSv1."), "{first}");
            let then = said(&s_client(
                stacks[to].web(),
                &[&name[..], &["-sess_in", &session]].concat(),
                LAST_REQUEST,
            ));
            assert!(then.contains("NGINX Instance 1"), "{then}");
            assert_eq!(then.contains("\nReused, TLSv1."), goes_on, "{version} from {from} to {to}: {then}");
        }
    }
    let resumed = "tandem_frontend_tls_handshakes_total{proxy=\"web\",result=\"resumed\"}";
    assert_eq!(
        [&shared[0], &shared[1], &alone].map(|stack| stack.metric(resumed)),
        [Some(2.0), Some(2.0), Some(0.0)]
    );
}

#[test]
fn certificates_are_renewed_without_a_reload_and_kept_while_new_ones_are_bad() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "").servers(1).start();
    let file = authority.dir().join("app.pem");
    let serial = || {
        let said = said(&s_client(stack.web(), &["-servername", "app.example", "-showcerts"], LAST_REQUEST));
        assert!(said.contains("NGINX Instance 1"), "{said}");
        let certificate = said.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap_or_default();
        certificate.split("-----END").next().unwrap_or_default().to_owned()
    };
    let first = serial();
    authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    wait_until("the new certificate is presented", || serial() != first);
    let second = serial();
    fs::write(&file, "no certificate").unwrap();
    wait_until("the log tells why not", || stack.lbd.stderr().contains("TLS stays as it is"));
    assert_eq!(serial(), second);
    assert!(stack.lbd.stderr().contains("app.pem"), "{}", stack.lbd.stderr());
    authority.issue("app.pem", NAMES, CertificateKey::Rsa);
    wait_until("the next one is presented", || serial() != second);
}

#[test]
fn who_cannot_be_served_is_told_counted_and_logged() {
    let authority = Authority::new();
    let stack =
        with_tls(&authority, ", min_version: \"1.3\"").frontend("access_log: json").servers(1).start();
    let mut plain = Client::connect(stack.web());
    plain.send(LAST_REQUEST);
    // An alert (RFC 8446 6), and nothing else.
    assert_eq!(plain.take_all()[..2], [0x15, 0x03]);
    let old = said(&s_client(stack.web(), &["-tls1_2"], LAST_REQUEST));
    assert!(old.contains("alert protocol version"), "{old}");
    // Whoever does not know the authority says so.
    let mut command = Command::new("curl");
    command.args(["-sS", "--connect-to", &format!("::{}", stack.web()), "https://app.example/"]);
    assert!(!command.output().unwrap().status.success());
    for reason in ["tls_malformed", "tls_incompatible", "tls_alert"] {
        let series = format!("tandem_lbd_refused_requests_total{{reason=\"{reason}\"}}");
        wait_until(reason, || stack.metric(&series) == Some(1.0));
    }
    assert_eq!(
        stack.metric("tandem_frontend_tls_handshakes_total{proxy=\"web\",result=\"failed\"}"),
        Some(3.0)
    );
    wait_until("all is logged", || stack.lbd.stdout().lines().count() == 3);
    // Others are served meanwhile.
    assert_eq!(text(curl_secured(&authority, stack.web(), "/")), "NGINX Instance 1\n");
}

#[test]
fn tls_ends_before_bytes_that_nobody_understands() {
    let authority = Authority::new();
    let tls = format!(
        "{{ certificates: [\"{}\"] }}",
        authority.issue("app.pem", NAMES, CertificateKey::Ecdsa).display()
    );
    let (stack, _server) = Stack::builder()
        .frontend("mode: tcp")
        .backend("mode: tcp")
        .config(|config, _| config.tls = tls)
        .start_before(|peer| {
            // It speaks first, and answers when its client has ended.
            peer.send(b"hello\n")?;
            let all = peer.read_all()?;
            peer.send(format!("{} bytes\n", all.len()).as_bytes())
        });
    let python = "import socket, ssl, sys\n\
        context = ssl.create_default_context(cafile=sys.argv[1])\n\
        raw = socket.create_connection((sys.argv[2], int(sys.argv[3])))\n\
        end = ssl.MemoryBIO(), ssl.MemoryBIO()\n\
        tls = context.wrap_bio(*end, server_hostname='app.example')\n\
        def move(what):\n\
        \twhile True:\n\
        \t\ttry: return what()\n\
        \t\texcept ssl.SSLWantReadError:\n\
        \t\t\traw.sendall(end[1].read())\n\
        \t\t\tend[0].write(raw.recv(65536))\n\
        move(tls.do_handshake)\n\
        print(move(lambda: tls.read(100)).decode().strip())\n\
        tls.write(b'x' * 300000)\n\
        try: tls.unwrap()\n\
        except ssl.SSLError: pass\n\
        raw.sendall(end[1].read())\n\
        print(move(lambda: tls.read(100)).decode().strip())\n";
    let mut command = Command::new("python3");
    command.args(["-c", python]).arg(authority.ca_file());
    command.args([stack.web().ip().to_string(), stack.web().port().to_string()]);
    assert_eq!(text(command), "hello\n300000 bytes\n");
}

#[test]
fn sessions_under_tls_go_where_the_name_of_their_handshake_leads() {
    let authority = Authority::new();
    let file = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let tls = format!("{{ certificates: [\"{}\"] }}", file.display());
    let mut stack = Stack::builder()
        .servers(2)
        .unchecked()
        .frontend("mode: tcp")
        .backend("mode: tcp")
        .config(|config, _| config.tls = tls)
        .start();
    stack.config.frontend = "mode: tcp\nroutes: [{ sni: \"*.apps.example\", backend: apps }]".to_owned();
    let (_, second) = stack.config.servers.pop().unwrap();
    stack.config.more_backends = format!("apps: {{ mode: tcp, check: off, servers: {{ one: {second} }} }}");
    stack.write_config();
    stack.lbd.reload();
    stack.lbd.wait_to_tell("configuration reloaded");
    let ask = |name: &str| said(&s_client(stack.web(), &["-quiet", "-servername", name], LAST_REQUEST));
    for (name, server) in [("app.example", "NGINX Instance 1\n"), ("one.apps.example", "NGINX Instance 2\n")]
    {
        let answer = ask(name);
        assert!(answer.contains(server), "{name}: {answer}");
    }
}

#[test]
fn a_scanner_finds_no_weakness() {
    needs!("testssl");
    let authority = Authority::new();
    let stack = with_tls(&authority, "").servers(1).start();
    let report = stack.dir().join("testssl.json");
    let mut command = Command::new("testssl");
    // Protocols, ciphers, forward secrecy, preferences, defaults and known vulnerabilities.
    command.args(["--quiet", "--warnings", "off", "-p", "-s", "-f", "-P", "-S", "-U"]);
    command.args(["--openssl", "/usr/bin/openssl", "--jsonfile"]).arg(&report);
    command.args(["--ip", &stack.web().ip().to_string()]);
    command.arg("--add-ca").arg(authority.ca_file());
    command.arg(format!("https://app.example:{}/", stack.web().port()));
    let output = command.output().unwrap();
    let text = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    let findings: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let of = |id: &str| {
        let finding = findings.iter().find(|finding| finding["id"] == id);
        finding.and_then(|finding| finding["finding"].as_str()).unwrap_or("nothing")
    };
    for (id, expected) in [
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", "offered"),
        ("TLS1_3", "offered with final"),
        ("PFS", "offered"),
        ("cert_trust", "Ok via SAN"),
        ("cert_chain_of_trust", "passed"),
    ] {
        assert!(of(id).starts_with(expected), "{id}: {}", of(id));
    }
    let weak = findings.iter().filter(|finding| {
        let is = |what: &[&str]| what.iter().any(|what| finding["severity"] == **what);
        let id = finding["id"].as_str().unwrap_or_default();
        // The test's own certificate, and the scanner's own programs, are not what is tried. The order is the client's (docs/decisions.md).
        let is_about = |what: &str| id.starts_with(what);
        is(&["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"])
            && !["cert_", "DNS_", "OCSP", "cipher_order"].into_iter().any(is_about)
    });
    assert_eq!(weak.collect::<Vec<_>>(), Vec::<&serde_json::Value>::new());
}

#[test]
fn who_is_answered_early_under_tls_holds_up_nobody() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "")
        .frontend("limits: { body: 1KiB }")
        .config(|config, _| config.lbd = "workers: 1".to_owned())
        .servers(1)
        .start();
    for version in ["--http1.1", "--http2"] {
        let mut command = curl_secured(&authority, stack.web(), "/");
        let body = "x".repeat(100_000);
        command.args([version, "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "--data", &body]);
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "413", "{version}: {}", said(&output));
        assert_eq!(text(curl_secured(&authority, stack.web(), "/")), "NGINX Instance 1\n");
    }
}
