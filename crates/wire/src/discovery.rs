//! Servers that healthd finds while it runs: who belongs to a backend, and what is known of where they are found.

use balance::{BackupLevel, Weight};
use serde::{Deserialize, Serialize};

/// What healthd has found out about a server that is not in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it listens: an address or a host name, with a port.
    pub at: String,
    /// Its share, where its source gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// A backup server's level, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<u8>,
    /// What it is asked for, and its certificate has to be for, where its source says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl Member {
    /// What is told of a member.
    pub fn of(member: &config::Member) -> Self {
        Self {
            at: member.address.to_string(),
            weight: member.weight,
            backup: member.backup.map(BackupLevel::get),
            server_name: member.server_name.clone(),
        }
    }

    /// The member of that name of whom this was told; none if it makes no sense.
    pub fn named(&self, name: &str) -> Option<config::Member> {
        Some(config::Member {
            name: name.to_owned(),
            address: self.at.parse().ok()?,
            weight: self.weight,
            backup: self.backup.and_then(BackupLevel::new),
            server_name: self.server_name.clone(),
        })
    }
}

/// A server that belongs to its backend no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its backend.
    pub backend: String,
    /// Its name.
    pub server: String,
}

/// What healthd knows of where a backend's servers are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// The backend.
    pub backend: String,
    /// Where, in words.
    pub source: String,
    /// Whether it is known who belongs to the backend, from an answer or from before: without that there is nobody yet.
    pub known: bool,
    /// How many there are.
    pub members: u64,
    /// How many there may be.
    pub max: u64,
    /// How many of them the last answer lacked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// How many more the last answer named than there may be.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surplus: u64,
    /// How long ago the last answer was; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_age_ms: Option<u64>,
    /// Why there was none since, or why it is doubted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Answers.
    pub answers: u64,
    /// Attempts that brought none.
    pub failures: u64,
}

impl Discovery {
    /// Whether another one says the same, counts and ages aside.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |one: &Self| Self {
            answer_age_ms: one.answer_age_ms.map(|_| 0),
            answers: 0,
            failures: 0,
            ..one.clone()
        };
        said(self) == said(other)
    }

    /// All of it in a line, but for the backend.
    pub fn summary(&self) -> String {
        let mut parts = vec![format!("{} of at most {} from {}", self.members, self.max, self.source)];
        match self.answer_age_ms {
            Some(age) => parts.push(format!("answered {} ago", crate::human::duration(age))),
            None => parts.push("no answer yet".to_owned()),
        }
        if self.missing > 0 {
            parts.push(format!("{} missing from the last answer", self.missing));
        }
        if self.surplus > 0 {
            parts.push(format!("{} too many left out", self.surplus));
        }
        parts.extend(self.trouble.iter().cloned());
        parts.join("; ")
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
