//! What is allowed, but probably not meant.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use balance::{AdminState, Weight};
use health::Timing;

use super::backend::DEFAULT_QUEUE;
use super::mode::useless_to_backend;
use crate::read::{Report, Section, quoted};
use crate::scalar::show_duration;
use crate::yaml::Mark;
use crate::{Backend, CheckTls, Discover, Frontend, Mode, Source, WhenAllDown};

/// Backends that no frontend leads to.
pub(super) fn unused_backends(report: &Report, frontends: &[Frontend], backends: &[Backend], marks: &[Mark]) {
    if report.errors() > 0 {
        return;
    }
    let used: HashSet<&str> = frontends.iter().flat_map(Frontend::backends).collect();
    for (backend, mark) in backends.iter().zip(marks) {
        if !used.contains(backend.name.as_str()) {
            let doubt = format!("backend {} is used by no frontend", quoted(&backend.name));
            report.warning(*mark, doubt, "its servers are checked, but get no requests");
        }
    }
}

/// Keys that have no effect in a mode.
pub(super) fn useless(s: &Section<'_>, mode: Mode, keys: &[&[&str]]) {
    for path in keys.iter().filter(|path| s.has(path)) {
        let doubt = format!("has {}, but is in mode {}", path.join("."), mode.word());
        s.report.warning(s.mark(path), format!("{} {doubt}", s.place), "it has no effect");
    }
}

/// What is doubtful in one backend. `marks` are the places of its servers.
pub(super) fn backend(s: &Section<'_>, backend: &Backend, marks: Vec<Mark>) {
    if let Some(check) = &backend.check {
        timing(s, &check.timing);
        let [server, check] = [backend.timeouts.server, check.timing.timeout];
        if server < check && backend.mode == Mode::Http {
            let [server, check] = [server, check].map(show_duration);
            s.warning(
                ["timeouts", "server"],
                format_args!("gives a request {server}, but a check {check}"),
                "a server too slow for requests stays up; make check.timeout no longer than timeouts.server",
            );
        }
    } else if backend.servers.len() > 1 || backend.discover.is_some() {
        s.warning(
            ["check"],
            "has several servers, but does not check them",
            "a dead server is noticed only by the requests that fail on it; \"check: { tcp: {} }\" costs little",
        );
    }
    useless(s, backend.mode, useless_to_backend(backend.mode));
    overload(s, backend);
    tls(s, backend, &marks);
    sticky(s, backend);
    match &backend.discover {
        Some(found) => discover(s, backend, found),
        None => {
            backups(s, backend);
            servers(s, backend, marks);
        }
    }
}

/// What those that are found have in common.
fn discover(s: &Section<'_>, backend: &Backend, discover: &Discover) {
    const SECTION: &str = "servers.discover";
    let at = |key| ["servers", "discover", key];
    if discover.weight == Weight::ZERO && matches!(discover.source, Source::Host { .. }) {
        let doubt = format!("gives all servers that it finds for {SECTION} the weight 0");
        s.warning(at("weight"), doubt, "every request gets 503; leave the weight out");
    }
    if discover.server_name.is_some() && backend.tls.is_none() {
        let doubt = format!("has a server_name in {SECTION}, but no tls");
        s.warning(at("server_name"), doubt, "it has no effect");
    }
    let may_have_backups = !matches!(discover.source, Source::Host { .. });
    let useless = |key: &&str| !may_have_backups && s.has(&[key]);
    for key in ["backups", "on_up"].into_iter().filter(useless) {
        let doubt = format!("has {key}, but finds no backup servers");
        s.warning(
            [key],
            doubt,
            "it has no effect; priorities of srv, or \"backup\" in a file, make servers such",
        );
    }
}

