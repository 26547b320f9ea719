//! Interfaces and addresses, through rtnetlink.

use std::future::Future;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context as _, bail};
use config::VirtualAddress;
use futures_util::{Stream, StreamExt as _};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkFlags, LinkMessage,
};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::{Error, Handle, MulticastGroup, RouteMessageBuilder};
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout};

use super::next_hops::NextHops;
use super::{Link, LinkAddress, event, route};

/// Vrrpd's mark on its addresses: the number of VRRP among the protocols of IP, as routing daemons do it.
const MARK: AddressProtocol = AddressProtocol::Other(vrrp::packet::IP_PROTOCOL);
/// IPv6 addresses that nothing is to be sent from: being checked for duplicates, or found to be one, about to go, or made up
/// for a while (the kernel's IFA_F_TEMPORARY has the bit of IFA_F_SECONDARY).
const NO_SOURCE: AddressFlags = AddressFlags::Tentative
    .union(AddressFlags::Dadfailed)
    .union(AddressFlags::Deprecated)
    .union(AddressFlags::Secondary);
/// How long the kernel may take. It answers within microseconds, or something is very wrong.
const PATIENCE: Duration = Duration::from_secs(1);
/// Messages that are taken at once at most, so that a flood of them starves nobody.
const MESSAGES: usize = 1024;
/// How often a listing is begun anew that changes have interrupted. Then somebody changes interfaces without a pause.
const LISTINGS: usize = 16;
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
        let (mut connection, handle, _) = rtnetlink::new_connection().context("cannot open rtnetlink")?;
        // The end of a listing tells too that it was interrupted.
        connection.set_forward_done(true);
        tokio::spawn(connection);
        let watch = watch().context("cannot watch interfaces by rtnetlink")?;
        Ok((Self { handle }, Changes { socket: watch, not_before: Instant::now() }))
    }

    /// All interfaces.
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer within a second.
    pub async fn links(&self) -> anyhow::Result<Vec<Link>> {
        let messages = self.list(RouteNetlinkMessage::GetLink(LinkMessage::default())).await;
        let mut links = Vec::new();
        for message in messages.context("interfaces")? {
            if let RouteNetlinkMessage::NewLink(message) = message {
                links.push(link(&message));
            }
        }
        let messages = self.list(RouteNetlinkMessage::GetAddress(AddressMessage::default())).await;
        for message in messages.context("addresses")? {
            let RouteNetlinkMessage::NewAddress(message) = message else { continue };
            let link = links.iter_mut().find(|link| link.index == message.header.index);
            if let (Some(link), Some(address)) = (link, link_address(&message)) {
                link.addresses.push(address);
            }
        }
        Ok(links)
    }

    async fn list(&self, request: RouteNetlinkMessage) -> anyhow::Result<Vec<RouteNetlinkMessage>> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        list(|| self.handle.clone().request(message.clone())).await
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

    /// From now on IPv4 addresses of a subnet stay when the first of them is removed (`promote_secondaries`).
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer within a second.
    pub async fn promote_secondaries(&self, index: u32) -> anyhow::Result<()> {
        let mut settings = InetDevConf::default();
        settings.promote_secondaries = 1;
        let settings = AfSpecInet::DevConfRequest(settings);
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![settings])]));
        bounded(self.handle.link().set(message).execute()).await.context("cannot set promote_secondaries")
    }

    /// The router that the default route through an interface leads to, perhaps by a next hop with a number.
    ///
    /// # Errors
    /// When the kernel refuses, or does not answer within a second.
    pub async fn gateway(
        &self,
        index: u32,
        ipv6: bool,
        next_hops: &NextHops,
    ) -> anyhow::Result<Option<IpAddr>> {
        let query = if ipv6 {
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build()
        } else {
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build()
        };
        let routes = self.list(RouteNetlinkMessage::GetRoute(query)).await.context("routes")?;
        let defaults: Vec<_> = routes
            .into_iter()
            .filter_map(|route| match route {
                RouteNetlinkMessage::NewRoute(route) if route::is_default(&route) => Some(route),
                _ => None,
            })
            .collect();
        let hops = match defaults.iter().any(|route| route::next_hop(route).is_some()) {
            true => next_hops.list().await?,
            false => Vec::new(),
        };
        Ok(defaults.iter().find_map(|route| route::gateway(route, index, &hops)))
    }
}

/// One whole listing. The kernel hands it over in parts, and marks one that changed in between: it may lack anything.
pub(super) async fn list<T, A>(ask: impl Fn() -> Result<A, Error>) -> anyhow::Result<Vec<T>>
where
    A: Stream<Item = NetlinkMessage<T>> + Unpin,
{
    for _ in 0..LISTINGS {
        if let Some(items) = bounded(async { whole(ask()?).await }).await? {
            return Ok(items);
        }
    }
    bail!("changes have interrupted the listing {LISTINGS} times")
}

/// None if the listing was interrupted.
async fn whole<T>(
    mut answers: impl Stream<Item = NetlinkMessage<T>> + Unpin,
) -> Result<Option<Vec<T>>, Error> {
    let (mut items, mut is_whole) = (Vec::new(), false);
    while let Some(answer) = answers.next().await {
        let is_interrupted = answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            _ if is_interrupted => return Ok(None),
            NetlinkPayload::InnerMessage(item) => items.push(item),
            NetlinkPayload::Error(error) => return Err(Error::NetlinkError(error)),
            NetlinkPayload::Done(done) => is_whole = done.code == 0,
            _ => return Ok(None),
        }
    }
    Ok(is_whole.then_some(items))
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
        carrier_ups: 0,
        promotes: false,
        addresses: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::CarrierUpCount(count) => link.carrier_ups = *count,
            LinkAttribute::AfSpecUnspec(families) => link.promotes = promotes(families),
            _ => {}
        }
    }
    link
}

fn promotes(families: &[AfSpecUnspec]) -> bool {
    families.iter().any(|family| match family {
        AfSpecUnspec::Inet(settings) => settings.iter().any(|setting| match setting {
            AfSpecInet::DevConf(settings) => settings.promote_secondaries != 0,
            _ => false,
        }),
        _ => false,
    })
}

fn link_address(message: &AddressMessage) -> Option<LinkAddress> {
    let mut ip = None;
    let mut local = None;
    let mut ours = false;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link the local address is the own one, and the other the peer's.
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => ip = Some(*address),
            AddressAttribute::Protocol(protocol) => ours = *protocol == MARK,
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let ip = local.or(ip)?;
    let usable = ip.is_ipv4() || !flags.intersects(NO_SOURCE);
    Some(LinkAddress { ip, prefix: message.header.prefix_len, ours, usable })
}
