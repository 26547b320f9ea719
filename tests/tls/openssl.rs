//! An authority of openssl's, which signs what others would not, and says what it thinks of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::said;

pub(crate) struct Openssl(TempDir);

/// What an authority says of a certificate, in the words of its index.
pub(crate) enum Verdict {
    Good,
    Revoked,
}

/// The extensions of each kind of certificate.
const EXTENSIONS: &str = "
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:app.example
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
[must_staple]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:app.example
tlsfeature = status_request
";

impl Openssl {
    pub(crate) fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        authority.make("ca", "/C=DE/O=Partner, Inc./CN=Partners", "utf8only", &["-extensions", "ca"]);
        authority
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// A client's certificate, whose texts are of the kinds of a mask.
    pub(crate) fn client(&self, name: &str, subject: &str, mask: &str) -> PathBuf {
        self.sign(name, subject, mask, "client")
    }

    /// The certificate of app.example.
    pub(crate) fn server(&self, name: &str, must_staple: bool) -> PathBuf {
        self.sign(name, "/CN=app.example", "utf8only", if must_staple { "must_staple" } else { "server" })
    }

    /// What the authority says of a certificate from a moment on, such as `-60s`, for some minutes.
    pub(crate) fn staple(&self, certificate: &Path, verdict: &Verdict, from: &str, minutes: u32, to: &Path) {
        let serial =
            openssl(Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(certificate));
        let serial = serial.trim().trim_start_matches("serial=");
        let line = match verdict {
            Verdict::Good => format!("V\t491231000000Z\t\t{serial}\tunknown\t/CN=app.example\n"),
            Verdict::Revoked => {
                format!("R\t491231000000Z\t250101000000Z\t{serial}\tunknown\t/CN=app.example\n")
            }
        };
        let (index, ca, new) = (self.0.path().join("index"), self.ca_file(), self.0.path().join("staple"));
        fs::write(&index, line).unwrap();
        let mut command = Command::new("faketime");
        command.args(["-f", from, "openssl", "ocsp", "-nmin", &minutes.to_string(), "-index"]).arg(index);
        for how in ["-CA", "-rsigner", "-issuer"] {
            command.arg(how).arg(&ca);
        }
        command.arg("-rkey").arg(self.0.path().join("ca.key"));
        openssl(command.arg("-cert").arg(certificate).arg("-respout").arg(&new));
        fs::rename(new, to).unwrap();
    }

    fn sign(&self, name: &str, subject: &str, mask: &str, kind: &str) -> PathBuf {
        let [ca, key] = ["ca.pem", "ca.key"].map(|file| self.0.path().join(file).display().to_string());
        let file = self.make(name, subject, mask, &["-extensions", kind, "-CA", &ca, "-CAkey", &key]);
        let both = [&file, &file.with_extension("key")].map(|file| fs::read(file).unwrap()).concat();
        fs::write(&file, both).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// A file with a certificate, and one with its key.
    fn make(&self, name: &str, subject: &str, mask: &str, how: &[&str]) -> PathBuf {
        let [config, file, key] =
            ["cnf", "pem", "key"].map(|ending| self.0.path().join(format!("{name}.{ending}")));
        let text = format!("[req]\ndistinguished_name = dn\nstring_mask = {mask}\n[dn]\n{EXTENSIONS}");
        fs::write(&config, text).unwrap();
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-utf8", "-days", "30", "-nodes", "-newkey", "ec"]);
        command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]).args(how);
        openssl(command.arg("-config").arg(&config).arg("-keyout").arg(&key).arg("-out").arg(&file));
        file
    }
}

/// What it prints.
fn openssl(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
