//! Under systemd, whose descriptor store keeps the listeners. Here a test keeps them, by the protocol of sd_notify(3) and
//! sd_listen_fds(3).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use testkit::{Stack, wait_until};

use super::{REQUEST, assert_nothing_lost, is_refused, loads};

/// What systemd has heard, and what it keeps.
#[derive(Default)]
struct Heard {
    said: Vec<String>,
    stored: Vec<OwnedFd>,
}

impl Heard {
    fn has(&self, word: &str) -> bool {
        self.said.iter().any(|said| said.lines().any(|line| line == word))
    }

    fn take(&mut self, said: String, mut descriptors: Vec<OwnedFd>) {
        let lines: Vec<_> = said.lines().collect();
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

fn listen(socket: &Path) -> Arc<Mutex<Heard>> {
    let socket = UnixDatagram::bind(socket).unwrap();
    // The thread ends with the test, one receive later.
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let weak = Arc::downgrade(&heard);
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
            heard.lock().unwrap().take(said, descriptors);
        }
    });
    heard
}

/// What systemd passes to the next start, while it goes on keeping it.
fn stored(heard: &Mutex<Heard>) -> Vec<TcpListener> {
    let heard = heard.lock().unwrap();
    heard.stored.iter().map(|stored| stored.try_clone().unwrap().into()).collect()
}

#[test]
fn systemd_keeps_the_listeners_over_a_restart() {
    let mut stack = Stack::builder().without_lbd().start();
    let socket = stack.dir().join("notify");
    let heard = listen(&socket);
    stack.lbd.systemd(&socket, Vec::new());
    stack.lbd.start();
    wait_until("systemd has heard that it is ready", || heard.lock().unwrap().has("READY=1"));
    let loads = loads(stack.web());
    for _ in 0..5 {
        loads.iter().for_each(|load| load.wait_for_requests(20));
        assert_eq!(stack.lbd.stop().code(), Some(0), "{}", stack.lbd.stderr());
        assert!(heard.lock().unwrap().has("STOPPING=1"));
        let listeners = stored(&heard);
        assert_eq!(listeners.len(), 2, "one for each worker");
        stack.lbd.systemd(&socket, listeners);
        stack.lbd.start();
        // What lbd closes later must be closed.
        assert_eq!(heard.lock().unwrap().stored.len(), 0);
    }
    assert_nothing_lost(loads);
    assert!(!stack.dir().join("lbd.listeners").exists());
}

#[test]
fn without_a_next_start_systemd_closes_them() {
    let mut stack = Stack::builder().without_lbd().start();
    let socket = stack.dir().join("notify");
    let heard = listen(&socket);
    stack.lbd.systemd(&socket, Vec::new());
    stack.lbd.start();
    stack.lbd.stop();
    let mut waits = stack.client();
    waits.send(REQUEST);
    heard.lock().unwrap().stored.clear();
    wait_until("nobody listens", || is_refused(stack.web()));
    assert!(waits.try_response("GET").is_err());
}

/// As where something else than systemd speaks its protocol, and drops what it does not know.
#[test]
fn a_supervisor_that_does_not_keep_them_costs_no_more_than_before() {
    let mut stack = Stack::builder().without_lbd().start();
    let socket = stack.dir().join("notify");
    let heard = listen(&socket);
    stack.lbd.systemd(&socket, Vec::new());
    stack.lbd.start();
    stack.lbd.stop();
    heard.lock().unwrap().stored.clear();
    stack.lbd.start();
    assert_eq!(stack.get("/").status, 200);
}
