//! Checks of real servers, good and bad, and what each is called.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

use config::{
    Check, CheckProxy, CheckTls, ExpectedStatus, Host, HttpProbe, Probe, ServerAddress, ServerCheck, TlsProbe,
};
use health::dialogue::Step;
use health::{CheckCode, CheckResult, Timing};
use healthd::probe::{Probed, Prober, Target};
use proxy_protocol::Version;
use testkit::{Addresses, Nginx, RawServer};

/// Short enough to be waited for, long enough for a busy machine to answer in time.
const TIMEOUT: Duration = Duration::from_secs(2);

fn http() -> HttpProbe {
    HttpProbe {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        expect: ExpectedStatus(vec![200..=200]),
        body: None,
    }
}

fn check(probe: Probe) -> Check {
    Check {
        probe,
        timing: Timing { timeout: TIMEOUT, ..Timing::default() },
        port: None,
        send_proxy: CheckProxy::Auto,
        over_tls: CheckTls::Auto,
    }
}

fn named(address: SocketAddr) -> Target {
    let server = ServerAddress { host: Host::Name("nginx1".to_owned()), port: address.port() };
    Target::new(&server, None, &ServerCheck::default())
}

async fn run(check: &Check, address: SocketAddr) -> CheckResult {
    let prober = Prober::new(check).unwrap();
    match prober.run(&named(address), address).await {
        Probed::Server(result) => result,
        Probed::Starved(result) => panic!("out of resources: {result:?}"),
    }
}

async fn run_http(probe: HttpProbe, address: SocketAddr) -> CheckResult {
    run(&check(Probe::Http(probe)), address).await
}

async fn assert_found(address: SocketAddr, code: CheckCode, text: &str) {
    let result = run_http(http(), address).await;
    assert_eq!((result.code, result.text.as_str()), (code, text));
    assert_eq!(result.http_status, None);
}

#[tokio::test]
async fn a_real_nginx() {
    let addresses = Addresses::claim();
    let mut nginx = Nginx::start(1, addresses.socket(11, 8080));
    let address = nginx.address();

    let good = run_http(http(), address).await;
    assert_eq!((good.code, good.http_status, good.text.as_str()), (CheckCode::L7Ok, Some(200), "200 OK"));
    let head = HttpProbe { method: "HEAD".to_owned(), path: "/health".to_owned(), ..http() };
    assert_eq!(run_http(head, address).await.code, CheckCode::L7Ok);

    let broken = HttpProbe { path: "/status/500".to_owned(), ..http() };
    let bad = run_http(broken.clone(), address).await;
    assert_eq!((bad.code, bad.http_status), (CheckCode::L7Sts, Some(500)));
    assert_eq!(bad.text, "500 Internal Server Error, expected 200");
    let tolerant = HttpProbe { expect: ExpectedStatus(vec![200..=299, 500..=500]), ..broken };
    assert_eq!(run_http(tolerant, address).await.code, CheckCode::L7Ok);
    let picky = HttpProbe { expect: ExpectedStatus(vec![204..=204, 300..=399]), ..http() };
    assert_eq!(run_http(picky, address).await.text, "200 OK, expected 204 or 300-399");

    assert_eq!(run(&check(Probe::Tcp), address).await.code, CheckCode::L4Ok);
    nginx.stop();
    assert_found(address, CheckCode::L4Con, "Connection refused").await;
    let refused = run(&check(Probe::Tcp), address).await;
    assert_eq!((refused.code, refused.text.as_str()), (CheckCode::L4Con, "Connection refused"));
}

#[tokio::test]
async fn a_large_body_is_not_waited_for() {
    let addresses = Addresses::claim();
    let nginx = Nginx::start(1, addresses.socket(11, 8080));
    nginx.file("large", 1 << 20);
    // 16 KiB a second: the whole file would take a minute.
    let slow = HttpProbe { path: "/slow/large".to_owned(), ..http() };
    assert_eq!(run_http(slow, nginx.address()).await.code, CheckCode::L7Ok);
}

