//! A supervisor that speaks systemd's protocols: sd_notify(3), and what comes before sd_listen_fds(3).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// How often the listening thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// What a service has told its supervisor, and what the supervisor keeps for it.
#[derive(Debug)]
pub struct Systemd {
    socket: PathBuf,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    said: Vec<String>,
    stored: Vec<OwnedFd>,
    last_sign: Option<Instant>,
    signs: usize,
}

impl Heard {
    fn take(&mut self, said: String, mut descriptors: Vec<OwnedFd>) {
        let lines: Vec<_> = said.lines().collect();
        if lines.contains(&"WATCHDOG=1") {
            self.signs += 1;
            self.last_sign = Some(Instant::now());
            return;
        }
        if lines.contains(&"FDSTORE=1") {
            assert!(lines.contains(&"FDNAME=tandem-listener"), "{said}");
            self.stored.append(&mut descriptors);
        }
        if lines.contains(&"FDSTOREREMOVE=1") {
            assert!(lines.contains(&"FDNAME=tandem-listener"), "{said}");
            self.stored.clear();
        }
        self.said.push(said);
        // Those of a barrier are closed here.
    }
}

impl Systemd {
    /// Listens at a path of the test's own.
    ///
    /// # Panics
    /// When it is taken.
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a path of the test's own");
        socket.set_read_timeout(Some(LOOK)).expect("a timeout that is not zero");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let weak = Arc::downgrade(&heard);
        // It ends with the test, one receive later.
        std::thread::spawn(move || {
            while let Some(heard) = weak.upgrade() {
                let mut text = [0; 4096];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut into = [IoSliceMut::new(&mut text)];
                let Ok(received) = recvmsg(&socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) else {
                    continue;
                };
                let descriptors = control.drain().flat_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
                    _ => Vec::new(),
                });
                let descriptors = descriptors.collect();
                let said = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
                lock(&heard).take(said, descriptors);
            }
        });
        Self { socket: path.to_owned(), heard }
    }

    /// Where services tell it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether it was told that line, `READY=1` for example.
    pub fn has_heard(&self, line: &str) -> bool {
        lock(&self.heard).said.iter().any(|said| said.lines().any(|told| told == line))
    }

    /// The process that it was told to take for the service's main one, if it was.
    ///
    /// # Panics
    /// When that is no number.
    pub fn main_process(&self) -> Option<u32> {
        let heard = lock(&self.heard);
        let told = heard.said.iter().rev().find_map(|said| said.strip_prefix("MAINPID="))?;
        Some(told.parse().expect("a process"))
    }

    /// How often the service has shown that it lives.
    pub fn signs_of_life(&self) -> usize {
        lock(&self.heard).signs
    }

    /// How long it has not shown that.
    pub fn silence(&self) -> Duration {
        lock(&self.heard).last_sign.map_or(Duration::ZERO, |sign| sign.elapsed())
    }

    /// The sockets that it passes to the next start, while it goes on keeping them.
    ///
    /// # Panics
    /// When there is no descriptor left.
    pub fn stored(&self) -> Vec<TcpListener> {
        let copy = |stored: &OwnedFd| stored.try_clone().expect("a descriptor for a copy").into();
        lock(&self.heard).stored.iter().map(copy).collect()
    }

    /// Closes what it keeps.
    pub fn forget(&self) {
        lock(&self.heard).stored.clear();
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
