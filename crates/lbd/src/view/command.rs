//! The commands of the socket that change something, in HAProxy's words, read into what is wanted.
//!
//! ```text
//! set server BACKEND/SERVER state ready|drain|maint
//! set server BACKEND/SERVER weight 0..256
//! set weight BACKEND/SERVER 0..256
//! set maxconn server BACKEND/SERVER N
//! enable server BACKEND/SERVER
//! disable server BACKEND/SERVER
//! shutdown sessions server BACKEND/SERVER
//! shutdown session ID
//! ```

use balance::{AdminState, Weight};
use thiserror::Error;
use wire::{Request, RowKind, StatRow};

use crate::control::operator::Wish;
use crate::shared::sessions::{SessionId, Whose};

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
    /// Not what tells a connection from others.
    #[error("a session's id is two numbers such as 0-17, which `show sess` tells, not `{0}`")]
    NoSession(String),
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

/// Whose connections are to be listed, by the word behind `show sess`: a backend's, or a server's.
///
/// # Errors
/// When there is no such backend or server.
pub fn listed(word: Option<&str>, rows: &[StatRow]) -> Result<Whose, CommandError> {
    let Some(word) = word else { return Ok(Whose::All) };
    if word.contains('/') {
        return with(word, rows);
    }
    find_backend(word, rows).map(|backend| Whose::With { backend: backend.to_owned(), server: None })
}

/// Whose connections are to be ended, by the words behind `shutdown`.
///
/// # Errors
/// When there is no such server, or the words mean nothing.
pub fn shut_down(words: &[&str], rows: &[StatRow]) -> Result<Whose, CommandError> {
    match words {
        ["sessions", "server", path] => with(path, rows),
        ["session", id] => {
            id.parse::<SessionId>().map(Whose::One).map_err(|_| CommandError::NoSession((*id).to_owned()))
        }
        _ => Err(CommandError::Usage("shutdown sessions server BACKEND/SERVER, or shutdown session ID")),
    }
}

fn with(path: &str, rows: &[StatRow]) -> Result<Whose, CommandError> {
    let (backend, server) = find(path, rows)?;
    Ok(Whose::With { backend: backend.to_owned(), server: Some(server.to_owned()) })
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
    Ok(Request::SetServer {
        backend: backend.into(),
        server: server.into(),
        state,
        weight,
        maxconn,
        close_after_ms: None,
    })
}

/// The backend and the server of a path, if they exist.
fn find<'a>(path: &'a str, rows: &[StatRow]) -> Result<(&'a str, &'a str), CommandError> {
    let Some((backend, server)) = path.split_once('/') else {
        let probably = rows.iter().find(|row| row.kind == RowKind::Server && row.name == path);
        return Err(CommandError::NotAPath(path.into(), probably.map(|row| format!("{}/{path}", row.proxy))));
    };
    find_backend(backend, rows)?;
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

fn find_backend<'a>(backend: &'a str, rows: &[StatRow]) -> Result<&'a str, CommandError> {
    let backends: Vec<&str> =
        rows.iter().filter(|row| row.kind == RowKind::Backend).map(|row| row.proxy.as_str()).collect();
    if backends.contains(&backend) {
        return Ok(backend);
    }
    Err(CommandError::NoBackend {
        name: backend.into(),
        nearest: config::nearest(backend, backends.iter().copied()).map(Into::into),
        known: backends.join(", "),
    })
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
            let wanted = Request::SetServer { backend, server, state, weight, maxconn, close_after_ms: None };
            assert_eq!(parse(command, &sample::rows()), Some(Ok(wanted)), "{command}");
        }
    }

    #[test]
    fn sessions_are_named_by_their_server_or_one_by_its_id() {
        let rows = sample::rows();
        let with =
            |server: Option<&str>| Whose::With { backend: "nginx".into(), server: server.map(Into::into) };
        assert_eq!(listed(None, &rows), Ok(Whose::All));
        assert_eq!(listed(Some("nginx"), &rows), Ok(with(None)));
        assert_eq!(listed(Some("nginx/nginx1"), &rows), Ok(with(Some("nginx1"))));
        assert_eq!(shut_down(&["sessions", "server", "nginx/nginx1"], &rows), Ok(with(Some("nginx1"))));
        let one = Whose::One(SessionId { worker: 0, number: 17 });
        assert_eq!(shut_down(&["session", "0-17"], &rows), Ok(one));
        let told = |result: Result<Whose, CommandError>| result.unwrap_err().to_string();
        let messages = [
            told(listed(Some("nginy"), &rows)),
            told(listed(Some("nginx/zzz"), &rows)),
            told(shut_down(&["sessions", "server", "nginx1"], &rows)),
            told(shut_down(&["session", "17"], &rows)),
            told(shut_down(&["sessions"], &rows)),
        ];
        insta::assert_snapshot!(messages.join("\n"));
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
