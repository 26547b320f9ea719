//! Servers that are found while healthd runs: one task for each backend that has such asks where they are, again and again, and the
//! fleet checks whom it finds.
//!
//! | module | for |
//! |---|---|
//! | `finder` | the task of one backend |
//! | `file` | a file that is read whenever it has changed |
//! | `dns` | what records say of servers |
//! | `kept` | who was found, for the next healthd |
//!
//! Who of those that are named is a member, the crate `membership` decides.

mod dns;
mod file;
mod finder;
mod kept;

pub(crate) use finder::{Finder, Found, Report, Rules};
pub(crate) use kept::{FILE, KeptMembers, load as load_kept, members, told};
