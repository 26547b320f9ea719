//! The readers of `lb.yaml`, one for each section.

mod actions;
mod backend;
mod balancing;
mod bind;
mod check;
pub(crate) mod discover;
mod edits;
mod frontend;
mod lints;
mod listeners;
pub(crate) mod mode;
mod process;
mod routes;
mod server_tls;
mod sticky;
mod tls;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use self::listeners::Listeners;
use self::server_tls::Reached;
use self::tls::Presented;
use crate::files::Files;
use crate::read::Value;
use crate::{LbConfig, Mode, scalar};

/// What a timeout may be: long enough to be met at all, short enough to be a limit.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 60 * 60);

/// The largest limit of connections or requests: more than a process can have descriptors.
const MAXCONN: u32 = 1_000_000_000;

/// What a frontend has to know of a backend.
#[derive(Clone, Copy, Debug)]
struct Known {
    mode: Option<Mode>,
    line: usize,
}

/// Reads the whole file. What is wrong is reported, and then a default stands in the result.
///
/// `files` are the files that it names.
pub(crate) fn read(file: &Value<'_>, files: Files<'_>) -> LbConfig {
    file.section(|s| {
        let mut known = HashMap::new();
        let mut reached = Reached::new(files);
        let (backend_marks, backends): (Vec<_>, Vec<_>) = s
            .required("backends", "a mapping of names to backends")
            .at_least_one("backend", "a mapping with servers", |name, value| {
                check_name(name, &value);
                let (backend, mode) = value.section(|s| backend::read(name, s, &mut reached));
                known.insert(name, Known { mode, line: value.key_at().line });
                Some((value.key_at(), backend))
            })
            .into_iter()
            .unzip();
        let mut listeners = Listeners::default();
        let mut presented = Presented::new(files);
        let frontends =
            s.required("frontends", "a mapping of names to frontends").at_least_one(
                "frontend",
                "a mapping with bind and backend",
                |name, value| {
                    check_name(name, &value);
                    Some(value.section(|s| {
                        frontend::read(name, s, &known, files, (&mut listeners, &mut presented))
                    }))
                },
            );
        let resolvers = s.section("resolvers", process::resolvers);
        let admin = s.section("admin", |s| process::admin(s, process::LBD_ADMIN, &mut listeners));
        let lbd = s.section("lbd", |s| process::lbd(s, admin));
        let healthd = s.section("healthd", |s| process::healthd(s, &mut listeners));
        listeners.check(s.report);
        lints::unused_backends(s.report, &frontends, &backends, &backend_marks);
        lints::overlapping_cookies(s.report, &frontends, &backends, &backend_marks);
        lints::open_cookies(s.report, &frontends, &backends, &backend_marks);
        LbConfig { frontends, backends, resolvers, lbd, healthd }
    })
}

fn check_name(name: &str, value: &Value<'_>) {
    if let Err(problem) = scalar::name(name) {
        value.key_error(problem);
    }
}
