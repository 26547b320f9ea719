//! What a daemon's socket does with clients that are wrong, slow, many, or merely curious.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure message"
)]

mod common;

use std::time::Duration;

use common::{Daemon, HELLO, PATIENCE, ask, directory, rest, say, verdict};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use wire::client::{Client, ClientError, Update};
use wire::codec::{LineReader, MAX_LINE};
use wire::{Answer, RefusalCode, Request, TopicName};

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// Says something, and tells the code of the error after which the daemon closes the connection.
async fn cut_off(daemon: &Daemon, what: &str) -> Value {
    let said = rest(say(&daemon.path, what).await).await;
    json(said.lines().last().unwrap())["error"]["code"].clone()
}

#[tokio::test]
async fn what_is_not_the_protocol_gets_an_error_and_an_end() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    assert_eq!(cut_off(&daemon, "{\"id\":1,\"request\":\"info\"}\n").await, "bad_line");
    assert_eq!(cut_off(&daemon, "{garbage\n").await, "bad_line");
    assert_eq!(cut_off(&daemon, "{\"hello\":{\"protocol\":9,\"client\":\"x\"}}\n").await, "bad_protocol");
    assert_eq!(cut_off(&daemon, &format!("{HELLO}garbage\n")).await, "bad_line");
    assert_eq!(cut_off(&daemon, &"{".repeat(MAX_LINE)).await, "bad_line");
    assert_eq!(cut_off(&daemon, &format!("{HELLO}{}", " ".repeat(MAX_LINE))).await, "bad_line");
    assert!(Client::connect(&daemon.path, "test").await.is_ok(), "others are served all the same");
}

#[tokio::test]
async fn a_request_that_is_refused_leaves_the_connection_usable() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let lines = [
        r#"{"id":1,"request":"inof"}"#,
        r#"{"id":2,"request":"subscribe","topic":"liveness","ping_ms":100}"#,
        r#"{"id":3,"request":"subscribe","topic":"verdicts","ping_ms":9}"#,
        r#"{"id":4,"request":"info","colour":"green"}"#,
    ];
    let said = ask(&daemon.path, &format!("{HELLO}{}\n", lines.join("\n"))).await;
    let answers: Vec<Value> = said.lines().skip(1).map(json).collect();
    let codes: Vec<&Value> = answers.iter().map(|answer| &answer["error"]["code"]).collect();
    assert_eq!(codes, ["unknown_request", "not_found", "bad_request", "null"].map(code).each_ref());
    assert_eq!(answers[3]["ok"]["info"]["daemon"], "healthd");
    assert_eq!(answers[3]["id"], 4);
}

fn code(word: &str) -> Value {
    if word == "null" { Value::Null } else { word.into() }
}

#[tokio::test]
async fn commands_are_answered_in_text() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let answer = ask(&daemon.path, "show info; reload ;show inof\n").await;
    assert!(answer.starts_with("Name: healthd\n\n\nUnknown command: 'show inof'"), "{answer}");
    assert_eq!(ask(&daemon.path, "show info").await, "Name: healthd\n\n", "a newline may be missing");
    assert!(ask(&daemon.path, "help\n").await.contains("Read the configuration again."));
    assert_eq!(ask(&daemon.path, "\n").await, "");
    assert!(ask(&daemon.path, "\u{0}\u{1b}[2J\n").await.starts_with("Unknown command"));
}

#[tokio::test]
async fn long_answers_and_snapshots_come_in_parts_that_fit() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let all: Vec<_> = (0..2_000).map(|n| verdict(&format!("s{n:04}"), n)).collect();
    daemon.answers.verdicts.replace_all(all.clone());

    let said = ask(&daemon.path, &format!("{HELLO}{{\"id\":1,\"request\":\"verdicts\"}}\n")).await;
    assert!(said.lines().count() > 3);
    assert!(said.lines().all(|line| line.len() < MAX_LINE));

    let mut client = Client::connect(&daemon.path, "test").await.unwrap();
    assert_eq!(client.request(Request::Verdicts).await.unwrap(), Answer::Verdicts(all.clone()));
    let mut subscription = client.subscribe(TopicName::Verdicts, Duration::from_secs(10)).await.unwrap();
    let Update::Snapshot(items) = subscription.next().await.unwrap() else { panic!("no snapshot") };
    assert_eq!(items.into_iter().filter_map(wire::Item::into_verdict).collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn what_fits_into_no_line_is_an_error_instead() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let mut client = Client::connect(&daemon.path, "test").await.unwrap();
    let error = client.request(Request::Resolvers).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(refusal) if refusal.code == RefusalCode::Failed));
}

