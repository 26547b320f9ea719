//! What vrrpd does on the network: adverts, addresses, links, and who has which address; and a bell between threads.
//!
//! Everything here is asynchronous, bounded, and made for one thread: each socket belongs to the election's or to the addresses'.

mod adverts;
mod bell;
mod bpf;
pub mod connections;
mod event;
mod link;
mod neighbours;
mod netlink;
mod next_hops;
mod route;
pub mod rules;

pub use adverts::{AdvertSocket, Arrived};
pub(crate) use bell::Bell;
pub use link::{Link, LinkAddress};
pub use neighbours::{Claim, Mac, Neighbours};
pub use netlink::{Changes, Netlink};
pub use next_hops::NextHops;
