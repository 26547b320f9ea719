//! What people and programs see of lbd: pure functions from statistics to text.
//!
//! | module | for |
//! |---|---|
//! | [`page`] | people with a browser |
//! | [`csv`], [`json`], [`text`] | scripts that know HAProxy's statistics and its socket |
//! | [`routes`] | the routes of frontends |
//! | [`http2`] | what is done in HTTP/2 |
//! | [`certificates`] | the certificates that are presented |
//! | [`sessions`] | client connections |
//! | [`metrics`] | Prometheus |
//! | [`command`] | reading the socket's commands that change a server |

pub mod admin;
pub mod certificates;
mod columns;
pub mod command;
pub mod csv;
pub mod http2;
pub mod json;
pub mod metrics;
pub mod page;
pub mod routes;
#[cfg(test)]
mod sample;
pub mod sessions;
pub mod text;

use std::fmt;
use std::time::Duration;

use wire::human;

use crate::shared::millis;

/// How lbd stands with healthd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthdLink {
    /// Subscribed to its verdicts.
    Connected,
    /// Connected, but for so long it has been running another configuration than lbd.
    Differs(Duration),
    /// The connection is lost; the last verdicts are still in force.
    Lost(Duration),
    /// Not reached since lbd started, this long ago: servers are used unchecked.
    Never(Duration),
}

impl fmt::Display for HealthdLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Differs(_) => f.write_str("connected, with another configuration"),
            Self::Lost(age) => write!(f, "lost {} ago", human::duration(millis(*age))),
            Self::Never(_) => f.write_str("never reached"),
        }
    }
}
