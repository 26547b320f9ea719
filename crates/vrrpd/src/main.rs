//! vrrpd: takes part in the election of who has the virtual addresses, and moves them.

use std::process::ExitCode;

use daemon::Program;
use vrrpd::guard;
use vrrpd::process::ElectionThread;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == guard::NAME) {
        return guard::run(arguments);
    }
    let program = Program {
        name: "vrrpd",
        about: "Moves virtual addresses between nodes, so that exactly one that can serve has them (VRRP)",
        default_config: "/etc/tandem/vrrp.yaml",
        check: vrrpd::check::check,
    };
    let election = ElectionThread::start();
    program.main(|context| vrrpd::app::main(context, election))
}
