//! Clients' certificates: who is let in, and what servers are told of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use testkit::{Authority, CertificateKey, Haproxy, Peer, RawServer, Stack, curl_secured, needs, text};

use super::openssl::Openssl;
use super::{LAST_REQUEST, NAMES, s_client, said, with_tls};

/// What servers are told.
const TOLD: [(&str, &str, &str); 5] = [
    ("X-Verified", "{tls.client.verified}", "%[ssl_c_used,iif(SUCCESS,NONE)]"),
    ("X-Subject", "{tls.client.subject}", "%[ssl_c_s_dn(,0,rfc2253)]"),
    ("X-Issuer", "{tls.client.issuer}", "%[ssl_c_i_dn(,0,rfc2253)]"),
    ("X-Fingerprint", "{tls.client.fingerprint}", "%[ssl_c_der,sha2(256),hex,lower]"),
    ("X-TLS", "{tls.version} {tls.cipher}", "\"%[ssl_fc_protocol] %[ssl_fc_cipher]\""),
];

fn answer(peer: &mut Peer) -> std::io::Result<()> {
    loop {
        peer.read_request()?;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}

/// What the server was told with the last request.
fn told(server: &RawServer) -> Vec<(String, String)> {
    let head = server.requests().pop().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": ").or(line.split_once(':')));
    let name =
        |name: &str| TOLD.iter().find(|(one, ..)| one.eq_ignore_ascii_case(name)).map(|(one, ..)| *one);
    let mut told: Vec<_> =
        fields.filter_map(|(field, value)| Some((name(field)?.to_owned(), value.to_owned()))).collect();
    told.sort();
    told
}

fn start(authority: &Authority, partners: &Openssl) -> (Stack, RawServer) {
    let set: Vec<_> = TOLD.iter().map(|(field, value, _)| format!("{field}: \"{value}\"")).collect();
    let edits = format!("request: {{ set: {{ {} }} }}", set.join(", "));
    let more = format!(", client_ca: \"{}\", client_certificate: optional", partners.ca_file().display());
    with_tls(authority, &more).frontend(&edits).start_before(answer)
}

/// Asks with a certificate, and pretends to be somebody else.
fn ask(authority: &Authority, address: SocketAddr, certificate: Option<&Path>, how: &[&str]) {
    let mut command = curl_secured(authority, address, "/");
    command.args(how).args(["-H", "X-Subject: CN=admin", "-H", "x_subject: CN=root"]);
    if let Some(file) = certificate {
        command.arg("--cert").arg(file);
    }
    assert_eq!(text(command), "ok");
}

#[test]
fn clients_show_their_certificates() {
    let authority = Authority::new();
    let (known, stranger) = (Authority::new(), Authority::new());
    let good = known.issue("client.pem", &["client.example"], CertificateKey::Ecdsa);
    let bad = stranger.issue("client.pem", &["client.example"], CertificateKey::Ecdsa);
    let more = |required: &str| {
        format!(", client_ca: \"{}\", client_certificate: {required}", known.ca_file().display())
    };
    let ask = |stack: &Stack, certificate: Option<&PathBuf>| {
        let mut command = curl_secured(&authority, stack.web(), "/");
        if let Some(file) = certificate {
            command.arg("--cert").arg(file);
        }
        command.output().unwrap().status.success()
    };
    let stack = with_tls(&authority, &more("required")).servers(1).start();
    assert_eq!([Some(&good), None, Some(&bad)].map(|file| ask(&stack, file)), [true, false, false]);
    let stack = with_tls(&authority, &more("optional")).servers(1).start();
    assert_eq!([Some(&good), None, Some(&bad)].map(|file| ask(&stack, file)), [true, true, false]);
    assert_eq!(
        stack.metric("tandem_lbd_refused_requests_total{reason=\"tls_client_certificate\"}"),
        Some(1.0)
    );
}

