//! Servers by name servers that tell of them in parts, or in the manner of catalogues: nobody leaves who is there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

mod dns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use dns::odd::{Asked, Odd};
use dns::watching::files;
use healthd::fleet::Fleet;
use healthd::kept::Kept;
use healthd::metrics::Metrics;
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use testkit::{Addresses, PATIENCE};
use wire::Discovery;

/// A fleet that asks such a server, and the task that it takes.
fn fleet(server: SocketAddr, discover: &str) -> Arc<Fleet> {
    let text = format!(
        "frontends: {{ web: {{ bind: '127.0.0.1:80', backend: app }} }}\n\
         backends: {{ app: {{ check: off, servers: {{ discover: {{ {discover} }} }} }} }}\n\
         resolvers: {{ nameservers: ['{server}'], timeout: 500ms, min_ttl: 100ms, max_ttl: 100ms }}\n"
    );
    let config = config::parse("lb.yaml", &text).unwrap().config;
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let fleet = Fleet::new(&config, files(&dir), 16, metrics, Kept::default());
    let fleet = Arc::new(fleet.finding(dir.path().to_owned(), dir.path()));
    fleet.apply(config).unwrap();
    let followed = Arc::clone(&fleet);
    tokio::spawn(async move { match followed.follow_searches().await {} });
    fleet
}

async fn until(fleet: &Fleet, what: &str, condition: impl Fn(&Discovery) -> bool) -> Discovery {
    let wait = async {
        loop {
            if let Some(found) = fleet.discoveries().into_iter().find(|found| condition(found)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await;
    found.unwrap_or_else(|_| panic!("waited in vain: {what}; {:?}", fleet.discoveries()))
}

fn names(fleet: &Fleet) -> Vec<String> {
    fleet.verdicts().into_iter().map(|verdict| verdict.server).collect()
}

#[tokio::test]
async fn a_window_that_moves_over_many_addresses_shows_all_of_them_in_the_end() {
    let addresses = Addresses::claim();
    let script = |asked: &Asked| {
        if !asked.is(RecordType::A) {
            return vec![asked.addresses(&[])];
        }
        // Each question asks for both families.
        let first = asked.number / 2 * 3;
        let window: Vec<String> =
            (0..3).map(|place| format!("10.9.0.{}", 1 + (first + place) % 12)).collect();
        vec![asked.addresses(&window.iter().map(String::as_str).collect::<Vec<_>>())]
    };
    let server = Odd::start(addresses.socket(1, 5353), false, script).await;
    let fleet = fleet(server.address, "host: 'app.test:80'");
    until(&fleet, "all are known", |found| found.members == 12).await;
    let joined = names(&fleet);
    for answers in 8..40 {
        until(&fleet, "more answers", |found| found.answers >= answers).await;
        assert_eq!(names(&fleet), joined, "somebody left after {answers} answers");
    }
}

#[tokio::test]
async fn what_was_cut_off_takes_nobody_out_and_is_completed_where_it_can_be() {
    for (place, tcp) in [(1, false), (2, true)] {
        let addresses = Addresses::claim();
        let number = Arc::new(AtomicUsize::new(0));
        let script = move |asked: &Asked| {
            let all = ["10.9.0.1", "10.9.0.2", "10.9.0.3"];
            if !asked.is(RecordType::A) {
                return vec![asked.addresses(&[])];
            }
            let some = [&all[..1], &all[1..]][number.fetch_add(1, SeqCst) % 2];
            vec![if asked.by_tcp { asked.addresses(&all) } else { asked.cut_off(some) }]
        };
        let server = Odd::start(addresses.socket(place, 5353), tcp, script).await;
        let fleet = fleet(server.address, "host: 'app.test:80'");
        until(&fleet, "all are known", |found| found.members == 3).await;
        let found = until(&fleet, "more answers", |found| found.answers >= 10).await;
        assert_eq!(found.members, 3);
        if tcp {
            assert_eq!(found.missing, 0);
        }
    }
}

/// As Consul answers: the target is an address in hexadecimal digits, of which a record comes along; there are more than fit.
#[tokio::test]
async fn the_answers_of_a_catalogue_are_understood() {
    let addresses = Addresses::claim();
    let script = |asked: &Asked| {
        let mut message = asked.answer();
        let name = message.queries[0].name().clone();
        if asked.is(RecordType::SRV) {
            for host in 1..=3_u16 {
                let target = Name::from_ascii(format!("0a0900{host:02x}.addr.dc1.consul.")).unwrap();
                let record = RData::SRV(SRV::new(1, 1, 8000 + host, target.clone()));
                message.add_answer(Record::from_rdata(name.clone(), 0, record));
                let address = RData::from(std::net::IpAddr::from([10, 9, 0, u8::try_from(host).unwrap()]));
                message.add_additional(Record::from_rdata(target, 0, address));
            }
        } else if asked.is(RecordType::A)
            && let Some(last) =
                name.to_ascii().get(6..8).and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            let address = RData::from(std::net::IpAddr::from([10, 9, 0, last]));
            message.add_answer(Record::from_rdata(name, 0, address));
        }
        vec![message.to_vec().unwrap()]
    };
    let server = Odd::start(addresses.socket(1, 5353), false, script).await;
    let fleet = fleet(server.address, "srv: _web._tcp.service.consul");
    until(&fleet, "all are known", |found| found.members == 3).await;
    let expected = [1, 2, 3].map(|host| format!("0a09000{host}.addr.dc1.consul:800{host}"));
    assert_eq!(names(&fleet), expected);
    let at = |fleet: &Fleet| -> Vec<String> {
        fleet.verdicts().iter().filter_map(|one| Some(one.address?.to_string())).collect()
    };
    let expected = [1, 2, 3].map(|host| format!("10.9.0.{host}:800{host}"));
    let resolved = async {
        while at(&fleet) != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, resolved).await;
    assert!(in_time.is_ok(), "{:?}", at(&fleet));
    assert_eq!(at(&fleet), expected);
}
