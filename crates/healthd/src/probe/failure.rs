//! What a failed system call says: about the server, or about this host.

use std::io;

use health::CheckCode;
use nix::errno::Errno;

use super::{Finding, Limits};

impl Finding {
    /// A connection that could not be made.
    pub(super) fn not_connected(error: &io::Error, limits: Limits) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            return Self::connect_timeout(limits);
        }
        if is_starvation(error) {
            let text = format!("the check could not be started: {}", io_text(error));
            return Self { starved: true, ..Self::new(CheckCode::SockErr, text) };
        }
        Self::new(CheckCode::L4Con, io_text(error))
    }
}

/// Whether the host ran out of something: descriptors, local ports, memory.
fn is_starvation(error: &io::Error) -> bool {
    let Some(errno) = error.raw_os_error() else { return false };
    matches!(
        Errno::from_raw(errno),
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EADDRNOTAVAIL | Errno::EAGAIN
    )
}

/// The text of an error for people, without the number that the standard library adds.
pub fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn errors_of_connecting() {
        let limits = Limits { connect: Duration::from_secs(2), whole: Duration::from_secs(10) };
        let cases = [
            (Errno::ECONNREFUSED, CheckCode::L4Con, "Connection refused", false),
            (Errno::EHOSTUNREACH, CheckCode::L4Con, "No route to host", false),
            (Errno::ENETUNREACH, CheckCode::L4Con, "Network is unreachable", false),
            (Errno::EACCES, CheckCode::L4Con, "Permission denied", false),
            (Errno::ETIMEDOUT, CheckCode::L4Tout, "no connection within 2 s", false),
            (Errno::EMFILE, CheckCode::SockErr, "the check could not be started: Too many open files", true),
            (
                Errno::EADDRNOTAVAIL,
                CheckCode::SockErr,
                "the check could not be started: Cannot assign requested address",
                true,
            ),
        ];
        for (errno, code, text, starved) in cases {
            let finding = Finding::not_connected(&io::Error::from_raw_os_error(errno as i32), limits);
            assert_eq!((finding.code, finding.text.as_str(), finding.starved), (code, text, starved));
        }
    }
}
