//! `backends.NAME.tls`

use std::path::PathBuf;
use std::sync::Arc;

use super::tls::file;
use crate::files::{self, Files};
use crate::read::{Section, quoted};
use crate::scalar::{self, Problem};
use crate::tls::{Remark, Setting, read_servers};
use crate::yaml::Mark;
use crate::{Backend, ServerTls, TlsVersion};

/// The longest name of a protocol (RFC 7301 section 3.1).
const MAX_PROTOCOL: usize = 255;

/// What connections to servers of a file are secured by, each read once, however many backends have it.
pub(super) struct Reached {
    /// Where paths start; none where these files are not read.
    directory: Option<PathBuf>,
    now: i64,
    known: Vec<Arc<ServerTls>>,
}

impl Reached {
    pub(super) fn new(files: Files<'_>) -> Self {
        Self { directory: files.servers(), now: files::now(), known: Vec::new() }
    }
}

/// How connections to the servers of a backend are secured; nothing where they are not.
pub(super) fn read(s: &mut Section<'_>, reached: &mut Reached) -> Option<Arc<ServerTls>> {
    let value = s.optional("tls", "a mapping", "none: servers speak without TLS");
    let errors = value.errors();
    value.section(|s| {
        let tls = settings(s);
        (value.is_given() && value.errors() == errors).then(|| reach(tls, s, reached))
    })
}

fn settings(s: &mut Section<'_>) -> ServerTls {
    let versions = TlsVersion::ALL.map(|version| (version.word(), version));
    ServerTls {
        verify: s.yes_or_no("verify", true),
        server_ca: s
            .value("server_ca", "a file with certificates of authorities", "the system's authorities")
            .scalar(file),
        server_crl: revocations(s),
        server_name: server_name(s, "each server's own host"),
        certificate: s
            .value("certificate", "a file with a certificate", "none: servers need no certificate of lbd")
            .scalar(file),
        min_version: s.word("min_version", TlsVersion::default(), &versions),
        alpn: s
            .value("alpn", "a protocol such as postgresql, or a list of them", "none: no protocol is named")
            .one_or_more(protocol)
            .into_iter()
            .map(|(_, name)| name)
            .collect(),
        servers: None,
    }
}

fn revocations(s: &mut Section<'_>) -> Option<String> {
    let value = s.value("server_crl", "a file with revocation lists", "none: no server is revoked");
    if value.is_given() && !s.has(&["server_ca"]) {
        s.error(["server_crl"], "has a server_crl, but no server_ca, whose servers it is about");
    }
    value.scalar(file)
}

/// What servers are asked for, and have to be.
pub(super) fn server_name(s: &mut Section<'_>, default: &str) -> Option<String> {
    let value = s.value("server_name", "a host name such as www.example.org", default);
    value.scalar(scalar::host_name)
}

fn protocol(text: &str) -> Result<String, Problem> {
    match text.len() {
        1..=MAX_PROTOCOL => Ok(text.to_owned()),
        _ => Err(Problem::Unexpected),
    }
}

/// What it is with its files, which are read unless another backend has the same.
fn reach(tls: ServerTls, s: &Section<'_>, reached: &mut Reached) -> Arc<ServerTls> {
    let Some(directory) = &reached.directory else { return Arc::new(tls) };
    if let Some(known) = reached.known.iter().find(|known| known.names_the_same(&tls)) {
        return Arc::clone(known);
    }
    let at = |about: Setting| match about {
        Setting::Certificates(_) => s.mark(&["certificate"]),
        Setting::ServerRevocations => s.mark(&["server_crl"]),
        _ => s.mark(&["server_ca"]),
    };
    let servers = match read_servers(&tls, directory, reached.now) {
        Ok((servers, doubts)) => {
            for Remark { about, message, help } in doubts {
                s.report.warning(at(about), message, help.unwrap_or_default());
            }
            Some(Arc::new(servers))
        }
        Err(faults) => {
            faults.into_iter().for_each(|fault| s.report.error(at(fault.about), fault.message));
            None
        }
    };
    let tls = Arc::new(ServerTls { servers, ..tls });
    reached.known.push(Arc::clone(&tls));
    tls
}

/// Servers whose hosts no certificate can be for. `marks` are their places. Where a name is given that could not be read, the host in
/// its place would be a second mistake out of one.
pub(super) fn check_names(s: &Section<'_>, backend: &Backend, marks: &[Mark]) {
    let is_lost = |name: &Option<String>, path: &[&str]| name.is_none() && s.has(path);
    let is_unread = |tls: &ServerTls| is_lost(&tls.server_name, &["tls", "server_name"]);
    if backend.tls.as_deref().is_some_and(is_unread) {
        return;
    }
    for (server, mark) in backend.servers.iter().zip(marks) {
        if is_lost(&server.server_name, &["servers", &server.name, "server_name"]) {
            continue;
        }
        match backend.tls_name_of(server) {
            Some(name) if certificates::server_name(&name).is_none() => s.report.error(
                *mark,
                format!(
                    "server {} of backend {} is at {}, for which no certificate can be; give it a server_name",
                    quoted(&server.name),
                    quoted(&backend.name),
                    quoted(&name)
                ),
            ),
            _ => {}
        }
    }
}
