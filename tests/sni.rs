//! TLS that is carried as it is, by the server name that its client asks for: real clients and servers (openssl), and HAProxy beside.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use testkit::{Client, Haproxy, Peer, Process, RawServer, Stack, needs, wait_until};

/// A TLS server whose certificate says who it is.
struct TlsServer {
    _process: Process,
}

impl TlsServer {
    fn start(name: &str, address: SocketAddr, dir: &Path) -> Self {
        let file = |kind: &str| dir.join(format!("{name}.{kind}")).display().to_string();
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-nodes",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-days",
                "2",
            ])
            .args(["-subj", &format!("/CN={name}"), "-keyout", &file("key"), "-out", &file("pem")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-cert",
            &file("pem"),
            "-key",
            &file("key"),
            "-accept",
            &address.to_string(),
        ]);
        let process = Process::spawn(&format!("s_server-{name}"), command, dir);
        wait_until("the TLS server listens", || Client::try_connect(address, None).is_ok());
        Self { _process: process }
    }
}

/// Whose certificate a client gets that asks for a name, or for none.
fn answers(address: SocketAddr, name: Option<&str>) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]);
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let subject = said.lines().find_map(|line| line.trim().strip_prefix("subject="));
    subject.unwrap_or(&said).rsplit('=').next().unwrap_or_default().trim().to_owned()
}

#[test]
fn clients_get_the_server_whose_name_they_ask_for() {
    needs!("haproxy");
    needs!("openssl");
    let dir = tempfile::tempdir().unwrap();
    let mut servers = Vec::new();
    let mut backends = String::new();
    let mut stack = Stack::builder()
        .servers(0)
        .unchecked()
        .frontend(
            "mode: tcp\nroutes:\n  - { sni: [two.example, \"*.two.example\"], backend: two }\n  - { sni: \"three.example\", backend: three }",
        )
        .backend("mode: tcp")
        .config(|config, addresses| {
            for (number, name) in [(1, "app"), (2, "two"), (3, "three")] {
                let address = addresses.socket(100 + number, 7443);
                servers.push(TlsServer::start(name, address, dir.path()));
                backends += &format!("backend {name}\n server s {address}\n");
                match number {
                    1 => config.server("s1", address),
                    _ => {
                        config.more_backends += &format!(
                            "{name}: {{ mode: tcp, check: off, servers: {{ s{number}: \"{address}\" }} }}\n"
                        );
                    }
                }
            }
        })
        .start();
    let other = Haproxy::beside(&stack, "tcp", |bind| {
        format!(
            "frontend web\n bind {bind}\n tcp-request inspect-delay 5s\n tcp-request content accept if {{ req_ssl_hello_type 1 }}\n \
         use_backend two if {{ req_ssl_sni -i two.example }} or {{ req_ssl_sni -i -m end .two.example }}\n \
         use_backend three if {{ req_ssl_sni -i three.example }}\n default_backend app\n{backends}"
        )
    });

    for (name, server) in [
        (Some("two.example"), "two"),
        (Some("TWO.example"), "two"),
        (Some("a.b.two.example"), "two"),
        (Some("three.example"), "three"),
        (Some("a.three.example"), "app"),
        (Some("twotwo.example"), "app"),
        (None, "app"),
    ] {
        let both = [stack.web(), other.address()].map(|address| answers(address, name));
        assert_eq!(both, [server, server], "{name:?}");
    }
    stack.lbd.stop();
    let log = stack.lbd.stdout();
    assert_eq!(log.lines().filter(|line| line.contains(" web two/s2 ")).count(), 3, "{log}");
}

/// What openssl's client says first, to somebody who does not answer.
fn client_hello(name: &str) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut hello = head.to_vec();
    hello.resize(5 + usize::from(u16::from_be_bytes([head[3], head[4]])), 0);
    stream.read_exact(&mut hello[5..]).unwrap();
    drop(stream);
    let _ = client.kill();
    let _ = client.wait();
    hello
}

/// Tells its name, and then what it was sent.
fn echo(name: &'static str) -> impl Fn(&mut Peer) -> std::io::Result<()> {
    move |peer| {
        let all = peer.read_all()?;
        peer.send(name)?;
        peer.send(all)
    }
}

