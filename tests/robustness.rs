//! What must not break lbd: scarce resources, noise, readers that do not read, a second instance, strangers.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use testkit::{Client, Held, Load, Program, Stack, binary, get, is_root, needs, pattern, skip, wait_until};

/// A load that nobody waits for.
fn busy(clients: usize, requests: u64, stack: &Stack) -> testkit::Report {
    Load { clients, pause: Duration::ZERO, ..Load::default() }.run(stack.web(), requests)
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let mut stack = Stack::builder().without_lbd().start();
    stack.lbd.open_files(128);
    stack.lbd.start();
    // More connections than lbd may have: some wait in the kernel, none is answered wrongly.
    let hoard: Vec<_> = (0..200).filter_map(|_| Client::try_connect(stack.web(), None).ok()).collect();
    assert!(hoard.len() >= 100, "only {} connections", hoard.len());
    assert!(stack.lbd.is_running());
    drop(hoard);
    wait_until("lbd serves again", || {
        Client::try_connect(stack.web(), None)
            .and_then(|mut client| client.try_get("/"))
            .is_ok_and(|response| response.status == 200)
    });
    busy(4, 200, &stack).assert_nothing_lost();
    assert_eq!(get(stack.config.admin, "/health").status, 200, "its admin port serves, too");
}

#[test]
fn noise_is_refused_and_forgotten() {
    let stack = Stack::start();
    for seed in 1..=300 {
        let mut client = stack.client();
        let length = usize::try_from(seed).unwrap() * 7;
        // lbd may close before everything is sent: that is its answer.
        let _ = client.try_send(pattern(length, seed));
        let _ = client.try_send("\r\n\r\n");
        client.finish_sending_if_open();
        let answer = client.try_rest().unwrap_or_default();
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 5"),
            "{text}"
        );
    }
    busy(4, 200, &stack).assert_nothing_lost();
    for server in &stack.nginx {
        assert!(server.requests().iter().all(|line| line == "GET / 200"), "{:?}", server.requests());
    }
}

#[test]
fn noise_on_the_socket_is_refused_and_forgotten() {
    use std::io::{Read, Write};
    let stack = Stack::start();
    for daemon in [&stack.lbd, &stack.healthd] {
        let lines: [Vec<u8>; 6] = [
            pattern(5000, 1),
            b"{".to_vec(),
            b"{\"hello\":{}}\n".to_vec(),
            b"{\"id\":1,\"request\":\"info\"}\n".to_vec(),
            vec![b'x'; 200_000],
            [b"{\"hello\":\"".to_vec(), vec![b'x'; 200_000]].concat(),
        ];
        for line in lines {
            let mut stream = std::os::unix::net::UnixStream::connect(daemon.socket()).unwrap();
            stream.set_read_timeout(Some(testkit::PATIENCE)).unwrap();
            // Closed early is an answer.
            let _ = stream.write_all(&line);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let ended = stream.read_to_end(&mut answer);
            assert!(
                ended.is_ok()
                    || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
            );
            assert!(answer.len() < 64 << 10, "a flood in answer to noise");
        }
        assert!(testkit::text_command(&daemon.socket(), "show info").contains("Name: "));
    }
}

#[test]
fn a_reader_of_the_access_log_that_stands_still_holds_up_nothing() {
    let mut stack = Stack::builder().without_lbd().start();
    let fifo = stack.dir().join("lbd.out");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Open for both, so that opening waits for nobody; and never read.
    let reader: File = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    stack.lbd.start();
    // Some 8 MB of log, far beyond what the pipe and lbd keep.
    let path = format!("/{}", "x".repeat(900));
    let load = Load { clients: 8, pause: Duration::ZERO, path, ..Load::default() };
    load.run(stack.web(), 8000).assert_nothing_lost();
    let dropped = || stack.metric("tandem_lbd_access_log_dropped_total");
    wait_until("what was dropped is counted", || dropped().is_some_and(|lines| lines > 0.0));
    drop(reader);
}

#[test]
fn a_worker_that_hangs_holds_up_neither_verdicts_nor_operators_nor_reloads() {
    if !is_root() {
        skip!("only root may hold a thread");
    }
    let mut stack = Stack::start();
    let held = Held::hold(stack.lbd.pid(), "worker-0");
    stack.nginx[0].stop();
    stack.wait_for_status("s1", "DOWN");
    stack.tandemctl_ok(&["maint", "app/s2"]);
    stack.wait_for_status("s2", "MAINT");
    stack.reload();
    stack.tandemctl_ok(&["ready", "app/s2"]);
    stack.wait_for_status("s2", "UP");
    drop(held);
    for _ in 0..20 {
        assert_eq!(stack.get("/").status, 200);
    }
}

