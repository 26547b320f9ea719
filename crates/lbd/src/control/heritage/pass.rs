//! Listening sockets on their way from process to process, over a Unix socket (`docs/protocol.md`): a byte `+` with each of
//! them, and `.` after the last. Whoever takes them answers `.`, and they are his.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// How long one step may take the other side.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

const ONE: u8 = b'+';
const END: u8 = b'.';

/// Bounds every step on this stream.
pub(super) fn be_patient(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Sends the listeners, and waits until the other side has taken them.
pub(super) fn give(mut stream: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    for listener in listeners {
        let beside = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&beside));
        sendmsg(stream, &[IoSlice::new(&[ONE])], &mut control, SendFlags::NOSIGNAL)?;
    }
    stream.write_all(&[END])?;
    hear(stream)
}

/// Receives listeners. They are this side's when it has said so.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    loop {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut byte)];
        let received = recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut sockets = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => sockets.collect(),
            _ => Vec::new(),
        });
        match (received.bytes, byte[0], sockets.next()) {
            (1, ONE, Some(socket)) => listeners.push(socket.into()),
            (1, END, None) => return Ok(listeners),
            (1, ONE, None) => return Err(io::Error::other("this process may open no more descriptors")),
            (0, ..) => return Err(ErrorKind::UnexpectedEof.into()),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Says that a step is done.
pub(super) fn say(mut stream: &UnixStream) -> io::Result<()> {
    stream.write_all(&[END])
}

/// Waits until the other side says that a step is done.
pub(super) fn hear(mut stream: &UnixStream) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte == [END] { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Waits for the end of the other side.
pub(super) fn hear_end(mut stream: &UnixStream) -> io::Result<()> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn listeners_arrive_in_order_with_the_clients_in_their_backlogs() {
        let listeners: Vec<_> = (0..300).map(|_| listener()).collect();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let client = TcpStream::connect(addresses[7]).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let received = receive(&theirs).unwrap();
                say(&theirs).unwrap();
                received
            });
            give(&ours, &listeners).unwrap();
            drop(listeners);
            receiver.join().unwrap()
        });
        let arrived: Vec<_> = received.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(arrived, addresses);
        assert_eq!(received[7].accept().unwrap().1, client.local_addr().unwrap());
    }

    #[test]
    fn what_is_no_list_of_listeners_is_refused() {
        for (said, kind) in
            [(&b""[..], ErrorKind::UnexpectedEof), (b"+", ErrorKind::Other), (b"-", ErrorKind::InvalidData)]
        {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(said).unwrap();
            drop(ours);
            assert_eq!(receive(&theirs).unwrap_err().kind(), kind, "{said:?}");
        }
    }

    #[test]
    fn who_goes_without_a_word_has_taken_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(give(&ours, &[listener()]).is_err());
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || receive(&theirs).unwrap().len());
            assert_eq!(give(&ours, &[listener()]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        });
    }
}
