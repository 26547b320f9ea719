//! PostgreSQL.

use std::fs;

use config::Probe;
use health::CheckCode::{L4Con, L7Ok, L7Sts};
use testkit::{Addresses, Postgres, needs, skip};

use crate::finds;
use crate::haproxy::Haproxy;

fn as_user(user: &str) -> Probe {
    Probe::Postgres { user: user.to_owned(), database: None }
}

#[test]
fn a_server_in_its_states() {
    needs!("haproxy", "psql");
    if !Postgres::is_installed() {
        skip!("PostgreSQL is not installed");
    }
    let addresses = Addresses::claim();
    let mut server = Postgres::start(addresses.socket(11, 5432));
    let address = server.address();
    let checks =
        [("known", "option pgsql-check user test"), ("stranger", "option pgsql-check user stranger")];
    let haproxy = Haproxy::start(address, &checks);

    // Everybody who exists is let in.
    let database = |name: &str| Probe::Postgres { user: "test".into(), database: Some(name.into()) };
    finds(&database("postgres"), address, L7Ok, "session granted");
    finds(&database("nowhere"), address, L7Sts, "FATAL 3D000: database \"nowhere\" does not exist");
    haproxy.finds("known", "L7OK");
    // The server has let them pass, and finds only then that there is no such database or user.
    finds(&as_user("test"), address, L7Ok, "FATAL 3D000: database \"test\" does not exist");
    finds(&as_user("stranger"), address, L7Ok, "FATAL 28000: role \"stranger\" does not exist");
    haproxy.finds("stranger", "L7OK");

    // Passwords are wanted.
    let rules = server.data().join("pg_hba.conf");
    fs::write(&rules, "host postgres test 127.0.0.0/8 trust\nhost all all 127.0.0.0/8 scram-sha-256\n")
        .unwrap();
    server.reload();
    for user in ["test", "stranger"] {
        finds(&as_user(user), address, L7Ok, "asks for a password");
    }
    haproxy.finds("known", "L7OK");

    // The check is not let in at all.
    fs::write(&rules, "host postgres test 127.0.0.0/8 trust\n").unwrap();
    server.reload();
    finds(&as_user("stranger"), address, L7Sts, "FATAL 28000: no pg_hba.conf entry for host \"127.0.0.1\"");
    haproxy.finds("stranger", "L7RSP");
    finds(&database("postgres"), address, L7Ok, "session granted");

    // It is up, and lets nobody in: a standby that does not serve.
    server.stop();
    finds(&as_user("test"), address, L4Con, "Connection refused");
    haproxy.finds("known", "L4CON");
    fs::write(server.data().join("standby.signal"), "").unwrap();
    let mut settings = fs::read_to_string(server.data().join("postgresql.conf")).unwrap();
    settings += "\nhot_standby = off\nrestore_command = 'false'\n";
    fs::write(server.data().join("postgresql.conf"), settings).unwrap();
    server.launch();
    finds(&as_user("test"), address, L7Sts, "FATAL 57P03: the database system is ");
    haproxy.finds("known", "L7RSP");
}
