//! tandemctl against daemons that answer, refuse, hang or are not there.

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use balance::{AdminState, Weight};
use support::{Daemon, Node, Outcome, serves};
use wire::{RefusalCode, Request};

fn set(state: Option<AdminState>, weight: Option<Weight>) -> Request {
    let (backend, server) = ("nginx".into(), "nginx1".into());
    Request::SetServer { backend, server, state, weight, maxconn: None, close_after_ms: None }
}

#[test]
fn status_of_a_whole_node() {
    let node = Node::new();
    node.start(Daemon::lbd(&["nginx/nginx1"]));
    node.start(Daemon::new("healthd"));
    let status = node.tandemctl(&["status"]);
    assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
    for wanted in ["lbd      ready ", "healthd  ready ", "nginx/nginx1  UP"] {
        assert!(status.out.contains(wanted), "{wanted} is missing:\n{}", status.out);
    }
    assert!(!status.out.contains('\x1b'), "no colours without a terminal");
}

#[test]
fn status_as_json() {
    let node = Node::new();
    node.start(Daemon::lbd(&["nginx/nginx1"]));
    let status = node.tandemctl(&["status", "--json"]);
    assert_eq!(status.code, 69);
    let json: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(json["daemons"]["lbd"]["info"]["version"], "0.1.0");
    assert_eq!(json["daemons"].get("vrrpd"), Some(&serde_json::Value::Null), "it does not run");
    assert!(json["daemons"]["healthd"]["error"].as_str().unwrap().contains("there is no socket"));
    assert_eq!(json["rows"][0]["name"], "nginx1");
    assert_eq!(json["verdicts"], serde_json::json!([]));
}

#[test]
fn a_node_with_vrrpd_shows_its_instances() {
    let node = Node::new();
    node.start(Daemon::lbd(&["nginx/nginx1"]));
    node.start(Daemon::new("healthd"));
    assert!(node.tandemctl(&["status"]).out.contains("vrrpd    not running"));
    node.start(Daemon::vrrpd());
    let status = node.tandemctl(&["status"]);
    assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
    for wanted in ["web is MASTER for 1 s: no master was heard in time", "127.0.0.3/8", "heard 127.0.0.1"] {
        assert!(status.out.contains(wanted), "{wanted} is missing:\n{}", status.out);
    }
}

#[test]
fn a_handover_says_where_the_addresses_went() {
    let node = Node::new();
    let changes = node.start(Daemon::vrrpd());
    let handover = node.tandemctl(&["handover", "web"]);
    let wanted = "handed over web in 4 ms\nweb: 127.0.0.3/8 went from 127.0.0.2 to 127.0.0.1\n";
    assert_eq!((handover.code, handover.out.as_str()), (0, wanted), "{handover:?}");
    assert_eq!(*changes.lock().unwrap(), [Request::Handover { instance: Some("web".into()) }]);
}

#[test]
fn a_handover_that_cannot_be_fails() {
    let node = Node::new();
    let missing = node.tandemctl(&["handover"]);
    assert_eq!(missing.code, 69);
    assert!(missing.err.contains("Start vrrpd"), "{missing:?}");
    node.start(Daemon::vrrpd().refusing(RefusalCode::Failed, "this node is not master"));
    let refused = node.tandemctl(&["handover"]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("vrrpd: this node is not master"), "{refused:?}");
}

#[test]
fn the_other_node_is_the_one_that_vrrpd_heard() {
    let ports = [("lbd", "stat"), ("healthd", "verdicts"), ("vrrpd", "instances")]
        .map(|(daemon, about)| format!("--{daemon}-port={}", serves(daemon, about)));
    let node = Node::new();
    let ask = |host: &[&str]| {
        let ports = ports.iter().map(String::as_str);
        node.tandemctl(&["status"].into_iter().chain(ports).chain(host.iter().copied()).collect::<Vec<_>>())
    };
    node.start(Daemon::lbd(&["nginx/nginx1"]));
    node.start(Daemon::new("healthd"));
    let nobody = ask(&["--peer"]);
    assert_eq!(nobody.code, 0, "this node is shown: {nobody:?}");
    assert!(nobody.out.contains("Without vrrpd no other node is known"), "{nobody:?}");
    node.start(Daemon::vrrpd());
    for (host, name) in
        [(&[][..], "127.0.0.1"), (&["--peer"], "127.0.0.1"), (&["--peer", "localhost"], "localhost")]
    {
        let status = ask(host);
        assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
        let (here, there) =
            status.out.split_once(&format!("\nNode {name}\n")).unwrap_or_else(|| panic!("{status:?}"));
        for wanted in ["This node\n", "lbd      ready", "nginx/nginx1  UP", "web is MASTER for"] {
            assert!(here.contains(wanted), "{wanted} is missing:\n{here}");
        }
        for wanted in ["lbd      ready", "healthd  ready", "vrrpd    ready"] {
            assert!(there.contains(wanted), "{wanted} is missing:\n{there}");
        }
    }
    let json: serde_json::Value = serde_json::from_str(&ask(&["--json"]).out).unwrap();
    assert_eq!(json["rows"][0]["name"], "nginx1");
    assert_eq!((&json["peer"]["host"], &json["peer"]["rows"]), (&"127.0.0.1".into(), &serde_json::json!([])));
    let alone = ask(&["--alone"]);
    assert!(alone.code == 0 && !alone.out.contains("127.0.0.1\n"), "{alone:?}");
}

