//! Names and passwords for the admin pages, with the tools that people use.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Client, Network, Response, Stack, VrrpNode, is_root, needs, skip, wait_until};

/// A hash as people make it.
fn openssl(scheme: &str, password: &str) -> String {
    let output = Command::new("openssl").args(["passwd", scheme, password]).output().expect("openssl runs");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn status(address: SocketAddr, path: &str, fields: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    client.response()
}

/// What curl is answered.
fn curl(address: SocketAddr, path: &str, user: &str) -> String {
    let url = format!("http://{address}{path}");
    let output = Command::new("curl")
        .args(["--silent", "--user", user, "--output", "/dev/null", "--write-out", "%{http_code}", &url])
        .output()
        .expect("curl runs");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn who_has_no_password_sees_only_what_is_open() {
    needs!("openssl", "curl");
    let (alice, bob) = (openssl("-6", "correct horse"), openssl("-5", "p:q"));
    let mut stack = Stack::start();
    let pages = [stack.config.admin, stack.config.healthd_admin];
    for address in pages {
        assert_eq!(status(address, "/", "").status, 200, "nobody is asked");
    }
    let admin = |users: &str, more: &str| format!("users: {{ {users} }}{more}");
    let configure = |stack: &mut Stack, access: &str| {
        let text = stack.config.to_string();
        let text = text.replace(
            &format!("admin: {{ bind: \"{}\" }}\n", stack.config.admin),
            &format!("admin: {{ bind: \"{}\", {access} }}\n", stack.config.admin),
        );
        let text = text.replace(
            &format!("bind: \"{}\" }}", stack.config.healthd_admin),
            &format!("bind: \"{}\", {access} }}", stack.config.healthd_admin),
        );
        stack.write_config_text(&text);
        stack.tandemctl_ok(&["reload"]);
    };
    configure(&mut stack, &admin(&format!("alice: \"{alice}\", bob: \"{bob}\""), ""));
    for address in pages {
        for path in ["/", "/metrics", "/status.json", "/;csv", "/nothing"] {
            let answer = status(address, path, "");
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.field("www-authenticate").is_some_and(|field| field.starts_with("Basic realm=")));
        }
        assert_eq!([status(address, "/ready", "").status, status(address, "/health", "").status], [200, 200]);
        for (user, expected) in [
            ("alice:correct horse", "200"),
            ("bob:p:q", "200"),
            ("alice:p:q", "401"),
            ("carol:correct horse", "401"),
            ("alice:", "401"),
        ] {
            assert_eq!(curl(address, "/", user), expected, "{user}");
        }
        assert_eq!(curl(address, "/metrics", "bob:p:q"), "200");
    }
    stack.lbd.wait_to_tell("a wrong name or password for the admin pages");
    stack.healthd.wait_to_tell("a wrong name or password for the admin pages");
    // tandemctl asks at the socket, and at those of another node as everybody does.
    stack.tandemctl_ok(&["status"]);
    let [lbd, healthd] = pages.map(|address| address.port().to_string());
    let host = pages[0].ip().to_string();
    let other = ["status", "--peer", &host, "--lbd-port", &lbd, "--healthd-port", &healthd];
    let shown = |args: &[&str]| {
        let output = stack.tandemctl(&[&other, args].concat());
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert!(shown(&[]).contains("TANDEM_USER=NAME:PASSWORD"), "{}", shown(&[]));
    assert!(
        shown(&["--user", "bob:p:q"]).contains("3 of 3 servers usable"),
        "{}",
        shown(&["--user", "bob:p:q"])
    );

    configure(&mut stack, &admin(&format!("bob: \"{bob}\""), ", open: metrics"));
    for address in pages {
        assert_eq!(status(address, "/metrics", "").status, 200);
        assert_eq!(status(address, "/ready", "").status, 401);
        assert_eq!(curl(address, "/", "alice:correct horse"), "401", "she is no user any more");
        assert_eq!(curl(address, "/", "bob:p:q"), "200");
    }
    let effective = stack.tandemctl_ok(&["check", "--effective", &stack.lbd.config().display().to_string()]);
    assert!(effective.contains("bob") && !effective.contains(&bob[..20]), "{effective}");
}

/// Alice alone is let in, with the password "secret".
fn for_alice() -> Stack {
    let alice = openssl("-6", "secret");
    let stack = Stack::builder().config(|config, _| config.lbd = "workers: 1".to_owned()).start();
    let text = stack.config.to_string().replace(
        &format!("admin: {{ bind: \"{}\" }}\n", stack.config.admin),
        &format!("admin: {{ bind: \"{}\", users: {{ alice: \"{alice}\" }} }}\n", stack.config.admin),
    );
    stack.write_config_text(&text);
    stack.tandemctl_ok(&["reload"]);
    stack
}

#[test]
fn guesses_hold_up_neither_those_who_are_in_nor_the_site() {
    needs!("openssl");
    let stack = for_alice();
    // alice:secret
    let right = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";
    wait_until("she is let in", || status(stack.config.admin, "/", right).status == 200);
    // alice:guess, and nobody waits for the answers.
    let guess = "GET / HTTP/1.1\r\nHost: t\r\nAuthorization: Basic YWxpY2U6Z3Vlc3M=\r\n\r\n";
    let guesses: Vec<Client> = (0..40)
        .map(|_| {
            let mut client = Client::connect(stack.config.admin);
            client.send(guess);
            client
        })
        .collect();
    assert_eq!(status(stack.config.admin, "/metrics", right).status, 200);
    assert_eq!(status(stack.config.admin, "/ready", "").status, 200);
    assert_eq!(stack.get("/").status, 200);
    for mut client in guesses {
        let answer = client.response();
        assert!(matches!(answer.status, 401 | 503), "{answer:?}");
    }
}

/// However many guess, and however fast the machine is: it rests ten times as long as it has checked.
#[test]
fn wrong_passwords_take_a_tenth_of_a_processor_at_most() {
    needs!("openssl");
    let stack = for_alice();
    let wrong = "Authorization: Basic YWxpY2U6Z3Vlc3M=\r\n";
    let begun = Instant::now();
    let admin = stack.config.admin;
    let guess = || {
        let mut checked = 0;
        while checked < 10 {
            checked += u32::from(status(admin, "/", wrong).status == 401);
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(guess))));
    let took = begun.elapsed();
    let used = used_by_thread(stack.lbd.pid(), "passwords");
    assert!(used > Duration::ZERO, "passwords are checked there");
    // The last check may have had no rest yet.
    assert!(used * 9 < took, "{used:?} of {took:?}");
}

/// The processor time of a process's thread.
fn used_by_thread(pid: u32, name: &str) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let is_meant = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap().trim() == name;
    let task = tasks.find(is_meant).unwrap();
    let used = fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(used.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn vrrpd_asks_for_passwords_too() {
    needs!("openssl", "curl");
    if !is_root() {
        skip!("only root has network namespaces");
    }
    let network = Network::new(24);
    let host = network.host("lb1", Ipv4Addr::new(10, 9, 0, 1));
    let mut node =
        VrrpNode::new(host, "virtual_router_id: 51\nvirtual_addresses: [10.9.0.100/24]\ntrack: []");
    let instances = fs::read_to_string(node.vrrpd.config()).unwrap();
    let admin =
        |password: &str| format!("admin: {{ users: {{ alice: \"{}\" }} }}\n", openssl("-6", password));
    fs::write(node.vrrpd.config(), instances.clone() + &admin("first")).unwrap();
    node.vrrpd.start();
    let code = |user: &str, path: &str| {
        let url = format!("http://127.0.0.1:8407{path}");
        node.host.run("curl", &["-s", "-u", user, "-o", "/dev/null", "-w", "%{http_code}", &url])
    };
    assert_eq!(code("alice:first", "/"), "200");
    assert_eq!(code("alice:other", "/"), "401");
    assert_eq!(code("alice:other", "/metrics"), "401");
    assert_eq!(code("alice:other", "/ready"), "200");
    fs::write(node.vrrpd.config(), instances + &admin("other")).unwrap();
    node.vrrpd.reload();
    wait_until("the new password counts", || code("alice:other", "/") == "200");
    assert_eq!(code("alice:first", "/"), "401");
}
