//! The process between vrrpd and a command of its own: it ends the command with all that it has started when vrrpd is gone,
//! whatever vrrpd died of. It is vrrpd's own program under another name, so that nothing else has to be installed.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::getpgrp;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::trust;

/// The name by which the program knows that it is to be a guard.
pub const NAME: &str = "vrrpd-command";

/// Its first argument: whether the command keeps vrrpd's capabilities.
pub(crate) const PRIVILEGED: &str = "privileged";
pub(crate) const CONFINED: &str = "confined";

/// What shells exit with when a command cannot be run.
const NOT_RUN: u8 = 127;

/// Runs a command in the guard's process group, and ends as it ends. Standard input is a pipe from vrrpd: it ends with vrrpd.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(rights), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(NOT_RUN);
    };
    // Whoever could change it may have done so since the configuration was read.
    if let Err(distrust) = trust::judge(Path::new(&program)) {
        eprintln!("{distrust}");
        return ExitCode::from(NOT_RUN);
    }
    if rights != PRIVILEGED
        && let Err(error) = confine()
    {
        eprintln!("cannot give up capabilities: {error}");
        return ExitCode::from(NOT_RUN);
    }
    let mut child = match Command::new(&program).args(arguments).stdin(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cannot run {}: {error}", program.display());
            return ExitCode::from(NOT_RUN);
        }
    };
    thread::spawn(|| {
        // Nobody writes to it.
        let _ = io::stdin().read(&mut [0]);
        // The guard is one of the group.
        let _ = killpg(getpgrp(), Signal::SIGKILL);
    });
    let Ok(status) = child.wait() else { return ExitCode::from(NOT_RUN) };
    if let Some(signal) = status.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        // Of a signal that ends nothing the exit code has to tell.
        let _ = raise(signal);
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_RUN))
}

/// Gives up all capabilities, and every way to gain any: from now on the file of a program gives none, and root is no exception.
/// So it does not matter what is left in the bounding set, from which only CAP_SETPCAP could take something.
fn confine() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    set_no_new_privs(true)?;
    // The ambient set goes with the others.
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
