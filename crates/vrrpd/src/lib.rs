//! vrrpd, the VRRP daemon, as a library for its tests.
//!
//! | module | thread | what it does |
//! |---|---|---|
//! | [`election`] | its own | drives the elections: packets, time |
//! | `services` | the election's | drives anycast services: trackers, operators, time |
//! | [`addresses`] | its own | has the addresses on the interfaces that the election says, and tells the network |
//! | [`net`] | any | sockets and rtnetlink |
//! | [`track`], [`notify`], [`handover`] | main | what mastership depends on, whom to tell, how to leave without a loss |
//! | [`app`], [`process`] | main | the daemon as a whole, its rights |
//! | [`board`] | any | what there is to see |
//! | [`sequences`] | main | what the next vrrpd has to know of signed adverts |
//! | [`check`], [`guard`] | main | the configuration on this machine, and the process around a command |

pub mod addresses;
pub mod app;
pub mod board;
pub mod check;
mod child;
mod control;
pub mod election;
pub mod guard;
pub mod handover;
pub mod net;
pub mod notify;
pub mod order;
pub mod process;
pub mod sequences;
mod services;
pub mod track;
mod trust;
pub mod view;
