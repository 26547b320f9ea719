//! One lookup of a name: /etc/hosts, then the name servers, along the search list as the C library does it.
//!
//! No answer is cached here: how long it holds is the caller's business, with the TTL that comes with it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};

use super::ask::ask_all;
use super::files::{Files, Loaded, MAX_SERVERS, ResolvConf, SystemFiles};
use super::reply::{Found, Said, Service, list};

/// Looks names up.
pub(super) struct Lookup {
    nameservers: Vec<SocketAddr>,
    timeout: Duration,
    files: Files,
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of IPv4 and of IPv6, each in numerical order and without repetition; none if nobody could say. One has at least one.
    pub(super) families: [Option<Vec<IpAddr>>; 2],
    /// How long they hold.
    pub(super) ttl: Duration,
    /// The name server that gave them; none for those of the hosts file.
    pub(super) by: BTreeSet<SocketAddr>,
    /// The servers' answers did not fit, and they take no TCP: there may be more addresses.
    pub(super) truncated: bool,
}

/// The services of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Services {
    pub(super) services: Vec<Service>,
    /// How long they hold.
    pub(super) ttl: Duration,
    /// The name server that gave them.
    pub(super) by: BTreeSet<SocketAddr>,
    /// The answer did not fit, and the server takes no TCP: there may be more.
    pub(super) truncated: bool,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// For people, with the name and the servers asked.
    pub(super) text: String,
    /// The families, IPv4 and IPv6, that the name servers say it has no address of.
    pub(super) absent: [bool; 2],
    /// The name servers that say so.
    pub(super) by: BTreeSet<SocketAddr>,
    /// All that were asked.
    pub(super) asked: BTreeSet<SocketAddr>,
}

/// Why a name has no address, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailureKind {
    /// The name does not exist.
    NxDomain,
    /// The name exists, without an address.
    NoData,
    /// A server refused, or there is none to ask.
    Error,
    /// No server answered in time.
    Timeout,
}

impl Lookup {
    /// Looks names up at `nameservers`, or at those of resolv.conf if there are none. One query takes at most `timeout`.
    pub(super) fn new(nameservers: &[SocketAddr], timeout: Duration, files: SystemFiles) -> Self {
        let nameservers = nameservers.iter().copied().take(MAX_SERVERS).collect();
        Self { nameservers, timeout, files: Files::new(files) }
    }

    /// The addresses of `name` now.
    pub(super) async fn lookup(&self, name: &str) -> Result<Answer, Failure> {
        let loaded = self.files.load().map_err(|reason| Failure::error(name, &reason))?;
        if let Some(addresses) = loaded.hosts.get(name) {
            return Ok(Answer::of_hosts(addresses));
        }
        let (servers, candidates) = self.to_ask(name, &loaded)?;
        // Both families at once: a server that is silent about one of them must not hide the other for long.
        self.search(name, servers, candidates, &[RecordType::A, RecordType::AAAA], combine).await
    }

    /// The services of `name` now.
    pub(super) async fn services(&self, name: &str) -> Result<Services, Failure> {
        let loaded = self.files.load().map_err(|reason| Failure::error(name, &reason))?;
        let (servers, candidates) = self.to_ask(name, &loaded)?;
        self.search(name, servers, candidates, &[RecordType::SRV], services_of).await
    }

    /// Who is asked for a name, and in which forms.
    fn to_ask<'a>(
        &'a self,
        name: &str,
        loaded: &'a Loaded,
    ) -> Result<(&'a [SocketAddr], Vec<Name>), Failure> {
        let parsed =
            Name::from_str_relaxed(name).map_err(|_| Failure::error(name, "not a valid host name"))?;
        if self.nameservers.is_empty() {
            let system = loaded.resolv_conf.as_ref().map_err(|reason| Failure::error(name, reason))?;
            let ResolvConf { servers, search, ndots } = system;
            return Ok((servers, candidates(parsed, search, *ndots)));
        }
        // Names are taken as they are written: a search list belongs to the system's resolver.
        Ok((&self.nameservers, candidates(parsed, &[], 0)))
    }

    /// Tries the candidates for a name until one has what is asked for.
    ///
    /// As in the C library, a name that does not exist, has no address, or fails at a server leads to the next candidate;
    /// servers that do not answer at all end the search, since they would not answer the next question either.
    async fn search<A>(
        &self,
        name: &str,
        servers: &[SocketAddr],
        candidates: Vec<Name>,
        kinds: &[RecordType],
        read: fn(&str, Vec<Said>) -> Result<A, Failure>,
    ) -> Result<A, Failure> {
        let mut failures: Vec<Failure> = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let said = join_all(kinds.iter().map(|kind| self.ask(servers, &candidate, *kind))).await;
            match read(name, said) {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    let silent = failure.kind == FailureKind::Timeout && failure.absent == [false, false];
                    failures.push(failure);
                    if silent {
                        break;
                    }
                }
            }
        }
        let failure = worst(failures).unwrap_or_else(|| Failure::error(name, "not a valid host name"));
        Err(Failure { asked: servers.iter().copied().collect(), ..failure })
    }

    async fn ask(&self, servers: &[SocketAddr], name: &Name, kind: RecordType) -> Said {
        ask_all(servers, &Query::query(name.clone(), kind), self.timeout).await
    }
}

