//! The kit itself: what the end-to-end tests take for granted.

use std::net::Ipv4Addr;

use testkit::{Addresses, Client, Load, Network, Nginx, RawServer, get, is_root, skip, wait_until};

#[test]
fn nginx_serves_stops_and_comes_back() {
    let addresses = Addresses::claim();
    let mut nginx = Nginx::start(7, addresses.socket(11, 7081));
    let file = nginx.file("some", 100_000);
    let mut client = Client::connect(nginx.address());
    assert_eq!(client.get("/").instance(), Some(7));
    assert_eq!(client.get("/health").text(), "OK\n");
    assert!(client.get("/files/some").body == file);
    let chunked = client.get("/chunked/some");
    assert_eq!(chunked.field("transfer-encoding"), Some("chunked"));
    assert!(chunked.body == file);
    assert_eq!(client.get("/status/204").status, 204);

    client.send("PUT /upload/some HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status, 201);
    assert_eq!(nginx.uploaded("some").as_deref(), Some(b"hello".as_slice()));
    // nginx logs a request when it has answered it.
    let logged = || nginx.requests().iter().any(|line| line == "PUT /upload/some 201");
    wait_until("the upload is in nginx's log", logged);

    nginx.stop();
    assert!(Client::try_connect(nginx.address(), None).is_err());
    nginx.restart_on(addresses.socket(12, 7081));
    assert_eq!(get(addresses.socket(12, 7081), "/").instance(), Some(7));
}

#[test]
fn the_load_generator_counts_successes_and_failures() {
    let addresses = Addresses::claim();
    let mut nginx = Nginx::start(1, addresses.socket(11, 7081));
    for keep_alive in [true, false] {
        let report = Load { keep_alive, ..Load::default() }.run(nginx.address(), 200);
        report.assert_nothing_lost();
        assert_eq!((report.successes, report.by_instance[&1]), (200, 200));
    }
    let load = Load::default().start(nginx.address());
    load.wait_for_requests(20);
    nginx.stop();
    load.wait_for_requests(20);
    let report = load.stop();
    assert!(report.successes >= 20 && report.failures > 0, "{report:?}");
}

#[test]
fn a_raw_server_misbehaves_as_told() {
    let addresses = Addresses::claim();
    let server = RawServer::start(addresses.socket(11, 7081), |peer| {
        let head = peer.read_request()?;
        if head.starts_with("GET /reset ") {
            return peer.reset();
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut off")
    });
    let mut client = Client::connect(server.address());
    assert_eq!(client.try_get("/cut").unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    let mut client = Client::connect(server.address());
    assert_eq!(client.try_get("/reset").unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(server.connections(), 2);
    assert_eq!(server.requests()[0], "GET /cut HTTP/1.1\r\nHost: test\r\n\r\n");
}

#[test]
fn a_cable_can_be_cut_and_mended() {
    if !is_root() {
        skip!("network namespaces need root");
    }
    let network = Network::new(24);
    let (left, right) = (Ipv4Addr::new(10, 66, 0, 1), Ipv4Addr::new(10, 66, 0, 2));
    let host = network.host("left", left);
    let other = network.host("right", right);
    let _nginx = Nginx::start_in(&other, 1, (right, 80).into());
    let fetch = || {
        let url = format!("http://{right}/");
        host.command("curl")
            .args(["--silent", "--connect-timeout", "1", &url])
            .output()
            .expect("curl starts")
            .stdout
    };
    assert_eq!(fetch(), b"NGINX Instance 1\n");
    network.cut("right");
    assert_eq!(fetch(), b"");
    network.mend("right");
    assert_eq!(fetch(), b"NGINX Instance 1\n");
}
