//! Java's own client.

use std::fs;
use std::process::Command;

use testkit::{Authority, CertificateKey, Stack, needs};

use super::text;

#[test]
fn javas_client_is_served_by_both_versions_of_http_and_of_tls() {
    needs!("java", "javac");
    let authority = Authority::new();
    // Java asks by address, and compares that with the certificate.
    let stack = Stack::builder()
        .servers(1)
        .unchecked()
        .config(|config, _| {
            let file = authority.issue("app.pem", &[&config.bind.ip().to_string()], CertificateKey::Ecdsa);
            config.tls = format!("{{ certificates: [\"{}\"] }}", file.display());
        })
        .start();
    let file = stack.nginx[0].file("java", 3_000_000);
    let received = stack.dir().join("received");
    for (http, shown) in [("HTTP_1_1", "HTTP/1.1"), ("HTTP_2", "HTTP/2.0")] {
        for tls in ["TLSv1.2", "TLSv1.3"] {
            let mut command = Command::new("java");
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tls/Client.java")).arg(authority.ca_file());
            command.args([&stack.web().to_string(), http, tls]).arg(&received);
            let answer = format!("{http} {tls} 200 NGINX Instance 1\n");
            assert_eq!(text(command), format!("{}2 200\n", answer.repeat(3)));
            assert!(fs::read(&received).unwrap() == file, "{http} {tls}");
            assert!(stack.nginx[0].uploaded("java") == Some(vec![0; 3_000_000]), "{http} {tls}");
            stack.log_lines(1, |line| line.target == "/files/java" && line.status == 200);
            assert!(stack.lbd.stdout().contains(&format!("\"GET / {shown}\"")), "{http}");
        }
    }
}
