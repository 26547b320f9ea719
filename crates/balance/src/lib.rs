//! Which server gets the next request: pure, without sockets, clock or randomness of its own.
//!
//! A [`BackendView`] is an immutable picture of a backend, made whenever something changes and shared by all workers. Each
//! worker has a [`Balancer`] of its own that picks from it: one [`Balancer::pick`] for each attempt, with the servers
//! that were [`Tried`] before, then [`Balancer::begin`] and [`Balancer::end`] around the request, and what connecting told
//! by [`Balancer::succeeded`] or [`Balancer::failed`]. A [`RetryBudget`] says whether a failed attempt may be repeated.
//! The caller passes in time, as [`Tick`]s, and seeds.
//!
//! | algorithm | how | a pick among n servers |
//! |---|---|---|
//! | `roundrobin` | smooth weighted round robin: the earliest turn in virtual time (`turn`) | log n |
//! | `leastconn` | the fewest requests in flight for its weight; equals take turns by weight | log n |
//! | `source` | the client's address on a ring of points that the servers' names own (`ring`) | constant |
//! | `hash` | the same with a part of the request, its [`Key`]; loads may be bounded (`bound`) | constant |
//! | `random` | the less loaded of two servers drawn by weight (`shares`) | log n |
//!
//! A server that has as many requests as it may is passed over by [`Balancer::pick_below_limits`], and one that has just come
//! up gets its [`Throttle`]'s part of its weight. Backup servers take requests only while [`BackupRules`] have them join.
//!
//! A client that belongs to a server, as [`Sticky`] reads in its cookie, goes there by [`Balancer::claim_for_its_own`], also while the server
//! takes nobody new.
//!
//! Choices are made in two steps: among the servers that connections reach, and only if none of those is left among the
//! ones suspected because connections to them failed (`suspicion`). So a server that has died is avoided a moment after its
//! first failure, long before its checks say so, and a backend whose servers are all suspected is still tried.

mod backup;
mod balancer;
mod bound;
mod budget;
mod key;
#[cfg(test)]
mod picks;
mod pool;
mod random;
mod ring;
mod shares;
mod slot;
mod sticky;
mod suspicion;
mod tournament;
mod turn;
mod types;
mod view;

pub use backup::{BackupLevel, BackupRules};
pub use balancer::Balancer;
pub use bound::LoadFactor;
pub use budget::RetryBudget;
pub use key::Key;
pub use slot::{ServerId, Tried};
pub use sticky::{Belongs, STICKY_VALUE_MAX, Seconds, Session, Sticky, StickyLimits, Written};
pub use types::{AdminState, Algorithm, BackupUse, Throttle, Tick, UnknownWord, Unpicked, Weight};
pub use view::{BackendView, Health, ServerView};
