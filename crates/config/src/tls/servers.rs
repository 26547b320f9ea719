//! How connections to servers are secured.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certificates::{Doubt, Fault, Servers, Source, Trust, key_names};

use super::TlsVersion;
use super::files::{Remark, Setting, pem, source};

/// Where systems keep the authorities that they trust: Debian and Alpine, Red Hat, SUSE.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// TLS to the servers of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Whether servers have to show that they are who they should be. Default yes.
    pub verify: bool,
    /// A file with the certificates of authorities, as the configuration has it. Default: the system's.
    pub server_ca: Option<String>,
    /// A file with the authorities' revocation lists, as the configuration has it. Default: no server is revoked.
    pub server_crl: Option<String>,
    /// What servers are asked for, and their certificates have to be for, unless a server has its own. Default: their hosts.
    pub server_name: Option<String>,
    /// A file with the certificate and key that servers are shown, as the configuration has it. Default: none.
    pub certificate: Option<String>,
    /// The oldest version that is spoken. Default 1.2.
    pub min_version: TlsVersion,
    /// What is spoken inside of TLS (ALPN), in TCP mode. Default: nothing is said about that.
    pub alpn: Vec<String>,
    /// What these files say; none where files are not read.
    pub servers: Option<Arc<Servers>>,
}

impl ServerTls {
    /// The files of one that is used beside a `lb.yaml`, as they are on the disk.
    pub(super) fn files(&self, directory: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if self.verify {
            let authorities = self.server_ca.as_ref().map(|file| directory.join(file));
            files.extend(authorities.or_else(|| system().ok()));
            files.extend(self.server_crl.iter().map(|file| directory.join(file)));
        }
        if let Some(certificate) = &self.certificate {
            let path = directory.join(certificate);
            files.extend(path.to_str().map(key_names).into_iter().flatten().map(PathBuf::from));
            files.push(path);
        }
        files
    }

    /// Whether another one has the same settings, whatever the files said when they were read.
    pub(crate) fn names_the_same(&self, other: &Self) -> bool {
        let settings = |one: &Self| Self { servers: None, ..one.clone() };
        settings(self) == settings(other)
    }
}

/// Reads the files of TLS to servers, by paths that start at a directory; beside it stands what is doubtful.
///
/// # Errors
/// What cannot be used.
pub(crate) fn read_servers(
    tls: &ServerTls,
    directory: &Path,
    now: i64,
) -> Result<(Servers, Vec<Remark>), Vec<Remark>> {
    let mut faults = Vec::new();
    let mut doubts = Vec::new();
    let authorities = match (&tls.server_ca, tls.verify) {
        (_, false) => Ok(None),
        (Some(file), true) => pem(&directory.join(file)).map(Some),
        (None, true) => system().and_then(|file| pem(&file)).map(Some),
    };
    let authorities = authorities.map_err(|message| faults.push(Remark::fault(Setting::Servers, message)));
    let lists = match (&tls.server_ca, &tls.server_crl, tls.verify) {
        (Some(_), Some(file), true) => pem(&directory.join(file)).map(|(pem, _)| Some(pem)),
        _ => Ok(None),
    };
    let lists = lists.map_err(|message| faults.push(Remark::fault(Setting::ServerRevocations, message)));
    let about = Setting::Certificates(0);
    let own = tls.certificate.as_ref().map(|file| source(&directory.join(file), false, about, &mut doubts));
    let own: Result<Option<Source>, ()> =
        own.transpose().map_err(|message| faults.push(Remark::fault(about, message)));
    let (Ok(authorities), Ok(lists), Ok(own)) = (authorities, lists, own) else { return Err(faults) };
    let trust = match &authorities {
        None => Trust::Anybody,
        Some((pem, _)) if tls.server_ca.is_some() => Trust::Authorities(pem, lists.as_ref()),
        Some((pem, _)) => Trust::System(pem),
    };
    let about = |file: &str| match (&own, &lists) {
        (Some(own), _) if own.chain.file == file => about,
        (_, Some(lists)) if lists.file == file => Setting::ServerRevocations,
        _ => Setting::Servers,
    };
    match Servers::new(trust, own.as_ref(), now) {
        Ok((servers, found)) => {
            doubts.extend(found.iter().map(|doubt| doubtful(about(&doubt.file), doubt)));
            Ok((servers, doubts))
        }
        Err(found) => {
            Err(found.iter().map(|fault: &Fault| Remark::fault(about(&fault.file), fault)).collect())
        }
    }
}

fn doubtful(about: Setting, doubt: &Doubt) -> Remark {
    let help = match about {
        Setting::ServerRevocations => doubt.kind.help(),
        _ => "servers may refuse it: renew it",
    };
    Remark { about, message: doubt.to_string(), help: Some(help) }
}

/// The file of the authorities that the system trusts. Whoever has set the variable means it for everything that speaks TLS.
fn system() -> Result<PathBuf, String> {
    let named = env::var_os("SSL_CERT_FILE").filter(|name| !name.is_empty()).map(PathBuf::from);
    let known = || SYSTEM.into_iter().map(PathBuf::from).find(|path| path.is_file());
    named.or_else(known).ok_or_else(|| {
        "this system has no certificates of authorities; name them with server_ca, or install ca-certificates"
            .to_owned()
    })
}
