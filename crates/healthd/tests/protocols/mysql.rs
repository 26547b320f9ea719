//! MariaDB.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use config::Probe;
use health::CheckCode::{L4Con, L7Ok, L7Rsp, L7Sts};
use testkit::{Addresses, Nginx, Process, is_root, needs, wait_until};

use crate::haproxy::Haproxy;
use crate::{check, finds};

fn as_user(user: &str) -> Probe {
    Probe::Mysql { user: Some(user.to_owned()) }
}

const ANYBODY: Probe = Probe::Mysql { user: None };

fn start(address: SocketAddr, dir: &Path) -> Process {
    let data = dir.join("data");
    if is_root() {
        assert!(Command::new("chown").arg("mysql").arg(dir).status().unwrap().success());
    }
    let as_its_user = |command: &mut Command| {
        if is_root() {
            command.arg("--user=mysql");
        }
    };
    let mut install = Command::new("mariadb-install-db");
    install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    as_its_user(&mut install);
    let made = install.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new("mariadbd");
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", socket(dir)))
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .args(["--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"]);
    as_its_user(&mut command);
    Process::spawn("mariadbd", command, dir)
}

fn socket(dir: &Path) -> String {
    dir.join("socket").display().to_string()
}

fn sql(dir: &Path, query: &str) -> Output {
    Command::new("mariadb")
        .args(["--no-defaults", "--user=root", "-N", "-B", "-S", &socket(dir), "-e", query])
        .output()
        .unwrap()
}

fn answer(dir: &Path, query: &str) -> String {
    let output = sql(dir, query);
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How many connections have failed to log in, and how many have ended without a goodbye.
fn aborted(dir: &Path) -> String {
    answer(dir, "show global status like 'Aborted_c%'")
}

#[test]
fn a_server_in_its_states() {
    needs!("haproxy", "mariadbd", "mariadb", "mariadb-install-db");
    let addresses = Addresses::claim();
    let address = addresses.socket(11, 3306);
    let dir = tempfile::Builder::new().prefix("tandem-mariadb-").tempdir().unwrap();
    let mut server = start(address, dir.path());
    wait_until("MariaDB answers", || sql(dir.path(), "select 1").status.success());
    answer(
        dir.path(),
        "create user 'free'@'%'; create user 'other'@'%' identified by 'secret'; \
         install soname 'auth_ed25519'; create user 'modern'@'%' identified via ed25519 using password('secret')",
    );

    // Many checks, none of which the server counts as a failed connection.
    let before = aborted(dir.path());
    for _ in 0..20 {
        assert_eq!(check(&as_user("free"), address).code, L7Ok);
    }
    assert_eq!(aborted(dir.path()), before);
    finds(&as_user("free"), address, L7Ok, "MariaDB");
    for user in ["other", "modern", "nobody"] {
        finds(&as_user(user), address, L7Sts, "error 1045: Access denied for user");
    }
    finds(&ANYBODY, address, L7Ok, "MariaDB");

    let checks = [
        ("free", "option mysql-check user free"),
        ("other", "option mysql-check user other"),
        ("nobody", "option mysql-check user nobody"),
    ];
    let haproxy = Haproxy::start(address, &checks);
    haproxy.finds("free", "L7OK");
    haproxy.finds("other", "L7STS");
    haproxy.finds("nobody", "L7STS");

    server.kill();
    finds(&as_user("free"), address, L4Con, "Connection refused");
    haproxy.finds("free", "L4CON");

    // Somebody else answers there.
    let _nginx = Nginx::start(1, address);
    assert!(!check(&as_user("free"), address).code.is_good());
    let redis_like = testkit::RawServer::start(addresses.socket(12, 3306), |peer| peer.send("-ERR\r\n"));
    finds(&ANYBODY, redis_like.address(), L7Rsp, "not a MySQL packet: \"-ERR\\r\\n\"");
}
