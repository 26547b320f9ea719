//! Routes of a frontend: which requests go where, with the answers of HAProxy and its rules beside.

use std::fs;
use std::net::SocketAddr;

use testkit::{Client, Haproxy, Nginx, Response, Stack, needs, wait_until};

/// What the frontend says, and HAProxy in its own words. In HAProxy `path_beg` and `path_end` see a path as it was written.
const ROUTES: &str = r#"
routes:
  - { name: api, host: [api.example.org, "*.api.example.org"], path: ["/v1", "/v1/*"], backend: two }
  - { host: "api.example.org", backend: three }
  - { path: "*.php", not: { method: [POST, PUT] }, backend: two }
  - { path: "~^/user/[0-9]+$", backend: three }
  - { header: { X-Canary: ["1", "yes"] }, query: { debug: "*" }, backend: two }
  - { source: 127.0.0.0/8, method: DELETE, backend: three }
  - { host: "[2001:db8::1]", backend: two }
"#;
const RULES: &str = "
 acl api_host hdr(host),host_only,rtrim(.) -i api.example.org
 acl api_host hdr(host),host_only,rtrim(.) -i -m end .api.example.org
 acl v1 path /v1
 acl v1 path_beg /v1/
 use_backend two if api_host v1
 use_backend three if { hdr(host),host_only,rtrim(.) -i api.example.org }
 use_backend two if { path_end .php } !{ method POST } !{ method PUT }
 use_backend three if { path_reg ^/user/[0-9]+$ }
 use_backend two if { req.hdr(x-canary) 1 yes } { url_param(debug) -m found }
 use_backend three if { src 127.0.0.0/8 } { method DELETE }
 use_backend two if { hdr(host) -i [2001:db8::1] }
";

/// lbd and HAProxy in front of the same three servers.
struct Both {
    stack: Stack,
    servers: Vec<Nginx>,
    other: Haproxy,
}

impl Both {
    fn start(frontend: &str, rules: &str) -> Self {
        let mut servers = Vec::new();
        let stack = Stack::builder()
            .servers(1)
            .unchecked()
            .config(|config, addresses| {
                config.frontend = frontend.to_owned();
                for (number, name) in [(2, "two"), (3, "three")] {
                    let address = addresses.socket(100 + number, 7081);
                    servers.push(Nginx::start(usize::from(number), address));
                    config.more_backends +=
                        &format!("{name}: {{ check: off, servers: {{ s{number}: \"{address}\" }} }}\n");
                }
            })
            .start();
        let backends = [
            ("app", stack.nginx[0].address()),
            ("two", servers[0].address()),
            ("three", servers[1].address()),
        ]
        .map(|(name, address)| format!("backend {name}\n server s {address}\n"))
        .concat();
        let other = Haproxy::beside(&stack, "http", |bind| {
            format!(
                "frontend web\n bind {bind}\n option forwardfor\n{rules}\n default_backend app\n{backends}"
            )
        });
        Self { stack, servers, other }
    }

    /// The answers of both to one request.
    fn ask(&self, request: &str) -> [Response; 2] {
        [self.stack.web(), self.other.address()].map(|address| answer(address, request))
    }
}

fn answer(address: SocketAddr, request: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(request);
    if request.starts_with("HEAD ") { client.response_to("HEAD") } else { client.response() }
}

