//! The commands of the socket that change a server, in HAProxy's words, read into requests.
//!
//! ```text
//! set server BACKEND/SERVER state ready|drain|maint
//! set server BACKEND/SERVER weight 0..256
//! set weight BACKEND/SERVER 0..256
//! set maxconn server BACKEND/SERVER N
//! enable server BACKEND/SERVER
//! disable server BACKEND/SERVER
//! ```

use balance::{AdminState, Weight};
use thiserror::Error;
use wire::{Request, RowKind, StatRow};

use crate::control::operator::Wish;

/// Why a command was not understood: one line for people, with what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No `/` between a backend and a server.
    #[error("expected BACKEND/SERVER, not `{0}`{hint}", hint = meant(.1))]
    NotAPath(String, Option<String>),
    /// No such backend.
    #[error("no backend `{name}`{hint}; there are: {known}", hint = meant(.nearest))]
    NoBackend {
        /// The name given.
        name: String,
        /// The one probably meant.
        nearest: Option<String>,
        /// All of them.
        known: String,
    },
    /// No such server in that backend.
    #[error("no server `{name}` in backend `{backend}`{hint}; there are: {known}", hint = meant(.nearest))]
    NoServer {
        /// The backend.
        backend: String,
        /// The name given.
        name: String,
        /// The one probably meant.
        nearest: Option<String>,
        /// All of them.
        known: String,
    },
    /// Not a state.
    #[error("no state `{0}`{hint}; expected ready, drain or maint", hint = meant(.1))]
    NoState(String, Option<String>),
    /// Not a weight.
    #[error("a weight is a number from 0 to {max}, not `{0}`", max = Weight::MAX)]
    NoWeight(String),
    /// Not a number of requests.
    #[error("a maxconn is a number of requests, or 0 for no limit, not `{0}`")]
    NoMaxconn(String),
    /// Something else of a server that HAProxy can change and lbd cannot.
    #[error("cannot set `{0}` of a server{hint}; expected `state` or `weight`", hint = meant(.1))]
    NoProperty(String, Option<String>),
    /// Too few words, or too many.
    #[error("usage: {0}")]
    Usage(&'static str),
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |word| format!(" (did you mean `{word}`?)"))
}

/// The request that a command stands for; none if it is not one that changes a server.
///
/// `rows` says which backends and servers there are.
pub fn parse(command: &str, rows: &[StatRow]) -> Option<Result<Request, CommandError>> {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["set", "server", rest @ ..] => Some(set_server(rest, rows)),
        ["set", "weight", rest @ ..] => Some(set_weight(rest, rows)),
        ["set", "maxconn", "server", rest @ ..] => Some(set_maxconn(rest, rows)),
        ["enable", "server", rest @ ..] => {
            Some(set_state(rest, rows, AdminState::Ready, "enable server BACKEND/SERVER"))
        }
        ["disable", "server", rest @ ..] => {
            Some(set_state(rest, rows, AdminState::Maint, "disable server BACKEND/SERVER"))
        }
        _ => None,
    }
}

fn set_server(words: &[&str], rows: &[StatRow]) -> Result<Request, CommandError> {
    match words {
        [path, "state", state] => {
            request(path, rows, Wish { state: Some(parse_state(state)?), ..Wish::default() })
        }
        [path, "weight", weight] => {
            request(path, rows, Wish { weight: Some(parse_weight(weight)?), ..Wish::default() })
        }
        [_, property, ..] if !["state", "weight"].contains(property) => Err(CommandError::NoProperty(
            (*property).into(),
            config::nearest(property, ["state", "weight"]).map(Into::into),
        )),
        _ => Err(CommandError::Usage(
            "set server BACKEND/SERVER state ready|drain|maint, or ... weight 0..256",
        )),
    }
}

fn set_weight(words: &[&str], rows: &[StatRow]) -> Result<Request, CommandError> {
    match words {
        [path, weight] => {
            request(path, rows, Wish { weight: Some(parse_weight(weight)?), ..Wish::default() })
        }
        _ => Err(CommandError::Usage("set weight BACKEND/SERVER 0..256")),
    }
}

fn set_maxconn(words: &[&str], rows: &[StatRow]) -> Result<Request, CommandError> {
    match words {
        [path, maxconn] => {
            let maxconn = maxconn.parse().map_err(|_| CommandError::NoMaxconn((*maxconn).into()))?;
            request(path, rows, Wish { maxconn: Some(maxconn), ..Wish::default() })
        }
        _ => Err(CommandError::Usage("set maxconn server BACKEND/SERVER N")),
    }
}

