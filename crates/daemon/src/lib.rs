//! What every Tandem daemon shares.
//!
//! | module | for |
//! |---|---|
//! | [`program`] | arguments, `--check`, exit codes: from `main` to the daemon's own code |
//! | [`serve`], [`life`] | from an open socket to a good end: ready, reload, stop |
//! | [`entrance`] | where a daemon is found, and how its successor takes its place |
//! | [`config_file`] | loading the configuration, and loading it again |
//! | [`log`] | events on standard error |
//! | [`signals`] | stop and reload |
//! | [`ready`], [`systemd`] | telling the supervisor |
//! | [`admin`], [`guard`], [`metrics`], [`families`], [`page`] | the admin HTTP |
//! | [`kept_file`], [`keeper`] | what the next one of its kind has to know |
//! | [`listening`] | why an address cannot be had |
//! | [`limits`] | the limits that the system sets |

pub mod admin;
mod apart;
pub mod config_file;
pub mod entrance;
pub mod families;
mod generated;
pub mod guard;
pub mod keeper;
pub mod kept_file;
pub mod life;
pub mod limits;
pub mod listening;
pub mod log;
pub mod metrics;
pub mod page;
pub mod program;
pub mod ready;
pub mod serve;
pub mod signals;
pub mod systemd;

pub use program::{Context, Errand, Failure, Program};
