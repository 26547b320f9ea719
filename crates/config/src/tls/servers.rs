//! How connections to servers are secured.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certificates::{Doubt, Fault, Servers, Source, Trust};

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
    let about = Setting::Certificates(0);
    let own = tls.certificate.as_ref().map(|file| source(&directory.join(file), false, about, &mut doubts));
    let own: Result<Option<Source>, ()> =
        own.transpose().map_err(|message| faults.push(Remark::fault(about, message)));
    let (Ok(authorities), Ok(own)) = (authorities, own) else { return Err(faults) };
    let trust = match &authorities {
        None => Trust::Anybody,
        Some((pem, _)) if tls.server_ca.is_some() => Trust::Authorities(pem),
        Some((pem, _)) => Trust::System(pem),
    };
    let is_own = |file: &str| own.as_ref().is_some_and(|own| own.chain.file == file);
    match Servers::new(trust, own.as_ref(), now) {
        Ok((servers, found)) => {
            doubts.extend(found.iter().map(|doubt| doubtful(about, doubt)));
            Ok((servers, doubts))
        }
        Err(found) => Err(found
            .iter()
            .map(|fault: &Fault| {
                Remark::fault(if is_own(&fault.file) { about } else { Setting::Servers }, fault)
            })
            .collect()),
    }
}

fn doubtful(about: Setting, doubt: &Doubt) -> Remark {
    Remark { about, message: doubt.to_string(), help: Some("servers may refuse it; renew it, and reload") }
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