fn set_state(
    words: &[&str],
    rows: &[StatRow],
    state: AdminState,
    usage: &'static str,
) -> Result<Request, CommandError> {
    match words {
        [path] => request(path, rows, Wish { state: Some(state), ..Wish::default() }),
        _ => Err(CommandError::Usage(usage)),
    }
}

fn parse_state(word: &str) -> Result<AdminState, CommandError> {
    word.parse().map_err(|balance::UnknownWord { expected }| {
        CommandError::NoState(word.into(), config::nearest(word, expected.iter().copied()).map(Into::into))
    })
}

fn parse_weight(word: &str) -> Result<Weight, CommandError> {
    word.parse().ok().and_then(Weight::new).ok_or_else(|| CommandError::NoWeight(word.into()))
}

fn request(path: &str, rows: &[StatRow], wish: Wish) -> Result<Request, CommandError> {
    let (backend, server) = find(path, rows)?;
    let Wish { state, weight, maxconn } = wish;
    Ok(Request::SetServer { backend: backend.into(), server: server.into(), state, weight, maxconn })
}

/// The backend and the server of a path, if they exist.
fn find<'a>(path: &'a str, rows: &[StatRow]) -> Result<(&'a str, &'a str), CommandError> {
    let Some((backend, server)) = path.split_once('/') else {
        let probably = rows.iter().find(|row| row.kind == RowKind::Server && row.name == path);
        return Err(CommandError::NotAPath(path.into(), probably.map(|row| format!("{}/{path}", row.proxy))));
    };
    let backends: Vec<&str> =
        rows.iter().filter(|row| row.kind == RowKind::Backend).map(|row| row.proxy.as_str()).collect();
    if !backends.contains(&backend) {
        return Err(CommandError::NoBackend {
            name: backend.into(),
            nearest: config::nearest(backend, backends.iter().copied()).map(Into::into),
            known: backends.join(", "),
        });
    }
    let servers: Vec<&str> = rows
        .iter()
        .filter(|row| row.kind == RowKind::Server && row.proxy == backend)
        .map(|row| row.name.as_str())
        .collect();
    if !servers.contains(&server) {
        return Err(CommandError::NoServer {
            backend: backend.into(),
            name: server.into(),
            nearest: config::nearest(server, servers.iter().copied()).map(Into::into),
            known: servers.join(", "),
        });
    }
    Ok((backend, server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn commands_become_requests() {
        let state = |state| Wish { state: Some(state), ..Wish::default() };
        let weight = |n| Wish { weight: Weight::new(n), ..Wish::default() };
        let maxconn = |n| Wish { maxconn: Some(n), ..Wish::default() };
        for (command, Wish { state, weight, maxconn }) in [
            ("set server nginx/nginx1 state drain", state(AdminState::Drain)),
            ("set  server\tnginx/nginx1 state maint ", state(AdminState::Maint)),
            ("set server nginx/nginx1 weight 10", weight(10)),
            ("set weight nginx/nginx1 0", weight(0)),
            ("enable server nginx/nginx1", state(AdminState::Ready)),
            ("disable server nginx/nginx1", state(AdminState::Maint)),
            ("set maxconn server nginx/nginx1 8", maxconn(8)),
        ] {
            let (backend, server) = ("nginx".into(), "nginx1".into());
            let wanted = Request::SetServer { backend, server, state, weight, maxconn };
            assert_eq!(parse(command, &sample::rows()), Some(Ok(wanted)), "{command}");
        }
    }

    #[test]
    fn other_commands_are_not_for_this_module() {
        for command in ["", "show stat", "set", "set maxconn global 3", "enable health nginx/nginx1"] {
            assert_eq!(parse(command, &sample::rows()), None, "{command}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let messages = [
            "set server nginx1 state drain",
            "set server nginy/nginx1 state drain",
            "set server nginx/ngin1 state drain",
            "set server nginx/zzz state drain",
            "set server nginx/nginx1 state drained",
            "set server nginx/nginx1 state gone",
            "set server nginx/nginx1 weight 257",
            "set server nginx/nginx1 weight 50%",
            "set server nginx/nginx1 adress 10.0.0.1",
            "set server nginx/nginx1 state",
            "set server",
            "set weight nginx/nginx1",
            "set maxconn server nginx/nginx1",
            "set maxconn server nginx/nginx1 few",
            "enable server",
            "disable server nginx/nginx1 now",
        ]
        .map(|command| match parse(command, &sample::rows()) {
            Some(Err(error)) => format!("{command}\n  {error}"),
            other => panic!("{command}: {other:?}"),
        });
        insta::assert_snapshot!(messages.join("\n"));
    }
}
