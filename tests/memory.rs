//! What lbd holds for those who do nothing, and what it gives back.

use std::io;
use std::net::SocketAddr;

use testkit::{
    Authority, CertificateKey, Client, Haproxy, Peer, Stack, TlsClient, memory_kib, needs, pattern,
    raise_descriptors, tls_config, wait_until,
};

/// Switches protocols, and echoes from then on.
fn echo(peer: &mut Peer) -> io::Result<()> {
    peer.read_request()?;
    peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")?;
    loop {
        let bytes = peer.read_body(1000)?;
        peer.send(bytes)?;
    }
}

#[test]
fn an_idle_connection_holds_three_kilobytes() {
    let stack = Stack::builder()
        .servers(1)
        .unchecked()
        .config(|config, _| config.lbd = "workers: 1".to_owned())
        .start();
    let serve = |count| {
        let mut clients: Vec<_> = (0..count).map(|_| stack.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
        clients
    };
    drop(serve(20));
    let before = stack.lbd.memory_kib();
    let clients = serve(2000);
    let grown = stack.lbd.memory_kib().saturating_sub(before);
    assert!(grown < 3 * 2000, "2,000 idle connections hold {grown} KiB");
    drop(clients);
}

#[test]
fn an_idle_connection_with_tls_holds_less_than_eight_kilobytes_and_than_in_haproxy() {
    needs!("haproxy");
    const COUNT: u32 = 600;
    raise_descriptors();
    let authority = Authority::new();
    let file = authority.issue("app.pem", &["app.example"], CertificateKey::Ecdsa);
    let file = file.display();
    let stack = Stack::builder()
        .servers(1)
        .unchecked()
        .config(|config, _| {
            config.lbd = "workers: 1".to_owned();
            config.tls = format!("{{ certificates: [\"{file}\"] }}");
        })
        .start();
    let haproxy = Haproxy::beside(&stack, "http", |bind| {
        let server = stack.server_address(1);
        format!(
            "frontend web\n bind {bind} ssl crt {file} alpn http/1.1\n default_backend app\nbackend app\n server s {server}\n"
        )
    });
    let client = tls_config(&authority, None);
    let [ours, theirs] = [(stack.web(), stack.lbd.pid()), (haproxy.address(), haproxy.process().pid())].map(
        |(address, pid)| {
            let serve = |count: u32| -> Vec<_> {
                let one = |_| {
                    let mut client = TlsClient::connect(address, &client);
                    assert_eq!(client.get("/", "").1, "NGINX Instance 1\n");
                    client
                };
                (0..count).map(one).collect()
            };
            // What the first ones take is not theirs alone.
            let first = serve(100);
            let before = memory_kib(pid);
            let clients = serve(COUNT);
            let grown = memory_kib(pid).saturating_sub(before);
            drop((first, clients));
            grown
        },
    );
    println!("{COUNT} idle connections with TLS hold {ours} KiB, and {theirs} KiB in HAProxy");
    assert!(ours < 8 * u64::from(COUNT), "{COUNT} idle connections with TLS hold {ours} KiB");
    assert!(ours < theirs, "{ours} KiB, and {theirs} KiB in HAProxy");
}

/// A connection of HTTP/2, by prior knowledge, which has had one answer.
fn after_a_stream(address: SocketAddr) -> Client {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const ACKNOWLEDGED: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
    // GET http://test/, by HPACK's static table.
    const REQUEST: &[u8] = b"\0\0\x09\x01\x05\0\0\0\x01\x82\x86\x84\x41\x04test";
    const END_STREAM: u8 = 1;
    let mut client = Client::connect(address);
    client.send([PREFACE, SETTINGS, REQUEST].concat());
    loop {
        let head = client.take(9).unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let content = client.take(length).unwrap();
        match (head[3], head[4]) {
            (4, 0) => client.send(ACKNOWLEDGED),
            (0, flags) if flags & END_STREAM != 0 => {
                assert_eq!(content, b"NGINX Instance 1\n");
                return client;
            }
            _ => {}
        }
    }
}

#[test]
fn an_idle_connection_of_http_2_holds_less_than_in_haproxy() {
    needs!("haproxy");
    const COUNT: u64 = 600;
    raise_descriptors();
    let stack = Stack::builder()
        .servers(1)
        .unchecked()
        .frontend("timeouts: { keep_alive: 5m }")
        .config(|config, _| config.lbd = "workers: 1".to_owned())
        .start();
    let haproxy = Haproxy::beside(&stack, "http", |bind| {
        format!("listen web\n bind {bind} proto h2\n server s {}\n", stack.server_address(1))
    });
    let open = |address, count| -> Vec<_> { (0..count).map(|_| after_a_stream(address)).collect() };
    let [ours, theirs] = [(stack.web(), stack.lbd.pid()), (haproxy.address(), haproxy.process().pid())].map(
        |(address, pid)| {
            // What the first ones take is not theirs alone.
            let first = open(address, 100);
            let before = settled(pid);
            let clients = open(address, COUNT);
            let grown = settled(pid).saturating_sub(before);
            drop((first, clients));
            grown
        },
    );
    println!("{COUNT} idle connections of HTTP/2 hold {ours} KiB, and {theirs} KiB in HAProxy");
    assert!(ours < theirs, "{ours} KiB, and {theirs} KiB in HAProxy");
}

/// The memory of a process that has given back what it keeps for a moment.
fn settled(pid: u32) -> u64 {
    let (mut last, mut still) = (0, 0);
    wait_until("its memory stays as it is", || {
        let now = memory_kib(pid);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        // Longer than the second for which streams' memory is kept.
        still > 60
    });
    last
}

#[test]
fn an_idle_tunnel_holds_six_kilobytes() {
    let (stack, _server) =
        Stack::builder().config(|config, _| config.lbd = "workers: 1".to_owned()).start_before(echo);
    let open = |count| {
        let mut clients: Vec<Client> = (0..count).map(|_| stack.client()).collect();
        for client in &mut clients {
            // Bytes come early from both sides: their buffers are not kept.
            let message = pattern(1000, 1);
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
            client.send([&request[..], &message].concat());
            assert_eq!(client.response().status, 101);
            assert_eq!(client.take(5).unwrap(), b"hello");
            assert!(client.take(1000).unwrap() == message);
            client.send(&message);
            assert!(client.take(1000).unwrap() == message);
        }
        clients
    };
    drop(open(20));
    let before = stack.lbd.memory_kib();
    let clients = open(500);
    let grown = stack.lbd.memory_kib().saturating_sub(before);
    assert!(grown < 6 * 500, "500 idle tunnels hold {grown} KiB");
    drop(clients);
}

#[test]
fn an_idle_session_holds_two_and_a_half_kilobytes() {
    let (stack, _server) = Stack::builder()
        .frontend("mode: tcp")
        .backend("mode: tcp\n")
        .config(|config, _| config.lbd = "workers: 1".to_owned())
        .start_before(|peer| {
            loop {
                let bytes = peer.read_body(64)?;
                peer.send(bytes)?;
            }
        });
    let open = |count| -> Vec<Client> {
        let one = |_| {
            let mut client = stack.client();
            client.send(pattern(64, 1));
            assert!(client.take(64).unwrap() == pattern(64, 1));
            client
        };
        (0..count).map(one).collect()
    };
    // What the first ones take is not theirs alone: tables grow, and there is room on the heap.
    let first = open(500);
    let before = stack.lbd.memory_kib();
    let clients = open(1000);
    let grown = stack.lbd.memory_kib().saturating_sub(before);
    assert!(2 * grown < 5 * 1000, "1,000 idle sessions hold {grown} KiB");
    drop((first, clients));
}

#[test]
fn what_a_crowd_held_goes_back() {
    let (stack, server) = Stack::builder().start_before(|peer| {
        peer.read_request()?;
        peer.stall()
    });
    let before = stack.lbd.memory_kib();
    let crowd: Vec<_> = (0..400)
        .map(|_| {
            let mut client = stack.client();
            // Together, so that much of the body is there with the head.
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
            client.send([&head[..], &pattern(50_000, 1)].concat());
            client
        })
        .collect();
    wait_until("each has its server", || server.requests().len() == 400);
    let grown = || stack.lbd.memory_kib().saturating_sub(before);
    let peak = grown();
    assert!(peak > 8000, "a crowd needs memory, and this one {peak} KiB");
    drop(crowd);
    wait_until("half of it is back", || grown() < peak / 2);
}
