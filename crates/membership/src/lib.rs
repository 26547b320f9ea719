//! Who belongs to a backend whose servers are found by asking somebody, again and again: answers and moments go in, joins and leaves
//! come out. Pure: what is asked, how, and what a member is, are the caller's.
//!
//! | module | for |
//! |---|---|
//! | `membership` | the engine: which of those that were named are members |
//! | `shares` | priorities and weights as DNS has them, as ranks and weights that can be compared |

mod membership;
mod shares;

pub use membership::{Answer, Changes, Membership, Moment, Rules};
pub use shares::{Ranked, ranked};
