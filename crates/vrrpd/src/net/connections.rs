//! TCP connections of addresses of this node, counted and ended, by NETLINK_SOCK_DIAG (sock_diag(7)).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, SockDiagDestroy, SockDiagMessage, TCP_FIN_WAIT2,
};
use nix::libc::{ENOENT, ESTALE};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use socket2::Socket;

/// States in which a connection has something to say or to hear yet.
const OPEN: StateFlags = RESET.union(StateFlags::LAST_ACK).union(StateFlags::CLOSING);
/// Those out of which the kernel sends a reset. In the others both sides have said that they end.
const RESET: StateFlags = StateFlags::ESTABLISHED
    .union(StateFlags::FIN_WAIT1)
    .union(StateFlags::FIN_WAIT2)
    .union(StateFlags::CLOSE_WAIT);
/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections that are ended at most: more of them would take longer than anybody waits.
const MOST: usize = 100_000;
/// Of these the kernel is told in one go. Its answers fit into the buffer of a socket.
const BATCH: usize = 64;

/// The connections of each of these addresses.
///
/// # Errors
/// When the kernel refuses.
pub fn count(addresses: &[IpAddr]) -> io::Result<BTreeMap<IpAddr, u64>> {
    let mut counts = none_of(addresses);
    list(&OPEN, |connection| {
        if let Some(count) = counts.get_mut(&local(&connection.socket_id)) {
            *count += 1;
        }
        true
    })?;
    Ok(counts)
}

/// What became of connections that were to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How many of each address have.
    pub connections: BTreeMap<IpAddr, u64>,
    /// Whether there was time for all.
    pub are_all: bool,
}

/// Ends the connections of these addresses, within that time: peers get a reset, and the programs that have them ECONNABORTED.
/// An address has to be here still, as resets are sent from it.
///
/// # Errors
/// When the kernel refuses; [`ErrorKind::Unsupported`] where it is built without `CONFIG_INET_DIAG_DESTROY`.
pub fn end(addresses: &[IpAddr], within: Duration) -> io::Result<Ended> {
    let began = Instant::now();
    let mut ended = Ended { connections: none_of(addresses), are_all: true };
    let mut found = Vec::new();
    // All are listed before the first one ends: the kernel goes on with a list by the number of what it has listed already.
    list(&RESET, |connection| {
        // Nobody waits for anything where no program has it any more, and the peer has all of it.
        let is_over = connection.state == TCP_FIN_WAIT2 && connection.inode == 0;
        if !is_over && ended.connections.contains_key(&local(&connection.socket_id)) {
            found.push((connection.family, connection.socket_id));
        }
        ended.are_all = found.len() < MOST && began.elapsed() < within / 2;
        ended.are_all
    })?;
    if found.is_empty() {
        return Ok(ended);
    }
    let (mut diag, mut refused) = (Diag::open()?, None);
    for batch in found.chunks(BATCH) {
        if began.elapsed() >= within {
            ended.are_all = false;
            break;
        }
        let mut connections = batch.iter();
        diag.destroy(batch, |outcome| {
            let Some((_, id)) = connections.next() else { return };
            match outcome {
                None => *ended.connections.entry(local(id)).or_default() += 1,
                // It has ended meanwhile.
                Some(error) if matches!(error.raw_os_error(), Some(ENOENT | ESTALE)) => {}
                Some(error) => refused = Some(error),
            }
        })?;
    }
    match refused {
        Some(error) if ended.connections.values().all(|count| *count == 0) => Err(error),
        _ => Ok(ended),
    }
}

fn none_of(addresses: &[IpAddr]) -> BTreeMap<IpAddr, u64> {
    addresses.iter().map(|address| (*address, 0)).collect()
}

/// Of a connection of IPv4 that a socket of IPv6 has, the address of IPv4.
const fn local(id: &SocketId) -> IpAddr {
    id.source_address.to_canonical()
}

/// The connections in these states, until no more are asked for.
fn list(states: &StateFlags, mut each: impl FnMut(InetResponseHeader) -> bool) -> io::Result<()> {
    for (family, nowhere) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let mut diag = Diag::open()?;
        let question = SockDiagMessage::InetRequest(request(family, states.clone(), nowhere));
        diag.send(&message(question, NLM_F_DUMP))?;
        let mut goes_on = true;
        while goes_on {
            diag.receive(|payload: NetlinkPayload<SockDiagMessage>| {
                match payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
                        goes_on = goes_on && each(found.header);
                        return Ok(());
                    }
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    _ => goes_on = false,
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

const fn request(family: u8, states: StateFlags, socket_id: SocketId) -> InetRequest {
    InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id }
}

fn message<M: NetlinkSerializable>(inner: M, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(inner));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// A socket to the kernel's list of sockets.
struct Diag {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Diag {
    fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let socket = Socket::from(socket);
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, buffer: vec![0; 64 * 1024] })
    }

    fn send(&mut self, messages: &[u8]) -> io::Result<()> {
        self.socket.write_all(messages)
    }

    /// Takes in messages that the kernel sends together.
    fn receive<M>(&mut self, mut each: impl FnMut(NetlinkPayload<M>) -> io::Result<()>) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let length = self.socket.read(&mut self.buffer)?;
        let mut rest = &self.buffer[..length];
        while !rest.is_empty() {
            let broken = |error| io::Error::new(ErrorKind::InvalidData, error);
            let message = NetlinkMessage::deserialize(rest).map_err(broken)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            rest = rest.get(length.max(1).next_multiple_of(4)..).unwrap_or_default();
            each(message.payload)?;
        }
        Ok(())
    }

    /// Ends these connections. Of each, in turn, why not.
    fn destroy(
        &mut self,
        connections: &[(u8, SocketId)],
        mut outcome: impl FnMut(Option<io::Error>),
    ) -> io::Result<()> {
        let destroy = |(family, id): &(u8, SocketId)| {
            let connection = SockDiagMessage::InetRequest(request(*family, StateFlags::empty(), id.clone()));
            message(SockDiagDestroy::new(connection), NLM_F_ACK)
        };
        self.send(&connections.iter().flat_map(destroy).collect::<Vec<u8>>())?;
        let mut waiting = connections.len();
        while waiting > 0 {
            self.receive(|payload: NetlinkPayload<SockDiagMessage>| {
                if let NetlinkPayload::Error(error) = payload {
                    waiting = waiting.saturating_sub(1);
                    outcome(error.code.map(|_| error.to_io()));
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
