//! Following a topic through everything that may happen to its daemon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure message"
)]

mod common;

use std::time::Duration;

use common::{Daemon, PATIENCE, directory, verdict};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use wire::client::{Client, ClientError, Follower, News, Update};
use wire::codec::LineReader;
use wire::{Item, TopicName};

const PING: Duration = Duration::from_millis(100);

/// What comes next and is no ping. The caller stops waiting all the time, as one with other things to do does.
async fn next(follower: &mut Follower) -> News {
    tokio::time::timeout(PATIENCE, async {
        loop {
            tokio::select! {
                news = follower.next() => match news {
                    News::Update(Update::Ping(_)) => {}
                    news => return news,
                },
                () = tokio::time::sleep(Duration::from_millis(3)) => {}
            }
        }
    })
    .await
    .expect("the follower should have told something")
}

async fn connected(follower: &mut Follower) -> u64 {
    match next(follower).await {
        News::Connected(hello) => hello.epoch,
        other => panic!("{other:?}"),
    }
}

async fn update(follower: &mut Follower) -> Update {
    match next(follower).await {
        News::Update(update) => update,
        other => panic!("{other:?}"),
    }
}

async fn disconnected(follower: &mut Follower) -> ClientError {
    match next(follower).await {
        News::Disconnected(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_daemon_that_comes_late_crashes_and_comes_back() {
    let directory = directory();
    let path = directory.path().join("healthd.sock");
    let mut follower = Follower::new(&path, "test", TopicName::Verdicts, PING);
    assert!(matches!(disconnected(&mut follower).await, ClientError::Unreachable { .. }));

    let daemon = Daemon::start(&path, 1);
    assert_eq!(connected(&mut follower).await, 1);
    assert_eq!(update(&mut follower).await, Update::Snapshot(vec![]));
    daemon.answers.verdicts.set(verdict("a", 1));
    assert_eq!(update(&mut follower).await, Update::Event(Item::Verdict(verdict("a", 1))));
    daemon.answers.verdicts.replace_all([verdict("b", 2)]);
    assert_eq!(update(&mut follower).await, Update::Snapshot(vec![Item::Verdict(verdict("b", 2))]));

    daemon.crash().await;
    assert!(matches!(disconnected(&mut follower).await, ClientError::Closed));
    let daemon = Daemon::start(&path, 2);
    daemon.answers.verdicts.set(verdict("c", 3));
    assert_eq!(connected(&mut follower).await, 2);
    // The snapshot may have been taken before the item was set.
    match update(&mut follower).await {
        Update::Snapshot(items) if items.is_empty() => {
            assert_eq!(update(&mut follower).await, Update::Event(Item::Verdict(verdict("c", 3))));
        }
        snapshot => assert_eq!(snapshot, Update::Snapshot(vec![Item::Verdict(verdict("c", 3))])),
    }
}

/// It has said that another one has its place.
#[tokio::test]
async fn a_daemon_is_left_for_its_successor_without_a_word() {
    let directory = directory();
    let path = directory.path().join("healthd.sock");
    let _first = Daemon::start(&path, 1);
    let mut follower = Follower::new(&path, "test", TopicName::Verdicts, PING);
    assert_eq!(connected(&mut follower).await, 1);
    assert_eq!(update(&mut follower).await, Update::Snapshot(vec![]));
    std::fs::rename(&path, directory.path().join("beside.sock")).unwrap();
    let second = Daemon::start(&path, 2);
    follower.again();
    assert_eq!(connected(&mut follower).await, 2);
    assert_eq!(update(&mut follower).await, Update::Snapshot(vec![]));
    // One that is not there is told, as ever.
    second.crash().await;
    assert!(matches!(disconnected(&mut follower).await, ClientError::Closed));
}

/// A peer that greets properly and then says `lines`.
async fn peer(listener: &UnixListener, lines: &[&str]) -> LineReader<UnixStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut reader = LineReader::new(stream);
    let _hello = reader.next().await.unwrap();
    let hello = r#"{"hello":{"protocol":1,"daemon":"healthd","version":"9","epoch":5}}"#;
    write(&mut reader, hello).await;
    let _subscribe = reader.next().await.unwrap();
    write(&mut reader, r#"{"id":1,"ok":{"subscribed":"verdicts"}}"#).await;
    for line in lines {
        write(&mut reader, line).await;
    }
    reader
}

async fn write(reader: &mut LineReader<UnixStream>, line: &str) {
    reader.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
}

const EMPTY: &str = r#"{"snapshot":{"topic":"verdicts","seq":1,"items":[]}}"#;

/// What a follower tells of a peer that says `lines` and stays.
async fn told(lines: &[&str], ping: Duration) -> (Vec<Update>, ClientError) {
    let directory = directory();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let mut follower = Follower::new(&path, "test", TopicName::Verdicts, ping);
    let follow = async {
        connected(&mut follower).await;
        let mut updates = Vec::new();
        loop {
            match next(&mut follower).await {
                News::Update(update) => updates.push(update),
                News::Disconnected(error) => return (updates, error),
                News::Connected(_) => panic!("connected twice"),
            }
        }
    };
    let (_peer, told) = tokio::join!(peer(&listener, lines), follow);
    told
}

#[tokio::test]
async fn silence_is_noticed_though_the_caller_keeps_stopping_to_wait() {
    let (updates, error) = told(&[EMPTY], Duration::from_millis(20)).await;
    assert_eq!(updates, [Update::Snapshot(vec![])]);
    assert!(matches!(error, ClientError::TimedOut));
}

#[tokio::test]
async fn a_missing_line_is_noticed() {
    let event = r#"{"event":{"topic":"verdicts","seq":3,"item":{"nothing":{}}}}"#;
    let (_, error) = told(&[EMPTY, event], Duration::from_secs(10)).await;
    assert!(matches!(error, ClientError::Gap { expected: 2, got: 3 }), "{error}");
}

#[tokio::test]
async fn what_a_newer_daemon_says_is_left_out() {
    let known = serde_json::to_string(&verdict("a", 7)).unwrap();
    let lines = [
        format!(
            r#"{{"snapshot":{{"topic":"verdicts","seq":1,"items":[{{"moon":{{"phase":1}}}},{{"verdict":{known}}}]}}}}"#
        ),
        r#"{"event":{"topic":"verdicts","seq":2,"item":{"moon":{"phase":2}}}}"#.to_owned(),
        r#"{"weather":"fine"}"#.to_owned(),
        format!(r#"{{"event":{{"topic":"verdicts","seq":3,"item":{{"verdict":{known}}},"why":"new"}}}}"#),
        r#"{"error":{"code":"moonstruck","message":"good night"}}"#.to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (updates, error) = told(&lines, Duration::from_secs(10)).await;
    let item = || Item::Verdict(verdict("a", 7));
    assert_eq!(updates, [Update::Snapshot(vec![item()]), Update::Event(item())]);
    assert_eq!(error.to_string(), "good night");
}

#[tokio::test]
async fn garbage_and_endless_lines_end_a_subscription() {
    for lines in [vec!["snapshot"], vec![EMPTY, "{}{}"]] {
        let (_, error) = told(&lines, Duration::from_secs(10)).await;
        assert!(matches!(error, ClientError::Protocol(_)), "{error}");
    }
    let endless = "x".repeat(100_000);
    let (_, error) = told(&[&endless], Duration::from_secs(10)).await;
    assert!(matches!(error, ClientError::Protocol(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_accepts_and_says_nothing_is_given_up() {
    let directory = directory();
    let path = directory.path().join("s");
    let _hanging = UnixListener::bind(&path).unwrap();
    assert!(matches!(Client::connect(&path, "test").await, Err(ClientError::TimedOut)));
}
