//! `mysql`, `postgres`, `redis`, `smtp` and `tls` of `backends.NAME.check`

use std::path::PathBuf;

use health::dialogue::RedisRole;

use crate::read::{Section, Value};
use crate::scalar::{self, Problem};
use crate::{Probe, TlsProbe};

const USER: &str = "a user's name of 1 to 63 bytes";

pub(super) fn mysql(s: &mut Section<'_>) -> Probe {
    Probe::Mysql { user: s.value("user", USER, "none: nobody has to be let in").scalar(account) }
}

pub(super) fn postgres(s: &mut Section<'_>) -> Probe {
    Probe::Postgres {
        user: s.required("user", USER).scalar(account).unwrap_or_default(),
        database: s
            .value("database", "a database's name of 1 to 63 bytes", "the one of the user's name")
            .scalar(account),
    }
}

pub(super) fn redis(s: &mut Section<'_>) -> Probe {
    let roles = [RedisRole::Master, RedisRole::Replica].map(|role| (role.word(), Some(role)));
    let any = ("any", None);
    Probe::Redis { role: s.word("role", None, &[any, roles[0], roles[1]]) }
}

pub(super) fn smtp(s: &mut Section<'_>) -> Probe {
    const LOCALHOST: &str = "localhost";
    let value = s.value("domain", "a host name such as lb1.example.org", LOCALHOST);
    Probe::Smtp { domain: value.scalar(scalar::host).unwrap_or_else(|| LOCALHOST.to_owned()) }
}

pub(super) fn tls(s: &mut Section<'_>) -> Probe {
    let name = s.value("name", "a host name such as www.example.org", "the server's, if it has one");
    let ca_file = s.value("ca_file", "a file's absolute path", "none: certificates are not verified");
    Probe::Tls(TlsProbe { name: name.scalar(scalar::host_name), ca_file: path(&ca_file) })
}

fn path(value: &Value<'_>) -> Option<PathBuf> {
    value.scalar(|text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(Problem::Unexpected) }
    })
}

/// What a database knows a user or itself by. Protocols end it with a zero byte.
fn account(text: &str) -> Result<String, Problem> {
    if (1..=63).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(Problem::Unexpected)
}
