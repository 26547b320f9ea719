//! The files of a listener with TLS, read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certificates::{
    Clients, Doubt, Fault, Pem, Source, StapleFile, Store, holds_key, key_names, staple_name,
};

use super::{ClientCertificates, Tls, tickets};
use crate::SecretBytes;
use crate::files::{EXPOSED, MAX_BYTES, regular, unreadable};

/// The most files with certificates of a listener.
pub(super) const MAX_FILES: usize = 4096;
/// The most entries of a directory that are looked at.
pub(super) const MAX_ENTRIES: usize = 4 * MAX_FILES;
/// How much may be in all of them together, in bytes.
const MAX_TOTAL: usize = 64 * 1024 * 1024;

const EXPOSED_HELP: &str = "chmod 640, and the group of the daemon's user";

/// What the files say.
#[derive(Debug, Default)]
pub(crate) struct Material {
    pub(crate) store: Arc<Store>,
    pub(crate) clients: Option<Arc<Clients>>,
    pub(crate) tickets: Vec<SecretBytes>,
}

/// What is wrong or doubtful about a file.
#[derive(Debug)]
pub(crate) struct Remark {
    /// What names the file.
    pub(crate) about: Setting,
    /// The file and what is wrong.
    pub(crate) message: String,
    /// What to do, if the message does not say so.
    pub(crate) help: Option<&'static str>,
}

/// What names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Setting {
    /// An element of `certificates`, by its place.
    Certificates(usize),
    /// `client_ca`
    Authorities,
    /// `client_crl`
    Revocations,
    /// `ticket_keys`
    TicketKeys,
    /// `server_ca`
    Servers,
    /// `server_crl`
    ServerRevocations,
}

impl Remark {
    pub(super) fn fault(about: Setting, message: impl ToString) -> Self {
        Self { about, message: message.to_string(), help: None }
    }

    /// All of it in a line.
    pub(super) fn into_line(self) -> String {
        match self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message,
        }
    }
}

/// What is wrong, and what is doubtful.
#[derive(Default)]
struct Remarks {
    faults: Vec<Remark>,
    doubts: Vec<Remark>,
}

/// Reads the files of a listener, by paths that start at a directory; beside it stands what is doubtful.
///
/// # Errors
/// What cannot be used.
pub(crate) fn read(tls: &Tls, directory: &Path, now: i64) -> Result<(Material, Vec<Remark>), Vec<Remark>> {
    let mut remarks = Remarks::default();
    let store = store(tls, directory, now, &mut remarks);
    let clients = tls.client.as_ref().and_then(|client| clients(client, directory, now, &mut remarks));
    let tickets = match &tls.ticket_keys {
        Some(keys) => tickets(&directory.join(&keys.file), &mut remarks),
        None => Vec::new(),
    };
    let Remarks { faults, doubts } = remarks;
    if faults.is_empty() {
        let material = Material { store: Arc::new(store), clients: clients.map(Arc::new), tickets };
        Ok((material, doubts))
    } else {
        Err(faults)
    }
}

fn store(tls: &Tls, directory: &Path, now: i64, remarks: &mut Remarks) -> Store {
    let mut sources = Vec::new();
    let mut places = Vec::new();
    let mut total = 0;
    for (place, name) in tls.certificates.iter().enumerate() {
        let about = Setting::Certificates(place);
        let (files, found) = match listed(&directory.join(name)) {
            Ok(listed) => listed,
            Err(message) => {
                remarks.faults.push(Remark::fault(about, message));
                continue;
            }
        };
        if sources.len() + files.len() > MAX_FILES {
            let message = format!("{name}: there are more than {MAX_FILES} files with certificates");
            remarks.faults.push(Remark::fault(about, message));
            break;
        }
        for file in files {
            match source(&file, found, about, &mut remarks.doubts) {
                Ok(mut source) => {
                    source.staple = staple(&source.chain.file, about, &mut remarks.doubts);
                    total += source.chain.bytes.len();
                    total += source.staple.as_ref().map_or(0, |staple| staple.bytes.len());
                    sources.push(source);
                    places.push(about);
                }
                Err(message) => remarks.faults.push(Remark::fault(about, message)),
            }
        }
        if total > MAX_TOTAL {
            let message = format!("{name}: the certificates have more than {} MiB", MAX_TOTAL >> 20);
            remarks.faults.push(Remark::fault(about, message));
            break;
        }
    }
    let of_file: HashMap<&str, Setting> = sources
        .iter()
        .zip(places)
        .flat_map(|(source, about)| {
            let staple = source.staple.as_ref().map(|staple| staple.file.as_str());
            staple.into_iter().chain([source.chain.file.as_str()]).map(move |file| (file, about))
        })
        .collect();
    let about = |file: &str| of_file.get(file).copied().unwrap_or(Setting::Certificates(0));
    match Store::new(&sources, tls.strict_sni, now) {
        Ok((store, doubts)) => {
            let used: HashSet<Setting> = store.certificates().iter().map(|one| about(&one.file)).collect();
            let all = tls.certificates.iter().enumerate();
            let is_unused = |place| !used.contains(&Setting::Certificates(place));
            if let Some((place, name)) =
                all.filter(|_| remarks.faults.is_empty()).find(|(place, _)| is_unused(*place))
            {
                let message = format!(
                    "{}: no certificate is in it; *.pem and *.crt are looked at, with the key in the same file or in *.key beside it",
                    directory.join(name).display()
                );
                remarks.faults.push(Remark::fault(Setting::Certificates(place), message));
            }
            remarks.doubts.extend(doubts.iter().map(|doubt| doubtful(about(&doubt.file), doubt)));
            store
        }
        Err(faults) => {
            remarks.faults.extend(faults.iter().map(|fault| Remark::fault(about(&fault.file), fault)));
            Store::default()
        }
    }
}

