//! What healthd shows: the admin page, the text commands, and, in [`crate::metrics`], what Prometheus reads; all made of one
//! [`Seen`].

pub mod page;
pub mod text;

use balance::AdminState;
use health::Status;
use wire::{Condition, Discovery, Info, Resolution, Tone, Verdict};

/// Everything that healthd knows, at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// healthd itself.
    pub info: Info,
    /// The servers, in the order of the configuration.
    pub servers: Vec<ServerSeen>,
    /// The names in use.
    pub names: Vec<Resolution>,
    /// Where servers are found that are not in the configuration.
    pub discoveries: Vec<Discovery>,
    /// Connections that follow the verdicts.
    pub subscribers: usize,
}

/// What is known of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSeen {
    /// The verdict, with its ages as of now.
    pub verdict: Verdict,
    /// Where the configuration says that it listens.
    pub configured: String,
    /// Checks that ended, by HAProxy's code; only codes that occurred.
    pub checks: Vec<(health::CheckCode, u64)>,
    /// Times that it came up.
    pub ups: u64,
    /// Until when its certificate is valid, in seconds since 1970, if a check has seen one.
    pub certificate: Option<i64>,
}

impl Seen {
    /// The names of the backends, in the order of the configuration.
    pub fn backends(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for server in &self.servers {
            let name = server.verdict.backend.as_str();
            // The servers of a backend stand together.
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The servers of a backend.
    pub fn servers_of<'a>(&'a self, backend: &'a str) -> impl Iterator<Item = &'a ServerSeen> {
        self.servers.iter().filter(move |server| server.verdict.backend == backend)
    }
}

impl ServerSeen {
    /// The status in HAProxy's words; `INI` before the first check has ended.
    pub fn status(&self) -> String {
        self.condition().map_or_else(|| "INI".to_owned(), |condition| condition.to_string())
    }

    /// How good or bad the status is. It matters little of a server that its operator has taken out.
    pub fn tone(&self) -> Tone {
        match self.is_paused() {
            true => Tone::Paused,
            false => self.condition().map_or(Tone::Warning, Condition::tone),
        }
    }

    /// What operators want of it, as far as lbd tells.
    pub fn admin_state(&self) -> AdminState {
        self.verdict.admin_state.unwrap_or(AdminState::Ready)
    }

    /// Whether its operator has taken it out.
    pub fn is_paused(&self) -> bool {
        self.admin_state() != AdminState::Ready
    }

    /// What its checks say, once the first has ended.
    fn condition(&self) -> Option<Condition> {
        (self.verdict.status != Status::Unknown).then(|| self.verdict.health())
    }
}

#[cfg(test)]
pub(crate) mod sample;
