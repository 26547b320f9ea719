//! OCSP staples, by openssl's authority and for its client.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use testkit::{Haproxy, Stack, needs, wait_until};

use super::openssl::{Openssl, Verdict};
use super::{LAST_REQUEST, s_client, said};

/// A day.
const LONG: u32 = 24 * 60;

fn start(certificate: &Path) -> Stack {
    let tls = format!("{{ certificates: [\"{}\"] }}", certificate.display());
    Stack::builder().unchecked().servers(1).config(|config, _| config.tls = tls).start()
}

fn beside(certificate: &Path) -> PathBuf {
    format!("{}.ocsp", certificate.display()).into()
}

/// Whether a client that asks for a staple gets one, which openssl finds right.
fn is_stapled(stack: &Stack, authority: &Openssl, version: &str) -> bool {
    let ca = authority.ca_file().display().to_string();
    let args = ["-status", version, "-servername", "app.example", "-CAfile", &ca, "-verify_return_error"];
    let said = said(&s_client(stack.web(), &args, LAST_REQUEST));
    assert!(said.contains("NGINX Instance 1") && said.contains("Verify return code: 0 (ok)"), "{said}");
    let has = said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good");
    assert_ne!(has, said.contains("OCSP response: no response sent"), "{said}");
    has
}

fn check(stack: &Stack) -> String {
    said(&stack.tandemctl(&["check", &stack.dir().join("lb.yaml").display().to_string()]))
}

/// What is shown of the days that are left to the staple.
fn days(stack: &Stack) -> String {
    let shown = stack.tandemctl_ok(&["certificates"]);
    shown.lines().nth(1).unwrap().split_whitespace().nth(3).unwrap().to_owned()
}

#[test]
fn what_the_authority_says_is_presented_while_it_counts() {
    needs!("faketime");
    let authority = Openssl::new();
    let certificate = authority.server("site", false);
    let staple = beside(&certificate);
    authority.staple(&certificate, &Verdict::Good, "-60s", LONG, &staple);
    let stack = start(&certificate);
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(is_stapled(&stack, &authority, version), "{version}");
    }
    assert_eq!(days(&stack), "0");
    assert!(!check(&stack).contains("warning"), "{}", check(&stack));

    // One that ends while it is there.
    let metric = |stack: &Stack| {
        let series = format!(
            "tandem_frontend_staple_expiry_timestamp_seconds{{proxy=\"web\",address=\"{}\",name=\"app.example\",file=\"{}\"}}",
            stack.web(),
            certificate.display()
        );
        stack.metric(&series)
    };
    let before = metric(&stack).unwrap();
    authority.staple(&certificate, &Verdict::Good, "-40s", 2, &staple);
    wait_until("the next one is presented", || metric(&stack).is_some_and(|until| until < before));
    wait_until("it is presented no more", || !is_stapled(&stack, &authority, "-tls1_3"));
    assert!(metric(&stack).is_none());
    assert!(staple.exists());
    stack.lbd.wait_to_tell("this OCSP staple is not presented: its time ended on");

    authority.staple(&certificate, &Verdict::Good, "-60s", LONG, &staple);
    wait_until("another one is presented", || is_stapled(&stack, &authority, "-tls1_3"));
    fs::remove_file(&staple).unwrap();
    wait_until("none is presented", || !is_stapled(&stack, &authority, "-tls1_3"));
    assert_eq!(days(&stack), "-");
}

#[test]
fn what_cannot_be_presented_is_told_and_holds_up_nobody() {
    needs!("faketime");
    let authority = Openssl::new();
    let [certificate, other] = ["site", "other"].map(|name| authority.server(name, name == "site"));
    let staple = beside(&certificate);
    let stack = start(&certificate);
    let missing = "is to be presented with an OCSP staple alone (must-staple), and there is none that counts";
    assert!(check(&stack).contains(missing), "{}", check(&stack));
    let told = |why: &str| {
        let said = check(&stack);
        let line = said.lines().find(|line| line.contains("this OCSP staple is not presented"));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        assert!(
            line.contains("lb.yaml:") && line.contains("warning") && line.contains("site.pem.ocsp"),
            "{line}"
        );
        assert!(line.contains(why) && said.contains(missing), "{said}");
    };
    fs::write(&staple, "no staple").unwrap();
    told("it is no OCSP response in DER");
    authority.staple(&other, &Verdict::Good, "-60s", LONG, &staple);
    told("it is about another certificate");
    authority.staple(&certificate, &Verdict::Revoked, "-60s", LONG, &staple);
    told("it says that the certificate is revoked");
    authority.staple(&certificate, &Verdict::Good, "-2d", LONG, &staple);
    told("its time ended on");
    assert!(stack.command("reload").contains("reloaded"));
    assert!(!is_stapled(&stack, &authority, "-tls1_3"));

    authority.staple(&certificate, &Verdict::Good, "-60s", LONG, &staple);
    wait_until("the right one is presented", || is_stapled(&stack, &authority, "-tls1_3"));
    assert!(!check(&stack).contains("warning"), "{}", check(&stack));
}

/// What cannot be read anew is presented for no longer than it counts.
#[test]
fn a_staple_ends_while_its_certificate_cannot_be_read() {
    needs!("faketime");
    let authority = Openssl::new();
    let certificate = authority.server("site", false);
    authority.staple(&certificate, &Verdict::Good, "-30s", 2, &beside(&certificate));
    let stack = start(&certificate);
    assert!(is_stapled(&stack, &authority, "-tls1_3"));
    fs::write(&certificate, "no certificate").unwrap();
    stack.lbd.wait_to_tell("TLS stays as it is");
    wait_until("it is presented no more", || !is_stapled(&stack, &authority, "-tls1_3"));
}

/// What openssl says of the staple that it got.
fn staple(address: SocketAddr, version: &str) -> String {
    let said = said(&s_client(address, &["-status", version, "-servername", "app.example"], LAST_REQUEST));
    assert!(said.contains("NGINX Instance 1"), "{said}");
    let (_, from) = said.split_once("OCSP response:").unwrap_or_else(|| panic!("{said}"));
    from.split("\n---\n").next().unwrap_or_default().trim().to_owned()
}

#[test]
fn haproxy_presents_the_same_staples() {
    needs!("faketime", "haproxy");
    let authority = Openssl::new();
    let certificate = authority.server("site", false);
    // HAProxy asks who has signed the certificate.
    fs::copy(authority.ca_file(), format!("{}.issuer", certificate.display())).unwrap();
    for has_one in [true, false] {
        if has_one {
            authority.staple(&certificate, &Verdict::Good, "-60s", LONG, &beside(&certificate));
        } else {
            fs::remove_file(beside(&certificate)).unwrap();
        }
        let stack = start(&certificate);
        let haproxy = Haproxy::beside(&stack, "http", |bind| {
            let (file, server) = (certificate.display(), stack.server_address(1));
            format!("listen web\n bind {bind} ssl crt {file} alpn http/1.1\n server s {server}\n")
        });
        for version in ["-tls1_2", "-tls1_3"] {
            let [ours, theirs] = [stack.web(), haproxy.address()].map(|address| staple(address, version));
            assert_eq!(ours, theirs, "{version}");
            assert_eq!(ours.contains("Cert Status: good"), has_one, "{ours}");
        }
    }
}