fn doubtful(about: Setting, doubt: &Doubt) -> Remark {
    Remark { about, message: doubt.to_string(), help: Some(doubt.kind.help()) }
}

/// The files with certificates that a path names, and whether they were found in a directory.
fn listed(path: &Path) -> Result<(Vec<PathBuf>, bool), String> {
    let told = |error: std::io::Error| format!("{}: {}", path.display(), unreadable(&error));
    if !path.metadata().map_err(told)?.is_dir() {
        return Ok((vec![path.to_owned()], false));
    }
    let mut files = Vec::new();
    for (count, entry) in path.read_dir().map_err(told)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(format!("{}: there are more than {MAX_ENTRIES} files", path.display()));
        }
        let name = entry.map_err(told)?.file_name();
        let is_named_so = name
            .to_str()
            .is_some_and(|name| !name.starts_with('.') && (name.ends_with(".pem") || name.ends_with(".crt")));
        let file = path.join(name);
        if is_named_so && file.is_file() {
            files.push(file);
        }
    }
    // Of certbot's directories of one certificate, whose files are parts of one another.
    if let Some(chain) = files.iter().find(|file| file.ends_with("fullchain.pem"))
        && path.join("privkey.pem").is_file()
    {
        return Ok((vec![chain.clone()], true));
    }
    files.sort();
    Ok((files, true))
}

/// A file with a certificate, and the one with its key.
pub(super) fn source(
    path: &Path,
    found: bool,
    about: Setting,
    doubts: &mut Vec<Remark>,
) -> Result<Source, String> {
    let (chain, mode) = pem(path)?;
    let mut key = None;
    let mut key_mode = Some(mode).filter(|_| holds_key(&chain.bytes));
    if key_mode.is_none() {
        let beside = key_names(&chain.file).into_iter().map(PathBuf::from).find(|path| path.exists());
        if let Some(path) = beside {
            let (found, mode) = pem(&path)?;
            key = Some(found);
            key_mode = Some(mode);
        }
    }
    if key_mode.is_some_and(|mode| mode & EXPOSED != 0) {
        let file = &key.as_ref().unwrap_or(&chain).file;
        let message = format!(
            "{file}: its private key can be read by every user of this machine, or replaced by its group"
        );
        doubts.push(Remark { about, message, help: Some(EXPOSED_HELP) });
    }
    Ok(Source { chain, key, staple: None, found })
}

/// What lies beside a certificate of what its authority says of it. Without that it is presented as well.
fn staple(chain: &str, about: Setting, doubts: &mut Vec<Remark>) -> Option<StapleFile> {
    let path = PathBuf::from(staple_name(chain));
    if !path.exists() {
        return None;
    }
    match pem(&path) {
        Ok((Pem { file, bytes }, _)) => Some(StapleFile { file, bytes }),
        Err(message) => {
            doubts.push(Remark { about, message, help: Some("the certificate is presented without it") });
            None
        }
    }
}

fn clients(
    client: &ClientCertificates,
    directory: &Path,
    now: i64,
    remarks: &mut Remarks,
) -> Option<Clients> {
    let authorities = pem(&directory.join(&client.ca_file));
    let authorities =
        authorities.map_err(|message| remarks.faults.push(Remark::fault(Setting::Authorities, message))).ok();
    let revocations = client.crl_file.as_ref().map(|file| pem(&directory.join(file))).transpose();
    let revocations =
        revocations.map_err(|message| remarks.faults.push(Remark::fault(Setting::Revocations, message))).ok();
    let ((authorities, _), revocations) = authorities.zip(revocations)?;
    let revocations = revocations.map(|(pem, _)| pem);
    let about = |file: &str| match &revocations {
        Some(pem) if pem.file == file => Setting::Revocations,
        _ => Setting::Authorities,
    };
    match Clients::new(&authorities, revocations.as_ref(), client.required, now) {
        Ok((clients, doubts)) => {
            remarks.doubts.extend(doubts.iter().map(|doubt| doubtful(about(&doubt.file), doubt)));
            Some(clients)
        }
        Err(faults) => {
            let told = |fault: &Fault| Remark::fault(about(&fault.file), fault);
            remarks.faults.extend(faults.iter().map(told));
            None
        }
    }
}

fn tickets(path: &Path, remarks: &mut Remarks) -> Vec<SecretBytes> {
    let read = pem(path).and_then(|(file, mode)| {
        let keys = tickets::parse(&file.bytes).map_err(|problem| format!("{}{problem}", file.file))?;
        Ok((keys, mode))
    });
    match read {
        Ok((keys, mode)) => {
            if mode & EXPOSED != 0 {
                let message = format!(
                    "{}: its keys can be read by every user of this machine, or replaced by its group",
                    path.display()
                );
                remarks.doubts.push(Remark { about: Setting::TicketKeys, message, help: Some(EXPOSED_HELP) });
            }
            keys
        }
        Err(message) => {
            remarks.faults.push(Remark::fault(Setting::TicketKeys, message));
            Vec::new()
        }
    }
}

/// A file, and who else may read it.
pub(super) fn pem(path: &Path) -> Result<(Pem, u32), String> {
    let (bytes, mode) = regular(path)?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("{}: larger than 1 MiB; this is hardly a certificate", path.display()));
    }
    Ok((Pem { file: path.display().to_string(), bytes }, mode))
}
