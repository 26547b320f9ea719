//! What one name server replies to one question, and what several replies say together: pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

/// The largest answer that is asked for on UDP: what fits into a packet wherever it passes (RFC 9715, 3.2).
const PAYLOAD: u16 = 1232;

/// The length of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// A name server's reply, or the lack of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The name has addresses of this family.
    Addresses(Addresses),
    /// The name exists, without an address of this family.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The server cannot or will not say.
    Failed(String),
    /// There was no reply in time.
    Silent,
}

/// A name's addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
    /// There may be more: the reply was cut off, and the server cannot be reached by TCP.
    pub(super) truncated: bool,
}

/// What the name servers say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// These addresses, by the word of that server.
    Addresses(Addresses, SocketAddr),
    /// None: those that replied agree, and they are named.
    Absent { exists: bool, by: Vec<SocketAddr> },
    /// Nothing that is to be relied on.
    Unknown { silent: bool, text: String },
}

/// A question with an id of its own, and with EDNS, whatever resolv.conf says.
pub(super) fn question(query: &Query) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    message.set_edns(edns);
    message
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It is no reply to this question: somebody else's, or a forgery.
    Foreign,
    /// The server does not understand EDNS, perhaps (RFC 6891, 6.2.2): it is to be asked without it.
    NoEdns(Reply),
    /// The reply was cut off. It may hold addresses all the same.
    CutOff(Reply),
    /// A reply.
    Whole(Reply),
}

/// Reads what came back for a question with this id.
pub(super) fn read(bytes: &[u8], id: u16, query: &Query) -> Read {
    if bytes.len() < HEADER || bytes[..2] != id.to_be_bytes() || bytes[2] & 0x80 == 0 {
        return Read::Foreign;
    }
    // Servers that do not understand a question may send back hardly more than a header, or repeat the question cut short.
    let short = ResponseCode::from(0, bytes[3] & 0x0f);
    let message = match Message::from_vec(bytes) {
        Ok(message) if message.queries.is_empty() && refuses(short) => return refusal(short),
        Ok(message) => message,
        Err(_) if refuses(short) => return refusal(short),
        // Cut off within a record, with the counts of the whole.
        Err(_) if bytes[2] & 0x02 != 0 => return Read::CutOff(Reply::Silent),
        Err(_) => return Read::Foreign,
    };
    let meta = &message.metadata;
    if meta.message_type != MessageType::Response || message.queries.as_slice() != [query.clone()] {
        return Read::Foreign;
    }
    let reply = match meta.response_code {
        ResponseCode::NoError => records(&message, query),
        ResponseCode::NXDomain => Reply::NxDomain,
        code => return refusal(code),
    };
    if meta.truncation { Read::CutOff(reply) } else { Read::Whole(reply) }
}

/// Whether the code says that the server does not answer the question at all.
fn refuses(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn refusal(code: ResponseCode) -> Read {
    let reply = Reply::Failed(word(code));
    match code {
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS => Read::NoEdns(reply),
        _ => Read::Whole(reply),
    }
}

/// The code as operators know it.
fn word(code: ResponseCode) -> String {
    let word = match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        code => return format!("code {} ({code})", u16::from(code)),
    };
    word.to_owned()
}

fn records(message: &Message, query: &Query) -> Reply {
    let answers = message.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    let addresses: Vec<IpAddr> = answers
        .clone()
        .filter_map(|record| record.data.ip_addr())
        .filter(|address| address.is_ipv4() == (query.query_type() == RecordType::A))
        .collect();
    if !addresses.is_empty() {
        // A CNAME on the way has a TTL too, and the shortest one counts.
        let ttl = answers.map(|record| record.ttl).min().unwrap_or(0);
        let ttl = Duration::from_secs(ttl.into());
        return Reply::Addresses(Addresses { addresses, ttl, truncated: false });
    }
    // Who neither resolves nor owns the name only says where else to ask (glibc calls that a lame delegation).
    if !message.metadata.recursion_available && !message.metadata.authoritative {
        return Reply::Failed("only refers to other servers".to_owned());
    }
    Reply::NoData
}

/// What the replies of all servers say together: addresses win, whoever has them. Those who deny the name are believed before
/// those who say nothing, of whom one that is dead or refuses would otherwise hide every denial.
pub(super) fn settle(replies: &[(SocketAddr, Reply)], timeout: Duration) -> Said {
    let mut found = replies.iter().filter_map(|(server, reply)| match reply {
        Reply::Addresses(addresses) => Some((addresses, *server)),
        _ => None,
    });
    if let Some((addresses, server)) = found.next() {
        return Said::Addresses(addresses.clone(), server);
    }
    let denied = |reply: &Reply| matches!(reply, Reply::NoData | Reply::NxDomain);
    let by: Vec<SocketAddr> =
        replies.iter().filter(|(_, reply)| denied(reply)).map(|(server, _)| *server).collect();
    if !by.is_empty() {
        let exists = replies.iter().any(|(_, reply)| *reply == Reply::NoData);
        return Said::Absent { exists, by };
    }
    let silent: Vec<SocketAddr> =
        replies.iter().filter(|(_, reply)| *reply == Reply::Silent).map(|(server, _)| *server).collect();
    let mut words: Vec<String> = replies
        .iter()
        .filter_map(|(server, reply)| match reply {
            Reply::Failed(reason) => Some(format!("{}: {reason}", shown(server))),
            _ => None,
        })
        .collect();
    if !silent.is_empty() {
        words.push(format!("no answer from {} in {} ms", list(&silent), timeout.as_millis()));
    }
    Said::Unknown { silent: silent.len() == replies.len(), text: words.join(", ") }
}

/// Name servers as they are written: the port only where it is unusual.
pub(super) fn list(servers: &[SocketAddr]) -> String {
    servers.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn shown(server: &SocketAddr) -> String {
    if server.port() == 53 { server.ip().to_string() } else { server.to_string() }
}
