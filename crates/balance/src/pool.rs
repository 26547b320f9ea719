//! Servers to choose from, in the order of the backend's algorithm.

use std::cmp::Ordering;

use crate::bound::Bound;
use crate::random::Random;
use crate::ring::Ring;
use crate::shares::Shares;
use crate::tournament::Tournament;
use crate::turn::Turn;
use crate::{Algorithm, Key, LoadFactor};

/// Servers, by slot.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    members: Vec<Membership>,
    /// Members that are not hidden.
    visible: usize,
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    None,
    /// A member that takes no part in the choice at hand.
    Hidden,
    Visible,
}

/// What is kept ready so that no choice looks at every server.
#[derive(Clone, Debug)]
enum Order {
    /// The earliest turn; or the lightest load, and the earliest turn among equals.
    Turns {
        tournament: Tournament<(Load, Turn)>,
        by_load: bool,
    },
    /// The ring of the view holds all servers. What has no key takes turns.
    Ring {
        turns: Tournament<(Load, Turn)>,
        /// What each server may have in flight.
        bound: Option<Bound>,
    },
    Shares(Shares),
}

/// What a choice depends on, of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rank {
    pub(crate) load: Load,
    pub(crate) turn: Turn,
}

/// Requests in flight for each unit of weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) in_flight: u64,
    /// At least 1.
    pub(crate) weight: u16,
}

impl Load {
    const NONE: Self = Self { in_flight: 0, weight: 1 };
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        let share = |load: &Self, weight: u16| u128::from(load.in_flight) * u128::from(weight);
        share(self, other.weight).cmp(&share(other, self.weight))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Load {}

/// What a choice depends on, of everything else.
pub(crate) struct Question<'a> {
    pub(crate) key: Key,
    pub(crate) ring: &'a Ring,
    /// The slot of each server of the ring.
    pub(crate) placed: &'a [usize],
    /// The load of a slot.
    pub(crate) load: &'a dyn Fn(usize) -> Load,
}

impl Pool {
    /// A pool of the slots that have a rank. With a factor, loads on the ring are bounded.
    pub(crate) fn new(algorithm: Algorithm, factor: Option<LoadFactor>, ranks: &[Option<Rank>]) -> Self {
        let tournament = |by_load: bool| {
            let keys = ranks.iter().map(|rank| rank.map(|rank| turn_key(by_load, rank)));
            Tournament::new(keys.collect())
        };
        let turns = |by_load: bool| Order::Turns { tournament: tournament(by_load), by_load };
        let loads = || ranks.iter().map(|rank| rank.map(|rank| rank.load)).collect();
        let order = match algorithm {
            Algorithm::Roundrobin => turns(false),
            Algorithm::Leastconn => turns(true),
            Algorithm::Source | Algorithm::Hash => Order::Ring {
                turns: tournament(false),
                bound: factor.map(|factor| Bound::new(factor, loads())),
            },
            Algorithm::Random => Order::Shares(Shares::new(ranks.iter().copied().map(share).collect())),
        };
        let member = |rank: &Option<Rank>| rank.map_or(Membership::None, |_| Membership::Visible);
        let visible = ranks.iter().flatten().count();
        Self { members: ranks.iter().map(member).collect(), visible, order }
    }

    /// Adds a member, or takes its new rank into account.
    pub(crate) fn insert(&mut self, slot: usize, rank: Rank) {
        self.change(slot, Membership::Visible, Some(rank));
    }

    /// Takes a member out, if it is one.
    pub(crate) fn remove(&mut self, slot: usize) {
        self.change(slot, Membership::None, None);
    }

    /// Leaves a member out until it is shown again.
    pub(crate) fn hide(&mut self, slot: usize) {
        if self.membership(slot) != Membership::None {
            self.change(slot, Membership::Hidden, None);
        }
    }

