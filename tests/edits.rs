//! What becomes of heads on their way, with HAProxy and its rules beside.

use std::io;
use std::net::SocketAddr;

use testkit::{Client, Haproxy, Peer, RawServer, Response, Stack, StackBuilder, needs, wait_until};

/// What a frontend and its backend say.
const FRONTEND: &str = r#"
forwarded_for: append
request_id: { field: X-Unique-ID }
request:
  remove: [X-Debug, "X-Internal-*"]
  replace:
    Cookie: { pattern: "foo=([^;]*);(.*)", with: "foo=$1;ip={client.ip};$2" }
    X-Path: { pattern: "^/old(/.*)?$", with: "/new$1 {{$$}}" }
  set: { X-Real-IP: "{client.ip}", X-Forwarded-Host: "{host}", X-Via: "{scheme} {port} {frontend}" }
  add: { X-Added: [one, "{method} {path}?{query}"] }
  strip_prefix: /v1
  replace_path: { pattern: "^/user/([0-9]+)/(.*)", with: "/$2/$1" }
response:
  remove: [X-Powered-By, "X-Secret-*"]
  replace: { Location: { pattern: "^http://(.*)$", with: "https://$1" } }
  set: { Server: lbd, Strict-Transport-Security: max-age=31536000, X-Asked: "{host}{path}" }
  add: { Set-Cookie: "lb={server}; Path=/" }
"#;
const BACKEND: &str = r#"
request:
  set: { X-Server: "{backend}/{server}" }
  add_prefix: /app
response:
  set: { X-Server: "{server}" }
"#;
/// The same in HAProxy's words, which have no prefixes of paths, and add what is called `unique-id-header` to what the client sent.
const RULES: &str = r#"
 http-request set-var(txn.path) path
 http-request set-var(txn.asked) req.hdr(host),concat(,txn.path)
 http-request del-header X-Unique-ID
 http-request del-header X-Debug
 http-request del-header X-Internal- -m beg
 http-request replace-header Cookie 'foo=([^;]*);(.*)' 'foo=\1;ip=%[src];\2'
 http-request replace-header X-Path '^/old(/.*)?$' '/new\1 {$}'
 http-request set-header X-Real-IP %[src]
 http-request set-header X-Forwarded-Host %[req.hdr(host)]
 http-request set-header X-Via "http %[dst_port] web"
 http-request add-header X-Added one
 http-request add-header X-Added "%[method] %[path]?%[query]"
 http-request set-header X-Forwarded-Proto http
 http-request replace-path ^/v1$ /
 http-request replace-path '^/v1/(.*)$' '/\1'
 http-request replace-path '^/user/([0-9]+)/(.*)' '/\2/\1'
 unique-id-format %[uuid()]
 unique-id-header X-Unique-ID
 http-response del-header X-Powered-By
 http-response del-header X-Secret- -m beg
 http-response replace-header Location '^http://(.*)$' 'https://\1'
 http-response set-header Server lbd
 http-response set-header Strict-Transport-Security max-age=31536000
 http-response set-header X-Asked %[var(txn.asked)]
 http-response add-header Set-Cookie "lb=%s; Path=/"
"#;
const BACKEND_RULES: &str = r#"
 http-request set-header X-Server %b/raw
 http-request set-path /app%[path]
 http-response set-header X-Server %s
"#;

/// Answers with fields that edits are for.
fn answer(peer: &mut Peer) -> io::Result<()> {
    loop {
        let head = peer.read_request()?;
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        peer.read_body(length.unwrap_or(0))?;
        peer.send(
            "HTTP/1.1 200 OK\r\nServer: raw\r\nX-Powered-By: PHP\r\nx-secret-key: k\r\nX-SECRET-other: l\r\n\
             Location: http://a.example/x\r\nLocation: ftp://a.example/\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok",
        )?;
    }
}

fn haproxy(stack: &Stack, server: SocketAddr) -> Haproxy {
    Haproxy::beside(stack, "http", |bind| {
        format!(
            "frontend web\n bind {bind}\n option forwardfor\n{RULES}\n default_backend app\n\
             backend app\n{BACKEND_RULES}\n server raw {server}\n"
        )
    })
}

fn with(frontend: &str, backend: &str) -> StackBuilder {
    Stack::builder().frontend(frontend).backend(backend)
}

/// A head's first line, and its fields, names in lower case, in order of their names.
fn parts(head: &str) -> (String, Vec<(String, String)>) {
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let split = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let mut fields: Vec<_> = lines.filter_map(split).collect();
    // Those of one name keep their order.
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    (first, fields)
}

