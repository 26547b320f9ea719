//! Who may change something: root, the daemon's user and its group, and nobody else.

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

use common::{Daemon, HELLO, ask, directory};

const NOBODY: u32 = 65_534;
const SOCKET: &str = "WIRE_TEST_SOCKET";

/// Not a test: [`others_may_look_and_not_touch`] runs it as another user.
#[tokio::test]
#[ignore = "run by others_may_look_and_not_touch as another user"]
async fn another_user() {
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

#[tokio::test]
async fn others_may_look_and_not_touch() {
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

    let output = tokio::task::spawn_blocking({
        let socket = daemon.path.clone();
        move || {
            use std::os::unix::process::CommandExt;
            Command::new(program)
                .args(["--exact", "another_user", "--ignored", "--nocapture"])
                .env(SOCKET, socket)
                .current_dir("/")
                .uid(NOBODY)
                .gid(NOBODY)
                .output()
                .unwrap()
        }
    })
    .await
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn the_daemons_user_may_change_something() {
    let directory = directory();
    let daemon = Daemon::start(&directory.path().join("s"), 1);
    daemon.answers.reloaded.notify_one();
    let said = ask(&daemon.path, &format!("{HELLO}{{\"id\":1,\"request\":\"reload\"}}\n")).await;
    assert!(said.contains(r#"{"id":1,"ok":{"done":"reloaded"}}"#), "{said}");
}