/// lbd with a route for `two.example`, in front of scripts that are called `app` and `two`.
fn scripts(lines: &str) -> (Stack, RawServer, RawServer) {
    let mut two = None;
    let (stack, app) = Stack::builder()
        .frontend(&format!(
            "mode: tcp\nroutes: [ {{ sni: two.example, backend: two }} ]\ntimeouts: {{ client_hello: 1m }}\n{lines}"
        ))
        .backend("mode: tcp")
        .config(|config, addresses| {
            let address = addresses.socket(101, 7081);
            two = Some(RawServer::start(address, echo("two:")));
            config.more_backends =
                format!("two: {{ mode: tcp, check: off, servers: {{ s2: \"{address}\" }} }}\n");
        })
        .start_before(echo("app:"));
    (stack, app, two.unwrap())
}

#[test]
fn every_byte_arrives_however_the_hello_is_cut() {
    needs!("openssl");
    let (stack, _app, _two) = scripts("");
    let hello = client_hello("two.example");
    let mut cut = Vec::new();
    for part in hello[5..].chunks(50) {
        cut.extend([&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat());
    }
    let other = client_hello("other.example");
    let long = [&[22, 3, 1, 64, 0, 1, 0, 255, 255, 3, 3][..], &vec![0; 20_000]].concat();
    for (bytes, server) in [
        (&hello, "two:"),
        (&cut, "two:"),
        (&other, "app:"),
        (&b"GET / HTTP/1.1\r\n\r\n".to_vec(), "app:"),
        (&hello[..40].to_vec(), "app:"),
        (&long, "app:"),
    ] {
        for size in [1, 7, 1 << 20] {
            let mut client = Client::connect(stack.web());
            for part in bytes.chunks(size).take(60) {
                client.send(part);
                if size < 100 {
                    thread::sleep(Duration::from_micros(200));
                }
            }
            client.send(bytes.get(size.saturating_mul(60)..).unwrap_or_default());
            client.finish_sending();
            let answer = client.try_rest().unwrap();
            assert!(answer.starts_with(server.as_bytes()), "{:?}", String::from_utf8_lossy(&answer[..4]));
            assert!(answer[4..] == bytes[..], "{} bytes of {}", answer.len() - 4, bytes.len());
        }
    }
}

#[test]
fn a_proxy_in_front_speaks_before_the_hello() {
    needs!("openssl");
    let (stack, _app, _two) = scripts("accept_proxy: 127.0.0.0/8");
    let header = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";
    let hello = client_hello("two.example");
    let whole = [header.as_bytes(), &hello].concat();
    for parts in
        [vec![&whole[..]], vec![header.as_bytes(), &hello], vec![&whole[..20], &whole[20..50], &whole[50..]]]
    {
        let mut client = Client::connect(stack.web());
        for part in parts {
            client.send(part);
            thread::sleep(Duration::from_millis(2));
        }
        client.finish_sending();
        assert!(client.try_rest().unwrap() == [b"two:", &hello[..]].concat());
    }
    // Whoever says no more is carried on as without a header.
    let mut client = Client::connect(stack.web());
    client.send(header);
    client.finish_sending();
    client.expect_closed();
    wait_until("the sessions are logged", || stack.lbd.stdout().matches("192.0.2.1:50000 [").count() == 4);
}

#[test]
fn who_says_nothing_gets_the_server_that_may_speak_first() {
    let (stack, app) = Stack::builder()
        .frontend(
            "mode: tcp\nroutes: [ { sni: two.example, backend: app } ]\ntimeouts: { client_hello: 100ms }",
        )
        .backend("mode: tcp")
        .start_before(|peer| peer.send("hello first"));
    let mut client = Client::connect(stack.web());
    assert_eq!(client.try_rest().unwrap(), b"hello first");
    drop(client);
    // One who leaves before is no session of a server.
    drop(Client::connect(stack.web()));
    wait_until("both are over", || {
        let row = stack.stat("web", "FRONTEND");
        (row.number("scur"), row.number("stot")) == (0, 2)
    });
    assert_eq!(app.connections(), 1);
}
