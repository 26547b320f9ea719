//! A scanner that is not Debian's: scripts/prerequisites fetches it from PyPI, where that can be reached.

use std::path::Path;
use std::process::Command;

use testkit::{Stack, skip};

use super::openssl::Openssl;
use super::said;

#[test]
fn the_default_is_what_mozilla_recommends() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sslyze/bin/sslyze");
    if !program.exists() {
        skip!("there is no sslyze, as PyPI could not be reached; scripts/prerequisites fetches it");
    }
    let authority = Openssl::new();
    let certificate = authority.server("site", false);
    let tls = format!("{{ certificates: [\"{}\"] }}", certificate.display());
    let stack = Stack::builder().unchecked().servers(1).config(|config, _| config.tls = tls).start();
    let report = stack.dir().join("sslyze.json");
    let mut command = Command::new(program);
    command.args(["--mozilla_config=intermediate", "--sni", "app.example", "--certinfo_ca_file"]);
    command.arg(authority.ca_file()).arg("--json_out").arg(&report).arg(stack.web().to_string());
    let output = command.output().unwrap();
    let said = said(&output);
    assert!(output.status.success() && said.contains("OK - Compliant"), "{said}");

    let text = std::fs::read_to_string(&report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let results = &report["server_scan_results"][0]["scan_result"];
    for (scan, what, expected) in [
        ("heartbleed", "is_vulnerable_to_heartbleed", false),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", false),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", false),
        ("session_renegotiation", "supports_secure_renegotiation", true),
        ("tls_compression", "supports_compression", false),
        ("tls_fallback_scsv", "supports_fallback_scsv", true),
        ("tls_extended_master_secret", "supports_ems_extension", true),
    ] {
        assert_eq!(results[scan]["result"][what], expected, "{what}: {}", results[scan]);
    }
    assert_eq!(results["robot"]["result"]["robot_result"], "NOT_VULNERABLE_RSA_NOT_SUPPORTED");
    for (version, count) in
        [("ssl_2_0", 0), ("ssl_3_0", 0), ("tls_1_0", 0), ("tls_1_1", 0), ("tls_1_2", 3), ("tls_1_3", 3)]
    {
        let ciphers = &results[&format!("{version}_cipher_suites")]["result"]["accepted_cipher_suites"];
        assert_eq!(ciphers.as_array().map(Vec::len), Some(count), "{version}: {ciphers}");
    }
}
