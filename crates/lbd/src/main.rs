//! lbd, the HTTP load balancer.

use std::process::ExitCode;

use daemon::{Program, config_file};

fn main() -> ExitCode {
    Program {
        name: "lbd",
        about: "HTTP load balancer: accepts requests, chooses a healthy server, carries the bytes",
        default_config: "/etc/tandem/lb.yaml",
        check: config_file::check,
    }
    .main(lbd::app::run)
}
