//! healthd: checks the servers of lb.yaml, and tells lbd who is up.

use std::path::Path;
use std::process::ExitCode;

use config::{Checked, Diagnostic, Invalid};
use daemon::Program;

fn main() -> ExitCode {
    let program = Program {
        name: "healthd",
        about: "Checks the servers of lb.yaml, resolves their names, and tells lbd who is up",
        default_config: "/etc/tandem/lb.yaml",
        check,
        errand: None,
    };
    program.main(healthd::app::main)
}

/// Checks an `lb.yaml`, and the files that healthd reads: keys of listeners are none of them.
fn check(path: &Path) -> Result<Vec<Diagnostic>, Invalid> {
    config::load_for_checks(path)?;
    Checked::load_without_keys(path).map(|checked| checked.warnings)
}
