//! The daemons of another node, through their admin addresses.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use wire::Document;

use crate::cli::Ports;
use crate::failure::Failure;
use crate::http::{self, GetError, Login};

/// Another node.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its name or address.
    pub(crate) host: String,
    ports: Ports,
    login: Option<Login>,
    /// How long it may take for each answer.
    patience: Duration,
}

impl Peer {
    /// The node at `host`.
    pub(crate) fn new(host: String, ports: Ports, login: Option<Login>) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, ports, login, patience: http::PATIENCE }
    }

    /// The same, which has so long for each answer.
    pub(crate) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What a daemon tells of itself.
    pub(crate) async fn document(&self, daemon: &'static str) -> Result<Document, Failure> {
        let port = match daemon {
            "lbd" => self.ports.lbd_port,
            "healthd" => self.ports.healthd_port,
            _ => self.ports.vrrpd_port,
        };
        let json = http::get(&self.host, port, "/status.json", self.login.as_ref(), self.patience)
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

    /// What its configuration has to say to be reached where it was looked for.
    fn bind(&self, port: u16) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("\"[{address}]:{port}\""),
            Ok(IpAddr::V4(address)) => format!("{address}:{port}"),
            Err(_) => format!("ADDRESS:{port}"),
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
                let bind = self.bind(port);
                let option = match daemon {
                    "lbd" => format!("`admin: {{ bind: {bind} }}` in its lb.yaml"),
                    "healthd" => format!("`healthd: {{ admin: {{ bind: {bind} }} }}` in its lb.yaml"),
                    _ => format!("`admin: {{ bind: {bind} }}` in its vrrp.yaml"),
                };
                format!(
                    "{daemon} does not run there, or is open to its own node alone: {option} opens it to this network, \
                     and `admin.users` asks for a password; --{daemon}-port names another port."
                )
            }
            GetError::Unresolved(_) => "Is that the name or the address of a node?".to_owned(),
            GetError::Unconnected(_) | GetError::TimedOut(_) => {
                "The node is off or cut off, or a packet filter is in between.".to_owned()
            }
            GetError::Broken | GetError::Malformed | GetError::Status(_) => {
                format!("That is another program, or a {daemon} of another version.")
            }
        };
        format!("{daemon} of {host} cannot be reached on port {port}: {error}\n{advice}")
    }
}
