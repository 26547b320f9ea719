//! TCP mode in front of real PostgreSQL servers.

use std::fs;
use std::net::SocketAddr;

use testkit::{Postgres, SERVER_PORT, Stack, needs, psql_client, skip, wait_until};

/// A server with a database that has one row: its number.
fn numbered(number: u8, address: SocketAddr) -> Postgres {
    let server = Postgres::start(address);
    let made = server.psql(&format!("create table me (number int); insert into me values ({number})"));
    assert!(made.status.success());
    server
}

fn answer(address: SocketAddr, query: &str) -> String {
    let output = psql_client(address).args(["-c", query]).output().unwrap();
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_pair_of_databases_behind_one_address() {
    needs!("psql");
    if !Postgres::is_installed() {
        skip!("PostgreSQL is not installed");
    }
    let mut servers = Vec::new();
    let stack = Stack::builder()
        .servers(0)
        .frontend("mode: tcp")
        .backend("mode: tcp\non_down: close_sessions")
        .config(|config, addresses| {
            config.check = "{ interval: 200ms, fall: 2 }".to_owned();
            for number in [1, 2] {
                let address = addresses.socket(10 + number, SERVER_PORT);
                servers.push(numbered(number, address));
                config.server(&format!("s{number}"), address);
            }
        })
        .start();
    for server in ["s1", "s2"] {
        stack.wait_for_status(server, "UP");
    }
    let seen: Vec<_> = (0..4).map(|_| answer(stack.web(), "select number from me")).collect();
    assert!(seen.iter().any(|one| one == "1") && seen.iter().any(|one| one == "2"), "{seen:?}");

    // A result, and a copy in, of megabytes.
    let long = answer(stack.web(), "select repeat('tandem', 1000000)");
    assert!(long.len() == 6_000_000 && long.starts_with("tandemtandem"), "{} bytes", long.len());
    let rows: String = (0..200_000).map(|row| format!("{row}\n")).collect();
    let file = stack.dir().join("rows");
    fs::write(&file, rows).unwrap();
    let script = format!(
        "create temporary table t (n int);\n\\copy t from '{}'\nselect count(*), sum(n) from t;\n",
        file.display()
    );
    let input = stack.dir().join("script.sql");
    fs::write(&input, script).unwrap();
    let copied = psql_client(stack.web()).arg("-f").arg(&input).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&copied.stdout).trim(), "200000|19999900000", "{copied:?}");

    // A session whose server stops hears of it, and the next one goes to the other.
    stack.tandemctl_ok(&["drain", "app/s2"]);
    wait_until("new sessions go to the first", || answer(stack.web(), "select number from me") == "1");
    let mut waiting = psql_client(stack.web());
    let waiting = waiting
        .args(["-c", "select pg_sleep(600)"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let sleeps =
        "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'";
    wait_until("the server works on it", || answer(servers[0].address(), sleeps) == "1");
    stack.tandemctl_ok(&["ready", "app/s2"]);
    servers[0].stop();
    let ended = waiting.wait_with_output().unwrap();
    assert!(!ended.status.success(), "its server is gone");
    assert_eq!(answer(stack.web(), "select number from me"), "2");
    servers[0].restart();
    stack.wait_for_status("s1", "UP");
    wait_until("the first is back", || answer(stack.web(), "select number from me") == "1");
}
