//! vrrpd: takes part in the election of who has the virtual addresses, and moves them.

use std::process::ExitCode;

use daemon::{Errand, Program};
use vrrpd::addresses::withdraw;
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
        errand: Some(Errand {
            option: "withdraw",
            about: "Remove every virtual address that a vrrpd has left on this machine, and exit",
            run: withdraw::run,
        }),
    };
    let election = ElectionThread::start();
    program.main(|context| async move {
        let run_dir = context.own_dir();
        let result = vrrpd::app::main(context, election).await;
        if result.is_err() {
            withdraw::after_failure(&run_dir).await;
        }
        result
    })
}
