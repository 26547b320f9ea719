//! Carries a dialogue over a connection: what is said goes out, what arrives is handed over, and both are bounded.

use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use health::dialogue::{Dialogue, Verdict};
use socket2::{SockRef, Socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout_at;
use wire::readiness::register;

use super::dial::Connected;
use super::failure::io_text;
use super::{Finding, Line, seconds};

/// One check of a server, from connecting to the verdict.
pub(super) async fn run(dialogue: &mut (dyn Dialogue + '_), line: Line) -> Finding {
    let connected = match line.connect(dialogue.opening()).await {
        Ok(connected) => connected,
        Err(finding) => return finding,
    };
    let Line { limits, started, .. } = line;
    let mut heard = Vec::new();
    let talking = Talk { dialogue, heard: &mut heard, say: Vec::new() }.run(connected);
    match timeout_at(started + limits.whole, talking).await {
        Ok(Ok(verdict)) => verdict.into(),
        Ok(Err(error)) => Finding::new(dialogue.layer().invalid(), io_text(&error)),
        Err(_) => Finding::new(dialogue.layer().late(), dialogue.late(&heard, &seconds(limits.whole))),
    }
}

/// A dialogue under way.
struct Talk<'a, 'd> {
    dialogue: &'a mut (dyn Dialogue + 'd),
    /// What the dialogue has not taken yet.
    heard: &'a mut Vec<u8>,
    /// What is to be said next.
    say: Vec<u8>,
}

/// Why listening has ended for now.
enum Heard {
    /// There is something to be said.
    Turn,
    /// The check is decided. Whether the server has ended its side.
    Verdict(Verdict, bool),
    /// The server has ended its side, and nothing is decided.
    End,
}

impl Talk<'_, '_> {
    /// The verdict, or why there is none. Some of the opening has been sent.
    async fn run(mut self, connected: Connected) -> io::Result<Verdict> {
        let Connected { socket, opening, sent } = connected;
        let (mut socket, mut sent) = match sent {
            Ok(first) => send(socket, opening.get(first..).unwrap_or_default()).await?,
            Err(error) => (socket, Err(error)),
        };
        let mut left = self.dialogue.most();
        loop {
            // Only what is waited for: a socket that may also be written to would say so at once.
            let readable = register(socket.into(), Interest::READABLE)?;
            let heard = self.listen(&readable, &mut left).await?;
            socket = readable.into_inner().into();
            match heard {
                Heard::Turn => {
                    (socket, sent) = send(socket, &self.say).await?;
                    self.say.clear();
                }
                Heard::Verdict(verdict, is_over) => {
                    self.leave(&socket, is_over);
                    return Ok(verdict);
                }
                Heard::End => {
                    // A server that does not read may have answered all the same: only without an answer does that matter.
                    sent?;
                    let verdict = self.dialogue.ended(self.heard);
                    self.leave(&socket, true);
                    return Ok(verdict);
                }
            }
        }
    }

    /// Hands over what arrives. `left` is how much more may.
    async fn listen(&mut self, socket: &AsyncFd<OwnedFd>, left: &mut u64) -> io::Result<Heard> {
        loop {
            // While nothing has come, nothing is held for it.
            let mut ready = socket.readable().await?;
            let is_closed = ready.ready().is_read_closed();
            let held = self.heard.len();
            self.heard.resize(held + self.dialogue.room(), 0);
            let room = self.heard.split_at_mut(held).1;
            let read = ready.try_io(|socket| (&*SockRef::from(socket.get_ref())).read(room));
            let Ok(read) = read else {
                self.heard.truncate(held);
                continue;
            };
            self.heard.truncate(held + *read.as_ref().unwrap_or(&0));
            let read = read? as u64;
            if read == 0 {
                return Ok(Heard::End);
            }
            if let Some(verdict) = self.dialogue.hear(self.heard, &mut self.say) {
                return Ok(Heard::Verdict(verdict, is_closed));
            }
            *left = left.saturating_sub(read);
            if *left == 0 {
                let (most, awaited) = (self.dialogue.most() >> 10, self.dialogue.awaited());
                let text = format!("more than {most} KiB, but not {awaited}");
                return Ok(Heard::Verdict(Verdict::new(self.dialogue.layer().invalid(), text), is_closed));
            }
            if !self.say.is_empty() {
                return Ok(Heard::Turn);
            }
        }
    }

    /// Says what is said last. It does not matter whether that can be.
    fn leave(&self, socket: &Socket, is_over: bool) {
        if is_over {
            // The server has ended its side and waits for nothing: a reset rids it of the connection at once, instead of after an
            // exchange of ends and a minute in TIME_WAIT.
            let _ = socket.set_linger(Some(Duration::ZERO));
        } else if !self.say.is_empty() {
            let _ = socket.send(&self.say);
        }
    }
}

/// Sends what is left to be said. Whether it could be is not known to be a failure before the answer is.
async fn send(socket: Socket, mut rest: &[u8]) -> io::Result<(Socket, io::Result<()>)> {
    while !rest.is_empty() {
        match socket.send(rest) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return wait_and_send(socket, rest).await,
            Err(error) => return Ok((socket, Err(error))),
        }
    }
    Ok((socket, Ok(())))
}

/// The same for a server that does not take everything at once.
async fn wait_and_send(socket: Socket, mut rest: &[u8]) -> io::Result<(Socket, io::Result<()>)> {
    let socket = register(socket.into(), Interest::WRITABLE)?;
    let sent = loop {
        match socket.async_io(Interest::WRITABLE, |socket| SockRef::from(socket).send(rest)).await {
            Ok(sent) if sent < rest.len() => rest = rest.get(sent..).unwrap_or_default(),
            sent => break sent.map(drop),
        }
    };
    Ok((socket.into_inner().into(), sent))
}
