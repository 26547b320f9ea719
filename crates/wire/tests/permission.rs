//! Who may change something: root, the daemon's user, its group and the group for control, and nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the failure message"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{CONTROL_GROUP, Daemon, HELLO, ask, directory};

const NOBODY: u32 = 65_534;
const SOCKET: &str = "WIRE_TEST_SOCKET";
/// More than the daemon makes room for at first.
const MANY: std::ops::Range<u32> = 60_000..60_050;

/// Not a test: [`members_may_change_something_and_others_may_look`] runs it as another user.
#[tokio::test]
#[ignore = "run as another user"]
async fn somebody_else() {
    let path = std::env::var_os(SOCKET).unwrap();
    let path = Path::new(&path);
    let text = ask(path, "show info;reload\n").await;
    assert!(text.starts_with("Name: healthd\n\nPermission denied: only root"), "{text}");

    let requests = [
        r#"{"id":1,"request":"reload"}"#,
        r#"{"id":2,"request":"set_server","backend":"b","server":"s","state":"maint"}"#,
        r#"{"id":3,"request":"observe","observations":[]}"#,
        r#"{"id":4,"request":"info"}"#,
    ];
    let said = ask(path, &format!("{HELLO}{}\n", requests.join("\n"))).await;
    let lines: Vec<serde_json::Value> =
        said.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines[..3] {
        assert_eq!(line["error"]["code"], "forbidden", "{line}");
    }
    assert!(lines[3]["ok"]["info"].is_object(), "{}", lines[3]);
}

/// Not a test: [`members_may_change_something_and_others_may_look`] runs it as a member.
#[tokio::test]
#[ignore = "run as a member"]
async fn a_member() {
    let path = std::env::var_os(SOCKET).unwrap();
    let path = Path::new(&path);
    assert_eq!(ask(path, "show info;reload\n").await, "Name: healthd\n\n\n");
    let said = ask(path, &format!("{HELLO}{{\"id\":1,\"request\":\"reload\"}}\n")).await;
    assert!(said.contains(r#"{"id":1,"ok":{"done":"reloaded"}}"#), "{said}");
}

/// This program as a process of the user nobody, whose groups are as given.
fn run(program: &Path, socket: &Path, test: &str, primary: u32, supplementary: &str) {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={primary}")]);
    match supplementary {
        "" => command.arg("--clear-groups"),
        groups => command.arg(format!("--groups={groups}")),
    };
    let output = command
        .arg(program)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(SOCKET, socket)
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test} with the group {primary} and {supplementary:?}:\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn members_may_change_something_and_others_may_look() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can run a process of another user");
        return;
    }
    let directory = directory();
    // Both the socket and a copy of this test must be within that user's reach.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    // Each reload takes one.
    let answers = daemon.answers.clone();
    let reload = tokio::spawn(async move {
        loop {
            answers.reloaded.notify_one();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });

    let socket = daemon.path.clone();
    let runs = tokio::task::spawn_blocking(move || {
        let many: String = MANY.map(|group| format!("{group},")).collect();
        for none in ["", "54320,54322"] {
            run(&program, &socket, "somebody_else", NOBODY, none);
        }
        run(&program, &socket, "a_member", CONTROL_GROUP, "");
        for member in [format!("54320,{CONTROL_GROUP}"), format!("{many}{CONTROL_GROUP}")] {
            run(&program, &socket, "a_member", NOBODY, &member);
        }
    });
    runs.await.unwrap();
    reload.abort();
}

#[tokio::test]
async fn the_daemons_user_may_change_something() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    daemon.answers.reloaded.notify_one();
    let said = ask(&daemon.path, &format!("{HELLO}{{\"id\":1,\"request\":\"reload\"}}\n")).await;
    assert!(said.contains(r#"{"id":1,"ok":{"done":"reloaded"}}"#), "{said}");
}
