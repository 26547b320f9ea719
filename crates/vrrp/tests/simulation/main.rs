//! Thousands of small networks, each with its seed: whatever happens to them, in the end every part that is connected has
//! exactly one master, soon, and it stays.
//!
//! A failure prints its seed; `VRRP_SEED=<seed> cargo test -p vrrp --test simulation` runs that course of events alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

mod world;

use std::net::IpAddr;
use std::time::Duration;

use vrrp::{
    AdvertInterval, Preemption, Priority, RELEASE_INTERVAL, Settings, State, TrackerRule, Version, Weight,
};

use world::{Random, Stall, World};

/// In intervals: longer than the longest stall, preemption delay and master-down time one after the other.
const CONVERGENCE: u32 = 30;

/// Runs a scenario for many seeds, or for the one of the environment.
fn for_seeds(count: u64, scenario: fn(&mut World, Duration)) {
    let one = std::env::var("VRRP_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = one.map_or(0..count, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let (mut world, interval) = network(seed);
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        scenario(&mut world, interval);
    }
}

/// Two to five routers, and the longest of their intervals.
fn network(seed: u64) -> (World, Duration) {
    let mut random = Random(seed);
    let version = random.pick(&[Version::V2, Version::V3, Version::V3, Version::V3]);
    let milliseconds: &[u64] = if version == Version::V2 { &[1000, 2000] } else { &[50, 80, 250, 1000] };
    let base = Duration::from_millis(random.pick(milliseconds));
    // VRRPv3 routers may differ in their intervals.
    let factors: &[u32] = if version == Version::V3 && random.percent(25) { &[1, 2, 3] } else { &[1] };
    let strict = random.percent(50);
    let router = |random: &mut Random, host: u8| Settings {
        version,
        own_address: IpAddr::from([192, 0, 2, host]),
        priority: Priority::from_wire(random.pick(&[1, 100, 100, 150, 200, 254])),
        interval: AdvertInterval::new(version, base * random.pick(factors)).unwrap(),
        preemption: random.pick(&[
            Preemption::Off,
            Preemption::default(),
            Preemption::default(),
            Preemption::After(base * 3),
        ]),
        strict,
        trackers: vec![TrackerRule {
            name: "lbd".to_owned(),
            weight: random.pick(&[
                Weight::Fault,
                Weight::Fault,
                Weight::WhileGood(60),
                Weight::WhileFailing(60),
            ]),
        }],
    };
    let count = 2 + random.below(4);
    let mut routers: Vec<_> =
        (0..count).map(|host| router(&mut random, u8::try_from(host + 1).unwrap())).collect();
    if random.percent(15) {
        routers[0].priority = Priority::OWNER;
    }
    let interval = routers.iter().map(|router| router.interval.duration()).max().unwrap();
    (World::new(seed, random, base / 20, routers), interval)
}

/// Every connected part with a router that is fit has exactly one master, which alone holds the addresses. Returns the masters.
#[track_caller]
fn check_one_master(world: &World) -> Vec<usize> {
    let routers = || (0..world.nodes.len()).filter(|node| world.nodes[*node].alive);
    let sides: std::collections::BTreeSet<_> = routers().map(|node| world.nodes[node].side).collect();
    for side in sides {
        let here = || routers().filter(|node| world.nodes[*node].side == side);
        let fit = here().any(|node| !world.is(node, State::Fault));
        let masters: Vec<_> = here().filter(|node| world.is(*node, State::Master)).collect();
        world
            .check(masters.len() == usize::from(fit), &format!("one master on side {side}, not {masters:?}"));
        let holders: Vec<_> = here().filter(|node| world.nodes[*node].holding).collect();
        world.check(holders == masters, "the master alone holds the addresses");
        for backup in here().filter(|node| world.is(*node, State::Backup)) {
            let (backup, master) = (&world.nodes[backup], &world.nodes[masters[0]]);
            let better = backup.instance.priority() > master.instance.priority();
            let yields = backup.yielded.is_some_and(|given| backup.instance.priority() <= given);
            let preempts = backup.settings.preemption != Preemption::Off && !yields;
            // A master whose clock is another does not believe whoever would preempt it.
            let believed = backup.clock == master.clock;
            world.check(!(better && preempts && believed), "no better router waits that would preempt");
        }
    }
    world.masters()
}

/// One master, and nothing changes any more.
#[track_caller]
fn check_stable(world: &mut World, interval: Duration) -> Vec<usize> {
    let masters = check_one_master(world);
    let transitions = world.transitions.len();
    world.run_for(interval * 15);
    world.check(world.transitions.len() == transitions, "no oscillation");
    masters
}

fn converge(world: &mut World, interval: Duration) -> Vec<usize> {
    world.run_for(interval * CONVERGENCE);
    check_stable(world, interval)
}

