//! What connections to a server are secured with.

use std::fmt;
use std::sync::Arc;

use certificates::server_name;
use config::{Mode, ServerTls, TlsVersion};
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::ServerName;

/// How many tickets of a server are kept: rustls keeps so many of one name.
const TICKETS: usize = 8;

/// What connections to a server are secured with. Its sessions are kept here, for all workers.
pub struct Connector {
    tls: Arc<ServerTls>,
    mode: Mode,
    name: ServerName<'static>,
    client: Arc<ClientConfig>,
}

impl Connector {
    /// For a server of that name or address.
    ///
    /// # Errors
    /// Why there can be none like that.
    pub fn new(tls: Arc<ServerTls>, mode: Mode, name: &str) -> Result<Self, String> {
        let name = server_name(name)
            .ok_or_else(|| format!("no certificate can be for a server called \"{name}\""))?;
        let servers = tls.servers.as_ref().ok_or("the files of its certificates were not read")?;
        let protocols: Vec<Vec<u8>> = match mode {
            Mode::Http => vec![b"http/1.1".to_vec()],
            Mode::Tcp => tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect(),
        };
        let client = servers.client(tls.min_version == TlsVersion::Tls12, &protocols);
        let mut client = client.map_err(|error| error.to_string())?;
        client.resumption = Resumption::in_memory_sessions(TICKETS);
        Ok(Self { tls, mode, name, client: Arc::new(client) })
    }

    /// Whether it is what a configuration asks for, so that connections and sessions can stay.
    pub fn is_for(&self, tls: &ServerTls, mode: Mode, name: &str) -> bool {
        *self.tls == *tls && self.mode == mode && server_name(name).is_some_and(|name| name == self.name)
    }

    /// What rustls is told of the next connection.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// Whom its certificate has to be for.
    pub fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}
