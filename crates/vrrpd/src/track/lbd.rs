//! lbd, and the backends that it has: one subscription to its liveness for all trackers.
//!
//! The kernel closes the socket of an lbd that dies, whatever it dies of, and this end hears of it at once. One that hangs
//! sends no pings; one whose workers hang says so in its pings. The most impatient instance decides how often lbd pings,
//! and each one decides for itself how long a silence means that lbd hangs.
//!
//! A busy machine keeps lbd waiting as it keeps vrrpd waiting. So time in which vrrpd itself overslept is no silence of lbd's, and an
//! lbd that only lacks a processor gets a little longer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::TrackTarget;
use tokio::time::{Instant, sleep_until};
use wire::client::{ClientError, Follower, News, Update};
use wire::human::things;
use wire::{Item, LifeState, Liveness, SOCKET_THREAD, TopicName, WORKER_THREADS};

use super::starved::{self, Lack};
use super::{Reporter, TrackerId};
use crate::board::Board;
use crate::handover;
use crate::order::Report;

/// How long a silent lbd is believed to live by an instance that tracks only its backends.
const PATIENCE: Duration = Duration::from_millis(300);

/// Pings that lbd owes within the shortest patience.
const PINGS: u32 = 4;
/// A timer of vrrpd's own that ends later than this tells that the machine has more to do than it can.
const LATE: Duration = Duration::from_millis(5);
/// How often in a silence vrrpd may have overslept. Whoever oversleeps more often than that has to judge all the same.
const OVERSLEPT: u8 = 3;

/// For how long an lbd that could run gets the time of one more ping, again and again. One that cannot for longer serves nobody.
const STARVED: Duration = Duration::from_secs(1);
/// How often it gets that when its processor is late with something else, as it may be for one that hangs, too.
const LATE_PROCESSOR: u8 = 4;

/// A tracker of lbd or of one of its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Who is to be told.
    pub id: TrackerId,
    /// [`TrackTarget::Lbd`] or [`TrackTarget::Backend`].
    pub target: TrackTarget,
}

/// What is known of lbd.
#[derive(Clone, Debug)]
enum Seen {
    /// Nothing yet.
    Nothing,
    /// It is not there, or as good as that, for this reason.
    Gone(String),
    /// It is there; how long its slowest worker has not ticked.
    Alive(Liveness, Duration),
}

/// For how long lbd has said nothing.
#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Instant,
    /// What does not count.
    pardoned: Duration,
    overslept: u8,
}

impl Silence {
    const fn since(since: Instant) -> Self {
        Self { since, pardoned: Duration::ZERO, overslept: 0 }
    }

    fn at(&self, now: Instant) -> Duration {
        (now - self.since).saturating_sub(self.pardoned)
    }

    /// When it will have lasted so long.
    fn end(&self, patience: Duration) -> Instant {
        self.since + self.pardoned + patience
    }

    /// A timer for `due` ended at `now`. If that was late, lbd was perhaps kept waiting, too: it gets the time of one more ping.
    fn woken(&mut self, due: Instant, now: Instant, ping: Duration) {
        let late = now - due;
        if late > LATE && self.overslept < OVERSLEPT {
            self.overslept += 1;
            self.pardoned += late + ping;
        }
    }

    /// lbd has until one more ping is due.
    fn pardon(&mut self, now: Instant, patience: Duration, ping: Duration) {
        self.pardoned = self.pardoned.max((now + ping - self.since).saturating_sub(patience));
    }
}