fn ask(address: SocketAddr, request: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(request);
    client.response()
}

#[test]
fn heads_are_edited_as_haproxy_edits_them() {
    needs!("haproxy");
    let (stack, server) = with(FRONTEND, BACKEND).start_before(answer);
    let other = haproxy(&stack, server.address());
    for (line, fields) in [
        (
            "GET /v1/a/b?c=d&e=/v1",
            "X-Debug: 1\r\nx-debug: 2\r\nX-Internal-User: root\r\nX-Internals: stays\r\n",
        ),
        (
            "GET /v1",
            "X-Real-IP: 198.51.100.7\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n",
        ),
        (
            "GET /v10",
            "Cookie: foo=bar; a=b\r\nCookie: other=1\r\nX-Path: /old/x\r\nX-Path: /older\r\nx-path: /old\r\n",
        ),
        ("GET /v1/user/42/show?x", "X-Added: zero\r\nX-Unique-ID: mine\r\nX-Server: evil\r\n"),
        ("POST /", "Content-Length: 2\r\n\r\nhi"),
    ] {
        let body = if line.starts_with("POST") { "" } else { "\r\n" };
        let request = format!("{line} HTTP/1.1\r\nHost: www.example.org:81\r\n{fields}{body}");
        let answers = [stack.web(), other.address()].map(|address| ask(address, &request));
        let heads = server.requests();
        let [ours, theirs] = &heads[heads.len() - 2..] else { panic!("{heads:?}") };
        let [(our_line, mut ours), (their_line, mut theirs)] = [ours, theirs].map(|head| parts(head));
        assert_eq!(our_line, their_line, "{line}");
        for fields in [&mut ours, &mut theirs] {
            for (name, value) in fields.iter_mut() {
                match name.as_str() {
                    // Each has one of its own.
                    "x-unique-id" => {
                        let dashes: Vec<_> = value.match_indices('-').map(|(place, _)| place).collect();
                        assert_eq!((value.len(), dashes), (36, vec![8, 13, 18, 23]), "{line}");
                        value.clear();
                    }
                    "x-via" => assert!(value.starts_with("http 70") && value.ends_with(" web"), "{value}"),
                    _ => {}
                }
            }
            // The ports differ.
            fields.retain(|(name, _)| name != "x-via");
        }
        assert_eq!(ours, theirs, "{line}");
        let [ours, theirs] = answers.map(|answer| {
            let mut fields = answer.fields;
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            (answer.status, fields, answer.body)
        });
        assert_eq!(ours, theirs, "{line}");
        assert!(ours.1.contains(&("x-server".to_owned(), "raw".to_owned())), "{ours:?}");
    }
}

/// A request that is sent again says which server it goes to now.
#[test]
fn each_server_reads_its_own_name() {
    let hang_up = |peer: &mut Peer| peer.read_request().map(|_| ());
    let frontend =
        "request: { set: { X-Server: \"{server}\" } }\nresponse: { set: { X-Server: \"{server}\" } }";
    let builder = with(frontend, "balance: source");
    let mut servers = Vec::new();
    let stack = builder
        .servers(0)
        .unchecked()
        .config(|config, addresses| {
            for number in 1..=2 {
                servers.push(addresses.socket(100 + number, 7081));
                config.server(&format!("s{number}"), addresses.socket(100 + number, 7081));
            }
        })
        .start();
    // Where a client is sent is not for us to say: whoever it is hangs up, and then it is the other one's turn.
    let first: Vec<_> = servers.iter().map(|address| RawServer::start(*address, hang_up)).collect();
    let body = "x".repeat(10_000);
    let request = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n{body}");
    assert_eq!(ask(stack.web(), &request).status, 502);
    let mut asked = Vec::new();
    for (server, name) in first.iter().zip(["s1", "s2"]) {
        for head in server.requests() {
            assert!(head.contains(&format!("\r\nX-Server: {name}\r\n")), "{name}: {head}");
            asked.push(name);
        }
    }
    asked.sort_unstable();
    assert_eq!(asked, ["s1", "s2"], "it was sent to both");
    drop(first);
    let _second: Vec<_> = servers
        .iter()
        .map(|address| {
            RawServer::start(*address, |peer| {
                let head = peer.read_request()?;
                let body = peer.read_body(10_000)?;
                let name = head.lines().find_map(|line| line.strip_prefix("X-Server: ")).unwrap_or_default();
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nX-Told: {name}\r\nX-Server: me\r\nContent-Length: 5\r\n\r\n{}",
                    body.len()
                ))
            })
        })
        .collect();
    let answer = ask(stack.web(), &request);
    assert_eq!(answer.text(), "10000", "the body that had come is still there");
    assert_eq!(answer.field("x-told"), answer.field("x-server"));
    assert!(matches!(answer.field("x-told"), Some("s1" | "s2")), "{answer:?}");
}

