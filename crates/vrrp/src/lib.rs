//! VRRP: adverts on the wire and the election of the master. Pure, without sockets, clock, randomness or logger.
//!
//! A packet goes through [`Receiver`], which believes it or says why not. What is believed is an input of [`Instance`], the
//! election of one virtual router, which answers with actions in the order in which they are to be done. Its driver sleeps
//! until [`Instance::next_deadline`], owns sockets, addresses and clocks, and turns [`Action::SendAdvert`] into bytes with
//! [`packet::encode`]. Moments and wall-clock times are passed in, so that every course of events can be replayed.

mod election;
pub mod keep;
pub mod packet;
mod receive;
mod replay;
mod units;

pub use election::{
    Action, Cause, Heard, Input, Instance, Preemption, Settings, Standing, State, TrackerRule, Trackers,
    Transition, Weight,
};
pub use receive::{
    AddressMismatch, Authentication, Datagram, Doubt, Expectations, HmacMode, ReceiveError, Received,
    Receiver, Senders, Signed,
};
pub use replay::ReplayGuard;
pub use units::{
    AdvertInterval, IntervalError, Moment, Priority, RELEASE_INTERVAL, Version, VirtualRouterId,
};