/// Follows lbd, and reports for all trackers.
pub(super) async fn follow(
    socket: PathBuf,
    watched: Vec<Watched>,
    mut reporter: Reporter,
    board: Arc<Board>,
) {
    let watched: Vec<(Duration, Watched)> =
        watched.iter().map(|one| (patience(one, &watched), one.clone())).collect();
    let shortest = watched.iter().map(|(patience, _)| *patience).min().unwrap_or(PATIENCE);
    let longest = watched.iter().map(|(patience, _)| *patience).max().unwrap_or(PATIENCE);
    let ping = shortest / PINGS;
    // How long a silence may be is judged here. The connection outlives it, so that an lbd that goes on is heard at once.
    let mut lbd = Follower::new(&socket, "vrrpd", TopicName::Liveness, ping).with_patience(longest * 2);
    let mut seen = Seen::Nothing;
    let mut silence = Silence::since(Instant::now());
    let mut acted_on = None;
    let mut excuses = Excuses::default();
    loop {
        let now = Instant::now();
        let next = watched.iter().map(|(patience, _)| silence.end(*patience)).filter(|end| *end > now).min();
        let news = tokio::select! {
            // What has arrived counts, even if nobody looked for longer than a patience.
            biased;
            news = lbd.next() => Some(news),
            () = until(next) => None,
        };
        if let Some(News::Update(_)) = news {
            silence = Silence::since(Instant::now());
        } else if news.is_none()
            && let Some(due) = next
        {
            silence.woken(due, Instant::now(), ping);
        }
        if news.as_ref().is_some_and(is_succeeded) {
            // Another one serves at its place by now. What was known stays known until that one speaks.
            lbd.again();
            continue;
        }
        seen = match news {
            // Somebody's patience has ended.
            None => seen,
            Some(News::Connected(_)) => {
                acted_on = None;
                continue;
            }
            // Who is more patient goes on waiting, for the same lbd or another.
            Some(News::Disconnected(ClientError::TimedOut)) if matches!(seen, Seen::Alive(..)) => seen,
            Some(News::Disconnected(error)) => Seen::Gone(format!("lbd is gone: {error}")),
            Some(News::Update(Update::Snapshot(items))) => {
                items.into_iter().find_map(liveness).map_or(seen, alive)
            }
            Some(News::Update(Update::Event(item))) => liveness(item).map_or(seen, alive),
            Some(News::Update(Update::Ping(ping))) => match seen {
                Seen::Alive(liveness, _) => {
                    Seen::Alive(liveness, Duration::from_millis(ping.tick_age_ms.unwrap_or(0)))
                }
                other => other,
            },
        };
        let silent = silence.at(Instant::now());
        let judge =
            |(patience, one): &(Duration, Watched)| judge(&one.target, &seen, silent, *patience, ping);
        let lbd_pid = lbd.pid();
        let judgements: Vec<Judgement> = watched.iter().map(judge).collect();
        let hangs = judgements.iter().zip(&watched).find_map(|(judgement, (patience, _))| match judgement {
            Judgement::Hangs(threads, _) => Some((*threads, *patience)),
            Judgement::Good(_) | Judgement::Ends(_) | Judgement::Bad(_) => None,
        });
        match hangs {
            Some((threads, patience)) if excuses.hold(lbd_pid, threads).await => {
                silence.pardon(Instant::now(), patience, ping);
                continue;
            }
            Some(_) => {}
            None => excuses = Excuses::default(),
        }
        for ((_, one), judgement) in watched.iter().zip(judgements) {
            let (report, text) = match judgement {
                Judgement::Good(text) => (Report::Good, text),
                Judgement::Ends(text) => (Report::Ends, text),
                Judgement::Bad(text) | Judgement::Hangs(_, text) => (Report::Fails, text),
            };
            reporter.tell(&one.id, report, text).await;
        }
        if let Seen::Alive(Liveness { state, .. }, _) = seen
            && acted_on.replace(state) != Some(state)
        {
            attend(state, &socket, &reporter, &board, &watched);
        }
    }
}

/// Does what an lbd that ends waits for.
fn attend(
    state: LifeState,
    lbd: &Path,
    reporter: &Reporter,
    board: &Arc<Board>,
    watched: &[(Duration, Watched)],
) {
    let instances: BTreeSet<_> = watched.iter().map(|(_, one)| one.id.owner.clone()).collect();
    let instances = instances.into_iter().collect();
    match state {
        LifeState::Leaving => {
            tokio::spawn(handover::prepare(lbd.to_owned(), board.clone(), instances));
        }
        // Until it hears of that it does not close its listeners: nobody is refused.
        LifeState::Stopping => {
            tokio::spawn(handover::let_go(lbd.to_owned(), reporter.clone(), instances));
        }
        LifeState::Starting | LifeState::Ready | LifeState::Draining | LifeState::Succeeded => {}
    }
}

/// What has been pardoned since lbd was last seen to be well.
#[derive(Debug, Default)]
struct Excuses {
    since: Option<Instant>,
    late_processor: u8,
    /// It had none once, and so hangs until it is well again.
    are_over: bool,
}

impl Excuses {
    /// Whether threads of lbd have an excuse that still counts.
    async fn hold(&mut self, pid: Option<i32>, threads: &str) -> bool {
        let Some(pid) = pid.filter(|_| !self.are_over) else { return false };
        let lack = starved::lack(pid, threads).await;
        self.are_over = !self.count(lack, Instant::now());
        !self.are_over
    }

    fn count(&mut self, lack: Option<Lack>, now: Instant) -> bool {
        match lack {
            Some(Lack::Turn) => now < *self.since.get_or_insert(now) + STARVED,
            Some(Lack::Processor) => {
                self.late_processor += 1;
                self.late_processor <= LATE_PROCESSOR
            }
            None => false,
        }
    }
}

/// How long a silent lbd is believed to live: as long as the tracker says, or that of lbd beside it.
fn patience(one: &Watched, all: &[Watched]) -> Duration {
    let hung_after = |of: &Watched| match of.target {
        TrackTarget::Lbd { hung_after } => Some(hung_after),
        _ => None,
    };
    let beside = || all.iter().filter(|other| other.id.owner == one.id.owner).filter_map(hung_after).min();
    hung_after(one).or_else(beside).unwrap_or(PATIENCE)
}

