//! What one name server replies to one question, and what several replies say together: pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, RecordType};

/// The largest answer that is asked for on UDP: what fits into a packet wherever it passes (RFC 9715, 3.2).
const PAYLOAD: u16 = 1232;

/// The length of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// A name server's reply, or the lack of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The name has what was asked for: addresses of a family, or services.
    Found(Found),
    /// The name exists, without any of that.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The server cannot or will not say.
    Failed(String),
    /// There was no reply in time.
    Silent,
}

/// What a name has of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) services: Vec<Service>,
    pub(super) ttl: Duration,
    /// There may be more: the reply was cut off, and the server cannot be reached by TCP.
    pub(super) truncated: bool,
}

/// Where a service is offered, as an SRV record says (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Service {
    /// The lowest is to be used first.
    pub(crate) priority: u16,
    /// Its share, relative to others of its priority.
    pub(crate) weight: u16,
    /// The host, in lower case, without a dot at its end.
    pub(crate) target: String,
    /// The port there.
    pub(crate) port: u16,
}

/// What the name servers say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// This, by the word of that server.
    Found(Found, SocketAddr),
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
        .filter(|address| match query.query_type() {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            _ => false,
        })
        .collect();
    let services: Vec<Service> = match query.query_type() {
        RecordType::SRV => answers.clone().filter_map(|record| service(&record.data)).collect(),
        _ => Vec::new(),
    };
    if !addresses.is_empty() || !services.is_empty() {
        // A CNAME on the way has a TTL too, and the shortest one counts.
        let ttl = answers.map(|record| record.ttl).min().unwrap_or(0);
        let ttl = Duration::from_secs(ttl.into());
        return Reply::Found(Found { addresses, services, ttl, truncated: false });
    }
    // Who neither resolves nor owns the name only says where else to ask (glibc calls that a lame delegation).
    if !message.metadata.recursion_available && !message.metadata.authoritative {
        return Reply::Failed("only refers to other servers".to_owned());
    }
    Reply::NoData
}

/// "A Target of "." means that the service is decidedly not available at this domain" (RFC 2782).
fn service(data: &RData) -> Option<Service> {
    let RData::SRV(record) = data else { return None };
    let target = record.target.to_ascii().to_ascii_lowercase();
    let target = target.trim_end_matches('.').to_owned();
    let offered = !target.is_empty() && record.port > 0;
    let [priority, weight, port] = [record.priority, record.weight, record.port];
    offered.then_some(Service { priority, weight, target, port })
}

/// What the replies of all servers say together: addresses win, whoever has them. Those who deny the name are believed before
/// those who say nothing, of whom one that is dead or refuses would otherwise hide every denial.
pub(super) fn settle(replies: &[(SocketAddr, Reply)], timeout: Duration) -> Said {
    let mut found = replies.iter().filter_map(|(server, reply)| match reply {
        Reply::Found(found) => Some((found, *server)),
        _ => None,
    });
    if let Some((found, server)) = found.next() {
        return Said::Found(found.clone(), server);
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
