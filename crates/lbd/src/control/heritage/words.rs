//! What an lbd and its successor say to each other, over a Unix socket (`docs/protocol.md`): a JSON value a line. Listeners go between
//! two of them, as between any two lbd.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The longest word in bytes: thousands of addresses.
const LONGEST: usize = 1 << 20;

/// A word. Fields that the other release does not know are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// The program was started, as this process.
    Started {
        /// The process.
        pid: u32,
    },
    /// The successor cannot serve. Nothing has changed.
    Failed {
        /// Why.
        why: String,
    },
    /// The successor has read its configuration, and asks for the listeners.
    Asks {
        /// Its process.
        pid: u32,
        /// Its release.
        version: String,
    },
    /// They follow.
    Gives,
    /// The successor could serve at once.
    Ready {
        /// Where it would listen.
        addresses: Vec<SocketAddr>,
    },
    /// It is to.
    Go,
    /// It does.
    Serves,
    /// The old lbd knows, and so does systemd.
    Done,
}

/// Says a word.
pub(super) fn say(mut stream: &UnixStream, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Waits for a word, until `due`. Nothing behind it is read.
pub(super) fn hear(mut stream: &UnixStream, due: Instant) -> io::Result<Word> {
    let mut line = Vec::new();
    loop {
        let left = due.saturating_duration_since(Instant::now());
        // Without any time the system would wait for ever.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut byte = [0];
        match stream.read_exact(&mut byte) {
            Ok(()) if byte == *b"\n" => return Ok(serde_json::from_slice(&line)?),
            Ok(()) if line.len() < LONGEST => line.extend_from_slice(&byte),
            Ok(()) => return Err(ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn words_arrive_one_by_one_and_nothing_behind_them_is_taken() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let addresses = vec!["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()];
        for word in [Word::Gives, Word::Ready { addresses }, Word::Failed { why: "a\nb\"".to_owned() }] {
            say(&ours, &word).unwrap();
            say(&ours, &Word::Go).unwrap();
            (&ours).write_all(b".").unwrap();
            assert_eq!(hear(&theirs, soon()).unwrap(), word);
            assert_eq!(hear(&theirs, soon()).unwrap(), Word::Go);
            let mut next = [0];
            (&theirs).read_exact(&mut next).unwrap();
            assert_eq!(&next, b".");
        }
    }

    #[test]
    fn what_is_no_word_or_none_at_all_is_an_error() {
        for said in ["{}\n", "\"nonsense\"\n", "\n", "\"go\""] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(said.as_bytes()).unwrap();
            drop(ours);
            hear(&theirs, soon()).unwrap_err();
        }
        let (_ours, theirs) = UnixStream::pair().unwrap();
        assert_eq!(hear(&theirs, Instant::now()).unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn another_release_may_say_more() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"{\"asks\":{\"pid\":7,\"version\":\"9\",\"colour\":\"green\"}}\n").unwrap();
        assert_eq!(hear(&theirs, soon()).unwrap(), Word::Asks { pid: 7, version: "9".to_owned() });
    }
}
