//! OpenSMTPD.

use std::fs;
use std::process::Command;

use config::Probe;
use health::CheckCode::{L4Con, L7Ok};
use testkit::{Addresses, Process, is_root, needs, skip};

use crate::finds;
use crate::haproxy::Haproxy;

#[test]
fn a_server_in_its_states() {
    needs!("haproxy", "smtpd");
    if !is_root() {
        skip!("OpenSMTPD starts as root");
    }
    let addresses = Addresses::claim();
    let address = addresses.socket(11, 25);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("smtpd.conf");
    let rules = format!(
        "listen on {} port {} hostname mail.example.org\nlisten on socket\naction \"a\" mbox\nmatch from local for local action \"a\"\n",
        address.ip(),
        address.port()
    );
    fs::write(&config, rules).unwrap();
    let mut command = Command::new("smtpd");
    command.arg("-d").arg("-f").arg(&config);
    let mut server = Process::spawn("smtpd", command, dir.path());

    let probe = Probe::Smtp { domain: "lb1.example.org".to_owned() };
    let checks = [("hello", "option smtpchk"), ("extended", "option smtpchk EHLO lb1.example.org")];
    finds(&probe, address, L7Ok, "220 mail.example.org ESMTP OpenSMTPD");
    let haproxy = Haproxy::start(address, &checks);
    haproxy.finds("hello", "L7OK");
    haproxy.finds("extended", "L7OK");

    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait();
    finds(&probe, address, L4Con, "Connection refused");
    haproxy.finds("hello", "L4CON");
}