fn request(line: &str, host: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

#[test]
fn requests_go_where_haproxys_rules_send_them() {
    needs!("haproxy");
    let both = Both::start(ROUTES, RULES);
    for (line, host, fields, expected) in [
        ("GET /v1/a", "api.example.org", "", 2),
        ("GET /v1", "API.Example.org:80", "", 2),
        ("GET /v1?a=b", "x.y.api.example.org.", "", 2),
        ("GET /v2", "api.example.org", "", 3),
        ("GET /v10", "api.example.org", "", 3),
        ("GET /v2", "x.api.example.org", "", 1),
        ("GET /v1/a", "example.org", "", 1),
        ("GET /x.php", "example.org", "", 2),
        ("POST /x.php", "example.org", "Content-Length: 0\r\n", 1),
        ("GET /x.php/y", "example.org", "", 1),
        ("GET /user/77", "example.org", "", 3),
        ("GET /user/77a", "example.org", "", 1),
        ("GET /?debug=0", "example.org", "X-Canary: 1\r\n", 2),
        ("GET /?a&debug=", "example.org", "x-canary: no, yes\r\n", 2),
        ("GET /?debug=0", "example.org", "X-Canary: 10\r\n", 1),
        ("GET /?bug=0", "example.org", "X-Canary: 1\r\n", 1),
        ("DELETE /", "example.org", "", 3),
        ("GET /", "[2001:db8::1]", "", 2),
        ("GET http://api.example.org/v1/a", "api.example.org", "", 2),
        ("GET /", "example.org", "", 1),
    ] {
        let answers = both.ask(&request(line, host, fields));
        for (answer, who) in answers.iter().zip(["lbd", "haproxy"]) {
            // nginx answers DELETE and POST of pages with 405.
            let server = if answer.status == 405 { expected } else { answer.instance().unwrap_or_default() };
            assert_eq!(server, expected, "{who}: {line} {host} {fields}: {answer:?}");
        }
        assert_eq!(answers[0].status, answers[1].status, "{line} {host}");
    }
    // Seven routes, and what none of them fits.
    let rows = both.stack.tandemctl_ok(&["routes", "web"]);
    let row = |route: &str| {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        rows.lines().map(words).find(|row| row.starts_with(&format!("web {route} "))).unwrap_or_default()
    };
    assert_eq!([row("api"), row("none")], ["web api 4 backend two", "web none 8 backend app"], "{rows}");
    let metric = "tandem_frontend_route_requests_total{proxy=\"web\",route=\"6\"}";
    assert_eq!(both.stack.metric(metric), Some(1.0));
    assert!(testkit::get(both.stack.config.admin, "/").text().contains("backend three"));
    drop(both.servers);
}

/// A condition means the same in whatever way a path is written, as servers decode what is encoded.
#[test]
fn a_path_is_the_same_in_whatever_way_it_is_written() {
    needs!("haproxy");
    let both = Both::start(
        "routes: [ { path: [/admin, \"/admin/*\"], backend: two } ]",
        " use_backend two if { path /admin } or { path_beg /admin/ }",
    );
    for path in [
        "/admin/x",
        "/%61dmin/x",
        "/admi%6E",
        "//admin/x",
        "/admin//x",
        "/admin%2Fx",
        "/admin%5cx",
        "http://a//admin/x",
    ] {
        let answer = answer(both.stack.web(), &request(&format!("GET {path}"), "a", ""));
        assert_eq!(answer.instance(), Some(2), "{path}");
    }
    let sent = both.servers[0].requests().join("\n");
    assert!(sent.contains("/%61dmin/x"), "it is sent on as it came: {sent}");
    for path in
        ["/x/../admin/x", "/./admin/x", "/%2e%2E/admin", "/x/..%2fadmin", "/x/..;a=b/admin", "/admin%00"]
    {
        let answer = answer(both.stack.web(), &request(&format!("GET {path}"), "a", ""));
        assert_eq!((answer.status, answer.closes()), (400, true), "{path}");
    }
    let reason = "tandem_lbd_refused_requests_total{reason=\"ambiguous_path\"}";
    wait_until("they are counted", || both.stack.metric(reason) == Some(6.0));
    // Without a condition on paths nobody minds.
    let (stack, _server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let mut client = stack.client();
    client.send(request("GET /a/../b", "a", ""));
    assert_eq!(client.response().status, 200);
}

#[test]
fn what_no_route_fits_gets_404_and_keeps_its_connection() {
    let (mut stack, _server) = Stack::builder().start_before(|peer| {
        loop {
            peer.read_request()?;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    });
    stack.write_config_text(
        &stack.config.to_string().replace("backend: app", "routes: [ { host: a, backend: app } ]"),
    );
    stack.command("reload");
    let mut client = stack.client();
    for _ in 0..2 {
        client.send(request("GET /", "b", ""));
        let answer = client.response();
        assert_eq!((answer.status, answer.closes()), (404, false));
        client.send(request("POST /", "b", "Content-Length: 5\r\n") + "hello");
        assert_eq!(client.response().status, 404, "the body is read");
        client.send(request("GET /", "a", ""));
        assert_eq!(client.response().text(), "ok", "the same connection goes on");
    }
    client.send(request("HEAD /", "b", ""));
    let answer = client.response_to("HEAD");
    assert_eq!((answer.status, answer.field("content-length")), (404, Some("93")));
    // A body that has not come is not waited for.
    client.send(request("POST /", "b", "Content-Length: 500\r\n"));
    let answer = client.response();
    assert_eq!((answer.status, answer.closes()), (404, true));
    client.expect_closed();
    stack.lbd.stop();
    let log = stack.lbd.stdout();
    let line = log.lines().find(|line| line.contains(" 404 ")).unwrap_or_else(|| panic!("no line: {log}"));
    assert!(line.contains(" web web/<NOSRV> ") && line.contains(" PR-- "), "{line}");
}

#[test]
fn sessions_are_routed_by_where_they_are_from() {
    let answer = |peer: &mut testkit::Peer| {
        peer.read_until(b"\n")?;
        peer.send("app")
    };
    let (stack, _server) = Stack::builder()
        .frontend("mode: tcp\nroutes: [ { not: { source: [10.0.0.0/8, \"::/64\"] }, backend: app } ]")
        .backend("mode: tcp")
        .start_before(answer);
    let mut client = stack.client();
    client.send("\n");
    assert_eq!(client.try_rest().unwrap(), b"app");
    let text =
        stack.config.to_string().replace("not: { source: [10.0.0.0/8, \"::/64\"] }", "source: 10.0.0.0/8");
    stack.write_config_text(&text.replace("    backend: app\n", ""));
    stack.command("reload");
    stack.client().expect_closed();
    wait_until("it is counted", || {
        stack.metric("tandem_lbd_refused_requests_total{reason=\"no_route\"}") == Some(1.0)
    });
}

const ANSWERS: &str = r#"
routes:
  - { path: /health, respond: { body: "OK" } }
  - { path: /gone, respond: { status: 410, content_type: text/html, body: "<p>gone</p>" } }
  - { path: /file, respond: { status: 503, content_type: text/html, file: closed.html } }
  - { path: /empty, respond: { status: 204 } }
  - { path: /secure, redirect: { scheme: https } }
  - { path: /moved, redirect: { host: "new.example.org:81", code: 301 } }
  - { path: /path, redirect: { path: /other, code: 307, query: drop } }
  - { path: /whole, redirect: { scheme: https, host: new.example.org, path: "/x?y=z", code: 308, query: drop } }
  - { path: /denied, deny: 403 }
  - { path: /many, deny: 429 }
"#;
const SAME_ANSWERS: &str = "
 http-request return status 200 content-type \"text/plain; charset=utf-8\" string OK if { path /health }
 http-request return status 410 content-type text/html string \"<p>gone</p>\" if { path /gone }
 http-request return status 503 content-type text/html file CLOSED if { path /file }
 http-request return status 204 if { path /empty }
 http-request redirect scheme https code 302 if { path /secure }
 http-request redirect code 301 location http://new.example.org:81%[capture.req.uri] if { path /moved }
 http-request redirect code 307 location http://%[req.hdr(host)]/other if { path /path }
 http-request redirect code 308 location https://new.example.org/x?y=z if { path /whole }
 http-request deny deny_status 403 if { path /denied }
 http-request deny deny_status 429 if { path /many }
";

/// Status, fields and body are HAProxy's, but for the words of its pages, on one connection for all of them.
#[test]
fn lbd_answers_as_haproxy_does() {
    needs!("haproxy");
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed.html");
    fs::write(&closed, "<h1>closed</h1>".repeat(1000)).unwrap();
    let closed = closed.display().to_string();
    let both =
        Both::start(&ANSWERS.replace("closed.html", &closed), &SAME_ANSWERS.replace("CLOSED", &closed));
    let mut clients = [both.stack.web(), both.other.address()].map(Client::connect);
    for method in ["GET", "HEAD", "POST"] {
        for path in [
            "/health",
            "/gone",
            "/file",
            "/empty",
            "/secure?a=b",
            "/moved?a=b",
            "/path?a=b",
            "/whole?a=b",
            "/denied",
            "/many",
        ] {
            let body = if method == "POST" { "Content-Length: 5\r\n\r\nhello" } else { "\r\n" };
            let asked = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{body}");
            let [ours, theirs] = clients.each_mut().map(|client| {
                client.send(&asked);
                client.response_to(method)
            });
            assert!(!ours.closes(), "{method} {path}");
            // It closes the connection behind a redirect of a request that has a body.
            let closes = method == "POST" && theirs.closes();
            if closes {
                clients[1] = Client::connect(both.other.address());
            }
            assert_eq!(ours.status, theirs.status, "{method} {path}");
            let page = matches!(path, "/denied" | "/many");
            let fields = |answer: &Response| {
                let mut fields = answer.fields.clone();
                // Its pages have other words. What stands in no RFC says nothing: the type of an empty body, and a length with 204.
                fields.retain(|(name, _)| {
                    let is_length = (page || path == "/empty") && name == "content-length";
                    let is_end = closes && name == "connection";
                    !(is_length || is_end)
                });
                fields.sort();
                fields
            };
            assert_eq!(fields(&ours), fields(&theirs), "{method} {path}");
            if !page {
                assert_eq!(ours.text(), theirs.text(), "{method} {path}");
            }
        }
    }
    let mut stack = both.stack;
    assert_eq!(stack.stat("web", "FRONTEND").number("hrsp_2xx"), 6);
    stack.lbd.stop();
    let log = stack.lbd.stdout();
    let line =
        |path: &str| log.lines().find(|line| line.contains(path)).unwrap_or_else(|| panic!("{path}: {log}"));
    assert!(
        line("GET /health").contains(" web web/<NOSRV> ") && line("GET /health").contains(" LR-- "),
        "{log}"
    );
    assert!(line("GET /secure").contains(" 302 ") && line("GET /secure").contains(" LR-- "), "{log}");
    assert!(line("GET /denied").contains(" 403 ") && line("GET /denied").contains(" PR-- "), "{log}");
}

#[test]
fn links_are_made_of_what_was_asked_for() {
    let (stack, server) = Stack::builder()
        .frontend("routes: [ { path: \"/same*\", redirect: { host: new.example } }, { redirect: { scheme: https } } ]")
        .start_before(|peer| {
            peer.read_request()?;
            Ok(())
        });
    for (line, host, link) in [
        ("GET /a/%20?b=c&d", "Host: a.example:8080\r\n", "https://a.example/a/%20?b=c&d"),
        ("GET /", "Host: [2001:db8::1]:8080\r\n", "https://[2001:db8::1]/"),
        ("GET //evil.example/x", "Host: a\r\n", "https://a//evil.example/x"),
        ("GET http://other.example:81?x", "Host: a\r\n", "https://other.example/?x"),
        ("OPTIONS *", "Host: a\r\n", "https://a/"),
        ("GET /same?x", "Host: a:81\r\n", "http://new.example/same?x"),
    ] {
        let mut client = stack.client();
        client.send(format!("{line} HTTP/1.1\r\n{host}\r\n"));
        assert_eq!(client.response().field("location"), Some(link), "{line}");
    }
    // Without a host there is nowhere to go.
    let mut client = stack.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().status, 400);
    // HTTP/1.0 keeps a connection that it asks to keep.
    let mut client = stack.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.response();
        assert_eq!((answer.status, answer.field("connection")), (302, Some("keep-alive")));
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn a_page_that_cannot_be_read_is_a_mistake_with_its_line() {
    let mut stack = Stack::builder()
        .servers(0)
        .unchecked()
        .without_lbd()
        .config(|config, _| {
            config.server("raw", "127.0.0.1:9");
            config.frontend = "routes: [ { path: /, respond: { file: page.html } } ]".to_owned();
        })
        .start();
    let check = |expected: &str| {
        let output = stack.tandemctl(&["check", &stack.lbd.config().display().to_string()]);
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(expected), "{said}");
    };
    let page = stack.dir().join("page.html");
    check("page.html: there is no such file");
    fs::write(&page, "x".repeat(65_537)).unwrap();
    check("it is longer than 64 KiB");
    fs::write(&page, "first").unwrap();
    stack.lbd.start();
    assert_eq!(stack.get("/").text(), "first");
    fs::write(&page, "second").unwrap();
    stack.command("reload");
    assert_eq!(stack.get("/").text(), "second", "it is read on reload");
}

#[test]
fn errors_have_pages_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let page = |name: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("<p>{name}</p>")).unwrap();
        path.display().to_string()
    };
    let errors =
        [400, 403, 404, 503].map(|status| format!("{status}: \"{}\"", page(&status.to_string()))).join(", ");
    let stack = Stack::builder()
        .servers(0)
        .unchecked()
        .config(|config, addresses| {
            // Nobody listens there.
            config.server("s1", addresses.socket(100, 7081));
            config.frontend = format!("errors: {{ {errors} }}\nroutes: [ {{ path: /denied, deny: 403 }}, {{ path: /gone, deny: 410 }} ]");
        })
        .start();
    let ask = |request: &str| {
        let mut client = stack.client();
        client.send(request);
        let answer = client.response();
        (answer.status, answer.text())
    };
    let get = |path: &str| ask(&request(&format!("GET {path}"), "a", ""));
    assert_eq!(get("/denied"), (403, "<p>403</p>".to_owned()));
    assert_eq!(get("/"), (503, "<p>503</p>".to_owned()));
    assert_eq!(ask("GET / HTTP/1.1\r\n\r\n"), (400, "<p>400</p>".to_owned()));
    assert!(get("/gone").1.contains("<h1>410 Gone</h1>"));
}
