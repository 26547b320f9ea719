//! What connections to servers are secured with, as a configuration wants it.

use std::collections::HashMap;
use std::sync::Arc;

use config::{Backend, LbConfig, ServerTls};

use crate::shared::routing::Connectors;
use crate::shared::tls::Connector;

/// The connectors of every backend whose servers speak TLS, by its name.
pub type ByBackend = HashMap<String, Connectors>;

/// Those of a configuration. What has not changed is what there was before, with its sessions: the servers of `old`.
///
/// # Errors
/// Why there can be none like that.
pub fn prepare(config: &LbConfig, old: &LbConfig, before: &ByBackend) -> Result<ByBackend, String> {
    let secured = config.backends.iter().filter_map(|backend| Some((backend, backend.tls.as_ref()?)));
    let of_backend = |(backend, tls): (&Backend, &Arc<ServerTls>)| {
        let known = before.get(&backend.name).map(|known| &known[..]).unwrap_or_default();
        let names = old.backend(&backend.name).into_iter().flat_map(|backend| &backend.servers);
        let known = names.map(|server| server.name.as_str()).zip(known).collect();
        let connectors = of_backend(backend, tls, &known);
        Ok((
            backend.name.clone(),
            connectors.map_err(|why| format!("TLS to backend \"{}\": {why}", backend.name))?,
        ))
    };
    secured.map(of_backend).collect()
}

fn of_backend(
    backend: &Backend,
    tls: &Arc<ServerTls>,
    known: &HashMap<&str, &Arc<Connector>>,
) -> Result<Connectors, String> {
    let of_server = |server: &config::Server| {
        let name = backend.tls_name_of(server).unwrap_or_default();
        let same = |one: &&&Arc<Connector>| one.is_for(tls, backend.mode, &name);
        match known.get(server.name.as_str()).filter(same) {
            Some(known) => Ok(Arc::clone(known)),
            None => Connector::new(tls.clone(), backend.mode, &name).map(Arc::new),
        }
    };
    backend.servers.iter().map(of_server).collect()
}
