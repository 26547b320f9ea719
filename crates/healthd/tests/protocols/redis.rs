//! Redis.

use std::net::SocketAddr;
use std::process::{Command, Output};

use config::Probe;
use health::CheckCode::{L4Con, L7Ok, L7Sts, L7Tout};
use health::dialogue::{RedisRole, Step};
use nix::sys::signal::Signal;
use testkit::{Addresses, Process, needs, wait_until};

use crate::finds;
use crate::haproxy::Haproxy;

const ANY: Probe = Probe::Redis { role: None };
const MASTER: Probe = Probe::Redis { role: Some(RedisRole::Master) };

fn cli(address: SocketAddr, words: &[&str]) -> Output {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    Command::new("redis-cli").args(["-h", &host, "-p", &port]).args(words).output().unwrap()
}

#[test]
fn a_server_in_its_states() {
    needs!("haproxy", "redis-server", "redis-cli");
    let addresses = Addresses::claim();
    let address = addresses.socket(11, 6379);
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("redis-server");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command
        .args(["--bind", &host, "--port", &port, "--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path());
    let mut server = Process::spawn("redis", command, dir.path());
    wait_until("redis answers", || cli(address, &["ping"]).stdout.starts_with(b"PONG"));
    let role =
        "option tcp-check\n tcp-check send info\\ replication\\r\\n\n tcp-check expect string role:master";
    let login = "option tcp-check\n tcp-check send AUTH\\ secret\\r\\n\n tcp-check expect string +OK\n \
                 tcp-check send PING\\r\\n\n tcp-check expect string +PONG";
    let haproxy =
        Haproxy::start(address, &[("any", "option redis-check"), ("master", role), ("login", login)]);
    let login = Probe::Steps(vec![
        Step::Send(b"AUTH secret\r\n".to_vec()),
        Step::Expect(b"+OK".to_vec()),
        Step::Send(b"PING\r\n".to_vec()),
        Step::Expect(b"+PONG".to_vec()),
    ]);

    finds(&ANY, address, L7Ok, "PONG");
    finds(&MASTER, address, L7Ok, "PONG, role master");
    finds(&login, address, L7Tout, "connected, but not \"+OK\" of step 2 within 2 s, only \"-ERR ");
    haproxy.finds("any", "L7OK");
    haproxy.finds("master", "L7OK");

    // It follows somebody, who is not there.
    assert!(cli(address, &["replicaof", "127.0.0.1", "1"]).status.success());
    finds(&ANY, address, L7Ok, "PONG");
    finds(&MASTER, address, L7Sts, "its role is replica, expected master");
    finds(&Probe::Redis { role: Some(RedisRole::Replica) }, address, L7Ok, "PONG, role slave");
    haproxy.finds("any", "L7OK");
    haproxy.finds("master", "L7TOUT");
    assert!(cli(address, &["replicaof", "no", "one"]).status.success());
    finds(&MASTER, address, L7Ok, "PONG, role master");

    // A password is wanted: it may still be loading its data for all that it says.
    assert!(cli(address, &["config", "set", "requirepass", "secret"]).status.success());
    finds(&ANY, address, L7Sts, "NOAUTH Authentication required.");
    finds(&login, address, L7Ok, "all steps went as expected");
    haproxy.finds("any", "L7TOUT");
    haproxy.finds("login", "L7OK");

    // It hangs, and then it is gone.
    server.signal(Signal::SIGSTOP);
    finds(&ANY, address, L7Tout, "connected, but not PONG within 2 s");
    haproxy.finds("login", "L7TOUT");
    server.kill();
    finds(&ANY, address, L4Con, "Connection refused");
    haproxy.finds("login", "L4CON");
}
