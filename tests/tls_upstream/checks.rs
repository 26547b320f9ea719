//! Whether checks are secured.

use std::net::SocketAddr;

use testkit::{Authority, CertificateKey, Nginx, NginxTls, wait_until};

use super::{NAMES, checked, secured, verified};

/// Where agents are.
const AGENT: u16 = 7082;

#[test]
fn checks_of_a_port_of_their_own_are_secured_where_that_is_said() {
    let authority = Authority::new();
    let certificate = authority.issue("app.pem", NAMES, CertificateKey::Ecdsa);
    for (name, agent, check, code) in [
        ("app.example", true, "port: 7082, over_tls: on", "L7OK"),
        ("other.example", true, "port: 7082, over_tls: on", "L6RSP"),
        ("app.example", false, "port: 7082", "L7OK"),
        ("app.example", false, "port: 7082, over_tls: on", "L6RSP"),
        // A server that speaks TLS answers 400 to who does not.
        ("app.example", true, "over_tls: off", "L7STS"),
    ] {
        let mut agents = None;
        let tls = verified(&authority, &format!(", server_name: {name}"));
        let (stack, _nginx) = checked(&tls, &format!("{{ http: {{ path: /health }}, {check}"), |address| {
            let at = SocketAddr::new(address.ip(), AGENT);
            agents = Some(match agent {
                true => Nginx::start_secured(2, at, NginxTls::new(certificate.clone())),
                false => Nginx::start(2, at),
            });
            secured(certificate.clone())(address)
        });
        wait_until(&format!("{check} for {name} is {code}"), || {
            stack.stat("app", "s1").text("check_status") == code
        });
    }
}
