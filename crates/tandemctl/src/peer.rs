//! The daemons of another node, through their admin addresses.

use std::io::ErrorKind;

use wire::{Document, InstanceStatus};

use crate::cli::Ports;
use crate::failure::Failure;
use crate::http::{self, GetError, Login};
use crate::node::Node;

/// Another node.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its name or address.
    pub(crate) host: String,
    ports: Ports,
    login: Option<Login>,
}

impl Peer {
    /// The node at `host`; without one, the node that vrrpd of this node has heard last.
    pub(crate) async fn find(
        node: &Node,
        host: Option<String>,
        ports: Ports,
        login: Option<Login>,
    ) -> Result<Self, Failure> {
        let host = match host {
            Some(host) => host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            None => {
                let instances = node.connect("vrrpd").await?.instances().await?;
                heard(&instances).ok_or_else(|| {
                    Failure::Refused(
                        "vrrpd has not heard another node since its start, as backups are silent: which one is meant?\n\
                         Say which: tandemctl status --peer HOST"
                            .to_owned(),
                    )
                })?
            }
        };
        Ok(Self { host, ports, login })
    }

    /// What a daemon tells of itself.
    pub(crate) async fn document(&self, daemon: &'static str) -> Result<Document, Failure> {
        let port = match daemon {
            "lbd" => self.ports.lbd_port,
            "healthd" => self.ports.healthd_port,
            _ => self.ports.vrrpd_port,
        };
        let json = http::get(&self.host, port, "/status.json", self.login.as_ref())
            .await
            .map_err(|error| Failure::Remote(self.explain(daemon, port, &error)))?;
        let document: Document = serde_json::from_slice(&json).map_err(|error| {
            Failure::Remote(format!(
                "{} port {port} does not answer as a daemon of Tandem does: {error}",
                self.host
            ))
        })?;
        match document.info.daemon.as_str() {
            name if name == daemon => Ok(document),
            other => {
                let message = format!(
                    "{} port {port} is {other}, not {daemon}: say with --{daemon}-port where {daemon} is",
                    self.host
                );
                Err(Failure::Remote(message))
            }
        }
    }

    fn explain(&self, daemon: &str, port: u16, error: &GetError) -> String {
        let host = &self.host;
        let advice = match error {
            GetError::Unauthorized => {
                "Give one of its `admin.users`, in the environment, which others cannot read: \
                TANDEM_USER=NAME:PASSWORD"
                    .to_owned()
            }
            GetError::Unconnected(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let option = match daemon {
                    "lbd" => "`admin: { bind: 0.0.0.0:8404 }` in its lb.yaml",
                    "healthd" => "`healthd: { admin: { bind: 0.0.0.0:8406 } }` in its lb.yaml",
                    _ => "`admin: { bind: 0.0.0.0:8407 }` in its vrrp.yaml",
                };
                format!(
                    "{daemon} does not run there, or is open to its own node alone: {option} opens it; \
                     --{daemon}-port names another port."
                )
            }
            GetError::Unresolved(_) => "Is that the name or the address of a node?".to_owned(),
            GetError::Unconnected(_) | GetError::TimedOut => {
                "The node is off or cut off, or a packet filter is in between.".to_owned()
            }
            GetError::Broken | GetError::Malformed | GetError::Status(_) => {
                format!("That is another program, or a {daemon} of another version.")
            }
        };
        format!("{daemon} of {host} cannot be reached on port {port}: {error}\n{advice}")
    }
}

/// The router that was heard last.
fn heard(instances: &[InstanceStatus]) -> Option<String> {
    let peers = instances.iter().flat_map(|instance| &instance.peers);
    peers.min_by_key(|peer| peer.heard_ms).map(|peer| peer.address.to_string())
}
