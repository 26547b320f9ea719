//! Under s6, with the scripts that the images have, but for the user and the place of things.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Process, Program, Stack, binary, needs, wait_until};

use super::{assert_nothing_lost, is_refused, loads};

/// s6 and the service of lbd.
struct Service {
    directory: PathBuf,
    // Dropped, it is killed; what it supervises has been stopped.
    _scan: Process,
}

impl Service {
    /// Starts lbd in the place of the stack's own.
    fn start(stack: &Stack) -> Self {
        let scan = stack.dir().join("service");
        let directory = scan.join("lbd");
        fs::create_dir_all(&directory).unwrap();
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/s6/lbd");
        for file in ["finish", "notification-fd", "timeout-kill"] {
            fs::copy(deployed.join(file), directory.join(file)).unwrap();
        }
        let run = format!(
            "#!/bin/sh\nexec {} --ready-fd 3 --config {} 2>>{}\n",
            binary(Program::Lbd).display(),
            stack.lbd.config().display(),
            stack.dir().join("lbd.err").display()
        );
        fs::write(directory.join("run"), run).unwrap();
        fs::set_permissions(directory.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("s6-svscan");
        command.arg(&scan).env("TANDEM_RUN_DIR", stack.dir());
        let service = Self { _scan: Process::spawn("s6-svscan", command, stack.dir()), directory };
        wait_until("lbd is supervised", || service.directory.join("supervise/status").exists());
        service.wait_until_ready();
        service
    }

    fn wait_until_ready(&self) {
        wait_until("lbd is ready", || self.status("ready") == "true");
    }

    fn status(&self, field: &str) -> String {
        let output = Command::new("s6-svstat").args(["-o", field]).arg(&self.directory).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn control(&self, what: &str) {
        assert!(Command::new("s6-svc").arg(what).arg(&self.directory).status().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Down, and the supervisor itself ends behind it.
        let _ = Command::new("s6-svc").args(["-wD", "-T", "20000", "-dx"]).arg(&self.directory).status();
    }
}

#[test]
fn restarts_by_s6_lose_nothing() {
    needs!("s6-svscan", "s6-svc", "s6-svstat");
    let stack = Stack::builder().without_lbd().start();
    let service = Service::start(&stack);
    let loads = loads(stack.web());
    for _ in 0..5 {
        loads.iter().for_each(|load| load.wait_for_requests(20));
        let before = service.status("pid");
        service.control("-r");
        wait_until("another lbd runs", || !["-1", before.as_str()].contains(&service.status("pid").as_str()));
        service.wait_until_ready();
    }
    assert_nothing_lost(loads);
}

/// Nobody waits for an lbd that s6 will not start.
#[test]
fn nothing_is_held_when_s6_is_told_to_keep_it_down() {
    needs!("s6-svscan", "s6-svc", "s6-svstat");
    let stack = Stack::builder().without_lbd().start();
    let service = Service::start(&stack);
    service.control("-d");
    wait_until("lbd is down", || service.status("up") == "false" && service.status("wantedup") == "false");
    wait_until("nobody listens", || is_refused(stack.web()));
    assert!(!stack.dir().join("lbd/lbd.listeners").exists());
}
