use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Wake};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const SERVERS: usize = 3;
const MAX: u32 = 8;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Threads with a runtime each, as workers are, that take and give back places for as long as it takes.
#[test]
fn no_limit_is_ever_exceeded_and_nobody_is_forgotten() {
    let queue = Arc::new(Queue::default());
    let places = Arc::new(Places::queued(queue.clone()));
    places.limit_to(Some(2));
    let inside = AtomicU64::new(0);
    let served = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (queue, places, inside, served) = (&queue, &places, &inside, &served);
            scope.spawn(move || {
                let request = || async {
                    let place = match places.take() {
                        Some(place) => place,
                        None => {
                            let stand = queue.enter(worker, 64, Vec::new()).unwrap();
                            match places.take() {
                                Some(place) => place,
                                None => stand.place().await.unwrap(),
                            }
                        }
                    };
                    assert!(inside.fetch_add(1, SeqCst) < 2);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, SeqCst);
                    drop(place);
                    served.fetch_add(1, SeqCst);
                };
                runtime().block_on(async {
                    for _ in 0..1000 {
                        tokio::join!(request(), request(), request(), request());
                    }
                });
            });
        }
    });
    assert_eq!((served.load(SeqCst), queue.waiting(), places.taken()), (16_000, 0, 0));
    assert!(queue.most() <= 16);
}

#[test]
fn a_worker_whose_servers_changed_looks_again_and_others_do_not() {
    let queue = Arc::new(Queue::default());
    let places = Arc::new(Places::queued(queue.clone()));
    places.limit_to(Some(0));
    runtime().block_on(async {
        let stands = [0, 1].map(|worker| queue.enter(worker, MAX, Vec::new()).unwrap());
        queue.look_again(1);
        let waits = tokio::time::timeout(Duration::ZERO, stands[0].place()).await.is_err();
        assert!(waits, "its servers are as they were");
        assert!(stands[1].place().await.is_none());
        stands[1].stay(Vec::new());
        // It has kept its stand: who is first is first.
        places.limit_to(Some(1));
        assert!(stands[0].place().await.is_some());
        assert!(stands[1].place().await.is_some(), "the first gave it back at once");
    });
    assert_eq!((queue.waiting(), queue.most(), places.taken()), (0, 2, 0));
}

#[derive(Clone, Debug)]
enum Step {
    /// A request that may go to these servers only.
    Come(BTreeSet<usize>),
    /// One that waits looks what it got.
    Look(Index),
    /// One that waits looks around, and may go to these from now on.
    Change(Index, BTreeSet<usize>),
    /// One that waits goes away.
    GiveUp(Index),
    /// One that is served has had its answer.
    End(Index),
    Limit(usize, Option<u32>),
    Open(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::btree_set(0..SERVERS, 1..=SERVERS);
    prop_oneof![
        8 => some().prop_map(Step::Come),
        4 => any::<Index>().prop_map(Step::Look),
        1 => (any::<Index>(), some()).prop_map(|(index, may)| Step::Change(index, may)),
        2 => any::<Index>().prop_map(Step::GiveUp),
        6 => any::<Index>().prop_map(Step::End),
        1 => (0..SERVERS, prop::option::of(0..4_u32)).prop_map(|(server, most)| Step::Limit(server, most)),
        1 => (0..SERVERS, any::<bool>()).prop_map(|(server, open)| Step::Open(server, open)),
    ]
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

struct Request<'a> {
    stand: Waiting<'a>,
    may: BTreeSet<usize>,
    bell: Arc<Bell>,
    /// What the model says that it was handed.
    got: Option<usize>,
}

/// A queue, and beside it what is to be: too simple to be wrong.
struct Model<'a> {
    queue: &'a Queue,
    places: &'a [Arc<Places>],
    runtime: tokio::runtime::Runtime,
    served: Vec<Place>,
    line: Vec<Request<'a>>,
    taken: [u64; SERVERS],
    most: [u64; SERVERS],
    open: [bool; SERVERS],
}

