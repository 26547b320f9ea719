//! healthd: checks the servers of lb.yaml, and tells lbd who is up.

use std::process::ExitCode;

use daemon::Program;

fn main() -> ExitCode {
    let program = Program {
        name: "healthd",
        about: "Checks the servers of lb.yaml, resolves their names, and tells lbd who is up",
        default_config: "/etc/tandem/lb.yaml",
        check: daemon::config_file::check,
        errand: None,
    };
    program.main(healthd::app::main)
}