#[test]
fn a_disk_that_hangs_holds_up_only_who_wishes_something() {
    let mut stack = Stack::builder().servers(2).unchecked().start();
    let file = stack.dir().join("lbd/lbd.servers");
    let new = file.with_extension(format!("servers.{}.new", stack.lbd.pid()));
    // Who opens a pipe to write into it waits until somebody reads.
    mkfifo(&new, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    for wish in [["weight", "app/s1", "7"].as_slice(), &["weight", "app/s1", "8"], &["drain", "app/s2"]] {
        let said = stack.tandemctl_ok(wish);
        assert!(said.contains("not saved yet"), "{said}");
    }
    let in_force = |stack: &Stack| (stack.stat("app", "s1").number("weight"), stack.status("s2"));
    assert_eq!(in_force(&stack), (8, "DRAIN".to_owned()), "saved or not");
    assert_eq!(stack.get("/").status, 200);

    // The disk moves again: the first wish is written, and then all that have come since.
    let first = fs::read_to_string(&new).unwrap();
    assert!(first.contains('7') && !first.contains("drain"), "{first}");
    wait_until("the last wishes are kept", || {
        fs::metadata(&file).is_ok_and(|file| file.is_file())
            && fs::read_to_string(&file).is_ok_and(|kept| kept.contains('8') && kept.contains("drain"))
    });
    let said = stack.tandemctl_ok(&["weight", "app/s1", "9"]);
    assert!(!said.contains("saved"), "{said}");
    stack.lbd.kill();
    stack.lbd.start();
    assert_eq!(in_force(&stack), (9, "DRAIN".to_owned()), "a crash after the answer loses nothing");
}

#[test]
fn a_second_daemon_in_the_same_directory_is_refused() {
    let stack = Stack::start();
    for (program, daemon) in [(Program::Lbd, &stack.lbd), (Program::Healthd, &stack.healthd)] {
        let output = Command::new("timeout")
            .arg("20")
            .arg(binary(program))
            .arg("--config")
            .arg(daemon.config())
            .arg("--run-dir")
            .arg(stack.dir())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code().is_some_and(|code| ![0, 124].contains(&code)),
            "{program:?}: {}\n{told}",
            output.status
        );
        assert!(told.contains(".sock"), "{program:?} says what is in its way: {told}");
        assert!(
            testkit::text_command(&daemon.socket(), "show info")
                .contains(&format!("Pid: {}\n", daemon.pid()))
        );
    }
    busy(2, 100, &stack).assert_nothing_lost();
}

#[test]
fn a_graceful_stop_does_not_wait_for_ever() {
    let mut stack = Stack::builder()
        .config(|config, _| config.lbd = "workers: 1\nstop_timeout: 500ms".to_owned())
        .start();
    for nginx in &stack.nginx {
        nginx.file("endless", 10 << 20);
    }
    let mut client = stack.client();
    client.send("GET /slow/endless HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    // The download would take ten minutes.
    assert_eq!(stack.lbd.stop().code(), Some(0), "{}", stack.lbd.stderr());
}

#[test]
fn strangers_may_not_change_anything() {
    needs!("socat", "setpriv");
    if !is_root() {
        skip!("becoming another user needs root");
    }
    let stack = Stack::start();
    fs::set_permissions(stack.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    // Whatever the socket's mode, the answer to a change is no.
    fs::set_permissions(stack.lbd.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let script = format!(
        "echo 'set server app/s1 state maint' | socat -t20 stdio UNIX-CONNECT:{}",
        stack.lbd.socket().display()
    );
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &script])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(told.contains("permission") || told.contains("may"), "it says why: {told:?}");
    assert_eq!(stack.status("s1"), "UP");
}

#[test]
fn both_families_of_addresses_work() {
    let v6 = TcpListener::bind("[::1]:0").map(|listener| listener.local_addr().unwrap());
    let Ok(address) = v6 else { skip!("this machine has no IPv6 loopback") };
    let mut stack = Stack::start();
    stack.config.more_frontends = format!("six:\n  bind: [\"{address}\"]\n  backend: app");
    stack.reload();
    let mut client = Client::connect(address);
    let told = client.get("/headers").text();
    assert!(told.contains("\nx-forwarded-for=::1\n"), "{told}");
}

#[test]
fn a_taken_admin_address_is_named_with_its_key() {
    let mut stack = Stack::builder().without_lbd().without_healthd().start();
    stack.write_config();
    let (admin, healthd_admin) = (stack.config.admin, stack.config.healthd_admin);
    for (daemon, key, address) in
        [(&mut stack.lbd, "admin.bind", admin), (&mut stack.healthd, "healthd.admin.bind", healthd_admin)]
    {
        let _holder = TcpListener::bind(address).unwrap();
        drop(daemon.spawn());
        assert!(!daemon.wait().success());
        let holder = format!("(process {}) listens there already", std::process::id());
        daemon.wait_to_tell(&format!("{key}: cannot listen on {address}: "));
        daemon.wait_to_tell(&holder);
    }
}

#[test]
fn an_address_that_cannot_be_had_is_told_with_its_place_in_the_file() {
    let mut stack = Stack::builder().without_lbd().without_healthd().start();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    stack.config.more_frontends = format!("more:\n  bind: [\"{taken}\"]\n  backend: app");
    let holder = format!("(process {}) listens there already", std::process::id());
    told_at_the_start(&mut stack, &taken.to_string(), &holder);
    stack.config.more_frontends = String::new();
    stack.config.admin = "192.0.2.1:8404".parse().unwrap();
    told_at_the_start(
        &mut stack,
        "192.0.2.1",
        "no interface of this machine has the address 192.0.2.1; give one",
    );
}

fn told_at_the_start(stack: &mut Stack, address: &str, why: &str) {
    stack.write_config();
    let text = fs::read_to_string(stack.dir().join("lb.yaml")).unwrap();
    let (index, line) = text.lines().enumerate().find(|(_, line)| line.contains(address)).unwrap();
    let column = line.find(['"', '1']).unwrap() + 1;
    drop(stack.lbd.spawn());
    assert!(!stack.lbd.wait().success());
    stack.lbd.wait_to_tell(&format!("lb.yaml:{}:{column}: ", index + 1));
    stack.lbd.wait_to_tell(why);
}

#[test]
fn an_address_that_no_interface_has_is_told_of_and_listened_for() {
    let mut stack = Stack::start();
    stack.config.more_frontends = "far:\n  bind: [\"192.0.2.1:8080\"]\n  backend: app".to_owned();
    stack.reload();
    stack.lbd.wait_to_tell("no interface has 192.0.2.1 now");
    assert_eq!(stack.get("/").status, 200);
}
