//! The crate h2 as the client: what it sends is understood, and what it is sent it understands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure message"
)]

use std::collections::VecDeque;

use http::{HeaderMap, Request};
use http2::{Connection, Event, Follows, Limits, Room, StreamId};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// One exchange: how long the bodies are, and whether trailers come behind them.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    asked: usize,
    answered: usize,
    trailers: bool,
}

/// What the server knows of a stream.
#[derive(Default)]
struct Lane {
    received: usize,
    ended: bool,
    trailers: bool,
}

/// Serves streams by what their path says, until the client ends the connection.
async fn serve(mut socket: DuplexStream, piece: usize) {
    let limits = Limits {
        streams: 50,
        stream_window: 65_536,
        connection_window: 200_000,
        fields: 20_000,
        waiting: 30_000,
    };
    let mut connection: Connection<Lane> = Connection::new(limits);
    let (mut input, mut sending) = (Vec::new(), VecDeque::<(StreamId, Exchange, usize)>::new());
    loop {
        let (used, event) = connection.receive(&input);
        match event {
            Some(Event::Request(id, follows)) => {
                let text = String::from_utf8(connection.text().to_vec()).unwrap();
                let numbers: Vec<usize> =
                    text.split(['/', ' ']).filter_map(|word| word.parse().ok()).collect();
                let exchange =
                    Exchange { asked: numbers[0], answered: numbers[1], trailers: numbers[2] == 1 };
                connection.user(id).unwrap().ended = follows == Follows::Nothing;
                sending.push_back((id, exchange, 0));
            }
            Some(Event::Content(id, range, ended)) => {
                assert!(input[range.clone()].iter().all(|&byte| byte == b'q'));
                let lane = connection.user(id).unwrap();
                lane.received += range.len();
                lane.ended = ended;
                connection.release(id, range.len());
            }
            Some(Event::Trailers(id)) => {
                assert_eq!(connection.text(), b"asked: 1\r\n");
                let lane = connection.user(id).unwrap();
                (lane.ended, lane.trailers) = (true, true);
            }
            Some(Event::Reset(id)) => panic!("{id:?} is reset"),
            _ => {}
        }
        input.drain(..used);
        if used > 0 {
            continue;
        }
        // Whoever has asked is answered, a piece at a time, in turn.
        for _ in 0..sending.len() {
            let Some((id, exchange, sent)) = sending.pop_front() else { break };
            let lane = connection.user(id).unwrap();
            if !lane.ended {
                sending.push_back((id, exchange, sent));
                continue;
            }
            assert_eq!(
                (lane.received, lane.trailers),
                (exchange.asked, exchange.trailers && exchange.asked > 0)
            );
            if sent == 0 {
                connection.send_head(id, 200, [(&b"X-Own"[..], &b"mine"[..])].into_iter(), false);
            }
            let left = exchange.answered - (sent.max(1) - 1);
            let more = match connection.room(id) {
                Room::For(room) => left.min(room).min(piece),
                Room::OfStream | Room::OfConnection => 0,
                Room::Gone => panic!("{id:?} is gone"),
            };
            let done = more == left;
            connection.send_content(id, |out| {
                out.resize(out.len() + more, b'a');
                done && !exchange.trailers
            });
            if done && exchange.trailers {
                connection.send_trailers(id, [(&b"answered"[..], &b"1"[..])].into_iter());
            }
            match done {
                true => assert!(connection.let_go(id)),
                false => sending.push_back((id, exchange, sent.max(1) + more)),
            }
        }
        let out = std::mem::take(connection.out());
        if !out.is_empty() {
            socket.write_all(&out).await.unwrap();
            continue;
        }
        let mut bytes = [0; 7_000];
        match socket.read(&mut bytes).await.unwrap() {
            0 => break,
            n => input.extend_from_slice(&bytes[..n]),
        }
    }
    assert!(connection.is_over() || connection.users().count() == 0);
}

async fn ask(sender: h2::client::SendRequest<bytes::Bytes>, exchange: Exchange) {
    let Exchange { asked, answered, trailers } = exchange;
    let uri = format!("http://test/{asked}/{answered}/{}", u8::from(trailers));
    let request =
        Request::post(uri).header("cookie", "a=b").header("x-long", "z".repeat(300)).body(()).unwrap();
    let (response, mut body) = sender.ready().await.unwrap().send_request(request, asked == 0).unwrap();
    let mut left = asked;
    while left > 0 {
        body.reserve_capacity(left);
        let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap().min(left);
        left -= room;
        body.send_data(vec![b'q'; room].into(), left == 0 && !trailers).unwrap();
    }
    if asked > 0 && trailers {
        let fields = HeaderMap::from_iter([("asked".parse().unwrap(), "1".parse().unwrap())]);
        body.send_trailers(fields).unwrap();
    }
    let response = response.await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-own"]), (200, &"mine".parse().unwrap()));
    let (mut body, mut got) = (response.into_body(), 0);
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        assert!(data.iter().all(|&byte| byte == b'a'));
        got += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!((got, body.trailers().await.unwrap().is_some()), (answered, trailers));
}

fn run(exchanges: Vec<Exchange>, piece: usize, window: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let (ours, theirs) = tokio::io::duplex(9_000);
        let server = tokio::task::spawn_local(serve(ours, piece));
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).header_table_size(100);
        let (sender, connection) = builder.handshake::<_, bytes::Bytes>(theirs).await.unwrap();
        let connection = tokio::task::spawn_local(connection);
        let asking: Vec<_> =
            exchanges.into_iter().map(|it| tokio::task::spawn_local(ask(sender.clone(), it))).collect();
        for asked in asking {
            asked.await.unwrap();
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        server.await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_that_is_asked_is_answered(
        exchanges in prop::collection::vec((0_usize..200_000, 0_usize..200_000, any::<bool>()), 1..60),
        piece in 1_usize..20_000,
        window in 1_000_u32..200_000,
    ) {
        let small = |n: usize| if n.is_multiple_of(3) { n % 10 } else { n / 4 };
        let exchange = |(asked, answered, trailers)| Exchange { asked: small(asked), answered: small(answered), trailers };
        run(exchanges.into_iter().map(exchange).collect(), piece.max(500), window);
    }
}
