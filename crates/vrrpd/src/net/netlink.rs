//! Interfaces and addresses, through rtnetlink.

use std::future::Future;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context as _, bail};
use config::VirtualAddress;
use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use rtnetlink::{Error, Handle, MulticastGroup, RouteMessageBuilder};
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout};

use super::route::default_gateway;
use super::{Link, LinkAddress, event};

/// Vrrpd's mark on its addresses: the number of VRRP among the protocols of IP, as routing daemons do it.
const MARK: AddressProtocol = AddressProtocol::Other(vrrp::packet::IP_PROTOCOL);
/// How long the kernel may take. It answers within microseconds, or something is very wrong.
const PATIENCE: Duration = Duration::from_secs(1);
/// Messages that are taken at once at most, so that a flood of them starves nobody.
const MESSAGES: usize = 1024;
/// What lies between two looks at the interfaces of a machine on which thousands of containers start.
const SPACING: Duration = Duration::from_millis(5);

/// A connection to the kernel. Its runtime drives it; clones share it.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
}

/// News of interfaces and addresses. What they say does not matter, since the listing that follows is newer: so nothing
/// queues up here, and an overrun of the kernel's own queue is news as well.
#[derive(Debug)]
pub struct Changes {
    socket: AsyncFd<Socket>,
    not_before: Instant,
}

impl Netlink {
    /// Connects, and begins to watch interfaces and addresses. Has to be called within a runtime, which drives both.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> anyhow::Result<(Self, Changes)> {
        let (connection, handle, _) = rtnetlink::new_connection().context("cannot open rtnetlink")?;
        tokio::spawn(connection);
        let watch = watch().context("cannot watch interfaces by rtnetlink")?;
        Ok((Self { handle }, Changes { socket: watch, not_before: Instant::now() }))
    }

    /// All interfaces.
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer within a second.
    pub async fn links(&self) -> anyhow::Result<Vec<Link>> {
        let links = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let mut links: Vec<Link> = bounded(links).await.context("interfaces")?.iter().map(link).collect();
        let addresses = self.handle.address().get().execute().try_collect::<Vec<_>>();
        for message in bounded(addresses).await.context("addresses")? {
            let link = links.iter_mut().find(|link| link.index == message.header.index);
            if let (Some(link), Some(address)) = (link, link_address(&message)) {
                link.addresses.push(address);
            }
        }
        Ok(links)
    }

    /// Adds an address, with our mark. One that is there stays, whoever added it, and gets the mark.
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer within a second.
    pub async fn add_address(&self, index: u32, address: VirtualAddress) -> anyhow::Result<()> {
        let mut request = self.handle.address().add(index, address.ip, address.prefix).replace();
        let message = request.message_mut();
        message.attributes.push(AddressAttribute::Protocol(MARK));
        if address.ip.is_ipv6() {
            // To look for duplicates would take a second in which the address cannot be used.
            message.header.flags |= AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            // RFC 4862 section 5.5.4: a deprecated address serves, but this node's own connections, which would break when
            // it moves, do not begin there.
            let mut lifetime = CacheInfo::default();
            (lifetime.ifa_preferred, lifetime.ifa_valid) = (0, u32::MAX);
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        bounded(request.execute()).await.with_context(|| format!("cannot add {address}"))
    }

    /// Removes an address. One that is not there is no error.
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer within a second.
    pub async fn remove_address(&self, index: u32, address: VirtualAddress) -> anyhow::Result<()> {
        let request = self.handle.address().add(index, address.ip, address.prefix);
        let message = { request }.message_mut().clone();
        let removed = bounded(self.handle.address().del(message).execute()).await;
        let gone = |error: &anyhow::Error| match error.downcast_ref::<Error>() {
            Some(Error::NetlinkError(message)) => {
                [-nix::libc::EADDRNOTAVAIL, -nix::libc::ENODEV].contains(&message.raw_code())
            }
            _ => false,
        };
        match removed {
            Err(error) if gone(&error) => Ok(()),
            other => other.with_context(|| format!("cannot remove {address}")),
        }
    }

    /// The router that the default route through an interface leads to.
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer within a second.
    pub async fn gateway(&self, index: u32, ipv6: bool) -> anyhow::Result<Option<IpAddr>> {
        let query = if ipv6 {
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build()
        } else {
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build()
        };
        let routes = self.handle.route().get(query).execute().try_collect::<Vec<_>>();
        let routes = bounded(routes).await.context("routes")?;
        Ok(routes.iter().find_map(|route| default_gateway(route, index)))
    }
}

impl Changes {
    /// Waits until interfaces or addresses may not be what they were. Cancel safe. Changes that come faster than they are
    /// taken are one.
    pub async fn next(&mut self) {
        loop {
            // It fails only when the runtime ends, and the task with it.
            let Ok(mut guard) = self.socket.readable().await else { std::future::pending().await };
            sleep_until(self.not_before).await;
            let first = guard.try_io(|socket| take(socket.get_ref()));
            if first.is_ok() {
                for _ in 1..MESSAGES {
                    if guard.try_io(|socket| take(socket.get_ref())).is_err() {
                        break;
                    }
                }
                self.not_before = Instant::now() + SPACING;
                return;
            }
        }
    }
}

/// Takes one message, or the error that some were lost.
fn take(mut socket: &Socket) -> io::Result<()> {
    socket.read(&mut [0; 16]).map(drop)
}

fn watch() -> io::Result<AsyncFd<Socket>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr]
        .into_iter()
        .fold(0, |groups, group| groups | 1 << (group as u32 - 1));
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    event::register(socket.into())
}

async fn bounded<T>(answer: impl Future<Output = Result<T, Error>>) -> anyhow::Result<T> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => bail!("the kernel does not answer"),
    }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        running: message.header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        mac: None,
        addresses: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
            _ => {}
        }
    }
    link
}

fn link_address(message: &AddressMessage) -> Option<LinkAddress> {
    let mut ip = None;
    let mut local = None;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link the local address is the own one, and the other the peer's.
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => ip = Some(*address),
            AddressAttribute::Protocol(protocol) => ours = *protocol == MARK,
            _ => {}
        }
    }
    Some(LinkAddress { ip: local.or(ip)?, prefix: message.header.prefix_len, ours })
}
