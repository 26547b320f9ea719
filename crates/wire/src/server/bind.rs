//! Opening a daemon's socket, also where a dead daemon left one.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// The longest path of a socket in bytes: `sun_path` of unix(7), its final zero, and the suffix of the name under
/// which the socket is made.
const PATH_MAX: usize = 108 - 1 - NEW.len();
/// Ends the name under which a socket is made, before it takes the place of an old one.
const NEW: &str = ".new";

/// Why a socket cannot be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("{} is in use: another {daemon} is running{pid}; stop it, or choose another --run-dir",
        path.display(), pid = pid.map_or_else(String::new, |pid| format!(" as process {pid}")))]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Whose socket it is.
        daemon: String,
        /// Its process, if the system tells.
        pid: Option<i32>,
    },
    /// The system has no room for such a path.
    #[error("the socket {} has a path of {len} bytes, {PATH_MAX} are possible; choose a shorter --run-dir",
        path.display(), len = path.as_os_str().len())]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{} is not a socket; remove it, or choose another --run-dir", path.display())]
    NotASocket {
        /// What is not a socket.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot open the socket {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Opens a listening socket at `path` with the given permission bits. Its directory is made if it is missing, and the
/// socket of a daemon that died is replaced. Must be called within a runtime.
///
/// # Errors
/// When another process answers there, or the system refuses.
pub fn bind(path: &Path, mode: u32, daemon: &str) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    check(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(_) => refuse_if_alive(path, daemon)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let (listener, new) = bind_beside(path, mode)?;
    std::fs::rename(&new, path).map_err(failed)?;
    Ok(listener)
}

/// Opens a listening socket with the given permission bits under another name beside `path`, which is returned: whoever renames it
/// has it take the place of what is there. Must be called within a runtime.
///
/// # Errors
/// When the system refuses.
pub fn bind_beside(path: &Path, mode: u32) -> Result<(UnixListener, PathBuf), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    check(path)?;
    // Made under another name and then renamed, the socket never exists with other permissions than it should have.
    let mut new = OsString::from(path);
    new.push(NEW);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(failed)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok((listener, new.into()))
}

/// Whether a socket can be at `path`. Its directory is made.
fn check(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    if path.as_os_str().len() > PATH_MAX {
        return Err(BindError::TooLong { path: path.to_owned() });
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(BindError::NotASocket { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Only a refused connection shows that nobody listens. A daemon that hangs has a full backlog, and still lives.
fn refuse_if_alive(path: &Path, daemon: &str) -> Result<(), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    let in_use = |pid| BindError::InUse { path: path.to_owned(), daemon: daemon.to_owned(), pid };
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    match socket.connect(&SockAddr::unix(path).map_err(failed)?) {
        Ok(()) => {
            let peer = UnixStream::from_std(socket.into()).and_then(|stream| stream.peer_cred());
            Err(in_use(peer.ok().and_then(|peer| peer.pid())))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use(None)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lbd.sock");
        let dead = bind(&path, 0o660, "lbd").unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(dead);

        let _living = bind(&path, 0o600, "lbd").unwrap();
        assert_eq!(mode(&path), 0o600);
        let error = bind(&path, 0o600, "lbd").unwrap_err();
        let pid = std::process::id().to_string();
        assert!(error.to_string().contains("another lbd is running as process"), "{error}");
        assert!(error.to_string().contains(&pid), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_still_has_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lbd.sock");
        let _hanging = bind(&path, 0o600, "lbd").unwrap();
        let mut waiting = Vec::new();
        // Nobody accepts, so the backlog fills up: then the system says at once that it would block.
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            match socket.connect(&SockAddr::unix(&path).unwrap()) {
                Ok(()) => waiting.push(socket),
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(matches!(bind(&path, 0o600, "lbd"), Err(BindError::InUse { pid: None, .. })));
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lbd.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, 0o600, "lbd"), Err(BindError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

        let long = directory.path().join("x".repeat(PATH_MAX));
        assert!(bind(&long, 0o600, "lbd").unwrap_err().to_string().contains("choose a shorter --run-dir"));
    }
}
