//! Next hops that have numbers of their own (`ip nexthop`), alone or in groups. Where `net.ipv4.nexthop_compat_mode` is 0 a
//! route names one and says nothing else. rtnetlink does not know them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use rtnetlink::Error;
use rtnetlink::packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use rtnetlink::proto::{ConnectionHandle, new_connection};
use rtnetlink::sys::SocketAddr;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::netlink::list;

const RTM_GETNEXTHOP: u16 = 106;
/// `struct nhmsg`: family, scope, protocol and flags, of which a question needs none.
const HEADER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// `struct nexthop_grp`: the number of a member, and what share it has.
const MEMBER: usize = 8;

/// A connection to the kernel. Its runtime drives it.
#[derive(Clone, Debug)]
pub struct NextHops {
    handle: ConnectionHandle<NextHop>,
}

/// A next hop, or the question for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NextHop {
    id: u32,
    /// The interface that it leads through.
    index: Option<u32>,
    gateway: Option<IpAddr>,
    /// The numbers of others: it is a group of them.
    group: Vec<u32>,
}

impl NextHops {
    /// Connects. Has to be called within a runtime, which drives the connection.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> anyhow::Result<Self> {
        let (mut connection, handle, _) =
            new_connection(NETLINK_ROUTE).context("cannot open rtnetlink for next hops")?;
        connection.set_forward_done(true);
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All of them.
    pub(super) async fn list(&self) -> anyhow::Result<Vec<NextHop>> {
        let ask = || {
            let mut question = NetlinkMessage::from(NextHop::default());
            question.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
            self.handle.request(question, SocketAddr::new(0, 0)).map_err(|_| Error::RequestFailed)
        };
        list(ask).await.context("next hops")
    }
}

/// The router that a next hop leads to through an interface; of a group the first one that does.
pub(super) fn gateway(hops: &[NextHop], id: u32, index: u32) -> Option<IpAddr> {
    let find = |id| hops.iter().find(|hop| hop.id == id);
    let named = find(id)?;
    let members = named.group.iter().filter_map(|id| find(*id));
    std::iter::once(named).chain(members).filter(|hop| hop.index == Some(index)).find_map(|hop| hop.gateway)
}

impl NetlinkSerializable for NextHop {
    fn message_type(&self) -> u16 {
        RTM_GETNEXTHOP
    }

    fn buffer_len(&self) -> usize {
        HEADER
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

impl NetlinkDeserializable for NextHop {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let attributes =
            payload.get(HEADER..).ok_or_else(|| DecodeError::from("a next hop without a header"))?;
        let mut hop = Self::default();
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                NHA_ID => {
                    let cut = || DecodeError::from("a next hop's number is cut off");
                    hop.id = number(value).ok_or_else(cut)?;
                }
                NHA_GROUP => hop.group = value.chunks_exact(MEMBER).filter_map(number).collect(),
                NHA_OIF => hop.index = number(value),
                NHA_GATEWAY => hop.gateway = address(value),
                _ => {}
            }
        }
        Ok(hop)
    }
}

impl From<NextHop> for NetlinkPayload<NextHop> {
    fn from(hop: NextHop) -> Self {
        Self::InnerMessage(hop)
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(value).ok().map(|bytes| Ipv6Addr::from(bytes).into());
    v4().or_else(v6)
}
