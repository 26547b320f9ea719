//! Files that say who servers are, whom their authority has revoked, and what changes in them.

use std::fs;

use testkit::{Authority, CertificateKey, wait_until};

use super::{NAMES, before, checked, quoted, secured, verified};

/// Puts a file in the place of another one, as whoever renews something does.
fn put(from: &std::path::Path, to: &std::path::Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap();
    fs::rename(new, to).unwrap();
}

#[test]
fn what_is_in_the_files_counts_without_a_reload() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let believed = authority.dir().join("believed.crt");
    put(&stranger.ca_file(), &believed);
    let tls = format!("server_ca: {}, server_name: app.example", quoted(&believed));
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let (stack, _nginx) = checked(&tls, "{ http: { path: /health }", secured(certificate));
    stack.wait_for_status("s1", "DOWN");
    assert_eq!(stack.get("/").status, 503);

    put(&authority.ca_file(), &believed);
    stack.wait_for_status("s1", "UP");
    wait_until("lbd believes it, too", || stack.get("/").status == 200);
    for daemon in [&stack.lbd, &stack.healthd] {
        daemon.wait_to_tell("TLS to servers takes what its files say now");
    }

    fs::write(&believed, "no certificate").unwrap();
    for daemon in [&stack.lbd, &stack.healthd] {
        daemon.wait_to_tell("TLS to servers stays as it is");
        assert!(
            daemon.stderr().contains("believed.crt: there is no certificate in it"),
            "{}",
            daemon.stderr()
        );
    }
    assert_eq!(stack.get("/").status, 200);
    assert_eq!(stack.status("s1"), "UP");

    // A connection of before is not used again.
    put(&stranger.ca_file(), &believed);
    wait_until("nobody gets a request", || stack.get("/").status == 503);
    stack.wait_for_status("s1", "DOWN");
}

#[test]
fn a_server_that_is_revoked_gets_no_more_requests() {
    let authority = Authority::new();
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let lists = authority.revoke(&[], (2120, 1, 1));
    let tls = verified(&authority, &format!(", server_name: app.example, server_crl: {}", quoted(&lists)));
    let (stack, _nginx) = before(&tls, secured(certificate.clone()));
    let stack = stack.start();
    assert_eq!(stack.get("/").status, 200);
    authority.revoke(&[&certificate], (2120, 1, 1));
    wait_until("it is not believed any more", || stack.get("/").status == 503);
    stack.lbd.wait_to_tell("the server's certificate is revoked");
    // A list that is late may be the one that revokes.
    authority.revoke(&[], (2021, 1, 1));
    stack.lbd.wait_to_tell("until it is, everybody is taken for revoked");
    assert_eq!(stack.get("/").status, 503);
    authority.revoke(&[], (2120, 1, 1));
    wait_until("it is believed again", || stack.get("/").status == 200);
}
