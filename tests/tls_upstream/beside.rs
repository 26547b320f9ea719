//! The same servers behind HAProxy with `ssl verify required`.

use std::path::Path;

use testkit::{
    Authority, CertificateKey, Haproxy, LogLine, RawServer, SERVER_PORT, Stack, get, needs, wait_for,
    wait_until,
};

use super::{NAMES, before, handshakes, quoted, secured};

/// HAProxy before the server of a stack, with more words for that.
fn beside(stack: &Stack, more: &str) -> Haproxy {
    let server = stack.server_address(1);
    Haproxy::beside(stack, "http", |bind| {
        format!(
            "listen web\n bind {bind}\n log stdout format raw local0\n option httplog\n retries 1\n timeout connect 1s\n \
             server s {server} ssl verify required {more} alpn http/1.1\n"
        )
    })
}

/// How the log of somebody's tells of a request.
fn told(log: impl Fn() -> String, target: &str) -> LogLine {
    wait_for(&format!("{target} is in the log"), || {
        log().lines().filter_map(LogLine::parse).find(|line| line.target == target)
    })
}

#[test]
fn haproxy_believes_the_same_servers_and_tells_the_same_of_them() {
    needs!("haproxy");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    let rsa = authority.issue("rsa.pem", NAMES, CertificateKey::Rsa);
    let old = authority.issue_until("old.pem", NAMES, CertificateKey::Ecdsa, Some((2021, 2, 3)));
    let early = authority.issue_until("early.pem", NAMES, CertificateKey::Ecdsa, Some((2120, 2, 3)));
    let revoked = authority.issue("revoked.pem", NAMES, CertificateKey::Ecdsa);
    let lists = authority.revoke(&[&revoked], (2120, 1, 1));
    let cases = [
        ("good", &good, &authority, "app.example", None::<&Path>, 200),
        ("good by its star", &rsa, &authority, "a.apps.example", None, 200),
        ("two labels for a star", &good, &authority, "a.b.apps.example", None, 503),
        ("expired", &old, &authority, "app.example", None, 503),
        ("not yet valid", &early, &authority, "app.example", None, 503),
        ("wrong name", &good, &authority, "other.example", None, 503),
        ("unknown authority", &good, &stranger, "app.example", None, 503),
        ("not revoked", &good, &authority, "app.example", Some(&lists), 200),
        ("revoked", &revoked, &authority, "app.example", Some(&lists), 503),
    ];
    for (case, certificate, ca, name, lists, status) in cases {
        let crl = lists.map(|file| format!(", server_crl: {}", quoted(file))).unwrap_or_default();
        let tls = format!("server_ca: {}, server_name: {name}{crl}", quoted(&ca.ca_file()));
        let (stack, nginx) = before(&tls, secured(certificate.clone()));
        let stack = stack.start();
        let crl = lists.map(|file| format!(" crl-file {}", file.display())).unwrap_or_default();
        let more = format!("ca-file {} sni str({name}){crl}", ca.ca_file().display());
        let haproxy = beside(&stack, &more);
        let [ours, theirs] = [stack.web(), haproxy.address()].map(|address| get(address, "/told").status);
        assert_eq!([ours, theirs], [status; 2], "{case}");
        match status {
            // It logs when it has answered.
            200 => wait_until("both requests are logged", || nginx.requests().len() == 2),
            _ => assert_eq!(nginx.requests().len(), 0, "{case}"),
        }
        let [ours, theirs] =
            [told(|| stack.lbd.stdout(), "/told"), told(|| haproxy.process().stdout(), "/told")];
        assert_eq!((ours.status, &ours.termination), (theirs.status, &theirs.termination), "{case}");
    }
}

/// A server that accepts, and says nothing.
#[test]
fn a_handshake_that_takes_too_long_is_told_as_one() {
    needs!("haproxy");
    let authority = Authority::new();
    let mut server = None;
    let stack = Stack::builder().servers(0).unchecked().config(|config, addresses| {
        let address = addresses.socket(11, SERVER_PORT);
        server = Some(RawServer::start(address, |peer| peer.stall()));
        config.server("s1", address);
        config.backend = format!(
            "tls: {{ server_ca: {}, server_name: app.example }}\ntimeouts: {{ connect: 1s }}\nretries: 1",
            quoted(&authority.ca_file())
        );
        config.lbd = "workers: 1".to_owned();
    });
    let stack = stack.start();
    let haproxy = beside(&stack, &format!("ca-file {} sni str(app.example)", authority.ca_file().display()));
    let [ours, theirs] = [stack.web(), haproxy.address()].map(|address| get(address, "/told").status);
    assert_eq!([ours, theirs], [503, 503]);
    let [ours, theirs] = [told(|| stack.lbd.stdout(), "/told"), told(|| haproxy.process().stdout(), "/told")];
    assert_eq!((ours.status, &ours.termination), (theirs.status, &theirs.termination));
    assert_eq!(ours.termination, "sC");
    assert!(handshakes(&stack, "failed") >= 1.0);
    stack.lbd.wait_to_tell("the handshake was not complete within timeouts.connect");
    // Where there is no connection at all, there is no handshake that failed.
    let failed = handshakes(&stack, "failed");
    drop(server);
    assert_eq!(get(stack.web(), "/none").status, 503);
    assert_eq!(handshakes(&stack, "failed"), failed);
}
