//! Requests of clients that belong to a server.

use super::{Bench, START, every_algorithm, server, servers};
use crate::{AdminState, Algorithm, BackupLevel, Health, ServerView, Tick, Tried};

#[test]
fn a_server_that_takes_nobody_new_takes_its_own_unless_it_is_dead() {
    let usual = server("own", 1);
    let backup = ServerView { backup: Some(BackupLevel::FIRST), stands_by: true, ..usual.clone() };
    for (own, expected) in [
        (usual.clone(), true),
        (server("own", 0), true),
        (ServerView { admin: AdminState::Drain, ..usual.clone() }, true),
        (ServerView { health: Health::Unknown, admin: AdminState::Drain, ..usual.clone() }, true),
        (backup, true),
        (ServerView { health: Health::LastResort, ..usual.clone() }, true),
        (ServerView { health: Health::LastResort, admin: AdminState::Drain, ..usual.clone() }, false),
        (ServerView { admin: AdminState::Maint, ..usual.clone() }, false),
        (ServerView { health: Health::Down, ..usual.clone() }, false),
        (ServerView { health: Health::Down, admin: AdminState::Drain, ..usual.clone() }, false),
        (ServerView { address: None, ..usual }, false),
    ] {
        for algorithm in every_algorithm() {
            let mut bench = Bench::new(algorithm, vec![server("other", 1), own.clone()]);
            let id = bench.balancer.id_at(1).unwrap();
            assert_eq!(bench.view.servers[1].takes_its_own(), expected, "{own:?}");
            assert_eq!(bench.balancer.claim_for_its_own(id, &Tried::default(), START), expected, "{own:?}");
            bench.balancer.begin(id);
            bench.balancer.end(id);
            let mut tried = Tried::default();
            tried.insert(id);
            assert!(!bench.balancer.claim_for_its_own(id, &tried, START), "it was there in vain");
            bench.balancer.check_invariants();
        }
    }
}

#[test]
fn a_server_that_connections_fail_to_gets_its_own_back_when_it_is_probed() {
    for admin in [AdminState::Ready, AdminState::Drain] {
        let own = ServerView { admin, ..server("own", 1) };
        let mut bench = Bench::new(Algorithm::Roundrobin, vec![server("other", 1), own]);
        let id = bench.balancer.id_at(1).unwrap();
        let none = Tried::default();
        bench.balancer.failed(id, START);
        assert!(!bench.balancer.claim_for_its_own(id, &none, Tick::from_millis(999)), "{admin}");
        assert!(bench.balancer.claim_for_its_own(id, &none, Tick::from_millis(1_000)), "{admin}");
        assert!(!bench.balancer.claim_for_its_own(id, &none, Tick::from_millis(1_001)), "one finds out");
        bench.balancer.succeeded(id);
        assert!(bench.balancer.claim_for_its_own(id, &none, Tick::from_millis(1_002)), "{admin}");
        bench.balancer.check_invariants();
    }
}

#[test]
fn sessions_take_turns_and_not_their_requests() {
    let mut bench = Bench::new(Algorithm::Roundrobin, servers(&[1, 1]));
    let id = bench.balancer.id_at(0).unwrap();
    let before = bench.picks(4);
    (0..5).for_each(|_| assert!(bench.balancer.claim_for_its_own(id, &Tried::default(), START)));
    assert_eq!(bench.picks(4), before);
    let gone = bench.balancer.id_at(1).unwrap();
    bench.adopt(servers(&[1]));
    assert!(!bench.balancer.claim_for_its_own(gone, &Tried::default(), START));
}