#[test]
fn routes_look_at_what_the_client_sent_and_their_edits_come_between() {
    let frontend = r#"
request: { set: { X-Seen: frontend, Host: inside.example }, strip_prefix: /api }
response: { add: { X-Passed: frontend } }
routes:
  - { path: "/api/*", host: www.example.org, request: { set: { X-Route: "{host} {path}" }, add: { X-Seen: route }, add_prefix: /r }, response: { add: { X-Passed: route } }, backend: app }
  - { path: "/inside", deny: 403 }
"#;
    let backend = r#"
request: { replace: { X-Seen: { pattern: "(.*)", with: "$1!" } }, add_prefix: /b }
response: { add: { X-Passed: backend } }
"#;
    let (stack, server) = with(frontend, backend).start_before(answer);
    let answer = ask(stack.web(), "GET /api/a HTTP/1.1\r\nHost: www.example.org\r\n\r\n");
    let passed: Vec<_> = answer.fields.iter().filter(|(name, _)| name == "x-passed").collect();
    assert_eq!(
        passed.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["backend", "route", "frontend"]
    );
    let ask_for = |path: &str| ask(stack.web(), &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(ask_for("/inside").status, 403);
    assert_eq!(ask_for("/api/inside").status, 200, "a path that edits make is looked at by no route");
    let denied = ask_for("/inside");
    assert_eq!(denied.field("x-passed"), None, "answers of lbd's own are not edited");
    let heads = server.requests();
    let (line, fields) = parts(&heads[0]);
    assert_eq!(line, "GET /b/r/a HTTP/1.1");
    let field = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(field("host"), ["inside.example"]);
    assert_eq!(field("x-seen"), ["frontend!", "route!"]);
    assert_eq!(field("x-route"), ["www.example.org /api/a"]);
    assert_eq!(parts(&heads[1]).0, "GET /b/inside HTTP/1.1");
}

#[test]
fn servers_are_told_where_a_request_is_from() {
    let all =
        "[X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, X-Real-IP, Forwarded]";
    for mode in ["append", "replace"] {
        let frontend = format!("forwarded_for: {mode}\nforwarded: {all}");
        let (stack, server) = with(&frontend, "").start_before(answer);
        ask(
            stack.web(),
            "GET / HTTP/1.1\r\nHost: a.example:81\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Host: b\r\n\
             X_Forwarded_Port: 1\r\nX-Real-IP: 198.51.100.7\r\nForwarded: for=198.51.100.7\r\n\r\n",
        );
        let (_, fields) = parts(&server.requests()[0]);
        let told: Vec<(&str, &str)> = fields
            .iter()
            .filter(|(name, _)| name != "host")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let port = stack.web().port().to_string();
        let [addresses, elements] = match mode {
            "append" => ["198.51.100.7, ", "for=198.51.100.7, "],
            _ => ["", ""],
        };
        let elements = format!("{elements}for=127.0.0.1;host=\"a.example:81\";proto=http");
        let addresses = format!("{addresses}127.0.0.1");
        let expected = [
            ("forwarded", elements.as_str()),
            ("x-forwarded-for", &addresses),
            ("x-forwarded-host", "a.example:81"),
            ("x-forwarded-port", &port),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "127.0.0.1"),
        ];
        assert_eq!(told, expected, "{mode}");
    }
}

