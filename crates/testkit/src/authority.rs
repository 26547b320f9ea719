//! Certificates for tests, from an authority of their own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use tempfile::TempDir;

/// An authority, and the files that it has made.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The files of the certificates that it has signed: their serial numbers are their places.
    signed: Mutex<Vec<PathBuf>>,
    dir: TempDir,
}

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKey {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA of 2,048 bits.
    Rsa,
}

impl CertificateKey {
    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::Ecdsa => &PKCS_ECDSA_P256_SHA256,
            Self::Rsa => &PKCS_RSA_SHA256,
        }
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Tandem's tests");
        let key = KeyPair::generate().expect("the system has randomness");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let dir = tempfile::Builder::new().prefix("tandem-ca-").tempdir().expect("a temporary directory");
        fs::write(dir.path().join("ca.crt"), issuer.pem()).expect("an own file");
        Self { issuer, signed: Mutex::default(), dir }
    }

    /// The file of its own certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a certificate for some names, and writes it with its key to `FILE`, in place of what was there.
    ///
    /// # Panics
    /// When the names are none, or the disk is full.
    pub fn issue(&self, file: &str, names: &[&str], key: CertificateKey) -> PathBuf {
        self.issue_until(file, names, key, None)
    }

    /// The same, valid until the begin of a day, from a year before.
    ///
    /// # Panics
    /// When the names are none, or the disk is full.
    pub fn issue_until(
        &self,
        file: &str,
        names: &[&str],
        key: CertificateKey,
        end: Option<(i32, u8, u8)>,
    ) -> PathBuf {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let common = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("good names");
        if let Some((year, month, day)) = end {
            params.not_before = date_time_ymd(year - 1, month, day);
            params.not_after = date_time_ymd(year, month, day);
        }
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let path = self.dir.path().join(file);
        params.serial_number = Some(self.number(&path));
        let key = KeyPair::generate_for(key.algorithm()).expect("the system has randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        write(&path, &(certificate.pem() + &key.serialize_pem()));
        path
    }

    /// The serial number of the next certificate, which will be in that file.
    fn number(&self, file: &Path) -> SerialNumber {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.push(file.to_owned());
        SerialNumber::from(signed.len() as u64)
    }

    /// Says in `crl.pem`, in place of what was there, that all certificates that have been in these files are revoked, and no others;
    /// the next list will come before a day.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn revoke(&self, files: &[&Path], next: (i32, u8, u8)) -> PathBuf {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let revoked = (1_u64..).zip(signed).filter(|(_, file)| files.contains(&file.as_path()));
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(next.0, next.1, next.2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .map(|(number, _)| RevokedCertParams {
                    serial_number: SerialNumber::from(number),
                    revocation_time: date_time_ymd(2020, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.path().join("crl.pem");
        let list = list.signed_by(&self.issuer).expect("it signs");
        write(&path, &list.pem().expect("it can be written"));
        path
    }
}

/// Puts a file in its place, which nobody else may read.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("an own file");
    fs::rename(&new, path).expect("an own file");
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
