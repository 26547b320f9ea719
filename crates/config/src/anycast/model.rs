//! What `anycast` means, after defaults.

use std::time::Duration;

use crate::{Notify, Tracker, VirtualAddress};

/// A service whose addresses many nodes have. Routers spread connections over those that announce them.
#[derive(Clone, Debug, PartialEq)]
pub struct Anycast {
    /// Its key in the file.
    pub name: String,
    /// The addresses, of either family. At least one.
    pub addresses: Vec<VirtualAddress>,
    /// Where they are while the node is fit, for a routing daemon to announce. Default `lo`.
    pub interface: String,
    /// What being announced depends on. Default: lbd.
    pub track: Vec<Tracker>,
    /// How long routers get to learn of a withdrawal, before a handover is done or the addresses may come back. Default 2 s.
    pub withdraw: Duration,
    /// How long the trackers have to be good after a fault. Default 5 s; doubled where faults repeat.
    pub hold_down: Duration,
    /// Whom to tell of transitions.
    pub notify: Option<Notify>,
}
