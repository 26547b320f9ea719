//! The `lb.yaml` of a test: one frontend, one backend, and what the test adds, in the file's own words.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

/// The text of an `lb.yaml`. Tests change its parts and have it written again.
///
/// What tests add is YAML as in the documentation, one or more lines, put where its name says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the frontend `web` listens.
    pub bind: SocketAddr,
    /// What is on that: nothing, or a mapping in YAML, which is the value of `tls`.
    pub tls: String,
    /// Further lines of the frontend `web`: `access_log: json`.
    pub frontend: String,
    /// The check of the backend `app`, a value in YAML.
    pub check: String,
    /// Further lines of the backend `app`: `balance: leastconn`.
    pub backend: String,
    /// The servers of `app`: a name, and a value in YAML: an address, or `{ address: ..., weight: 3 }`.
    pub servers: Vec<(String, String)>,
    /// lbd's admin HTTP.
    pub admin: SocketAddr,
    /// healthd's admin HTTP.
    pub healthd_admin: SocketAddr,
    /// Lines of the section `lbd`: `workers: 1`.
    pub lbd: String,
    /// Further top-level sections, and further frontends or backends as whole sections of their own.
    pub more: String,
    /// Further frontends, as lines under `frontends`.
    pub more_frontends: String,
    /// Further backends, as lines under `backends`.
    pub more_backends: String,
}

impl Config {
    /// Checks that decide within a second: three bad ones, 200 ms apart, or two good ones.
    pub const QUICK_CHECK: &'static str =
        "{ http: { path: /health }, interval: 200ms, timeout: 2s, fall: 3, rise: 2 }";

    /// A configuration without servers yet, with [`Config::QUICK_CHECK`] and two workers.
    pub fn new(bind: SocketAddr, admin: SocketAddr, healthd_admin: SocketAddr) -> Self {
        Self {
            bind,
            tls: String::new(),
            frontend: String::new(),
            check: Self::QUICK_CHECK.to_owned(),
            backend: String::new(),
            servers: Vec::new(),
            admin,
            healthd_admin,
            lbd: "workers: 2".to_owned(),
            more: String::new(),
            more_frontends: String::new(),
            more_backends: String::new(),
        }
    }

    /// Adds a server, or replaces the one of that name.
    pub fn server(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        match self.servers.iter_mut().find(|(server, _)| server == name) {
            Some(server) => server.1 = value,
            None => self.servers.push((name.to_owned(), value)),
        }
    }

    /// Removes a server.
    pub fn remove_server(&mut self, name: &str) {
        self.servers.retain(|(server, _)| server != name);
    }
}

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "frontends:\n  web:\n    backend: app")?;
        match self.tls.as_str() {
            "" => writeln!(f, "    bind: [\"{}\"]", self.bind)?,
            tls => writeln!(f, "    bind: {{ address: \"{}\", tls: {tls} }}", self.bind)?,
        }
        indented(f, 4, &self.frontend)?;
        indented(f, 2, &self.more_frontends)?;
        writeln!(f, "backends:\n  app:\n    check: {}", self.check)?;
        indented(f, 4, &self.backend)?;
        writeln!(f, "    servers:")?;
        for (name, value) in &self.servers {
            writeln!(f, "      {name}: {value}")?;
        }
        indented(f, 2, &self.more_backends)?;
        writeln!(f, "admin: {{ bind: \"{}\" }}", self.admin)?;
        writeln!(f, "healthd: {{ admin: {{ bind: \"{}\" }} }}", self.healthd_admin)?;
        writeln!(f, "lbd:")?;
        indented(f, 2, &self.lbd)?;
        indented(f, 0, &self.more)
    }
}

fn indented(f: &mut Formatter<'_>, spaces: usize, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(f, "{:spaces$}{line}", ""))
}
