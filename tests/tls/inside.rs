//! What else goes with TLS: key exchange, PROXY headers before it, and what browsers do inside of it.

use std::io::Write;
use std::net::TcpStream;

use rustls::NamedGroup;
use testkit::{Authority, EchoServer, SERVER_PORT, TlsClient, assert_echoes, tls_config};

use super::with_tls;

#[test]
fn keys_are_exchanged_in_a_way_that_outlasts_quantum_computers() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "").servers(1).start();
    for (groups, agreed) in [
        (None, NamedGroup::X25519MLKEM768),
        (Some(&[NamedGroup::X25519][..]), NamedGroup::X25519),
        (Some(&[NamedGroup::secp256r1]), NamedGroup::secp256r1),
    ] {
        let mut client = TlsClient::connect(stack.web(), &tls_config(&authority, groups));
        assert_eq!(client.key_exchange(), Some(agreed));
        assert_eq!(client.get("/", "").1, "NGINX Instance 1\n");
    }
}

#[test]
fn a_proxy_header_stands_before_tls() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "").frontend("accept_proxy: 127.0.0.0/8").servers(1).start();
    let config = tls_config(&authority, None);
    let version_2 =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 8, 192, 0, 2, 9], &[0x0f, 0xa0, 1, 187]]
            .concat();
    let version_1 = b"PROXY TCP4 192.0.2.7 192.0.2.9 4000 443\r\n";
    for (header, client) in [(&version_1[..], "192.0.2.7"), (&version_2, "192.0.2.8")] {
        let mut socket = TcpStream::connect(stack.web()).unwrap();
        socket.write_all(header).unwrap();
        let (_, told) = TlsClient::over(socket, &config).get("/headers", "");
        let expected = format!("\nx-forwarded-for={client}\nx-forwarded-proto=https\n");
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn who_belongs_to_a_server_stays_there_under_tls() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "")
        .backend("sticky: { cookie: SRV, key: 0123456789abcdef, secure: on }")
        .servers(3)
        .start();
    let config = tls_config(&authority, None);
    let (head, home) = TlsClient::connect(stack.web(), &config).get("/", "");
    let cookie =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("set-cookie: ").map(|_| line));
    let cookie = cookie.unwrap_or_else(|| panic!("{head}")).split_once(": ").unwrap().1;
    assert!(cookie.contains("; Secure"), "{cookie}");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    for _ in 0..6 {
        assert_eq!(TlsClient::connect(stack.web(), &config).get("/", &cookie).1, home);
    }
}

#[test]
fn a_websocket_runs_under_tls() {
    let authority = Authority::new();
    let stack = with_tls(&authority, "")
        .servers(0)
        .config(|config, addresses| config.server("ws", addresses.socket(100, SERVER_PORT)))
        .start();
    let _server = EchoServer::start(stack.addresses.socket(100, SERVER_PORT));
    let client = TlsClient::connect(stack.web(), &tls_config(&authority, None));
    assert_echoes("ws://app.example/echo", client, &[1, 100, 20_000, 1_000_000]);
}