/// Waits until then: for ever, without a time.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

fn liveness(item: Item) -> Option<Liveness> {
    match item {
        Item::Liveness(liveness) => Some(liveness),
        Item::Verdict(_) | Item::Left(_) | Item::Discovery(_) | Item::Instance(_) | Item::Anycast(_) => None,
    }
}

/// Whether an lbd says that another one has its place.
fn is_succeeded(news: &News) -> bool {
    let items = match news {
        News::Update(Update::Snapshot(items)) => items.as_slice(),
        News::Update(Update::Event(item)) => std::slice::from_ref(item),
        _ => return false,
    };
    let is_its_last =
        |item: &Item| matches!(item, Item::Liveness(said) if said.state == LifeState::Succeeded);
    items.iter().any(is_its_last)
}

fn alive(liveness: Liveness) -> Seen {
    let age = Duration::from_millis(liveness.tick_age_ms);
    Seen::Alive(liveness, age)
}

/// What a tracker says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    Good(String),
    /// Bad, because lbd was told to stop.
    Ends(String),
    Bad(String),
    /// Bad, unless threads with this name only lack a processor.
    Hangs(&'static str, String),
}

/// Whether a tracker is good, and why, when lbd has said nothing for some time, and says something with each ping.
fn judge(
    target: &TrackTarget,
    seen: &Seen,
    silence: Duration,
    patience: Duration,
    ping: Duration,
) -> Judgement {
    use Judgement::{Bad, Ends, Good, Hangs};
    let (liveness, age) = match seen {
        Seen::Nothing => return Bad("lbd has not been reached yet".to_owned()),
        Seen::Gone(why) => return Bad(why.clone()),
        Seen::Alive(..) if silence >= patience => {
            return Hangs(SOCKET_THREAD, format!("lbd hangs: it has said nothing for {patience:?}"));
        }
        Seen::Alive(liveness, age) => (liveness, *age),
    };
    match target {
        // Its servers are of use to nobody then.
        TrackTarget::Backend { .. } if liveness.state == LifeState::Stopping => {
            Ends("lbd is stopping".to_owned())
        }
        TrackTarget::Backend { name, at_least } => match liveness.usable.get(name) {
            Some(0) => Bad(format!("backend {name} has no usable server")),
            Some(few) if few < at_least => {
                let few = things(*few, "usable server");
                Bad(format!("backend {name} has {few}, and {at_least} are asked for"))
            }
            Some(1) => Good(format!("backend {name} has 1 usable server")),
            Some(usable) => Good(format!("backend {name} has {usable} usable servers")),
            None => Bad(format!("lbd has no backend {name}")),
        },
        // With the next ping it would be too late. Without the age, which would be news at each ping.
        TrackTarget::Lbd { hung_after } if age + ping > *hung_after => {
            Hangs(WORKER_THREADS, "lbd hangs: a worker does not move".to_owned())
        }
        _ => match liveness.state {
            LifeState::Ready => Good("lbd is ready".to_owned()),
            LifeState::Leaving => Good("lbd is to stop: it serves on before a handover".to_owned()),
            LifeState::Draining => Good("lbd drains: it finishes requests before a handover".to_owned()),
            LifeState::Starting => Bad("lbd is starting".to_owned()),
            LifeState::Stopping | LifeState::Succeeded => Ends("lbd is stopping".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NEVER: Duration = Duration::MAX;
    const PING: Duration = Duration::from_millis(60);

    fn seen(state: LifeState, age: u64) -> Seen {
        let usable = BTreeMap::from([("full".to_owned(), 2), ("empty".to_owned(), 0)]);
        alive(Liveness { state, tick_age_ms: age, usable })
    }

    fn is_good(judgement: &Judgement) -> bool {
        matches!(judgement, Judgement::Good(_))
    }

    #[test]
    fn who_waits_for_a_processor_has_until_the_next_ping_would_be_due() {
        let (patience, since) = (PING * PINGS, Instant::now());
        let mut silence = Silence::since(since);
        let now = since + patience + Duration::from_millis(3);
        silence.pardon(now, patience, PING);
        assert_eq!(silence.end(patience), now + PING);
        // A ping that tells of a worker, and no silence: nothing is pardoned that has not been.
        let mut silence = Silence::since(now);
        silence.pardon(now, patience, PING);
        assert_eq!(silence.end(patience), now + patience);
    }

    #[test]
    fn excuses_count_for_a_while() {
        let mut excuses = Excuses::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!excuses.count(None, start), "it hangs");
        assert!(excuses.count(Some(Lack::Turn), start));
        assert!(excuses.count(Some(Lack::Turn), at(999)));
        assert!(!excuses.count(Some(Lack::Turn), at(1000)));
        let counted = (0..6).filter(|_| excuses.count(Some(Lack::Processor), at(0))).count();
        assert_eq!(counted, 4);
    }

    #[test]
    fn lbd_is_good_while_it_serves() {
        let target = TrackTarget::Lbd { hung_after: Duration::from_millis(240) };
        for (seen, good) in [
            (Seen::Nothing, false),
            (Seen::Gone("closed".to_owned()), false),
            (seen(LifeState::Starting, 0), false),
            (seen(LifeState::Ready, 180), true),
            (seen(LifeState::Ready, 181), false),
            (seen(LifeState::Leaving, 0), true),
            (seen(LifeState::Draining, 0), true),
            (seen(LifeState::Stopping, 0), false),
            (seen(LifeState::Succeeded, 0), false),
        ] {
            assert_eq!(is_good(&judge(&target, &seen, Duration::ZERO, NEVER, PING)), good, "{seen:?}");
        }
    }

    #[test]
    fn the_last_word_of_an_lbd_is_heard_however_it_comes() {
        let item = |state| Item::Liveness(Liveness { state, tick_age_ms: 0, usable: BTreeMap::new() });
        for (state, is_last) in
            [(LifeState::Succeeded, true), (LifeState::Stopping, false), (LifeState::Ready, false)]
        {
            assert_eq!(is_succeeded(&News::Update(Update::Event(item(state)))), is_last);
            assert_eq!(is_succeeded(&News::Update(Update::Snapshot(vec![item(state)]))), is_last);
        }
        assert!(!is_succeeded(&News::Update(Update::Snapshot(Vec::new()))));
        assert!(!is_succeeded(&News::Disconnected(ClientError::Closed)));
    }

    #[test]
    fn a_backend_is_good_while_it_has_a_usable_server() {
        for (name, at_least, good) in [
            ("full", 1, true),
            ("full", 2, true),
            ("full", 3, false),
            ("empty", 1, false),
            ("unknown", 1, false),
        ] {
            let target = TrackTarget::Backend { name: name.to_owned(), at_least };
            assert_eq!(
                is_good(&judge(&target, &seen(LifeState::Ready, 0), Duration::ZERO, NEVER, PING)),
                good
            );
            assert!(!is_good(&judge(&target, &seen(LifeState::Stopping, 0), Duration::ZERO, NEVER, PING)));
        }
    }

    #[test]
    fn what_vrrpd_overslept_is_no_silence_of_lbds() {
        let patience = PING * PINGS;
        let since = Instant::now();
        let mut silence = Silence::since(since);
        let due = silence.end(patience);
        silence.woken(due, due + LATE, PING);
        assert_eq!(silence.at(due + LATE), patience + LATE, "that is no oversleeping");
        // Both were kept waiting for ten seconds: lbd may speak up until its next ping would be due.
        let mut now = due + Duration::from_secs(10);
        silence.woken(due, now, PING);
        assert_eq!(silence.at(now), patience - PING);
        assert_eq!(silence.end(patience), now + PING);
        for _ in 1..OVERSLEPT {
            let due = silence.end(patience);
            now = due + 2 * LATE;
            silence.woken(due, now, PING);
            assert_eq!(silence.at(now), patience - PING);
        }
        let due = silence.end(patience);
        silence.woken(due, due + 2 * LATE, PING);
        assert!(silence.at(due) >= patience, "it has to be judged at last");
    }

    #[test]
    fn each_instance_has_its_own_patience() {
        let watched = |instance: &str, target| Watched {
            id: TrackerId { owner: instance.to_owned(), tracker: String::new() },
            target,
        };
        let lbd = |ms| TrackTarget::Lbd { hung_after: Duration::from_millis(ms) };
        let backend = || TrackTarget::Backend { name: "full".to_owned(), at_least: 1 };
        let all = [
            watched("fast", lbd(240)),
            watched("fast", backend()),
            watched("slow", backend()),
            watched("slow", lbd(900)),
            watched("none", backend()),
        ];
        let patiences = all.each_ref().map(|one| patience(one, &all).as_millis());
        assert_eq!(patiences, [240, 240, 900, 900, 300]);
        let ready = seen(LifeState::Ready, 0);
        let good = |silence| {
            let silence = Duration::from_millis(silence);
            all.each_ref().map(|one| is_good(&judge(&one.target, &ready, silence, patience(one, &all), PING)))
        };
        assert_eq!(good(239), [true; 5]);
        assert_eq!(good(240), [false, false, true, true, true]);
        assert_eq!(good(300), [false, false, true, true, false]);
        assert_eq!(good(900), [false; 5]);
    }
}