    /// Ends what [`Pool::hide`] began.
    pub(crate) fn show(&mut self, slot: usize, rank: Rank) {
        if self.membership(slot) != Membership::None {
            self.change(slot, Membership::Visible, Some(rank));
        }
    }

    /// Takes a visible member's new rank into account.
    pub(crate) fn update(&mut self, slot: usize, rank: Rank) {
        if self.has(slot) {
            self.set_order(slot, Some(rank));
        }
    }

    /// How many members are visible.
    pub(crate) fn len(&self) -> usize {
        self.visible
    }

    /// Whether it is a member that is visible.
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.membership(slot) == Membership::Visible
    }

    /// The visible member whose turn it is. None if there is none.
    pub(crate) fn choose(&mut self, question: &Question<'_>, random: &mut Random) -> Option<usize> {
        if self.visible == 0 {
            return None;
        }
        match &mut self.order {
            Order::Turns { tournament, .. } => tournament.winner().map(|(slot, _)| slot),
            Order::Ring { turns, bound } => {
                let Some(hash) = question.key.hash() else { return turns.winner().map(|(slot, _)| slot) };
                let members = &self.members;
                let takes = |slot: &usize| {
                    members.get(*slot) == Some(&Membership::Visible)
                        && bound.as_ref().is_none_or(|bound| bound.has_room(*slot))
                };
                question.ring.walk(hash).filter_map(|place| question.placed.get(place).copied()).find(takes)
            }
            Order::Shares(shares) => {
                let first = shares.draw(random)?;
                let weight = (question.load)(first).weight;
                shares.set(first, 0);
                let second = shares.draw(random);
                shares.set(first, weight);
                Some(match second {
                    Some(second) if (question.load)(second) < (question.load)(first) => second,
                    _ => first,
                })
            }
        }
    }

    /// Panics unless a slot is ordered by its rank if it is a member, and not at all if it is none.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self, slot: usize, rank: Option<Rank>) {
        assert_eq!(self.has(slot), rank.is_some(), "nothing stays hidden");
        match &self.order {
            Order::Turns { tournament, by_load } => {
                let load = |rank: Rank| if *by_load { rank.load } else { Load::NONE };
                assert_eq!(tournament.key(slot), rank.map(|rank| (load(rank), rank.turn)));
            }
            Order::Ring { turns, .. } => {
                assert_eq!(turns.key(slot), rank.map(|rank| turn_key(false, rank)));
            }
            Order::Shares(shares) => {
                assert_eq!(shares.weight(slot), rank.map_or(0, |rank| rank.load.weight));
            }
        }
    }

    fn membership(&self, slot: usize) -> Membership {
        self.members.get(slot).copied().unwrap_or(Membership::None)
    }

    fn change(&mut self, slot: usize, membership: Membership, rank: Option<Rank>) {
        let Some(held) = self.members.get_mut(slot) else { return };
        let before = std::mem::replace(held, membership);
        self.visible += usize::from(membership == Membership::Visible);
        self.visible -= usize::from(before == Membership::Visible);
        self.set_order(slot, rank);
    }

    fn set_order(&mut self, slot: usize, rank: Option<Rank>) {
        match &mut self.order {
            Order::Turns { tournament, by_load } => {
                let by_load = *by_load;
                tournament.set(slot, rank.map(|rank| turn_key(by_load, rank)));
            }
            Order::Ring { turns, bound } => {
                turns.set(slot, rank.map(|rank| turn_key(false, rank)));
                if let Some(bound) = bound {
                    bound.set(slot, rank.map(|rank| rank.load));
                }
            }
            Order::Shares(shares) => shares.set(slot, share(rank)),
        }
    }
}

fn turn_key(by_load: bool, rank: Rank) -> (Load, Turn) {
    (if by_load { rank.load } else { Load::NONE }, rank.turn)
}

fn share(rank: Option<Rank>) -> u16 {
    rank.map_or(0, |rank| rank.load.weight)
}
