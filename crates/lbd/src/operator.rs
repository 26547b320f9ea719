//! What operators asked for at run time: states and weights of servers, kept across reloads and crashes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use balance::{AdminState, Weight};
use config::{Backend, Server};
use serde::{Deserialize, Serialize};

/// Operators' wishes, by backend and server.
#[derive(Debug, Default)]
pub struct Operator {
    wishes: BTreeMap<String, BTreeMap<String, Wish>>,
    file: Option<PathBuf>,
}

/// What differs from the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The state wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AdminState>,
    /// The weight wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
}

impl Operator {
    /// Reads the wishes that an earlier lbd left in `file`, and keeps them there from now on.
    ///
    /// # Errors
    /// When the file exists and cannot be read or understood. An absent file means: no wishes.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let wishes = match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!(
                    "{} is not what lbd wrote; remove it to start with the configured states",
                    file.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { wishes, file: Some(file.to_owned()) })
    }

    /// No wishes; those to come are kept in `file`, whatever it holds now.
    pub fn forgetful(file: &Path) -> Self {
        Self { wishes: BTreeMap::new(), file: Some(file.to_owned()) }
    }

    /// The state and weight in force for a server.
    pub fn of(&self, backend: &str, server: &Server) -> (AdminState, Weight) {
        let wish = self
            .wishes
            .get(backend)
            .and_then(|servers| servers.get(&server.name))
            .copied()
            .unwrap_or_default();
        (wish.state.unwrap_or(server.state), wish.weight.unwrap_or(server.weight))
    }

    /// Takes a wish for a server. What equals the configuration is no wish, and is forgotten.
    ///
    /// # Errors
    /// When it cannot be saved; it is in force all the same.
    pub fn set(&mut self, backend: &Backend, server: &Server, wish: Wish) -> io::Result<()> {
        let servers = self.wishes.entry(backend.name.clone()).or_default();
        let held = servers.entry(server.name.clone()).or_default();
        held.state = wish.state.or(held.state).filter(|state| *state != server.state);
        held.weight = wish.weight.or(held.weight).filter(|weight| *weight != server.weight);
        if *held == Wish::default() {
            servers.remove(&server.name);
        }
        if servers.is_empty() {
            self.wishes.remove(&backend.name);
        }
        self.save()
    }

    /// Writes beside the file and renames, so that a crash leaves the old wishes or the new ones.
    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let new = file.with_extension("new");
        let mut out = std::fs::File::create(&new)?;
        serde_json::to_writer_pretty(&mut out, &self.wishes)?;
        out.write_all(b"\n")?;
        std::fs::rename(&new, file)
    }
}

#[cfg(test)]
mod tests {
    use config::{Host, ServerAddress};

    use super::*;

    fn config() -> Backend {
        let text = "frontends: {web: {bind: '127.0.0.1:80', backend: b}}\nbackends: {b: {servers: {s: '127.0.0.1:81'}}}\n";
        config::parse("lb.yaml", text).unwrap().config.backends.remove(0)
    }

    #[test]
    fn wishes_survive_a_crash_and_end_where_the_configuration_agrees() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.servers");
        let backend = config();
        let server = &backend.servers[0];
        assert_eq!(server.address, ServerAddress { host: Host::Ip([127, 0, 0, 1].into()), port: 81 });

        let mut operator = Operator::open(&file).unwrap();
        let drain = Wish { state: Some(AdminState::Drain), weight: None };
        operator.set(&backend, server, drain).unwrap();
        operator.set(&backend, server, Wish { state: None, weight: Weight::new(7) }).unwrap();

        let mut reopened = Operator::open(&file).unwrap();
        assert_eq!(reopened.of("b", server), (AdminState::Drain, Weight::new(7).unwrap()));
        let ready = Wish { state: Some(AdminState::Ready), weight: Some(Weight::ONE) };
        reopened.set(&backend, server, ready).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "{}");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.servers");
        std::fs::write(&file, "{").unwrap();
        assert!(Operator::open(&file).unwrap_err().to_string().contains("remove it"));
    }
}
