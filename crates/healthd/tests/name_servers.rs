//! Name servers that answer oddly, or not: what can be learned of a name is learned.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

mod dns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use config::Resolvers;
use dns::Dns;
use dns::odd::{Asked, Odd};
use dns::watching::{config, counter, files, group, until, until_address, until_error};
use healthd::resolve::Names;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use testkit::Addresses;

/// Names asked of these servers.
fn names(servers: &[SocketAddr]) -> Names {
    let dir = tempfile::tempdir().unwrap();
    Names::new(&config(servers), files(&dir), counter())
}

const REFUSALS: [ResponseCode; 4] =
    [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp, ResponseCode::FormErr];

#[tokio::test]
async fn a_fast_server_that_refuses_does_not_hide_the_one_that_knows_the_name() {
    let addresses = Addresses::claim();
    let knowing = Dns::start(addresses.socket(1, 5353), "10.9.0.1 nginx1.test\n");
    for (number, code) in (2..).zip(REFUSALS) {
        let refusing =
            Odd::start(addresses.socket(number, 5353), false, move |asked| vec![asked.code(code)]).await;
        for servers in [[refusing.address, knowing.address], [knowing.address, refusing.address]] {
            for _ in 0..5 {
                let names = names(&servers);
                until_address(&mut names.watch("nginx1.test", group()), "10.9.0.1").await;
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_of_a_header_alone_is_one() {
    let addresses = Addresses::claim();
    let header = |asked: &Asked| {
        let mut bytes = asked.code(ResponseCode::FormErr);
        // As some servers do: the header of the question with the code, counting a question that is not there.
        bytes.truncate(12);
        vec![bytes]
    };
    let refusing = Odd::start(addresses.socket(2, 5353), false, header).await;
    let names = names(&[refusing.address]);
    let missing = until_error(&mut names.watch("nginx1.test", group())).await;
    assert_eq!(missing, format!("nginx1.test: {}: FORMERR", refusing.address));
}

#[tokio::test]
async fn what_all_servers_lack_is_said_of_each() {
    let addresses = Addresses::claim();
    let refusing =
        Odd::start(addresses.socket(2, 5353), false, |asked| vec![asked.code(ResponseCode::ServFail)]).await;
    let silent = Odd::start(addresses.socket(3, 5353), false, |_| Vec::new()).await;
    let names = names(&[refusing.address, silent.address]);
    let missing = until_error(&mut names.watch("nginx1.test", group())).await;
    let expected =
        format!("nginx1.test: {}: SERVFAIL, no answer from {} in 500 ms", refusing.address, silent.address);
    assert_eq!(missing, expected);
}

#[tokio::test]
async fn a_family_that_is_not_answered_does_not_freeze_the_other() {
    for (number, answer) in [(1, Some(ResponseCode::ServFail)), (2, None)] {
        let addresses = Addresses::claim();
        let last = Arc::new(AtomicUsize::new(1));
        let script = {
            let last = Arc::clone(&last);
            move |asked: &Asked| match answer {
                _ if asked.is(RecordType::A) => {
                    vec![asked.addresses(&[&format!("10.9.0.{}", last.load(SeqCst))])]
                }
                Some(code) => vec![asked.code(code)],
                None => Vec::new(),
            }
        };
        let server = Odd::start(addresses.socket(number, 5353), false, script).await;
        let names = names(&[server.address]);
        let mut watch = names.watch("nginx1.test", group());
        until_address(&mut watch, "10.9.0.1").await;
        last.store(2, SeqCst);
        until_address(&mut watch, "10.9.0.2").await;
        assert_eq!(names.resolutions()[0].addresses.len(), 1, "the address that was answered before is gone");
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_used_where_there_is_no_tcp_and_completed_where_there_is() {
    for (number, tcp) in [(1, false), (2, true)] {
        let addresses = Addresses::claim();
        let script = |asked: &Asked| {
            let all = ["10.9.0.1", "10.9.0.2"];
            vec![if asked.by_tcp { asked.addresses(&all) } else { asked.cut_off(&all[1..]) }]
        };
        let server = Odd::start(addresses.socket(number, 5353), tcp, script).await;
        let names = names(&[server.address]);
        let expected = if tcp { "10.9.0.1" } else { "10.9.0.2" };
        until_address(&mut names.watch("nginx1.test", group()), expected).await;
    }
}

#[tokio::test]
async fn an_empty_answer_that_was_cut_off_is_no_denial() {
    let addresses = Addresses::claim();
    let server = Odd::start(addresses.socket(1, 5353), false, |asked| vec![asked.cut_off(&[])]).await;
    let names = names(&[server.address]);
    let mut watch = names.watch("nginx1.test", group());
    let missing = until_error(&mut watch).await;
    let expected = format!("{}: the answer was cut off, and Connection refused", server.address);
    assert!(missing.ends_with(&expected), "{missing}");
    assert!(!watch.resolved().denied);
}

#[tokio::test]
async fn questions_have_edns_and_go_without_where_it_is_not_understood_or_dropped() {
    for (number, drops) in [(1, false), (2, true)] {
        let addresses = Addresses::claim();
        let script = move |asked: &Asked| match asked.message.edns {
            None => vec![asked.addresses(&["10.9.0.1"])],
            Some(_) if drops => Vec::new(),
            Some(_) => vec![asked.code(ResponseCode::FormErr)],
        };
        let server = Odd::start(addresses.socket(number, 5353), false, script).await;
        let names = names(&[server.address]);
        until_address(&mut names.watch("nginx1.test", group()), "10.9.0.1").await;
        let first = server.questions().remove(0);
        assert_eq!(first.max_payload(), 1232);
        assert!(first.metadata.recursion_desired);
    }
}

#[tokio::test]
async fn what_is_lost_is_sent_again_and_what_is_forged_is_passed_over() {
    let addresses = Addresses::claim();
    let script = |asked: &Asked| {
        if asked.number < 2 {
            return Vec::new();
        }
        let honest = asked.addresses(&["10.9.0.1"]);
        let mut other_id = asked.addresses(&["10.9.0.66"]);
        other_id[0] ^= 1;
        let mut other_question = asked.addresses(&["10.9.0.67"]);
        other_question[13] = b'x';
        let mut no_answer = asked.addresses(&["10.9.0.68"]);
        no_answer[2] &= 0x7f;
        vec![other_id, other_question, no_answer, vec![0; 5], honest]
    };
    let server = Odd::start(addresses.socket(1, 5353), false, script).await;
    let patient = Resolvers { timeout: Duration::from_secs(20), ..config(&[server.address]) };
    let dir = tempfile::tempdir().unwrap();
    let names = Names::new(&patient, files(&dir), counter());
    let mut watch = names.watch("nginx1.test", group());
    let resolved = until(&mut watch, "an answer", |resolved| resolved.asked).await;
    assert_eq!((resolved.error, resolved.address), (None, Some("10.9.0.1".parse().unwrap())));
}

#[tokio::test]
async fn a_referral_denies_nothing() {
    let addresses = Addresses::claim();
    let script = |asked: &Asked| {
        let mut message = asked.answer();
        message.metadata.recursion_available = false;
        vec![message.to_vec().unwrap()]
    };
    let server = Odd::start(addresses.socket(1, 5353), false, script).await;
    let names = names(&[server.address]);
    let mut watch = names.watch("nginx1.test", group());
    let missing = until_error(&mut watch).await;
    assert!(missing.ends_with("only refers to other servers"), "{missing}");
    assert!(!watch.resolved().denied);
}

#[tokio::test]
async fn a_name_is_gone_after_hold_and_only_by_the_word_of_who_knew_it() {
    let addresses = Addresses::claim();
    let mut knowing = Dns::start(addresses.socket(1, 5353), "10.9.0.1 nginx1.test\n");
    let other = Dns::start(addresses.socket(2, 5353), "10.9.0.9 other.test\n");
    let hold = Duration::from_secs(1);
    let resolvers = Resolvers { hold, ..config(&[knowing.address, other.address]) };
    let dir = tempfile::tempdir().unwrap();
    let names = Names::new(&resolvers, files(&dir), counter());
    let mut watch = names.watch("nginx1.test", group());
    until_address(&mut watch, "10.9.0.1").await;
    // Away, it denies nothing, and the other one never knew the name.
    knowing.stop();
    until_error(&mut watch).await;
    tokio::time::sleep(2 * hold).await;
    assert!(watch.resolved().address.is_some(), "{:?}", watch.resolved());
    knowing.write("10.9.0.2 another.test\n");
    knowing.run();
    let gone = until(&mut watch, "no address", |resolved| resolved.address.is_none()).await;
    assert!(gone.is_gone() && gone.error.unwrap().contains("no such host"));
    knowing.change("10.9.0.3 nginx1.test\n");
    until_address(&mut watch, "10.9.0.3").await;
}

#[tokio::test]
async fn a_denial_that_nobody_confirms_is_asked_about_no_more_often_than_min_ttl() {
    let addresses = Addresses::claim();
    let phase = Arc::new(AtomicUsize::new(0));
    let script = {
        let phase = Arc::clone(&phase);
        move |asked: &Asked| {
            vec![match phase.load(SeqCst) {
                0 => asked.addresses(&["10.9.0.1"]),
                1 if asked.is(RecordType::A) => {
                    phase.store(2, SeqCst);
                    asked.code(ResponseCode::NXDomain)
                }
                _ => asked.code(ResponseCode::ServFail),
            }]
        }
    };
    let server = Odd::start(addresses.socket(1, 5353), false, script).await;
    let hold = Duration::from_millis(500);
    let resolvers = Resolvers { hold, ..config(&[server.address]) };
    let dir = tempfile::tempdir().unwrap();
    let names = Names::new(&resolvers, files(&dir), counter());
    let mut watch = names.watch("nginx1.test", group());
    until_address(&mut watch, "10.9.0.1").await;
    phase.store(1, SeqCst);
    until(&mut watch, "a denial", |resolved| resolved.denied).await;
    tokio::time::sleep(2 * hold).await;
    let (started, before) = (Instant::now(), server.questions().len());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let questions = (server.questions().len() - before) as u128;
    let most = 2 * (started.elapsed().as_millis() / resolvers.min_ttl.as_millis() + 2);
    assert!(questions <= most, "{questions} questions about both families, which is more than {most}");
    assert!(watch.resolved().address.is_some(), "SERVFAIL is no denial");
}
