//! Redis, and whatever speaks its protocol (RESP2): `PING`, and `ROLE` where the role matters.

use super::{Dialogue, Verdict, lines, plain, shown};

/// What a Redis server has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisRole {
    /// It takes writes.
    Master,
    /// It follows another one. Redis itself says `slave`.
    Replica,
}

impl RedisRole {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Replica => "replica",
        }
    }
}

/// Asks a server whether it is there, and perhaps for its role.
#[derive(Debug)]
pub struct Redis {
    wanted: Option<RedisRole>,
    awaited: Awaited,
}

/// What comes next.
#[derive(Debug)]
enum Awaited {
    Pong,
    /// The list that answers `ROLE`.
    List,
    /// The length of its first element.
    Length,
    /// The element.
    Role,
}

impl Redis {
    /// Any role will do, or only that one.
    pub const fn new(wanted: Option<RedisRole>) -> Self {
        Self { wanted, awaited: Awaited::Pong }
    }

    fn line(&mut self, line: &[u8], say: &mut Vec<u8>) -> Option<Verdict> {
        if let [b'-', error @ ..] = line {
            // LOADING, NOAUTH, ERR max number of clients reached, ...
            return Some(Verdict::refused(plain(error)));
        }
        match (&self.awaited, line) {
            (Awaited::Pong, b"+PONG") if self.wanted.is_none() => return Some(Verdict::good("PONG")),
            (Awaited::Pong, b"+PONG") => {
                say.extend_from_slice(b"ROLE\r\n");
                self.awaited = Awaited::List;
            }
            (Awaited::List, [b'*', ..]) => self.awaited = Awaited::Length,
            (Awaited::Length, [b'$', ..]) => self.awaited = Awaited::Role,
            (Awaited::Role, role) => return Some(self.judge(role)),
            _ => return Some(Verdict::invalid(format!("expected {}, got {}", self.awaited(), shown(line)))),
        }
        None
    }

    fn judge(&self, role: &[u8]) -> Verdict {
        let is = match role {
            b"master" => Some(RedisRole::Master),
            b"slave" => Some(RedisRole::Replica),
            _ => None,
        };
        match self.wanted {
            Some(wanted) if is != Some(wanted) => {
                let is = is.map_or_else(|| shown(role), |role| role.word().to_owned());
                Verdict::refused(format!("its role is {is}, expected {}", wanted.word()))
            }
            _ => Verdict::good(format!("PONG, role {}", plain(role))),
        }
    }
}

impl Dialogue for Redis {
    fn opening(&mut self) -> Vec<u8> {
        b"PING\r\n".to_vec()
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        while let Some(line) = lines::take(heard) {
            if let Some(verdict) = self.line(&line, say) {
                return Some(verdict);
            }
        }
        None
    }

    fn awaited(&self) -> String {
        match self.awaited {
            Awaited::Pong => "PONG",
            Awaited::List | Awaited::Length | Awaited::Role => "its role",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk;
    use super::*;
    use crate::CheckCode::{self, L7Ok, L7Rsp, L7Sts};

    const MASTER: &str = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    const SLAVE: &str = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:14\r\n";

    fn found(wanted: Option<RedisRole>, server: &str) -> (CheckCode, String) {
        let verdict = talk(&mut Redis::new(wanted), server.as_bytes()).1;
        (verdict.code, verdict.text)
    }

    #[test]
    fn a_pong_is_enough_where_the_role_does_not_matter() {
        for (server, code, text) in [
            ("+PONG\r\n", L7Ok, "PONG"),
            ("-NOAUTH Authentication required.\r\n", L7Sts, "NOAUTH Authentication required."),
            ("-LOADING Redis is loading\r\n", L7Sts, "LOADING Redis is loading"),
            ("HTTP/1.1 400 Bad Request\r\n", L7Rsp, "expected PONG, got \"HTTP/1.1 400 Bad Request\""),
            ("+PON", L7Rsp, "the connection was closed before PONG, after \"+PON\""),
            ("", L7Rsp, "the connection was closed before PONG"),
        ] {
            assert_eq!(found(None, server), (code, text.to_owned()), "{server}");
        }
    }

    #[test]
    fn roles() {
        let (master, replica) = (Some(RedisRole::Master), Some(RedisRole::Replica));
        for (wanted, role, code, text) in [
            (master, MASTER, L7Ok, "PONG, role master"),
            (replica, SLAVE, L7Ok, "PONG, role slave"),
            (master, SLAVE, L7Sts, "its role is replica, expected master"),
            (replica, MASTER, L7Sts, "its role is master, expected replica"),
            (master, "*2\r\n$8\r\nsentinel\r\n", L7Sts, "its role is \"sentinel\", expected master"),
            (master, "-NOPERM no\r\n", L7Sts, "NOPERM no"),
            (master, "+OK\r\n", L7Rsp, "expected its role, got \"+OK\""),
        ] {
            assert_eq!(found(wanted, &format!("+PONG\r\n{role}")), (code, text.to_owned()));
        }
    }

    #[test]
    fn the_role_is_asked_for_once_the_server_is_there() {
        assert_eq!(talk(&mut Redis::new(Some(RedisRole::Master)), b"+PONG\r\n").0, b"PING\r\nROLE\r\n");
    }
}