#[test]
fn servers_are_told_whose_certificate_a_client_shows_as_haproxy_tells_it() {
    needs!("haproxy");
    let (authority, partners) = (Authority::new(), Openssl::new());
    let (stack, server) = start(&authority, &partners);
    let haproxy = Haproxy::beside(&stack, "http", |bind| {
        let file = authority.dir().join("app.pem").display().to_string();
        let set: Vec<_> = TOLD
            .iter()
            .map(|(field, _, value)| format!(" http-request set-header {field} {value}\n"))
            .collect();
        format!(
            "frontend web\n bind {bind} ssl crt {file} alpn h2,http/1.1 ca-file {} verify optional\n{} default_backend app\n\
             backend app\n server s {}\n",
            partners.ca_file().display(),
            set.concat(),
            server.address()
        )
    });
    let subjects = [
        ("/CN=client.example", "utf8only"),
        (
            "/C=DE/ST=Bayern/L=M\u{fc}nchen/O=M\u{fc}ller, S\u{f6}hne \\+ Co/OU=a+OU=b/CN=one/emailAddress=a@b.example",
            "utf8only",
        ),
        ("/C=DE/O=M\u{fc}ller/OU=\u{4e16}\u{754c}/CN=one", "default"),
        ("/O= white space /OU=#1/CN=\"a\"\\\\b<c>;d=e", "utf8only"),
        ("/UID=u1/DC=example/DC=org/serialNumber=42/SN=s/GN=g/title=t/1.2.3.4.5=odd/CN=x", "utf8only"),
        ("/CN=a\r\nX-Evil: 1\r\n\r\n\t\u{7f}", "utf8only"),
    ];
    for (number, (subject, mask)) in subjects.into_iter().enumerate() {
        let file = partners.client(&format!("client{number}"), subject, mask);
        let [ours, theirs] = [stack.web(), haproxy.address()].map(|address| {
            ask(&authority, address, Some(&file), &["--http1.1"]);
            told(&server)
        });
        assert_eq!(ours.len(), TOLD.len(), "{ours:?}");
        assert_eq!(ours, theirs, "{subject}");
        ask(&authority, stack.web(), Some(&file), &["--http2"]);
        assert_eq!(told(&server), ours, "{subject} by HTTP/2");
    }
}

#[test]
fn a_client_without_a_certificate_has_no_subject_whatever_it_says() {
    let (authority, partners) = (Authority::new(), Openssl::new());
    let (stack, server) = start(&authority, &partners);
    for how in ["--http1.1", "--http2"] {
        ask(&authority, stack.web(), None, &[how, "--tls-max", "1.2"]);
        let head = server.requests().pop().unwrap();
        assert!(!head.contains("root") && !head.contains("admin"), "{head}");
        let told = told(&server);
        let value = |name: &str| {
            told.iter().filter(|one| one.0 == name).map(|one| one.1.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(
            [value("X-Verified"), value("X-Subject"), value("X-Issuer"), value("X-Fingerprint")],
            [["NONE"], [""], [""], [""]]
        );
        assert!(value("X-TLS")[0].starts_with("TLSv1.2 TLS_ECDHE_ECDSA_WITH_"), "{told:?}");
    }
}

#[test]
fn a_session_that_goes_on_is_of_whom_it_was() {
    let (authority, partners) = (Authority::new(), Openssl::new());
    let (stack, server) = start(&authority, &partners);
    let file = partners.client("client", "/O=Partner/CN=one", "utf8only").display().to_string();
    let session = stack.dir().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let with: &[&[&str]] = &[&["-cert", &file, "-sess_out", &session], &["-sess_in", &session]];
        for args in with {
            let said = said(&s_client(
                stack.web(),
                &[&[version, "-servername", NAMES[0]], *args].concat(),
                LAST_REQUEST,
            ));
            assert!(said.ends_with("ok") || said.contains("\r\n\r\nok"), "{said}");
            assert_eq!(said.contains("\nReused, TLSv1."), args.len() == 2, "{said}");
            let subject = told(&server).into_iter().find(|one| one.0 == "X-Subject").unwrap().1;
            assert_eq!(subject, "CN=one,O=Partner", "{version}");
        }
    }
}
