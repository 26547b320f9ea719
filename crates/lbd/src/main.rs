//! lbd, the HTTP and TCP load balancer.

use std::process::ExitCode;

use daemon::{Program, config_file};
use lbd::control::heritage::holder;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == holder::NAME) {
        return holder::run(arguments);
    }
    Program {
        name: "lbd",
        about: "HTTP and TCP load balancer: accepts connections, chooses a healthy server, carries the bytes",
        default_config: "/etc/tandem/lb.yaml",
        check: config_file::check,
        errand: None,
    }
    .main(lbd::control::app::run)
}
