use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use config::{CheckProxy, CheckTls, Probe, ServerCheck};

use super::*;
use crate::resolve::SystemFiles;
use crate::view::ServerSeen;

/// What may happen to a monitor between two of its turns.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Its name gets another answer.
    Answer,
    /// Somebody saw the server fail.
    Observation,
    /// A reload.
    Reload,
    /// Its next check is due, or its patience with the first question is over.
    Due,
    /// It gets its turn, and so do the tasks of its names.
    Turn,
}

const EVENTS: [Event; 5] = [Event::Answer, Event::Observation, Event::Reload, Event::Due, Event::Turn];

/// Longer than the interval and the timeout of the check, which is the patience with a first question.
const DUE: Duration = Duration::from_secs(11);

struct Bench {
    shared: Arc<Shared>,
    plan: watch::Sender<Plan>,
    hurried: Arc<Notify>,
    /// The last byte of the last address answered.
    answered: Option<u8>,
}

impl Bench {
    /// A monitor that has not had its first turn yet, with checks of a port.
    fn start(port: u16) -> Self {
        let clock = Clock::start_at(Moment::ZERO);
        // Nobody listens there: but for the answers of the test there are none.
        let resolvers = config::Resolvers {
            nameservers: vec!["127.0.0.1:1".parse().unwrap()],
            timeout: Duration::from_secs(1),
            min_ttl: Duration::from_secs(86_400),
            max_ttl: Duration::from_secs(86_400),
            hold: Duration::from_secs(30),
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let files = SystemFiles { resolv_conf: "/nowhere".into(), hosts: "/nowhere".into() };
        let names = Names::new(&resolvers, files, metrics.queries());
        let board = Board::new(clock);
        let shared =
            Arc::new(Shared { clock, names, board, metrics, seats: Semaphore::new(8), pace: Pace::new() });
        let second = Duration::from_secs(1);
        let timing = Timing {
            interval: second,
            fast_interval: second,
            down_interval: second,
            timeout: Duration::from_secs(10),
            rise: 2,
            fall: 3,
        };
        let check = Check {
            probe: Probe::Tcp,
            timing,
            port: Some(port),
            send_proxy: CheckProxy::Auto,
            over_tls: CheckTls::Auto,
        };
        let prober = Arc::new(Prober::new(&check).unwrap());
        let server = ServerAddress { host: Host::Name("app.test".to_owned()), port: 1 };
        let check = Some(CheckPlan { check: Arc::new(check), tls: None, mode: Mode::Http, prober });
        let (plan, plans) = watch::channel(Plan {
            server,
            check,
            own: ServerCheck::default(),
            proxy: None,
            tls_name: None,
            member: None,
        });
        let hurried = Arc::new(Notify::new());
        let key: ServerKey = ("app".into(), "s1".into());
        let (first_round, _) = mpsc::channel(1);
        let monitor =
            Monitor::new(Arc::clone(&shared), key.clone(), plans, (0, 1), Arc::clone(&hurried), first_round);
        shared.board.set_servers(vec![key], [monitor.record().clone()], []);
        tokio::spawn(monitor.run());
        Self { shared, plan, hurried, answered: None }
    }

    async fn let_happen(&mut self, event: Event) {
        match event {
            Event::Answer => {
                let next = self.answered.unwrap_or(0) + 1;
                self.answered = Some(next);
                self.shared.names.answer("app.test", &[ip(next)]);
            }
            Event::Observation => self.hurried.notify_one(),
            Event::Reload => self.plan.send_modify(|_| {}),
            Event::Due => tokio::time::advance(DUE).await,
            Event::Turn => tokio::task::yield_now().await,
        }
    }

    fn seen(&self) -> ServerSeen {
        self.shared.board.seen(&HashMap::new()).remove(0)
    }

    fn address(&self) -> Option<IpAddr> {
        self.seen().verdict.address.map(|address| address.ip())
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// An answer that is there before a check is due, at the same time or after it, and whatever else wakes the monitor: it is
/// followed at the next turn.
#[tokio::test(start_paused = true)]
async fn every_answer_is_followed_in_whatever_order_things_happen() {
    for number in 0..EVENTS.len().pow(5) {
        let order: Vec<Event> =
            (0..5u32).map(|place| EVENTS[number / EVENTS.len().pow(place) % EVENTS.len()]).collect();
        let mut bench = Bench::start(1);
        for event in &order {
            bench.let_happen(*event).await;
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.address(), bench.answered.map(ip), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_name_is_gone_is_down_at_once_and_waits_for_its_name_in_peace() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = Bench::start(listener.local_addr().unwrap().port());
    bench.let_happen(Event::Answer).await;
    while bench.seen().verdict.status != Status::Up {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.shared.names.deny("app.test");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let verdict = bench.seen().verdict;
    assert_eq!((verdict.status, verdict.address), (Status::Down, None));
    assert_eq!(verdict.resolve_error.as_deref(), Some("app.test: no such host"));
    let looks = || -> u64 { bench.seen().checks.iter().map(|(_, count)| count).sum() };
    let before = looks();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let looked = looks() - before;
    assert!((90..=120).contains(&looked), "{looked} looks in 100 intervals");
}