#[tokio::test]
async fn the_request_is_as_configured_and_each_has_its_own_connection() {
    let addresses = Addresses::claim();
    let server = RawServer::start(addresses.socket(11, 8080), |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 204 No Content\r\n\r\n")?;
        peer.stall()
    });
    let custom = HttpProbe {
        method: "OPTIONS".to_owned(),
        path: "/up?deep=1".to_owned(),
        host: Some("www.example.org".to_owned()),
        headers: vec![("X-Probe".to_owned(), "a".to_owned()), ("X-Probe".to_owned(), "b".to_owned())],
        expect: ExpectedStatus(vec![204..=204]),
        body: None,
    };
    let prober = Prober::new(&check(Probe::Http(custom))).unwrap();
    for _ in 0..2 {
        let probed = prober.run(&named(server.address()), server.address()).await;
        assert!(matches!(probed, Probed::Server(result) if result.code == CheckCode::L7Ok));
    }
    run_http(HttpProbe { expect: ExpectedStatus(vec![204..=204]), ..http() }, server.address()).await;

    let requests = server.requests();
    let [first, second, default] = requests.as_slice() else { panic!("three requests, not {requests:?}") };
    assert_eq!(first, second);
    assert_eq!(server.connections(), 3);
    assert!(first.starts_with("OPTIONS /up?deep=1 HTTP/1.1\r\n"), "{first}");
    let lower = first.to_lowercase();
    for field in [
        "host: www.example.org",
        "connection: close",
        "x-probe: a\r\nx-probe: b",
        "user-agent: tandem-healthd/",
    ] {
        assert!(lower.contains(field), "{field} is missing in {first}");
    }
    assert!(default.to_lowercase().contains("host: nginx1:8080\r\n"), "{default}");
}

#[tokio::test]
async fn redirects_are_answers() {
    let addresses = Addresses::claim();
    let server = RawServer::start(addresses.socket(11, 8080), |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    });
    let result = run_http(http(), server.address()).await;
    assert_eq!((result.code, result.text.as_str()), (CheckCode::L7Sts, "302 Found, expected 200"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let addresses = Addresses::claim();
    let silent = RawServer::start(addresses.socket(11, 8080), |peer| peer.stall());
    assert_found(silent.address(), CheckCode::L7Tout, "connected, but no answer within 2 s").await;
    let half = RawServer::start(addresses.socket(12, 8080), |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-")?;
        peer.stall()
    });
    assert_found(half.address(), CheckCode::L7Tout, "connected, but no answer within 2 s").await;
}