/// Runs to a moment at which no advert of this master is on its way: one that came after its farewell would undo it.
fn between_adverts(world: &mut World, master: usize) {
    let interval = world.nodes[master].settings.interval.duration();
    let pause = interval / 4 + world.random.duration(interval / 2);
    let next = world.deadline(master).unwrap();
    world.run_until(next + pause);
}

/// Some networks are slow: adverts of two routers, and what follows from each, overtake each other for an eighth of an interval.
fn slow_down(world: &mut World) {
    if world.random.percent(50) {
        world.max_delay = world.max_delay * 5 / 2;
    }
}

/// The shortest of some wait among the routers that could take over from `master`.
fn shortest(
    world: &World,
    master: usize,
    wait: impl Fn(&Settings, Priority) -> Duration,
) -> Option<Duration> {
    let backups = (0..world.nodes.len()).filter(|node| *node != master && world.is(*node, State::Backup));
    backups.map(|node| wait(&world.nodes[node].settings, world.nodes[node].instance.priority())).min()
}

#[test]
fn after_any_chaos_there_is_one_master_and_it_stays() {
    for_seeds(10_000, |world, interval| {
        world.duplication = 10;
        slow_down(world);
        for _ in 0..30 {
            let node = world.random.below(world.nodes.len());
            let wait = world.random.duration(interval * 6);
            match world.random.below(11) {
                0 => {
                    world.kill(node);
                    world.restart_after(node, wait);
                }
                1 => {
                    world.cut_off(node);
                    world.restart_after(node, wait);
                }
                2 => {
                    world.stop(node);
                    world.restart_after(node, wait);
                }
                3 => {
                    let stall = world.random.pick(&[Stall::Hung, Stall::Deaf, Stall::Paused]);
                    world.stall(node, stall, wait);
                }
                4 => {
                    let good = world.random.percent(60);
                    world.report(node, good);
                }
                5 => world.nodes[node].side = world.random.below(3),
                6 => world.nodes.iter_mut().for_each(|node| node.side = 0),
                7 => world.loss = world.random.pick(&[0, 0, 5, 30, 70]),
                8 => world.hand_over(node),
                _ => {}
            }
            let pause = world.random.duration(interval * 3);
            world.run_for(pause);
        }
        world.loss = 0;
        world.nodes.iter_mut().for_each(|node| node.side = 0);
        converge(world, interval);
    });
}

#[test]
fn a_silent_master_is_replaced_within_the_master_down_time() {
    for_seeds(5000, |world, interval| {
        world.duplication = 10;
        let Some(&master) = converge(world, interval).first() else { return };
        let own = world.nodes[master].settings.interval;
        let pause = world.random.duration(interval);
        world.run_for(pause);
        let Some(wait) =
            shortest(world, master, |router, priority| router.version.master_down(priority, own))
        else {
            return;
        };
        world.cut_off(master);
        world.run_for(wait + world.max_delay);
        world.check(!world.masters().is_empty(), "taken over within the master-down time");
        converge(world, interval);
        world.start(master);
        converge(world, interval);
    });
}

#[test]
fn a_leaving_master_is_replaced_within_a_skew() {
    for_seeds(5000, |world, interval| {
        let Some(&master) = converge(world, interval).first() else { return };
        between_adverts(world, master);
        let own = world.nodes[master].settings.interval;
        let wait = |router: &Settings, priority| router.version.release_skew(priority, own, router.strict);
        let Some(wait) = shortest(world, master, wait) else { return };
        let releases = world.nodes[master].settings.trackers[0].weight == Weight::Fault;
        if releases && world.random.percent(50) {
            world.report(master, false);
        } else {
            world.stop(master);
        }
        world.check(world.masters().is_empty(), "it leaves at once");
        world.run_for(wait + world.max_delay);
        world.check(!world.masters().is_empty(), "taken over within a skew");
        converge(world, interval);
    });
}

