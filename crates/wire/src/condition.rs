//! The status words of statistics, taken apart: one spelling for those who write them and those who read them.

use std::fmt;

/// What the status word of a [`StatRow`](crate::StatRow) says. Its spelling is HAProxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A frontend that accepts connections: `OPEN`.
    Open,
    /// A frontend that accepts no more connections: `STOP`.
    Stopped,
    /// Healthy: `UP`.
    Up,
    /// Still up, but its last checks failed: `UP 2/3` bears two failures of three more.
    Falling {
        /// How many more failed checks take it down.
        left: u32,
        /// How many failed checks in a row take it down.
        of: u32,
    },
    /// Out of service for its health: `DOWN`.
    Down,
    /// Still down, but its last checks were good: `DOWN 1/2` had one of two.
    Rising {
        /// Good checks so far.
        good: u32,
        /// Good checks in a row that bring it up.
        of: u32,
    },
    /// Finishes what is in flight and takes nothing new, because its operator wants it: `DRAIN`.
    Drain,
    /// Out of service because its operator wants it: `MAINT`.
    Maint,
    /// Taken as up, since it is not checked: `no check`.
    NoCheck,
    /// A word that this version does not know.
    Other,
}

/// How good or bad a condition is, for colours and shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// All is well.
    Good,
    /// As its operator wants it.
    Paused,
    /// In transition, or degraded.
    Warning,
    /// Out of service against its operator's wish.
    Bad,
}

/// What happened within so long is of the present.
const PRESENT_MS: u64 = 60_000;

/// How good or bad it is that something unwelcome happened so long ago, if it ever did: what is over is not red for ever.
pub fn latest(age_ms: Option<u64>, tone: Tone) -> Option<Tone> {
    age_ms.filter(|age| *age <= PRESENT_MS).map(|_| tone)
}

impl Condition {
    /// What a status word says.
    pub fn of(status: &str) -> Self {
        let (word, progress) = match status.rsplit_once(' ') {
            Some((word, tail)) => (word, tail.split_once('/')),
            None => (status, None),
        };
        let progress = progress.and_then(|(part, whole)| Some((part.parse().ok()?, whole.parse().ok()?)));
        match (word, progress) {
            ("UP", Some((left, of))) => Self::Falling { left, of },
            ("DOWN", Some((good, of))) => Self::Rising { good, of },
            _ => match status {
                "OPEN" => Self::Open,
                "STOP" => Self::Stopped,
                "UP" => Self::Up,
                "DOWN" => Self::Down,
                "DRAIN" => Self::Drain,
                "MAINT" => Self::Maint,
                "no check" => Self::NoCheck,
                _ => Self::Other,
            },
        }
    }

    /// Whether new requests go there.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Open | Self::Up | Self::Falling { .. } | Self::NoCheck)
    }

    /// Whether it is out of service for its health.
    pub const fn is_down(self) -> bool {
        matches!(self, Self::Down | Self::Rising { .. })
    }

    /// How good or bad it is.
    pub const fn tone(self) -> Tone {
        match self {
            Self::Open | Self::Up | Self::NoCheck => Tone::Good,
            Self::Drain | Self::Maint => Tone::Paused,
            Self::Falling { .. } | Self::Rising { .. } | Self::Stopped | Self::Other => Tone::Warning,
            Self::Down => Tone::Bad,
        }
    }

    /// Whether it is up, down and so on, without the progress of checks: the state in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Stopped => "STOP",
            Self::Up | Self::Falling { .. } => "UP",
            Self::Down | Self::Rising { .. } => "DOWN",
            Self::Drain => "DRAIN",
            Self::Maint => "MAINT",
            Self::NoCheck => "no check",
            Self::Other => "?",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Falling { left, of } => write!(f, "UP {left}/{of}"),
            Self::Rising { good, of } => write!(f, "DOWN {good}/{of}"),
            other => f.pad(other.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for status in ["OPEN", "STOP", "UP", "UP 2/3", "DOWN", "DOWN 1/2", "DRAIN", "MAINT", "no check"] {
            assert_ne!(Condition::of(status), Condition::Other, "{status}");
            assert_eq!(Condition::of(status).to_string(), status);
        }
    }

    #[test]
    fn what_is_over_stands_out_no_more() {
        assert_eq!(latest(Some(60_000), Tone::Bad), Some(Tone::Bad));
        assert_eq!((latest(Some(60_001), Tone::Bad), latest(None, Tone::Bad)), (None, None));
    }

    #[test]
    fn unknown_words_are_neither_good_nor_usable() {
        for status in ["", "UP/3", "UP x/3", "up", "DOWN 1/", "MAINT (via b/s)"] {
            assert_eq!(Condition::of(status), Condition::Other, "{status}");
        }
        assert!(!Condition::Other.is_usable());
    }
}