fn overload(s: &Section<'_>, backend: &Backend) {
    let limited = backend.servers.iter().filter(|server| server.maxconn.is_some()).count();
    let found_limited = backend.discover.as_ref().is_some_and(|found| found.maxconn.is_some());
    if limited == 0 && !found_limited && backend.queue != DEFAULT_QUEUE {
        s.warning(
            ["queue"],
            "has a queue, but no server with a maxconn",
            "nobody ever waits; give the servers a maxconn",
        );
    }
    if (1..backend.servers.len()).contains(&limited) {
        s.warning(
            ["servers"],
            "has servers with a maxconn and others without",
            "those without get all that is too much for the others; give each server a maxconn",
        );
    }
    if backend.when_all_down == WhenAllDown::Try && backend.check.is_none() {
        s.warning(
            ["when_all_down"],
            "has a when_all_down, but does not check its servers",
            "unchecked servers are never down; it has no effect",
        );
    }
    if backend.slow_start.is_some() && backend.servers.len() == 1 {
        s.warning(
            ["slow_start"],
            "has a slow_start, but a single server",
            "there is nobody else to take the rest of the requests; it has no effect",
        );
    }
}

fn tls(s: &Section<'_>, backend: &Backend, marks: &[Mark]) {
    let Some(tls) = &backend.tls else {
        if backend.check.as_ref().is_some_and(|check| check.over_tls == CheckTls::On) {
            s.warning(
                ["check", "over_tls"],
                "has checks over TLS, but no tls, as which they would be secured",
                "checks speak without TLS",
            );
        }
        for (server, mark) in backend.servers.iter().zip(marks).filter(|(one, _)| one.server_name.is_some()) {
            let doubt = format!(
                "server {} of backend {} has a server_name, but its backend has no tls",
                quoted(&server.name),
                quoted(&backend.name)
            );
            s.report.warning(*mark, doubt, "it has no effect");
        }
        return;
    };
    if !tls.verify {
        s.warning(
            ["tls", "verify"],
            "does not verify its servers",
            "whoever answers in a server's place reads and changes everything; name the authority with server_ca instead",
        );
        for (key, is_given) in
            [("server_ca", tls.server_ca.is_some()), ("server_crl", tls.server_crl.is_some())]
        {
            if is_given {
                s.warning(
                    ["tls", key],
                    format_args!("has a {key}, but does not verify its servers"),
                    "it has no effect",
                );
            }
        }
    }
}

fn sticky(s: &Section<'_>, backend: &Backend) {
    let Some(sticky) = &backend.sticky else { return };
    if backend.servers.len() == 1 {
        s.warning(["sticky"], "has a sticky, but a single server", "every client is with it anyway");
    }
    if sticky.key.is_none() && (sticky.max_idle.is_some() || sticky.max_life.is_some()) {
        s.warning(
            ["sticky"],
            "limits the time of sessions without a key",
            "whoever knows the names in this file can make a cookie with any date; give it a key",
        );
    }
    if sticky.cookie.starts_with("__") && !sticky.secure {
        s.warning(
            ["sticky", "cookie"],
            format_args!("has a cookie called {} without \"secure: on\"", sticky.cookie),
            "browsers refuse cookies with such a prefix unless they are secure",
        );
    }
}

/// Cookies that browsers send without TLS, too, though all who get them come by TLS.
pub(super) fn open_cookies(report: &Report, frontends: &[Frontend], backends: &[Backend], marks: &[Mark]) {
    if report.errors() > 0 {
        return;
    }
    let open = |backend: &Backend| backend.sticky.as_ref().is_some_and(|sticky| !sticky.secure);
    for (backend, mark) in backends.iter().zip(marks).filter(|(backend, _)| open(backend)) {
        let leads_here = |frontend: &&Frontend| frontend.backends().any(|name| name == backend.name);
        let mut binds = frontends.iter().filter(leads_here).flat_map(|frontend| &frontend.bind).peekable();
        if binds.peek().is_some() && binds.all(|bind| bind.tls.is_some()) {
            let doubt = format!(
                "backend {} has a sticky cookie without \"secure: on\", though all of its clients come by TLS",
                quoted(&backend.name)
            );
            report.warning(*mark, doubt, "browsers send it without TLS, too, wherever they are led");
        }
    }
}

