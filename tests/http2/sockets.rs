//! WebSockets by streams (RFC 8441), through lbd and through HAProxy.

use testkit::{Haproxy, Peer, Stack, needs};

use crate::{needs_python, python};

/// A server of WebSockets at `/chat`, which answers everything else in some way of its own.
fn serve(peer: &mut Peer) -> std::io::Result<()> {
    let head = peer.read_request()?;
    let lower = head.to_ascii_lowercase();
    let field =
        |name: &str| lower.split(&format!("\r\n{name}: ")).nth(1)?.split("\r\n").next().map(str::to_owned);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let accept = tungstenite::handshake::derive_accept_key(key.unwrap_or_default().as_bytes());
    match head.split(' ').nth(1) {
        Some("/chat") => {
            let told =
                [field("upgrade"), field("connection"), field("sec-websocket-version"), field("origin")];
            peer.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n{told:?};"
            ))?;
            let said = peer.read_until(b"bye")?;
            peer.send(said)
        }
        // It has not read the key.
        Some("/wrong") => peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        ),
        Some("/page") => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"),
        Some("/gone") => Ok(()),
        _ => peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
    }
}

const ASKS: &str = r#"
client = Client(ADDRESS)
client.step()
print("offered", client.h2.remote_settings.enable_connect_protocol)
def open_socket(path, protocol="websocket"):
    pseudo = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "test")]
    return client.request(pseudo=pseudo, fields=[("sec-websocket-version", "13"), ("origin", "http://test")], end=False)
stream = open_socket("/chat")
answer = client.answers[stream]
client.until(lambda: answer.body.endswith(b";"))
print(answer.status, answer.field("sec-websocket-protocol"), answer.body)
print("accept", answer.field("sec-websocket-accept") is not None)
client.data(stream, b"x" * 200_000)
client.data(stream, b"bye", end=True)
client.wait(stream)
print(len(answer.body), answer.body[-3:], answer.reset)
for path in ["/no", "/gone", "/page", "/wrong"]:
    answer, = client.wait(open_socket(path))
    print(path, answer.status)
"#;

/// What lbd does in its own way, and how HAProxy does it (docs/decisions.md).
const APART: [(&str, &str); 3] =
    [("accept False", "accept True"), ("/gone 502", "/gone None"), ("/page 502", "/page 200")];

#[test]
fn haproxy_gives_the_same_answers() {
    needs!("haproxy");
    needs_python!("h2");
    let (stack, server) = Stack::builder().start_before(serve);
    let haproxy = Haproxy::beside(&stack, "http", |bind| {
        format!("listen web\n bind {bind} proto h2\n retries 0\n server s {}\n", server.address())
    });
    let [ours, theirs] = [stack.web(), haproxy.address()].map(|address| python(address, ASKS));
    let mut expected = ours.clone();
    for (one, other) in APART {
        assert!(ours.contains(&format!("{one}\n")), "{one}: {ours}");
        expected = expected.replace(one, other);
    }
    assert_eq!(expected, theirs);
}
