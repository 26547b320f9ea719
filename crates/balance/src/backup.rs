//! Backup servers: those that stand by while enough others are usable.

use std::num::{NonZeroU8, NonZeroU32};

use crate::{BackupUse, Health, ServerView};

/// When a backup server's turn comes: one of a lower level joins before one of a higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupLevel(NonZeroU8);

impl BackupLevel {
    /// The level of a backup server without a number.
    pub const FIRST: Self = Self(NonZeroU8::MIN);

    /// That level; none for zero.
    pub const fn new(level: u8) -> Option<Self> {
        match NonZeroU8::new(level) {
            Some(level) => Some(Self(level)),
            None => None,
        }
    }

    /// The plain number, from 1.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

/// When backup servers join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupRules {
    /// Fewer usable servers than this are too few.
    pub min_usable: NonZeroU32,
    /// How many join at once.
    pub join: BackupUse,
}

impl Default for BackupRules {
    /// One after the other, once nobody else is usable.
    fn default() -> Self {
        Self { min_usable: NonZeroU32::MIN, join: BackupUse::First }
    }
}

impl BackupRules {
    /// Decides which backup servers stand by. What was decided before plays no part.
    ///
    /// While first verdicts come in, a server that others will do for is as good as usable: nobody replaces it yet.
    pub fn arrange(self, servers: &mut [ServerView]) {
        let mut levels: Vec<BackupLevel> = servers.iter().filter_map(|server| server.backup).collect();
        if levels.is_empty() {
            return;
        }
        levels.sort_unstable();
        levels.dedup();
        let counts = |server: &ServerView| server.is_fit() || server.health == Health::Awaited;
        let enough = usize::try_from(self.min_usable.get()).unwrap_or(usize::MAX);
        let mut usable = servers.iter().filter(|server| server.backup.is_none() && counts(server)).count();
        for level in levels {
            let opens = usable < enough;
            for server in servers.iter_mut().filter(|server| server.backup == Some(level)) {
                let joins = opens && (self.join == BackupUse::All || usable < enough);
                server.stands_by = !joins;
                usable += usize::from(joins && counts(server));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdminState, Throttle, Weight};

    /// A server for each letter: `u` is usable, `d` down, `o` out for maintenance, `?` unknown, `a` awaited; a number before
    /// it makes it a backup of that level.
    fn servers(text: &str) -> Vec<ServerView> {
        let one = |word: &str| {
            let (level, letter) = match word.split_at(word.len() - 1) {
                ("", letter) => (None, letter),
                (level, letter) => (BackupLevel::new(level.parse().unwrap()), letter),
            };
            ServerView {
                name: word.into(),
                address: Some("127.0.0.1:80".parse().unwrap()),
                weight: Weight::ONE,
                throttle: Throttle::NONE,
                admin: if letter == "o" { AdminState::Maint } else { AdminState::Ready },
                health: match letter {
                    "d" => Health::Down,
                    "?" => Health::Unknown,
                    "a" => Health::Awaited,
                    _ => Health::Up,
                },
                backup: level,
                stands_by: true,
            }
        };
        text.split_whitespace().map(one).collect()
    }

    /// Which of them take requests, by place.
    fn used(text: &str, min_usable: u32, join: BackupUse) -> String {
        let mut servers = servers(text);
        servers
            .iter_mut()
            .filter(|server| server.backup.is_none())
            .for_each(|server| server.stands_by = false);
        let min_usable = NonZeroU32::new(min_usable).unwrap();
        BackupRules { min_usable, join }.arrange(&mut servers);
        servers.iter().map(|server| if server.is_usable() { '1' } else { '0' }).collect()
    }

    #[test]
    fn a_backup_server_serves_when_nobody_else_can() {
        use BackupUse::{All, First};
        for (text, first, all) in [
            ("u u 1u 1u", "1100", "1100"),
            ("d u 1u 1u", "0100", "0100"),
            ("d o 1u 1u", "0010", "0011"),
            ("d d 1d 1u", "0001", "0001"),
            ("d d 1o 1d", "0000", "0000"),
            ("d 2u 1u 1u 2u", "00100", "00110"),
            ("d 2u 1d 1d 2u", "01000", "01001"),
            ("1u 1u", "10", "11"),
            ("? 1u", "10", "10"),
            ("a 1u", "00", "00"),
            ("d 1? 1u", "010", "011"),
        ] {
            assert_eq!([used(text, 1, First), used(text, 1, All)], [first, all], "{text}");
        }
    }

    #[test]
    fn backup_servers_join_when_too_few_others_are_left() {
        use BackupUse::{All, First};
        for (text, min_usable, first, all) in [
            ("u u u 1u 1u 2u", 2, "111000", "111000"),
            ("u d d 1u 1u 2u", 2, "100100", "100110"),
            ("d d d 1u 1u 2u", 2, "000110", "000110"),
            ("d d d 1u 1d 2u", 2, "000101", "000101"),
            ("u d d 1u 1u 2u", 4, "100111", "100111"),
        ] {
            assert_eq!([used(text, min_usable, First), used(text, min_usable, All)], [first, all], "{text}");
        }
    }
}
