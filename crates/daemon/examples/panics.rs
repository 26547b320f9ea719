//! A daemon with a mistake: one of its tasks panics while the others go on.

use std::future::pending;
use std::process::ExitCode;

use daemon::{Program, config_file};

fn main() -> ExitCode {
    Program {
        name: "panics",
        about: "Panics in a task",
        default_config: "/etc/tandem/lb.yaml",
        check: config_file::check,
        errand: None,
    }
    .main(|context| async move {
        #[expect(clippy::panic, reason = "that is what it is for")]
        tokio::spawn(async move { panic!("a mistake, found by {}", context.name) });
        pending().await
    })
}