#[test]
fn a_node_that_was_heard_and_shows_nothing_is_no_failure_unless_asked_for() {
    let node = Node::new();
    node.start(Daemon::lbd(&["nginx/nginx1"]));
    node.start(Daemon::new("healthd"));
    node.start(Daemon::vrrpd());
    // A port that was just free.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports = ["lbd", "healthd", "vrrpd"].map(|daemon| format!("--{daemon}-port={free}"));
    let ask = |more: &[&str]| {
        let ports = ports.iter().map(String::as_str);
        node.tandemctl(&["status"].into_iter().chain(ports).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let glance = ask(&[]);
    assert_eq!(glance.code, 0, "{glance:?}");
    assert!(glance.out.contains("The other node, 127.0.0.1, is not shown"), "{glance:?}");
    let wanted = ask(&["--peer"]);
    assert_eq!(wanted.code, 69, "{wanted:?}");
    assert!(
        wanted.out.contains(&format!("`admin: {{ bind: 127.0.0.1:{free} }}` in its vrrp.yaml")),
        "{wanted:?}"
    );
}

#[test]
fn what_is_not_open_on_the_other_node_is_said_with_what_to_do() {
    let node = Node::new();
    // A port that was just free, and one where another daemon is.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lbd = serves("lbd", "stat");
    let status = node.tandemctl(&[
        "status",
        "--peer=127.0.0.1",
        &format!("--lbd-port={free}"),
        &format!("--healthd-port={lbd}"),
        &format!("--vrrpd-port={free}"),
    ]);
    assert_eq!(status.code, 69);
    for wanted in
        ["open to its own node alone", "is lbd, not healthd", "say with --healthd-port", "in its vrrp.yaml"]
    {
        assert!(status.out.contains(wanted), "{wanted} is missing:\n{}", status.out);
    }
}

#[test]
fn who_may_not_look_is_not_told_that_nothing_runs() {
    let node = Node::new();
    node.start(Daemon::lbd(&["nginx/nginx1"]));
    node.start(Daemon::new("healthd"));
    node.start(Daemon::vrrpd());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandemctl"));
    command.arg("--run-dir").arg(node.run_dir()).arg("status");
    if nix::unistd::geteuid().is_root() {
        // Root may do everything, so somebody else has to try.
        command.uid(65_534).gid(65_534);
    } else {
        let closed = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(node.socket("vrrpd").parent().unwrap(), closed).unwrap();
    }
    let status = Outcome::of(command.output().unwrap());
    assert_eq!(status.code, 69, "{status:?}");
    assert!(status.out.contains("no permission for") && !status.out.contains("not running"), "{status:?}");
}

#[test]
fn absent_daemons_are_told_apart_from_dead_ones() {
    let node = Node::new();
    // A listener that is dropped leaves its socket's name behind.
    drop(UnixListener::bind(node.socket("healthd")).unwrap());
    let status = node.tandemctl(&["status"]);
    assert_eq!(status.code, 69);
    assert!(status.out.contains(&format!("no socket {}", node.socket("lbd").display())), "{status:?}");
    assert!(status.out.contains("nobody listens on"), "{status:?}");
}

#[test]
fn a_daemon_that_hangs_is_not_waited_for() {
    let node = Node::new();
    let _hangs = UnixListener::bind(node.socket("lbd")).unwrap();
    node.start(Daemon::new("healthd"));
    let status = node.tandemctl(&["status"]);
    assert_eq!(status.code, 69);
    assert!(status.out.contains("lbd does not answer"), "{status:?}");
    assert!(status.out.contains("healthd  ready"), "{status:?}");
}

#[test]
fn servers_are_drained_and_brought_back() {
    let node = Node::new();
    let changes = node.start(Daemon::lbd(&["nginx/nginx1", "nginx/nginx2", "other/nginx2"]));
    let drain = node.tandemctl(&["drain", "nginx/nginx1"]);
    assert_eq!((drain.code, drain.out.as_str()), (0, "nginx/nginx1: state drain; 2 requests in flight\n"));
    for arguments in [["ready", "nginx1"], ["maint", "nginx1"]] {
        assert_eq!(node.tandemctl(&arguments).code, 0);
    }
    assert_eq!(node.tandemctl(&["weight", "nginx/nginx1", "7"]).code, 0);
    let wanted = [
        set(Some(AdminState::Drain), None),
        set(Some(AdminState::Ready), None),
        set(Some(AdminState::Maint), None),
        set(None, Weight::new(7)),
    ];
    assert_eq!(*changes.lock().unwrap(), wanted);

    let ambiguous = node.tandemctl(&["drain", "nginx2"]);
    assert_eq!(ambiguous.code, 1);
    assert!(ambiguous.err.contains("say `nginx/nginx2` or `other/nginx2`"), "{ambiguous:?}");
    let unknown = node.tandemctl(&["drain", "ngin1"]);
    assert!(unknown.err.contains("did you mean `nginx1`?"), "{unknown:?}");
    assert_eq!(changes.lock().unwrap().len(), wanted.len(), "neither reached lbd");
}

#[test]
fn refusals_are_passed_on_with_what_to_do() {
    let node = Node::new();
    node.start(Daemon::lbd(&["nginx/nginx1"]).refusing(RefusalCode::Forbidden, "permission denied"));
    let drain = node.tandemctl(&["drain", "nginx1"]);
    assert_eq!((drain.code, drain.out.as_str()), (1, ""));
    assert!(drain.err.starts_with("tandemctl: lbd: permission denied\nOnly root"), "{drain:?}");
    assert!(drain.err.contains("sudo"), "{drain:?}");
}

#[test]
fn a_file_that_lbd_refuses_is_not_healthds_either() {
    let node = Node::new();
    node.start(Daemon::new("lbd").refusing(RefusalCode::Failed, "lb.yaml:3:1: error: unknown key"));
    let healthd = node.start(Daemon::new("healthd"));
    let reload = node.tandemctl(&["reload"]);
    assert_eq!(reload.code, 1);
    assert_eq!(reload.out, "healthd: not asked, as lbd has refused the file\n");
    assert!(reload.err.contains("lbd: lb.yaml:3:1: error: unknown key"), "{reload:?}");
    assert!(healthd.lock().unwrap().is_empty());
}

#[test]
fn reload_asks_healthd_alone_where_lbd_is_absent() {
    let node = Node::new();
    let healthd = node.start(Daemon::new("healthd"));
    let reload = node.tandemctl(&["reload"]);
    assert_eq!((reload.code, reload.out.as_str()), (69, "healthd: generation 2 is in force\n"));
    assert_eq!(*healthd.lock().unwrap(), [Request::Reload]);
}

#[test]
fn reload_of_one_daemon_alone_says_that_the_other_is_absent() {
    let node = Node::new();
    node.start(Daemon::new("lbd"));
    let reload = node.tandemctl(&["reload"]);
    assert_eq!((reload.code, reload.out.as_str()), (69, "lbd: generation 2 is in force\n"));
    assert!(reload.err.contains("Start healthd"), "{reload:?}");
}

#[test]
fn without_permission_for_the_socket_it_says_who_has_it() {
    let node = Node::new();
    node.start(Daemon::new("lbd"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandemctl"));
    command.arg("--run-dir").arg(node.run_dir()).args(["drain", "nginx1"]);
    let permissions = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    if nix::unistd::geteuid().is_root() {
        // Root may do everything, so somebody else has to try.
        permissions(node.run_dir(), 0o755);
        command.uid(65_534).gid(65_534);
    } else {
        permissions(&node.socket("lbd"), 0o000);
    }
    let drain = Outcome::of(command.output().unwrap());
    assert_eq!(drain.code, 69, "{drain:?}");
    assert!(drain.err.contains("no permission for") && drain.err.contains("sudo"), "{drain:?}");
}

#[test]
fn wrong_usage_is_2() {
    let node = Node::new();
    for arguments in [&["drain"][..], &["weight", "a/b", "257"], &["weight", "a/b"], &["check"], &["stauts"]]
    {
        let outcome = node.tandemctl(arguments);
        assert_eq!(outcome.code, 2, "{arguments:?}: {outcome:?}");
    }
    assert!(node.tandemctl(&["stauts"]).err.contains("status"));
}

#[test]
fn completions_are_printed() {
    let node = Node::new();
    let bash = node.tandemctl(&["completions", "bash"]);
    assert_eq!(bash.code, 0);
    assert!(bash.out.contains("complete -F _tandemctl"), "{}", bash.out);
}

#[test]
fn manual_pages_are_written() {
    let node = Node::new();
    assert_eq!(node.tandemctl(&["man", node.run_dir().to_str().unwrap()]).code, 0);
    let page = |name: &str| std::fs::read_to_string(node.run_dir().join(name)).unwrap();
    assert!(page("tandemctl.1").contains("tandemctl\\-status(1)"), "{}", page("tandemctl.1"));
    assert!(page("tandemctl-drain.1").contains("close\\-after"));
}
