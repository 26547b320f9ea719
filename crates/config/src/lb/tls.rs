//! `frontends.NAME.bind.tls`

use std::path::PathBuf;
use std::sync::Arc;

use crate::files::{self, Files};
use crate::read::Section;
use crate::scalar::Problem;
use crate::tls::{self, Remark, Setting};
use crate::yaml::Mark;
use crate::{ClientCertificates, TicketKeys, Tls, TlsVersion};

/// What the listeners of a file present, each read once, however many have it.
pub(super) struct Presented {
    /// Where paths start; none where these files are not read.
    directory: Option<PathBuf>,
    now: i64,
    known: Vec<Arc<Tls>>,
}

impl Presented {
    pub(super) fn new(files: Files<'_>) -> Self {
        Self { directory: files.listeners(), now: files::now(), known: Vec::new() }
    }
}

/// What a listener presents; nothing where it speaks without TLS.
pub(super) fn read(s: &mut Section<'_>, presented: &mut Presented) -> Option<Arc<Tls>> {
    let value = s.optional("tls", "a mapping with certificates", "none: clients speak without TLS");
    let errors = value.errors();
    value.section(|s| {
        let (tls, certificates) = settings(s);
        (value.is_given() && value.errors() == errors).then(|| present(tls, s, &certificates, presented))
    })
}

/// What stands in the file, and where its certificates do.
fn settings(s: &mut Section<'_>) -> (Tls, Vec<Mark>) {
    let certificates = s.required("certificates", "a file or directory with certificates, or a list of them");
    if certificates.is_empty_list() {
        certificates.error("is an empty list; a server has a certificate");
    }
    let (marks, certificates) = certificates.one_or_more(file).into_iter().unzip();
    let versions = TlsVersion::ALL.map(|version| (version.word(), version));
    let tls = Tls {
        certificates,
        min_version: s.word("min_version", TlsVersion::default(), &versions),
        strict_sni: s.yes_or_no("strict_sni", false),
        client: client(s),
        ticket_keys: s
            .value("ticket_keys", "a file with keys, one a line", "a key that lbd makes up")
            .scalar(file)
            .map(|file| TicketKeys { file, keys: Vec::new() }),
        store: Arc::default(),
    };
    (tls, marks)
}

fn client(s: &mut Section<'_>) -> Option<ClientCertificates> {
    let authorities =
        s.value("client_ca", "a file with certificates of authorities", "none: clients need no certificate");
    let required = s.word("client_certificate", true, &[("required", true), ("optional", false)]);
    let revocations = s.value("client_crl", "a file with revocation lists", "none: nobody is revoked");
    if !authorities.is_given() {
        for key in ["client_certificate", "client_crl"] {
            if s.has(&[key]) {
                s.error([key], format_args!("has a {key}, but no client_ca, whose clients it is about"));
            }
        }
    }
    let crl_file = revocations.scalar(file);
    Some(ClientCertificates { ca_file: authorities.scalar(file)?, required, crl_file, clients: None })
}

/// A path, as it is used.
pub(super) fn file(text: &str) -> Result<String, Problem> {
    match text {
        "" => Err(Problem::Unexpected),
        text if text.chars().any(char::is_control) => Problem::because("no path has control characters"),
        text => Ok(text.to_owned()),
    }
}

/// What it is with its files, which are read unless another listener has the same.
fn present(tls: Tls, s: &Section<'_>, certificates: &[Mark], presented: &mut Presented) -> Arc<Tls> {
    let Some(directory) = &presented.directory else { return Arc::new(tls) };
    if let Some(known) = presented.known.iter().find(|known| known.names_the_same(&tls)) {
        return Arc::clone(known);
    }
    let at = |about: Setting| match about {
        Setting::Certificates(place) => certificates.get(place).copied().unwrap_or_default(),
        Setting::Authorities => s.mark(&["client_ca"]),
        Setting::Revocations => s.mark(&["client_crl"]),
        Setting::TicketKeys | Setting::Servers | Setting::ServerRevocations => s.mark(&["ticket_keys"]),
    };
    let tls = match tls::read(&tls, directory, presented.now) {
        Ok((material, doubts)) => {
            for Remark { about, message, help } in doubts {
                s.report.warning(at(about), message, help.unwrap_or_default());
            }
            tls.with(material)
        }
        Err(faults) => {
            faults.into_iter().for_each(|fault| s.report.error(at(fault.about), fault.message));
            tls
        }
    };
    let tls = Arc::new(tls);
    presented.known.push(Arc::clone(&tls));
    tls
}