#[tokio::test]
async fn a_server_that_trickles_its_head() {
    let addresses = Addresses::claim();
    let server = RawServer::start(addresses.socket(11, 8080), |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\n")?;
        loop {
            peer.send("X-More: and more\r\n")?;
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_found(server.address(), CheckCode::L7Tout, "connected, but no answer within 2 s").await;
}

#[tokio::test]
async fn answers_that_are_not_http() {
    let addresses = Addresses::claim();
    let endless_head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Field: value\r\n".repeat(10_000));
    for (last, answer) in [
        (11, "SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
        (12, "HTTP/1.1 2000 OK\r\n\r\n".to_owned()),
        (13, "HTTP/1.1 200 OK\r\nNo colon here\r\n\r\n".to_owned()),
        (14, "\0\u{1}\u{2}\u{3}garbage\r\n\r\n".to_owned()),
        (15, endless_head),
    ] {
        let server = RawServer::start(addresses.socket(last, 8080), move |peer| {
            peer.read_request()?;
            peer.send(&answer)?;
            peer.stall()
        });
        let result = run_http(http(), server.address()).await;
        assert_eq!(result.code, CheckCode::L7Rsp, "{result:?}");
        assert!(result.text.starts_with("no valid HTTP answer: "), "{result:?}");
    }
}

#[tokio::test]
async fn answers_that_are_cut_off() {
    let addresses = Addresses::claim();
    let closed = RawServer::start(addresses.socket(11, 8080), |peer| peer.read_request().map(drop));
    let result = run_http(http(), closed.address()).await;
    assert_eq!(result.code, CheckCode::L7Rsp);
    assert_eq!(result.text, "no valid HTTP answer: connection closed before message completed");
    let cut = RawServer::start(addresses.socket(12, 8080), |peer| {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-")
    });
    assert_eq!(run_http(http(), cut.address()).await.code, CheckCode::L7Rsp);
    let reset = RawServer::start(addresses.socket(13, 8080), |peer| {
        peer.read_request()?;
        peer.reset()
    });
    assert_found(reset.address(), CheckCode::L7Rsp, "Connection reset by peer").await;
}

/// What a server reads after its answer, when a check is over.
async fn last_read(answer: &'static [u8], ends: bool) -> io::Result<usize> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(peer.read(&mut request).unwrap() > 0);
        peer.write_all(answer).unwrap();
        if ends {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        peer.read(&mut request)
    });
    assert_eq!(run_http(http(), address).await.code, CheckCode::L7Ok);
    server.join().unwrap()
}

#[tokio::test]
async fn only_a_server_that_has_ended_its_side_is_reset() {
    let reset = last_read(b"HTTP/1.1 200 OK\r\n\r\nup to the end", true).await;
    assert_eq!(reset.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    let waits = last_read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false).await;
    assert_eq!(waits.map_err(|error| error.kind()), Ok(0));
}

#[tokio::test]
async fn a_host_that_does_not_answer_at_all() {
    // A listener whose backlog is full drops further connection attempts silently.
    let addresses = Addresses::claim();
    let address = addresses.socket(11, 8080);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let _listener = socket.listen(1).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
    }
    let bounded = |probe| Check {
        probe,
        timing: Timing { interval: Duration::from_secs(1), timeout: TIMEOUT, ..Timing::default() },
        port: None,
        send_proxy: CheckProxy::Auto,
        over_tls: CheckTls::Auto,
    };
    for probe in [Probe::Tcp, Probe::Http(http())] {
        let result = run(&bounded(probe), address).await;
        assert_eq!((result.code, result.text.as_str()), (CheckCode::L4Tout, "no connection within 1 s"));
    }
    // Where the interval is no shorter than the timeout, both end at the same moment: it is still no connection.
    for probe in [Probe::Tcp, Probe::Http(http())] {
        let result = run(&check(probe), address).await;
        assert_eq!((result.code, result.text.as_str()), (CheckCode::L4Tout, "no connection within 2 s"));
    }
}

#[tokio::test]
async fn no_route() {
    // TCP has no broadcast: the kernel refuses without sending anything.
    let result = run_http(http(), SocketAddr::from(([255, 255, 255, 255], 80))).await;
    assert_eq!(result.code, CheckCode::L4Con, "{result:?}");
}

#[test]
fn checks_that_cannot_be_sent() {
    let _runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (probe, text) in [
        (HttpProbe { method: "GE T".to_owned(), ..http() }, "`GE T` is not an HTTP method"),
        (
            HttpProbe { path: "health".to_owned(), ..http() },
            "`health` is not a path: it has to start with `/`",
        ),
        (
            HttpProbe { headers: vec![("X Y".to_owned(), "1".to_owned())], ..http() },
            "`X Y: 1` is not an HTTP header field",
        ),
    ] {
        assert_eq!(Prober::new(&check(Probe::Http(probe))).unwrap_err().to_string(), text);
    }
}

/// Whatever a check says, and to whomever, a header comes first: HAProxy's addresses in version 1, and nobody's in version 2.
#[tokio::test]
async fn every_kind_of_check_begins_with_a_header_where_it_is_to() {
    let user = || "check".to_owned();
    let steps = vec![Step::Send(b"hello".to_vec()), Step::Expect(b"hello".to_vec())];
    let probes = [
        Probe::Tcp,
        Probe::Steps(steps),
        Probe::Http(http()),
        Probe::Tls(TlsProbe { name: None, ca_file: None }),
        Probe::Mysql { user: Some(user()) },
        Probe::Postgres { user: user(), database: None },
        Probe::Redis { role: None },
        Probe::Smtp { domain: "localhost".to_owned() },
    ];
    for probe in probes {
        for version in [Version::V1, Version::V2] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, peer) = listener.accept().unwrap();
                let expected = match version {
                    Version::V1 => {
                        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", peer.port(), address.port())
                            .into_bytes()
                    }
                    Version::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(),
                };
                let mut header = vec![0; expected.len()];
                stream.read_exact(&mut header).unwrap();
                assert_eq!(header, expected);
                // What a server says that knows none of the protocols.
                let _ = stream.write_all(b"?\r\n");
            });
            let prober = Prober::new(&check(probe.clone())).unwrap();
            let found = prober.run(&named(address).introduced(Some(version)), address).await;
            let Probed::Server(result) = found else { panic!("out of resources: {found:?}") };
            assert_eq!(result.code == CheckCode::L4Ok, probe == Probe::Tcp, "{probe:?}: {result:?}");
            server.join().unwrap();
        }
    }
}
