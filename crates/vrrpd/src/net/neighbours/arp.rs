//! ARP (RFC 826, RFC 5227) through a packet socket.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};

use nix::libc::{AF_PACKET, sockaddr_ll};
use pnet_base::MacAddr;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::{MutablePacket as _, Packet as _};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::{Claim, Mac, filter};
use crate::net::event;

const ETHERNET_HEADER: usize = 14;
const ARP_LENGTH: usize = 28;
const FRAME: usize = ETHERNET_HEADER + ARP_LENGTH;
/// Where the sender's protocol address stands in a frame.
const SENDER: u32 = 28;

#[derive(Debug)]
pub(super) struct Arp {
    socket: AsyncFd<Socket>,
    mac: Mac,
}

impl Arp {
    pub(super) fn open(index: u32, mac: Mac) -> io::Result<Self> {
        // Protocol 0 hears nothing until it is bound: no frame of another interface slips in.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter::passing(&[], SENDER, std::iter::empty()))?;
        socket.bind(&link_layer(index)?)?;
        Ok(Self { socket: event::register(socket)?, mac })
    }

    pub(super) fn watch(&self, addresses: &[IpAddr]) -> io::Result<()> {
        let words = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        });
        self.socket.get_ref().attach_filter(&filter::passing(&[], SENDER, words))
    }

    pub(super) fn announce(&self, address: Ipv4Addr) -> io::Result<()> {
        self.request(address, address)
    }

    pub(super) fn ask(&self, address: Ipv4Addr, from: Ipv4Addr) -> io::Result<()> {
        self.request(address, from)
    }

    fn request(&self, target: Ipv4Addr, sender: Ipv4Addr) -> io::Result<()> {
        let mut frame = [0_u8; FRAME];
        let own = MacAddr::from(self.mac);
        let mut ethernet = MutableEthernetPacket::new(&mut frame).ok_or(io::ErrorKind::InvalidInput)?;
        ethernet.set_destination(MacAddr::broadcast());
        ethernet.set_source(own);
        ethernet.set_ethertype(EtherTypes::Arp);
        let mut arp = MutableArpPacket::new(ethernet.payload_mut()).ok_or(io::ErrorKind::InvalidInput)?;
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(ArpOperations::Request);
        arp.set_sender_hw_addr(own);
        arp.set_sender_proto_addr(sender);
        arp.set_target_proto_addr(target);
        self.socket.get_ref().write_all(&frame)
    }

    pub(super) async fn claim(&self) -> io::Result<Claim> {
        let mut buffer = [0_u8; 128];
        loop {
            let mut guard = self.socket.readable().await?;
            let Ok(length) = guard.try_io(|socket| socket.get_ref().read(&mut buffer)) else { continue };
            let length = match length {
                // The interface is down, which netlink tells as well. The socket works again once it is up.
                Err(error) if error.kind() == io::ErrorKind::NetworkDown => continue,
                other => other?,
            };
            let frame = &buffer[..length];
            if let Some(claim) = claim(frame).filter(|claim| claim.mac != self.mac) {
                return Ok(claim);
            }
        }
    }
}

fn claim(frame: &[u8]) -> Option<Claim> {
    let ethernet = EthernetPacket::new(frame)?;
    let arp = ArpPacket::new(ethernet.payload())?;
    let ip = arp.get_sender_proto_addr().into();
    Some(Claim { ip, mac: arp.get_sender_hw_addr().octets() })
}

/// The address of all ARP frames on an interface.
#[expect(unsafe_code, reason = "no library makes a packet socket's address to bind to")]
fn link_layer(index: u32) -> io::Result<SockAddr> {
    let family = u16::try_from(AF_PACKET).map_err(io::Error::other)?;
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let size = u32::try_from(size_of::<sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage is zeroed and large enough for every socket address, `sockaddr_ll` among them, and the length
    // set is that of what is written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<sockaddr_ll>();
            (*address).sll_family = family;
            (*address).sll_protocol = EtherTypes::Arp.0.to_be();
            (*address).sll_ifindex = index;
            *length = size;
            Ok(())
        })?
    };
    Ok(address)
}
