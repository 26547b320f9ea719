//! What a listener with TLS presents, and asks of clients; and how connections to servers are secured.

mod files;
mod renewal;
mod servers;
mod stamp;
mod tickets;

use std::path::Path;
use std::sync::Arc;

use certificates::{Clients, Store};

pub use self::renewal::{Renewal, ServerFiles};
pub use self::servers::ServerTls;
pub use self::stamp::Stamp;
use crate::SecretBytes;
use crate::files::directory;
pub(crate) use files::{Material, Remark, Setting, read};
pub(crate) use servers::read_servers;

/// What a listener with TLS presents, and asks of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Files with certificates and keys, and directories of them, as the configuration has them. At least one.
    pub certificates: Vec<String>,
    /// The oldest version that is spoken. Default 1.2.
    pub min_version: TlsVersion,
    /// Whether those are refused who ask for no name that a certificate has. Default no.
    pub strict_sni: bool,
    /// Which certificates clients have. Default: none, and nobody asks for one.
    pub client: Option<ClientCertificates>,
    /// With which keys sessions are resumed. Default: one that this process makes up.
    pub ticket_keys: Option<TicketKeys>,
    /// The certificates of these files; none where files are not read.
    pub store: Arc<Store>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2, the default.
    #[default]
    Tls12,
    /// 1.3
    Tls13,
}

impl TlsVersion {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// The word for it in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// Which certificates clients have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// A file with the certificates of authorities, as the configuration has it.
    pub ca_file: String,
    /// Whether those without a certificate are refused. Default yes.
    pub required: bool,
    /// A file with the authorities' revocation lists, as the configuration has it. Default: nobody is revoked.
    pub crl_file: Option<String>,
    /// What these files say; none where files are not read.
    pub clients: Option<Arc<Clients>>,
}

/// With which keys sessions are resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketKeys {
    /// Their file, as the configuration has it.
    pub file: String,
    /// The keys: the first encrypts, each decrypts. None where files are not read.
    pub keys: Vec<SecretBytes>,
}

/// What was read anew.
#[derive(Clone, Debug)]
pub struct Reread {
    /// The same with what its files say now; equal to what was there if that has not changed.
    pub tls: Tls,
    /// What is doubtful about it, a line each.
    pub doubts: Vec<String>,
}

impl Tls {
    /// Reads its files anew, beside the `lb.yaml` that named them, at this moment in seconds since 1970.
    ///
    /// # Errors
    /// What cannot be used, a line each.
    pub fn reread(&self, config: &Path, now: i64) -> Result<Reread, Vec<String>> {
        let lines = |remarks: Vec<Remark>| remarks.into_iter().map(Remark::into_line).collect();
        let (material, doubts) = read(self, &directory(config), now).map_err(lines)?;
        Ok(Reread { tls: self.with(material), doubts: lines(doubts) })
    }

    /// The same, presented without the staples of its certificates.
    pub fn without_staples(&self) -> Self {
        Self { store: Arc::new(self.store.without_staples()), ..self.clone() }
    }

    /// Tells its files, as they are on the disk, from what they are later, without reading them.
    pub fn stamp(&self, config: &Path) -> Stamp {
        Stamp::of(self, &directory(config))
    }

    /// Whether another one has the same settings, whatever the files said when they were read.
    pub(crate) fn names_the_same(&self, other: &Self) -> bool {
        self.settings() == other.settings()
    }

    /// The same without what its files say.
    fn settings(&self) -> Self {
        self.with(Material::default())
    }

    /// The same with what its files say.
    pub(crate) fn with(&self, material: Material) -> Self {
        let Material { store, clients, tickets } = material;
        let client = self.client.clone().map(|client| ClientCertificates { clients, ..client });
        let ticket_keys = self.ticket_keys.clone().map(|of| TicketKeys { keys: tickets, ..of });
        Self { store, client, ticket_keys, ..self.clone() }
    }
}
