//! Tests that cannot run on this machine say so, and are counted.

use std::io::Write;

/// Ends the test as skipped, for a reason that a reader can act on: `skip!("strace is not installed")`.
///
/// It is printed, and appended to the file that `TANDEM_SKIPS` names, which `make test` sums up. With `CI=true` it is a
/// failure: there everything has to run.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::record_skip(&format!($($reason)+));
        return;
    }};
}

/// Skips the test unless these programs are installed: `needs!("socat", "haproxy")`.
#[macro_export]
macro_rules! needs {
    ($($program:literal),+) => {
        $(if !$crate::is_installed($program) {
            $crate::skip!("{} is not installed", $program);
        })+
    };
}

/// Whether a program is where programs are, root's own included.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(program)).any(|file| file.is_file())
}

/// What [`skip!`] does before it leaves the test.
///
/// # Panics
/// With `CI=true`.
pub fn record_skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("main").to_owned();
    eprintln!("SKIPPED: {test}: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "with CI=true nothing may be skipped: {reason}");
    let Some(path) = std::env::var_os("TANDEM_SKIPS") else { return };
    // One write of one line to a file opened for appending: tests that skip at once do not mix their lines.
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes()))
        .unwrap_or_else(|error| panic!("cannot record a skipped test in {}: {error}", path.display()));
}

/// Whether the tests run as root, as namespaces and strace of other processes need.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
