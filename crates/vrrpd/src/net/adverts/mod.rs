//! The raw socket that adverts of one virtual router travel through.

mod filter;

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use pnet_packet::ipv4::Ipv4Packet;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vrrp::VirtualRouterId;
use vrrp::packet::{Endpoints, IP_PROTOCOL, TTL};

use super::event;

/// RFC 9568 section 5.1.1.2.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// RFC 9568 section 5.1.2.2.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Internetwork control: what keepalived and the others send.
const TRAFFIC_CLASS: u32 = 0xc0;
/// Room for the adverts of a busy second, whatever else floods the link.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// A raw socket of protocol 112 on one interface.
#[derive(Debug)]
pub struct AdvertSocket {
    socket: AsyncFd<Socket>,
    source: IpAddr,
    /// Where a packet has to be addressed to: the group, or this node.
    listening: IpAddr,
    /// Scope of link-local destinations.
    index: u32,
}

/// A packet that has arrived; its payload is in the caller's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// From where to where.
    pub endpoints: Endpoints,
    /// The TTL or hop limit on arrival.
    pub ttl: u8,
    /// Where the payload is in the buffer.
    pub payload: Range<usize>,
}

impl AdvertSocket {
    /// Opens a socket on an interface for one virtual router, sending from `source`. With `multicast` it joins the group of
    /// VRRP, and hears only packets to the group; without, only packets to `source`. It has to be opened within a runtime.
    ///
    /// # Errors
    /// When the system refuses: CAP_NET_RAW is needed, and `source` has to be on the interface.
    pub fn open(
        index: u32,
        name: &str,
        source: IpAddr,
        virtual_router_id: VirtualRouterId,
        multicast: bool,
    ) -> io::Result<Self> {
        let protocol = Some(Protocol::from(i32::from(IP_PROTOCOL)));
        let socket = Socket::new(Domain::for_address(SocketAddr::new(source, 0)), Type::RAW, protocol)?;
        socket.attach_filter(&filter::passing(source.is_ipv6(), virtual_router_id, least_ttl(multicast)))?;
        socket.set_nonblocking(true)?;
        // Multicast goes out, and anything comes in, through this interface alone.
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        match source {
            IpAddr::V4(address) => {
                // RFC 9568 section 5.1.1.3: "The TTL MUST be set to 255."
                socket.set_ttl_v4(TTL.into())?;
                socket.set_tos_v4(TRAFFIC_CLASS)?;
                socket.set_multicast_all_v4(false)?;
                socket.set_multicast_ttl_v4(TTL.into())?;
                socket.set_multicast_loop_v4(false)?;
                socket.set_multicast_if_v4(&address)?;
                // Adverts go on while the source address is missing for a moment.
                socket.set_ip_transparent_v4(true)?;
                if multicast {
                    socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
                }
            }
            IpAddr::V6(_) => {
                // RFC 9568 section 5.1.2.3: "The Hop Limit MUST be set to 255."
                socket.set_unicast_hops_v6(TTL.into())?;
                socket.set_tclass_v6(TRAFFIC_CLASS)?;
                socket.set_multicast_all_v6(false)?;
                socket.set_multicast_hops_v6(TTL.into())?;
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_if_v6(index)?;
                socket.set_ip_transparent_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                if multicast {
                    socket.join_multicast_v6(&GROUP_V6, index)?;
                }
            }
        }
        // A raw socket hears what is sent to the address that it is bound to, and one bound to a group sends from elsewhere.
        let listening = if multicast { Self::group(source.is_ipv6()) } else { source };
        socket.bind(&address_of(listening, index).into())?;
        Ok(Self { socket: event::register(socket)?, source, listening, index })
    }

    /// Hears another virtual router from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn hear(&self, virtual_router_id: VirtualRouterId) -> io::Result<()> {
        let multicast = self.listening != self.source;
        let filter = filter::passing(self.source.is_ipv6(), virtual_router_id, least_ttl(multicast));
        self.socket.get_ref().attach_filter(&filter)
    }

    /// The addresses that an advert to a destination carries.
    pub const fn endpoints(&self, destination: IpAddr) -> Endpoints {
        Endpoints { source: self.source, destination }
    }

    /// Where adverts to everybody go.
    pub const fn group(ipv6: bool) -> IpAddr {
        if ipv6 { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP_V4) }
    }

    /// Sends an advert, with TTL 255. Never waits: what the kernel cannot take is an error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn send(&self, payload: &[u8], destination: IpAddr) -> io::Result<()> {
        let socket = self.socket.get_ref();
        match (self.source, address_of(destination, self.index)) {
            (IpAddr::V6(source), SocketAddr::V6(to)) => {
                // Of several addresses of the link the kernel would choose one, which may be a virtual one.
                let info = in6_pktinfo {
                    ipi6_addr: in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.index,
                };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                let to = SockaddrIn6::from(to);
                sendmsg(
                    socket.as_raw_fd(),
                    &[IoSlice::new(payload)],
                    &control,
                    MsgFlags::MSG_DONTWAIT,
                    Some(&to),
                )?;
            }
            (_, to) => {
                socket.send_to(payload, &to.into())?;
            }
        }
        Ok(())
    }

    /// Waits until something may have arrived. Cancel safe.
    ///
    /// # Errors
    /// When the interface is gone.
    pub async fn readable(&self) -> io::Result<()> {
        // Whether it was so is found out by receiving, which also says when there is no more.
        self.socket.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// What has arrived, if anything has. Never waits.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrived>> {
        let received = self.socket.try_io(Interest::READABLE, |socket| match self.source {
            IpAddr::V4(_) => receive_v4(socket, buffer),
            IpAddr::V6(_) => receive_v6(socket, buffer, self.listening),
        });
        match received {
            Ok(arrived) => Ok(Some(arrived)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The lowest TTL that the kernel passes. Nobody forwards what is for the link, unless to fill this socket. From a peer that is
/// behind more routers than `min_ttl` allows for, whoever configured it has to hear.
const fn least_ttl(multicast: bool) -> u8 {
    if multicast { TTL } else { 0 }
}

/// A raw IPv4 socket hands over the whole packet; the kernel has checked its header.
fn receive_v4(mut socket: &Socket, buffer: &mut [u8]) -> io::Result<Arrived> {
    let length = socket.read(buffer)?;
    let packet = Ipv4Packet::new(&buffer[..length]).ok_or(io::ErrorKind::InvalidData)?;
    let header = usize::from(packet.get_header_length()) * 4;
    Ok(Arrived {
        endpoints: Endpoints {
            source: packet.get_source().into(),
            destination: packet.get_destination().into(),
        },
        ttl: packet.get_ttl(),
        payload: header.min(length)..length,
    })
}

/// A raw IPv6 socket hands over the payload; what the header said comes beside it.
fn receive_v6(socket: &Socket, buffer: &mut [u8], listening: IpAddr) -> io::Result<Arrived> {
    let mut control = cmsg_space!(in6_pktinfo, i32);
    let mut slices = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
    let mut arrived = Arrived {
        endpoints: Endpoints { source: source.into(), destination: listening },
        ttl: 0,
        payload: 0..message.bytes,
    };
    for item in message.cmsgs()? {
        match item {
            ControlMessageOwned::Ipv6HopLimit(limit) => arrived.ttl = u8::try_from(limit).unwrap_or(0),
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                arrived.endpoints.destination = Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
            }
            _ => {}
        }
    }
    Ok(arrived)
}

fn address_of(ip: IpAddr, index: u32) -> SocketAddr {
    match ip {
        IpAddr::V4(ip) => SocketAddrV4::new(ip, 0).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, index).into(),
    }
}