/// A proxy in front says who the client is, and where it has connected to.
#[test]
fn values_are_about_the_client_that_a_proxy_names() {
    let frontend = "accept_proxy: 127.0.0.0/8\nforwarded: [X-Forwarded-Port, Forwarded]\n\
                    request: { set: { X-Client: \"{client.ip} {client.port} {port}\" } }";
    let (stack, server) = with(frontend, "").start_before(answer);
    ask(stack.web(), "PROXY TCP6 2001:db8::7 2001:db8::1 4711 8443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (_, fields) = parts(&server.requests()[0]);
    let told: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("forwarded", "for=\"[2001:db8::7]\";host=a;proto=http"),
        ("host", "a"),
        ("x-client", "2001:db8::7 4711 8443"),
        ("x-forwarded-port", "8443"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_request_has_one_name_for_server_client_and_log() {
    let frontend =
        "access_log: json\nrequest_id: { accept: on }\nresponse: { set: { X-Request-ID: \"{request.id}\" } }";
    // One worker's lines are in order.
    let builder = with(frontend, "").config(|config, _| config.lbd = "workers: 1".to_owned());
    let (mut stack, server) = builder.start_before(answer);
    let name = |sent: &str| {
        let answer = ask(stack.web(), &format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}\r\n"));
        answer.field("x-request-id").unwrap_or_default().to_owned()
    };
    let names = [
        name(""),
        name("X-Request-ID: from-the-client\r\n"),
        name("X-Request-ID: two words\r\n"),
        name("X-Request-ID: a\r\nX-Request-ID: b\r\n"),
    ];
    assert_eq!(names[1], "from-the-client");
    assert!([&names[0], &names[2], &names[3]].iter().all(|name| name.len() == 36), "{names:?}");
    let told: Vec<String> = server
        .requests()
        .iter()
        .map(|head| {
            let (_, fields) = parts(head);
            let mut names = fields.iter().filter(|(name, _)| name == "x-request-id");
            let name = names.next().expect("it is told").1.clone();
            assert_eq!(names.next(), None, "there is one");
            name
        })
        .collect();
    assert_eq!(told, names);
    // What never reached a server has a name, too, but for a head that nobody understands.
    ask(stack.web(), "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    stack.lbd.stop();
    let log = stack.lbd.stdout();
    let logged: Vec<Option<String>> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| line.get("status").is_some())
        .map(|line| line.get("request_id").and_then(|id| id.as_str()).map(str::to_owned))
        .collect();
    let expected: Vec<_> = names.iter().cloned().map(Some).chain([None]).collect();
    assert_eq!(logged, expected, "{log}");
}

#[test]
fn heads_grow_within_bounds() {
    let grown = "{path}".repeat(20);
    let frontend = format!("request: {{ set: {{ X-Grown: \"{grown}\" }} }}");
    let (stack, server) = with(&frontend, "").start_before(answer);
    let request = |path: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(path));
    let mut client = stack.client();
    client.send(request(3000));
    assert_eq!(client.response().status, 200, "the head has 63 KB");
    client.send(request(3500));
    assert_eq!(client.response().status, 431);
    assert_eq!(server.requests().len(), 1, "no server was asked");
    let reason = "tandem_lbd_refused_requests_total{reason=\"edited_head_too_large\"}";
    wait_until("it is counted", || stack.metric(reason) == Some(1.0));

    let frontend = format!("response: {{ set: {{ X-Grown: \"{grown}\" }} }}");
    let (mut stack, _server) = with(&frontend, "").start_before(answer);
    let asked = ask(stack.web(), &request(3500));
    assert_eq!((asked.status, asked.field("x-grown")), (500, None));
    assert_eq!(ask(stack.web(), &request(3000)).field("x-grown").map(str::len), Some(60_020));
    assert_eq!(stack.stat("app", "raw").number("eresp"), 0, "the server is not to blame");
    stack.lbd.stop();
    assert!(stack.lbd.stdout().contains(" 500 ") && stack.lbd.stdout().contains(" PH-- "));
}

#[test]
fn no_path_leads_out_of_its_prefix() {
    let (stack, server) = with("request: { add_prefix: /tenant }", "").start_before(answer);
    let ask_for =
        |target: &str| ask(stack.web(), &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).status;
    for path in ["/../other", "/%2e%2e/other", "/a/..%2F..", "/..;x/"] {
        assert_eq!(ask_for(path), 400, "{path}");
    }
    assert_eq!(ask_for("http://b/x?/../.."), 200);
    let mut client = stack.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let lines: Vec<_> = server.requests().iter().map(|head| parts(head).0).collect();
    assert_eq!(lines, ["GET /tenant/x?/../.. HTTP/1.1", "OPTIONS * HTTP/1.1"]);
}

#[test]
fn edits_change_with_a_reload() {
    let (stack, server) = with("request: { set: { X-A: one } }", "").start_before(answer);
    let mut client = stack.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response();
    stack.write_config_text(&stack.config.to_string().replace("X-A: one", "X-A: two"));
    stack.command("reload");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response();
    let told: Vec<bool> = server.requests().iter().map(|head| head.contains("\r\nX-A: two\r\n")).collect();
    assert_eq!(told, [false, true]);
}