impl<'a> Model<'a> {
    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Come(may) => self.come(may)?,
            Step::Look(index) if !self.line.is_empty() => self.look(index.index(self.line.len()))?,
            Step::Change(index, may) if !self.line.is_empty() => {
                let at = index.index(self.line.len());
                if self.line[at].got.is_none() {
                    // Whoever looks around takes what there is, as whoever comes does.
                    let avoids = self.avoids(&may);
                    let request = &mut self.line[at];
                    request.may = may;
                    request.stand.stay(avoids);
                    if let Some((server, place)) = self.find(&self.line[at].may) {
                        self.line.remove(at);
                        self.served.push(place);
                        self.taken[server] += 1;
                    } else {
                        self.poll(at);
                    }
                }
            }
            Step::GiveUp(index) if !self.line.is_empty() => {
                let gone = self.line.remove(index.index(self.line.len()));
                let got = gone.got;
                drop(gone);
                if let Some(server) = got {
                    self.free(server);
                }
            }
            Step::End(index) if !self.served.is_empty() => {
                let place = self.served.swap_remove(index.index(self.served.len()));
                let server = self.server_of(&place);
                drop(place);
                self.free(server);
            }
            Step::Limit(server, most) => {
                self.most[server] = most.map_or(u64::MAX, u64::from);
                self.places[server].limit_to(most);
                self.hand_out(server);
            }
            Step::Open(server, open) => {
                self.open[server] = open;
                self.places[server].set_open(open);
                self.hand_out(server);
            }
            _ => {}
        }
        self.check()
    }

    fn come(&mut self, may: BTreeSet<usize>) -> Result<(), TestCaseError> {
        if let Some((server, place)) = self.find(&may) {
            self.taken[server] += 1;
            self.served.push(place);
            return Ok(());
        }
        let unserved = self.line.iter().filter(|request| request.got.is_none()).count();
        let stand = self.queue.enter(0, MAX, self.avoids(&may));
        prop_assert_eq!(stand.is_some(), unserved < MAX as usize);
        if let Some(stand) = stand {
            prop_assert_eq!(stand.before, unserved as u64);
            self.line.push(Request { stand, may, bell: Arc::default(), got: None });
            self.poll(self.line.len() - 1);
        }
        Ok(())
    }

    fn look(&mut self, at: usize) -> Result<(), TestCaseError> {
        let place = self.poll(at);
        let expected = self.line[at].got;
        prop_assert_eq!(place.as_ref().map(|place| self.server_of(place)), expected);
        if let Some(place) = place {
            self.served.push(place);
            self.line.remove(at);
        }
        Ok(())
    }

    fn poll(&self, at: usize) -> Option<Place> {
        let request = &self.line[at];
        let _in_runtime = self.runtime.enter();
        let waker = request.bell.clone().into();
        match pin!(request.stand.place()).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(place) => place,
            Poll::Pending => None,
        }
    }

    fn avoids(&self, may: &BTreeSet<usize>) -> Vec<Arc<Places>> {
        (0..SERVERS)
            .filter(|server| !may.contains(server))
            .map(|server| self.places[server].clone())
            .collect()
    }

    /// What somebody finds who looks around.
    fn find(&self, may: &BTreeSet<usize>) -> Option<(usize, Place)> {
        may.iter()
            .filter(|server| self.open[**server])
            .find_map(|server| Some((*server, self.places[*server].take()?)))
    }

    fn server_of(&self, place: &Place) -> usize {
        self.places.iter().position(|places| place.is_of(places)).unwrap()
    }

    fn free(&mut self, server: usize) {
        self.taken[server] -= 1;
        self.hand_out(server);
    }

    /// The first who may have it gets it, as long as there is any.
    fn hand_out(&mut self, server: usize) {
        while self.open[server] && self.taken[server] < self.most[server] {
            let mut waiting = self.line.iter_mut().filter(|request| request.got.is_none());
            let Some(first) = waiting.find(|request| request.may.contains(&server)) else { return };
            first.got = Some(server);
            self.taken[server] += 1;
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        self.queue.lock().check_invariants();
        let unserved = || self.line.iter().filter(|request| request.got.is_none());
        prop_assert_eq!(self.queue.waiting(), unserved().count() as u64);
        for server in 0..SERVERS {
            prop_assert_eq!(self.places[server].taken(), self.taken[server], "taken at {}", server);
            let has_room = self.open[server] && self.taken[server] < self.most[server];
            prop_assert!(!has_room || !unserved().any(|request| request.may.contains(&server)));
        }
        for request in &self.line {
            prop_assert_eq!(request.bell.0.load(SeqCst), request.got.is_some(), "who gets a place is woken");
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_place_goes_to_the_first_who_may_have_it(steps in prop::collection::vec(step(), 0..200)) {
        let queue = Arc::new(Queue::default());
        let places: Vec<_> = (0..SERVERS).map(|_| Arc::new(Places::queued(queue.clone()))).collect();
        places.iter().for_each(|places| places.limit_to(Some(1)));
        let mut model = Model {
            queue: &queue,
            places: &places,
            runtime: runtime(),
            served: Vec::new(),
            line: Vec::new(),
            taken: [0; SERVERS],
            most: [1; SERVERS],
            open: [true; SERVERS],
        };
        for step in steps {
            model.run(step)?;
        }
        let Model { served, line, .. } = model;
        drop((served, line));
        prop_assert!(places.iter().all(|places| places.taken() == 0), "nothing is left behind");
        prop_assert_eq!(queue.waiting(), 0);
    }
}