#[tokio::test]
async fn pings_and_events_go_on_during_a_request() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let stream =
        say(&daemon.path, &format!("{HELLO}{}\n{}\n", subscribe(1, 10), r#"{"id":2,"request":"reload"}"#))
            .await;
    let mut lines = LineReader::new(stream);
    // Hello, answer, snapshot; then pings, while the reload hangs.
    let mut pings = 0;
    while pings < 5 {
        pings += usize::from(next(&mut lines).await["ping"].is_object());
    }
    daemon.answers.verdicts.set(verdict("a", 1));
    while next(&mut lines).await["event"]["seq"] != 2 {}
    daemon.answers.reloaded.notify_one();
    while next(&mut lines).await["ok"]["done"] != "reloaded" {}
}

#[tokio::test]
async fn events_cannot_starve_pings() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let stream = say(&daemon.path, &format!("{HELLO}{}\n", subscribe(1, 10))).await;
    let mut lines = LineReader::new(stream);
    let topic = daemon.answers.verdicts.clone();
    let busy = tokio::spawn(async move {
        for downs in 0.. {
            topic.set(verdict("a", downs));
            tokio::task::yield_now().await;
        }
    });
    let (mut pings, mut events) = (0, 0);
    while pings < 5 || events < 5 {
        let line = next(&mut lines).await;
        pings += usize::from(line["ping"].is_object());
        events += usize::from(line["event"].is_object());
    }
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn silent_clients_do_not_shut_out_commands() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let asked_at = tokio::time::Instant::now();
    let mut silent = Vec::new();
    for n in 0..200 {
        silent.push(say(&daemon.path, ["", "{", "show inf"][n % 3]).await);
    }
    assert_eq!(ask(&daemon.path, "show info\n").await, "Name: healthd\n\n");
    assert!(Client::connect(&daemon.path, "test").await.unwrap().request(Request::Info).await.is_ok());
    assert!(asked_at.elapsed() < Duration::from_secs(1), "nobody's timeout was waited for");
    // Each is told why, and none gets a bare reset, also if it speaks up too late.
    for (n, mut stream) in silent.into_iter().enumerate() {
        let made_room = n < 180;
        if made_room && n % 2 == 0 {
            let _ = stream.write_all(b"show info\n").await;
        }
        let said = rest(stream).await;
        let code = &json(said.lines().last().unwrap())["error"]["code"];
        assert!(*code == "lagged" || !made_room && *code == "bad_line", "{said}");
    }
}

#[tokio::test]
async fn a_crowd_that_commands_at_once_is_answered_whole() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let path = daemon.path.clone();
    let crowd: Vec<_> = (0..300)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { ask(&path, "show info\n").await })
        })
        .collect();
    for answer in crowd {
        assert_eq!(answer.await.unwrap(), "Name: healthd\n\n");
    }
}