#[test]
fn a_handover_moves_the_addresses_once_and_fails_only_alone() {
    for_seeds(5000, |world, interval| {
        let Some(&master) = converge(world, interval).first() else { return };
        between_adverts(world, master);
        let Settings { version, interval: own, .. } = world.nodes[master].settings;
        if world.nodes[master].instance.priority() == Priority::OWNER {
            world.hand_over(master);
            world.check(world.masters() == [master], "an address owner hands nothing over");
            return;
        }
        let alone = world.random.percent(30);
        if alone {
            (0..world.nodes.len()).filter(|node| *node != master).for_each(|node| world.kill(node));
        }
        let wait = |router: &Settings, priority| router.version.release_skew(priority, own, router.strict);
        let successor = shortest(world, master, wait);
        let transitions = world.transitions.len();
        world.hand_over(master);
        world.check(world.masters().is_empty(), "it leaves at once");
        world.check(world.nodes[master].holding, "and keeps the addresses until somebody takes them");
        match successor {
            None => {
                let travel = RELEASE_INTERVAL.max(own.duration() / 8);
                world.run_for(version.skew(Priority::MIN, own) + travel);
                world.check(world.masters() == [master], "with nobody to take over it is back in a moment");
                world.check(world.nodes[master].holding, "and the addresses have never left");
            }
            Some(wait) => {
                world.run_for(wait + world.max_delay);
                world.check(!world.masters().is_empty(), "taken over within a skew");
                world.run_for(world.max_delay);
                world.check(!world.nodes[master].holding, "and the addresses have left");
                world.run_for(interval * CONVERGENCE);
                let back = world.transitions[transitions..].iter().filter(|(_, node, _)| *node == master);
                world.check(back.count() == 1, "and do not come back");
            }
        }
        converge(world, interval);
    });
}

#[test]
fn both_sides_of_a_partition_have_a_master_and_healing_leaves_one() {
    for_seeds(5000, |world, interval| {
        slow_down(world);
        converge(world, interval);
        for node in 0..world.nodes.len() {
            world.nodes[node].side = world.random.below(2);
        }
        converge(world, interval);
        let pause = world.random.duration(interval);
        world.run_for(pause);
        world.nodes.iter_mut().for_each(|node| node.side = 0);
        world.neighbours.iter_mut().for_each(|neighbour| neighbour.side = 0);
        world.run_for(interval + world.max_delay * 2);
        let masters = world.masters();
        world.check(masters.len() == 1, "one owner within an interval of healing");
        // Whoever's advert came first: the loser's last word, the announcement and its repetition are on their way.
        world.run_for(world.max_delay * 3);
        for neighbour in &world.neighbours {
            let told = neighbour.believes.is_none_or(|believed| masters == [believed]);
            world.check(told, "no neighbour believes who has not the addresses");
        }
        converge(world, interval);
    });
}

#[test]
fn routers_whose_clocks_differ_agree_all_the_same() {
    for_seeds(5000, |world, interval| {
        for node in 0..world.nodes.len() {
            world.nodes[node].clock = world.random.below(2);
        }
        converge(world, interval);
        for node in 0..world.nodes.len() {
            world.nodes[node].side = world.random.below(2);
        }
        converge(world, interval);
        world.nodes.iter_mut().for_each(|node| node.side = 0);
        let pause = world.random.duration(interval);
        world.run_for(pause);
        let Some(&master) = converge(world, interval).first() else { return };
        let own = world.nodes[master].settings.interval;
        let Some(wait) =
            shortest(world, master, |router, priority| router.version.master_down(priority, own))
        else {
            return;
        };
        world.cut_off(master);
        world.run_for(wait + world.max_delay * 3);
        world.check(!world.masters().is_empty(), "taken over within the master-down time");
        converge(world, interval);
    });
}

#[test]
fn a_backup_that_hangs_takes_nothing_over() {
    for_seeds(5000, |world, interval| {
        let Some(&master) = converge(world, interval).first() else { return };
        let Some(backup) = (0..world.nodes.len()).find(|node| *node != master) else { return };
        let transitions = world.transitions.len();
        let stall = world.random.pick(&[Stall::Hung, Stall::Deaf, Stall::Paused]);
        let length = match stall {
            // What it would have heard is gone, so that only being late by more than an interval tells it to listen first.
            Stall::Deaf => interval * 8 + world.random.duration(interval * 4),
            Stall::Hung | Stall::Paused => world.random.duration(interval * 12),
        };
        world.stall(backup, stall, length);
        world.run_for(length + interval * CONVERGENCE);
        world.check(
            world.transitions.len() == transitions,
            &format!("{stall:?} for {length:?} changes nothing"),
        );
    });
}

#[test]
fn a_killed_process_that_returns_soon_stays_the_owner() {
    for_seeds(5000, |world, interval| {
        let Some(&master) = converge(world, interval).first() else { return };
        let Settings { version, interval: own, .. } = world.nodes[master].settings;
        let skew = version.skew(world.nodes[master].instance.priority(), own);
        let Some(others) = shortest(world, master, |_, priority| version.skew(priority, own)) else { return };
        // Without preemption a lower priority may be master, and its longer skew loses the race.
        if skew > others {
            return;
        }
        world.kill(master);
        let away = world.random.duration(own.duration() * 3 / 4);
        world.restart_after(master, away);
        let transitions = world.transitions.len();
        world.run_for(interval * CONVERGENCE);
        let foreign = world.transitions[transitions..].iter().any(|(_, node, _)| *node != master);
        world.check(!foreign, "no other router moves");
        world.check(check_one_master(world) == [master], "the owner is what it was");
    });
}
