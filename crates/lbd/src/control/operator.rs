//! What operators asked for at run time: states, weights and limits of servers, kept across reloads and crashes.

use std::collections::BTreeMap;
use std::path::Path;

use balance::{AdminState, Weight};
use config::{Backend, Server};
use daemon::keeper::{Keeper, Saving};
use daemon::kept_file;
use serde::{Deserialize, Serialize};

/// Operators' wishes, by backend and server.
pub type Wishes = BTreeMap<String, BTreeMap<String, Wish>>;

/// Operators' wishes, and who keeps them.
#[derive(Debug)]
pub struct Operator {
    wishes: Wishes,
    keeper: Keeper<Wishes>,
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
    /// The requests at once wanted; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
}

/// What is in force for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its state.
    pub state: AdminState,
    /// Its weight.
    pub weight: Weight,
    /// Requests at once, if they are limited.
    pub maxconn: Option<u32>,
}

impl Operator {
    /// Reads the wishes that an earlier lbd left in `file`, and keeps them there from now on.
    ///
    /// # Errors
    /// When the file exists and cannot be read or understood. An absent file means: no wishes.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let wishes = kept_file::read(file)?.unwrap_or_default();
        Ok(Self { wishes, ..Self::forgetful(file) })
    }

    /// No wishes; those to come are kept in `file`, whatever it holds now.
    pub fn forgetful(file: &Path) -> Self {
        Self { wishes: Wishes::new(), keeper: Keeper::start(file.to_owned(), "what operators set") }
    }

    /// What is in force for a server.
    pub fn of(&self, backend: &str, server: &Server) -> InForce {
        let wish = self
            .wishes
            .get(backend)
            .and_then(|servers| servers.get(&server.name))
            .copied()
            .unwrap_or_default();
        InForce {
            state: wish.state.unwrap_or(server.state),
            weight: wish.weight.unwrap_or(server.weight),
            maxconn: wish.maxconn.or(server.maxconn).filter(|maxconn| *maxconn > 0),
        }
    }

    /// What was wished so far, on its way to the disk.
    pub fn saving(&self) -> Saving {
        self.keeper.saving()
    }

    /// Takes a wish for a server, and has it saved. What equals the configuration is no wish, and is forgotten.
    pub fn set(&mut self, backend: &Backend, server: &Server, wish: Wish) -> Saving {
        let servers = self.wishes.entry(backend.name.clone()).or_default();
        let held = servers.entry(server.name.clone()).or_default();
        held.state = wish.state.or(held.state).filter(|state| *state != server.state);
        held.weight = wish.weight.or(held.weight).filter(|weight| *weight != server.weight);
        let configured = server.maxconn.unwrap_or(0);
        held.maxconn = wish.maxconn.or(held.maxconn).filter(|maxconn| *maxconn != configured);
        if *held == Wish::default() {
            servers.remove(&server.name);
        }
        if servers.is_empty() {
            self.wishes.remove(&backend.name);
        }
        self.keeper.keep(&self.wishes)
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

    #[tokio::test]
    async fn wishes_survive_a_crash_and_end_where_the_configuration_agrees() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.servers");
        let backend = config();
        let server = &backend.servers[0];
        assert_eq!(server.address, ServerAddress { host: Host::Ip([127, 0, 0, 1].into()), port: 81 });

        let mut operator = Operator::open(&file).unwrap();
        let drain = Wish { state: Some(AdminState::Drain), ..Wish::default() };
        let weight = Wish { weight: Weight::new(7), ..Wish::default() };
        let maxconn = Wish { maxconn: Some(3), ..Wish::default() };
        for wish in [drain, weight, maxconn] {
            operator.set(&backend, server, wish).done().await.unwrap();
        }

        let mut reopened = Operator::open(&file).unwrap();
        let in_force =
            InForce { state: AdminState::Drain, weight: Weight::new(7).unwrap(), maxconn: Some(3) };
        assert_eq!(reopened.of("b", server), in_force);
        let ready = Wish { state: Some(AdminState::Ready), weight: Some(Weight::ONE), maxconn: Some(0) };
        reopened.set(&backend, server, ready).done().await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "{}");
    }
}