#[tokio::test]
async fn an_idle_client_makes_room_for_one_that_asks() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(Client::connect(&daemon.path, "test").await.unwrap());
    }
    // The first has been served after all others came, so that the second is the one that makes room.
    assert!(idle[0].request(Request::Info).await.is_ok());
    let _new = Client::connect(&daemon.path, "test").await.unwrap();
    assert!(idle[0].request(Request::Info).await.is_ok());
    let error = idle[1].request(Request::Info).await.unwrap_err();
    let ClientError::Refused(refusal) = error else { panic!("{error}") };
    assert_eq!(refusal.code, RefusalCode::Lagged);
    assert!(idle[2].request(Request::Info).await.is_ok());
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let mut followers = Vec::new();
    for _ in 0..64 {
        let client = Client::connect(&daemon.path, "test").await.unwrap();
        followers.push(client.subscribe(TopicName::Verdicts, Duration::from_secs(10)).await.unwrap());
    }
    let refusal = match Client::connect(&daemon.path, "test").await {
        Err(ClientError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal.code, RefusalCode::Lagged);
    assert!(refusal.message.contains("close some"), "{}", refusal.message);
    let said = ask(&daemon.path, "show info\n").await;
    assert!(said.contains("close some"), "also in text: {said}");
    followers.truncate(32);
    // The daemon notices the closed ones on its own time.
    tokio::time::timeout(PATIENCE, async {
        while Client::connect(&daemon.path, "test").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn nobody_gets_a_bare_reset() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    // More than the daemon reads of it before it refuses, or answers.
    let flood = "x".repeat(3 * MAX_LINE);
    assert_eq!(cut_off(&daemon, &format!("{{{flood}")).await, "bad_line");
    assert_eq!(rest(say(&daemon.path, &format!("show info\n{flood}")).await).await, "Name: healthd\n\n");
}

/// The clock stands still but when nothing else can happen, so that the daemon's bounds cost no time.
#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_is_dropped_and_costs_nobody_else() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let slow = say(&daemon.path, &format!("{HELLO}{}\n", subscribe(1, 60_000))).await;
    // Far more than a socket holds.
    for round in 0..50 {
        daemon.answers.verdicts.replace_all((0..300).map(|n| verdict(&format!("s{n}"), round)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(Client::connect(&daemon.path, "test").await.is_ok());
    }
    let said = rest(slow).await;
    let last = json(said.lines().rfind(|line| line.ends_with('}')).unwrap());
    assert!(last["snapshot"]["items"][0]["verdict"]["downs"].as_u64().is_some_and(|round| round < 49));
}

#[tokio::test(start_paused = true)]
async fn the_silent_are_disconnected() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let said = rest(UnixStream::connect(&daemon.path).await.unwrap()).await;
    assert!(said.contains("nothing was said"), "{said}");
    let said = rest_of_idle(&daemon, HELLO).await;
    assert_eq!(said.lines().count(), 1, "only the hello, then the end: {said}");
    let said = rest_of_idle(&daemon, &format!("{HELLO}{{\"id\":1,\"requ")).await;
    assert_eq!(said.lines().count(), 1, "half a request keeps nobody connected: {said}");
}

/// An idle client may stay for minutes, of a clock that does not really run.
async fn rest_of_idle(daemon: &Daemon, what: &str) -> String {
    let mut stream = say(&daemon.path, what).await;
    let mut all = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut all);
    tokio::time::timeout(Duration::from_secs(3600), read).await.unwrap().unwrap();
    all
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_latest_state_of_each_item_and_no_gap() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let stream = say(&daemon.path, &format!("{HELLO}{}\n", subscribe(1, 60_000))).await;
    let mut lines = LineReader::new(stream);
    while next(&mut lines).await["snapshot"].is_null() {}
    // The daemon's task does not run between these, as on a busy machine.
    for downs in 1..=1_000 {
        daemon.answers.verdicts.set(verdict("a", downs));
        daemon.answers.verdicts.set(verdict("b", downs));
    }
    let mut events = Vec::new();
    while events.len() < 2 {
        let line = next(&mut lines).await;
        if line["event"].is_object() {
            events.push(line["event"].clone());
        }
    }
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["seq"].as_u64(), event["item"]["verdict"]["downs"].as_u64()))
        .collect();
    assert_eq!(told, [(Some(2), Some(1_000)), (Some(3), Some(1_000))]);
}

#[tokio::test]
async fn a_second_subscription_needs_a_second_connection() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    let mut stream = say(&daemon.path, &format!("{HELLO}{}\n", subscribe(1, 60_000))).await;
    stream.write_all(format!("{}\n", subscribe(2, 60_000)).as_bytes()).await.unwrap();
    let mut lines = LineReader::new(stream);
    let refused = loop {
        let line = next(&mut lines).await;
        if line["id"] == 2 {
            break line;
        }
    };
    assert!(refused["error"]["message"].as_str().unwrap().contains("open another"));
}

fn subscribe(id: u64, ping_ms: u64) -> String {
    format!(r#"{{"id":{id},"request":"subscribe","topic":"verdicts","ping_ms":{ping_ms}}}"#)
}

async fn next(lines: &mut LineReader<UnixStream>) -> Value {
    let line = tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().unwrap().unwrap();
    serde_json::from_slice(line).unwrap()
}
