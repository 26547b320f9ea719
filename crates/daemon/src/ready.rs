//! Telling the supervisor where a daemon stands: s6 through a descriptor, systemd through its socket.

use std::io::{self, Write};

use anyhow::Context as _;

use crate::{Context, systemd};

/// Says that the daemon is ready.
///
/// # Errors
/// When the descriptor or the socket that was named is not one.
pub fn ready(context: &Context) -> anyhow::Result<()> {
    if let Some(fd) = context.ready_fd {
        write_newline(fd).with_context(|| format!("--ready-fd {fd} cannot be written to"))?;
    }
    systemd::notify("READY=1")
}

/// Lets s6 know that a daemon which has not become ready never will be, and keeps the descriptor from what the daemon starts.
pub fn never(context: &Context) {
    if let Some(fd) = context.ready_fd {
        // One that was never open is no worse than one that is closed.
        let _ = nix::unistd::close(fd);
    }
}

/// Says that the daemon is about to stop. A supervisor that does not listen any more changes nothing.
pub fn stopping() {
    if let Err(error) = systemd::notify("STOPPING=1") {
        tracing::warn!("{error:#}");
    }
}

/// The descriptor was inherited. Opening it anew through /proc needs no `unsafe`, and closing it lets s6 see the end.
fn write_newline(fd: i32) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}"))?.write_all(b"\n")?;
    nix::unistd::close(fd).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn a_supervisor_reads_a_newline_and_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        write_newline(writer.into_raw_fd()).unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "\n");
    }

    #[test]
    fn a_descriptor_that_is_not_there_is_an_error() {
        assert!(write_newline(1_000).is_err());
    }
}
