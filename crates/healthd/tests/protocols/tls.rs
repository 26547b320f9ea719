//! TLS, of OpenSSL's own server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use config::{Probe, TlsProbe};
use health::CheckCode::{L4Con, L6Ok, L6Rsp, L6Tout};
use testkit::{Addresses, Nginx, Process, RawServer, needs};

use crate::finds;
use crate::haproxy::Haproxy;

fn openssl(dir: &Path, words: &[&str]) {
    let output = Command::new("openssl").args(words).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a certificate of it for `db1.example.org`, which has expired if that is wanted.
fn certificate(dir: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(dir, &[&authority[..], &key].concat());
    let request = ["req", "-subj", "/CN=db1", "-keyout", "key.pem", "-out", "request.pem"];
    openssl(dir, &[&request[..], &key].concat());
    std::fs::write(dir.join("names"), "subjectAltName=DNS:db1.example.org\n").unwrap();
    let signing =
        ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(dir, &[&signing[..], &["-days", "1", "-extfile", "names", "-out", "cert.pem"]].concat());
}

fn serve(dir: &Path, address: SocketAddr, version: &str) -> Process {
    let mut command = Command::new("openssl");
    command.args([
        "s_server",
        "-accept",
        &address.to_string(),
        version,
        "-cert",
        "cert.pem",
        "-key",
        "key.pem",
    ]);
    command.args(["-quiet", "-www"]).current_dir(dir);
    Process::spawn("openssl", command, dir)
}

#[test]
fn a_server_in_its_states() {
    needs!("haproxy", "openssl");
    let addresses = Addresses::claim();
    let address = addresses.socket(11, 443);
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let probe = |name: Option<&str>, ca: Option<&str>| {
        Probe::Tls(TlsProbe { name: name.map(str::to_owned), ca_file: ca.map(|file| dir.path().join(file)) })
    };
    let any = probe(None, None);

    let mut server = serve(dir.path(), address, "-tls1_3");
    finds(&any, address, L6Ok, "TLSv1_3 TLS13_");
    finds(&probe(Some("db1.example.org"), Some("ca.pem")), address, L6Ok, "TLSv1_3");
    finds(
        &probe(Some("db2.example.org"), Some("ca.pem")),
        address,
        L6Rsp,
        "is for db1.example.org, not db2.example.org",
    );
    openssl(
        dir.path(),
        &[
            "req",
            "-x509",
            "-subj",
            "/CN=other",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "o.key",
            "-out",
            "other.pem",
        ],
    );
    finds(&probe(Some("db1.example.org"), Some("other.pem")), address, L6Rsp, "unknown issuer");
    let haproxy = Haproxy::start(address, &[("tls", "SERVER check-ssl verify none")]);
    haproxy.finds("tls", "L6OK");
    server.kill();
    finds(&any, address, L4Con, "Connection refused");
    haproxy.finds("tls", "L4CON");

    let mut server = serve(dir.path(), address, "-tls1_2");
    finds(&any, address, L6Ok, "TLSv1_2 TLS_ECDHE_");
    haproxy.finds("tls", "L6OK");
    server.kill();

    // Others than TLS, and nobody at all.
    let nginx = Nginx::start(1, address);
    finds(&any, address, L6Rsp, "no TLS handshake: ");
    haproxy.finds("tls", "L6RSP");
    drop(nginx);
    let silent = RawServer::start(addresses.socket(12, 443), |peer| peer.stall());
    finds(&any, silent.address(), L6Tout, "connected, but no TLS handshake within 2 s");
    let closing = RawServer::start(addresses.socket(13, 443), |_| Ok(()));
    let result = crate::check(&any, closing.address());
    assert_eq!(result.code, L6Rsp, "{result:?}");
}
