//! When a server is checked and what the results decide: pure, without sockets, clock or randomness of its own.
//!
//! A [`Checker`] is the state of one server's checks. Its driver owns the sockets and the clock: it sleeps until
//! [`Checker::next_deadline`], checks, hands over the [`CheckResult`], and tells the world of the [`Transition`] that may come
//! back. Moments and seeds are passed in, so that every schedule can be replayed.
//!
//! A [`dialogue::Dialogue`] is what one check says and hears, for each protocol that is checked by more than a connection.

mod checker;
pub mod dialogue;
mod types;

pub use checker::{Checker, Moment, Transition};
pub use types::{CertificateEnd, CheckCode, CheckResult, Status, Timing};