/// Backends of one frontend whose cookies overwrite each other.
pub(super) fn overlapping_cookies(
    report: &Report,
    frontends: &[Frontend],
    backends: &[Backend],
    marks: &[Mark],
) {
    if report.errors() > 0 {
        return;
    }
    for frontend in frontends {
        let used: HashSet<&str> = frontend.backends().collect();
        let mut first = HashMap::new();
        for (backend, mark) in backends.iter().zip(marks).filter(|(backend, _)| used.contains(&*backend.name))
        {
            let Some(sticky) = &backend.sticky else { continue };
            let scope = (&sticky.cookie, &sticky.domain, &sticky.path);
            if let Some(other) = first.insert(scope, &backend.name) {
                let doubt = format!(
                    "backends {} and {} of frontend {} have the same sticky cookie {}",
                    quoted(other),
                    quoted(&backend.name),
                    quoted(&frontend.name),
                    quoted(&sticky.cookie)
                );
                let help = "where they share a host, each overwrites what the other has set; give them different names";
                report.warning(*mark, doubt, help);
            }
        }
    }
}

fn backups(s: &Section<'_>, backend: &Backend) {
    let (spare, active): (Vec<_>, Vec<_>) =
        backend.servers.iter().partition(|server| server.backup.is_some());
    if spare.is_empty() {
        let useless =
            |key: &&str| s.has(&[key]) && !useless_to_backend(backend.mode).contains(&[*key].as_slice());
        for key in ["backups", "on_up"].into_iter().filter(useless) {
            s.warning(
                [key],
                format_args!("has {key}, but no backup server"),
                "it has no effect; \"backup: true\" makes a server one",
            );
        }
    } else if !active.is_empty() && (active.len() as u64) < u64::from(backend.backups.min_usable.get()) {
        s.warning(
            ["backups", "min_usable"],
            format_args!(
                "asks for {} usable servers, but has only {} that are no backup servers",
                backend.backups.min_usable,
                active.len()
            ),
            "a backup server takes requests all the time",
        );
    }
}

fn timing(s: &Section<'_>, timing: &Timing) {
    /// A busy server, or a lost packet, may take that long.
    const SHORT: Duration = Duration::from_millis(100);
    let Timing { interval, fast_interval, timeout, rise, fall, .. } = *timing;
    let shown = show_duration;
    if timeout < SHORT {
        s.warning(
            ["check", "timeout"],
            format_args!("gives up a check after {}", shown(timeout)),
            "a busy server will be taken as down; 1s is short already",
        );
    }
    if timeout > interval.saturating_mul(10) {
        let found = shown(timeout.saturating_mul(fall));
        s.warning(
            ["check", "timeout"],
            format_args!("is checked every {}, but a check may take {}", shown(interval), shown(timeout)),
            &format!("a server that hangs is down only after {found} (fall x timeout); a timeout near the interval is usual"),
        );
    }
    if fast_interval > interval {
        s.warning(
            ["check", "fast_interval"],
            format_args!(
                "has a fast_interval of {}, longer than its interval of {}",
                shown(fast_interval),
                shown(interval)
            ),
            "it is meant to decide sooner once a check disagrees with the verdict",
        );
    }
    for (key, count, becomes) in [("fall", fall, "down"), ("rise", rise, "up")] {
        if count == 1 {
            s.warning(
                ["check", key],
                format_args!("takes a server as {becomes} after a single check"),
                &format!("one stray result is enough to flap; {key}: 2 asks for a second one"),
            );
        }
    }
}

fn servers(s: &Section<'_>, backend: &Backend, marks: Vec<Mark>) {
    if backend.servers.is_empty() {
        return;
    }
    if backend.servers.iter().all(|server| server.weight == Weight::ZERO) {
        s.warning(
            ["servers"],
            "has servers of weight 0 only",
            "every request gets 503; give one of them a weight",
        );
    }
    if backend.servers.iter().all(|server| server.state != AdminState::Ready) {
        s.warning(
            ["servers"],
            "has no server in state ready",
            "every request gets 503 until an operator changes that",
        );
    }
    let mut first = HashMap::new();
    for (server, mark) in backend.servers.iter().zip(marks) {
        if let Some(other) = first.insert(&server.address, &server.name) {
            s.report.warning(
                mark,
                format!(
                    "server {} of backend {} has the same address as server {}",
                    quoted(&server.name),
                    quoted(&backend.name),
                    quoted(other)
                ),
                "it is one server that gets two shares of the requests; use weight for that",
            );
        }
    }
}
