//! lbd, the HTTP and TCP load balancer.

use std::process::ExitCode;

use daemon::{Program, config_file};
use lbd::control::heritage::holder;
use lbd::control::heritage::successor::{self, Origin};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    match name.as_deref() {
        Some(name) if name == holder::NAME => return holder::run(arguments),
        Some(name) if name == successor::NAME => return successor::run(arguments),
        _ => {}
    }
    let origin = Origin::new(name.as_deref(), arguments);
    Program {
        name: "lbd",
        about: "HTTP and TCP load balancer: accepts connections, chooses a healthy server, carries the bytes",
        default_config: "/etc/tandem/lb.yaml",
        check: config_file::check,
        errand: None,
    }
    .main(|context| lbd::control::app::run(context, origin))
}