/// The names to ask for, in order (resolv.conf(5), `search` and `ndots`).
fn candidates(name: Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut absolute = name.clone();
    absolute.set_fqdn(true);
    if name.is_fqdn() {
        return vec![absolute];
    }
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let mut candidates: Vec<Name> =
        search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
    let position = if dots >= ndots { 0 } else { candidates.len() };
    candidates.insert(position, absolute);
    candidates
}

/// What both families say of one name. Each counts for itself: what is not known of one takes nothing away from the other.
fn combine(name: &str, said: Vec<Said>) -> Result<Answer, Failure> {
    let mut answer =
        Answer { families: [None, None], ttl: Duration::MAX, by: BTreeSet::new(), truncated: false };
    let mut failure = Failure { kind: FailureKind::NxDomain, ..Failure::error(name, "") };
    let mut unknown = Vec::new();
    for (at, said) in said.into_iter().enumerate().take(2) {
        match said {
            Said::Found(found, server) => {
                answer.families[at] = Some(in_order(found.addresses));
                answer.ttl = answer.ttl.min(found.ttl);
                answer.truncated |= found.truncated;
                answer.by.insert(server);
            }
            Said::Absent { exists, by } => {
                answer.families[at] = Some(Vec::new());
                if exists {
                    failure.absent[at] = true;
                    failure.kind = failure.kind.max(FailureKind::NoData);
                } else {
                    // There is no such name, and so none of the other family either.
                    failure.absent = [true, true];
                }
                failure.by.extend(by);
            }
            Said::Unknown { silent, text } => {
                failure.kind =
                    failure.kind.max(if silent { FailureKind::Timeout } else { FailureKind::Error });
                unknown.push(text);
            }
        }
    }
    if answer.families.iter().flatten().any(|addresses| !addresses.is_empty()) {
        return Ok(answer);
    }
    unknown.dedup();
    let by = list(&failure.by.iter().copied().collect::<Vec<_>>());
    failure.text = match failure.kind {
        FailureKind::NxDomain => format!("{name}: no such host (NXDOMAIN from {by})"),
        FailureKind::NoData => format!("{name}: the name has no address (asked {by})"),
        FailureKind::Error | FailureKind::Timeout => format!("{name}: {}", unknown.join(", ")),
    };
    Err(failure)
}

/// What is said of the services of a name.
fn services_of(name: &str, mut said: Vec<Said>) -> Result<Services, Failure> {
    let Some(said) = said.pop() else { return Err(Failure::error(name, "nobody was asked")) };
    let (kind, absent, by, text) = match said {
        Said::Found(Found { services, ttl, truncated, .. }, server) => {
            return Ok(Services { services, ttl, by: [server].into(), truncated });
        }
        Said::Absent { exists, by } => {
            let kind = if exists { FailureKind::NoData } else { FailureKind::NxDomain };
            let word = if exists { "the name has no SRV records" } else { "no such name" };
            (kind, [true, true], by.iter().copied().collect(), format!("{word} (asked {})", list(&by)))
        }
        Said::Unknown { silent, text } => {
            let kind = if silent { FailureKind::Timeout } else { FailureKind::Error };
            (kind, [false, false], BTreeSet::new(), text)
        }
    };
    Err(Failure { kind, absent, by, ..Failure::error(name, &text) })
}

/// Of several candidates' failures the one that says least about the name: it stays possible that the name has an address.
fn worst(failures: Vec<Failure>) -> Option<Failure> {
    failures.into_iter().reduce(|one, other| {
        let absent = [0, 1].map(|at| one.absent[at] && other.absent[at]);
        let by = one.by.intersection(&other.by).copied().collect();
        let worse = if other.kind > one.kind { other } else { one };
        Failure { absent, by, ..worse }
    })
}

fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

impl Answer {
    /// What the hosts file says holds until it changes.
    pub(super) fn of_hosts(addresses: Vec<IpAddr>) -> Self {
        let (v4, v6) = in_order(addresses).into_iter().partition(IpAddr::is_ipv4);
        let by = BTreeSet::new();
        Self { families: [Some(v4), Some(v6)], ttl: Duration::MAX, by, truncated: false }
    }
}

impl Failure {
    #[cfg(test)]
    pub(super) fn denial(name: &str) -> Self {
        let kind = FailureKind::NxDomain;
        Self { kind, absent: [true, true], ..Self::error(name, "no such host") }
    }

    fn error(name: &str, reason: &str) -> Self {
        let text = format!("{name}: {reason}");
        Self {
            kind: FailureKind::Error,
            text,
            absent: [false, false],
            by: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }
}

impl FailureKind {
    /// The word in metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::NxDomain => "nxdomain",
            Self::NoData => "nodata",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}
