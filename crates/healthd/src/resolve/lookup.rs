//! One lookup of a name: /etc/hosts, then the name servers, along the search list as the C library does it.
//!
//! The system's files are read again when they change, so that a container network that is attached later is found. No
//! answer is cached here: how long it holds is the caller's business, with the TTL that comes with it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};

/// The largest number of name servers asked at once. resolv.conf has at most three (resolv.conf(5)).
const MAX_SERVERS: usize = 8;

/// The system's files, elsewhere in tests.
#[derive(Clone, Debug)]
pub struct SystemFiles {
    /// Name servers, search list and `ndots`.
    pub resolv_conf: PathBuf,
    /// Names that need no server.
    pub hosts: PathBuf,
}

impl Default for SystemFiles {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// Looks names up.
pub(super) struct Lookup {
    nameservers: Vec<SocketAddr>,
    timeout: Duration,
    files: SystemFiles,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// The addresses of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// At least one; IPv4 first, each family in numerical order, without repetition.
    pub(super) addresses: Vec<IpAddr>,
    /// How long they hold.
    pub(super) ttl: Duration,
    /// Whether both address families were answered. If not, addresses known before may hold as well.
    pub(super) complete: bool,
}

/// Why a name has no address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// For people, with the name and the servers asked.
    pub(super) text: String,
}

/// Why a name has no address, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The name does not exist.
    NxDomain,
    /// The name exists, without an address.
    NoData,
    /// No server answered in time.
    Timeout,
    /// A server refused, or there is none to ask.
    Error,
}

impl Lookup {
    /// Looks names up at `nameservers`, or at those of resolv.conf if there are none. One query takes at most `timeout`.
    pub(super) fn new(nameservers: &[SocketAddr], timeout: Duration, files: SystemFiles) -> Self {
        Self { nameservers: nameservers.to_vec(), timeout, files, loaded: Mutex::new(None) }
    }

    /// The addresses of `name` now.
    pub(super) async fn lookup(&self, name: &str) -> Result<Answer, Failure> {
        let loaded = self.load().map_err(|reason| error(name, &reason))?;
        let parsed = Name::from_str_relaxed(name).map_err(|_| error(name, "not a valid host name"))?;
        if let Some(answer) = loaded.in_hosts(&parsed) {
            return Ok(answer);
        }
        let Some(dns) = &loaded.dns else {
            return Err(error(name, &loaded.no_dns));
        };
        dns.search(name, parsed, self.timeout).await
    }

    /// What the files say, read again if they changed. These are a stat(2) each and small reads of local files.
    fn load(&self) -> Result<Arc<Loaded>, String> {
        let stamp = (Stamp::of(&self.files.resolv_conf), Stamp::of(&self.files.hosts));
        let mut slot = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = slot.as_ref().filter(|loaded| loaded.stamp == stamp) {
            return Ok(Arc::clone(loaded));
        }
        let mut hosts = Hosts::default();
        if let Ok(file) = std::fs::File::open(&self.files.hosts) {
            hosts
                .read_hosts_conf(file)
                .map_err(|error| format!("cannot read {}: {error}", self.files.hosts.display()))?;
        }
        let (dns, no_dns) = match self.dns() {
            Ok(dns) => (Some(dns), String::new()),
            Err(reason) => (None, reason),
        };
        let loaded = Arc::new(Loaded { stamp, hosts, dns, no_dns });
        *slot = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    fn dns(&self) -> Result<Dns, String> {
        let (config, mut options) = if self.nameservers.is_empty() {
            system_config(&self.files.resolv_conf)?
        } else {
            let servers =
                self.nameservers.iter().take(MAX_SERVERS).map(|address| name_server(*address)).collect();
            // Names are taken as they are written: a search list belongs to the system's resolver.
            let mut options = ResolverOpts::default();
            options.ndots = 0;
            (ResolverConfig::from_parts(None, Vec::new(), servers), options)
        };
        let servers = describe(config.name_servers());
        let search = config.domain().into_iter().chain(config.search()).cloned().collect();
        let ndots = options.ndots;
        options.timeout = self.timeout;
        // A lost datagram is sent again within the timeout; the next lookup is the retry.
        options.attempts = 0;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // All servers are asked at once, and the first that knows the name is believed.
        options.num_concurrent_reqs = config.name_servers().len();
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| format!("cannot start the resolver: {error}"))?;
        Ok(Dns { resolver, search, ndots, servers })
    }
}

/// What the system's files said when they were last read.
struct Loaded {
    stamp: (Option<Stamp>, Option<Stamp>),
    hosts: Hosts,
    dns: Option<Dns>,
    /// Why there is no `dns`.
    no_dns: String,
}

impl Loaded {
    /// The addresses of a name in the hosts file, which hold until the file changes.
    fn in_hosts(&self, name: &Name) -> Option<Answer> {
        let addresses = [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.to_lowercase(), kind)))
            .flat_map(|lookup| {
                lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
            })
            .collect();
        Answer::of(addresses, Duration::MAX, true)
    }
}

/// The name servers, and how names are completed.
struct Dns {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
    /// For people.
    servers: String,
}

impl Dns {
    /// Tries the name along the search list until one candidate has an address.
    ///
    /// As in the C library, a name that does not exist, has no address, or fails at a server leads to the next candidate;
    /// servers that do not answer at all end the search, since they would not answer the next question either.
    async fn search(&self, name: &str, parsed: Name, timeout: Duration) -> Result<Answer, Failure> {
        let mut verdict: Option<FailureKind> = None;
        let mut server_error = String::new();
        for candidate in self.candidates(parsed) {
            // Both families at once: a server that is silent about one of them must not hide the other for long.
            let (v4, v6) = tokio::join!(
                self.query(&candidate, RecordType::A, timeout),
                self.query(&candidate, RecordType::AAAA, timeout)
            );
            let mut addresses = Vec::new();
            let mut ttl = Duration::MAX;
            let mut complete = true;
            let mut worst = FailureKind::NxDomain;
            for family in [v4, v6] {
                match family {
                    Ok((found, held)) => {
                        addresses.extend(found);
                        ttl = ttl.min(held);
                    }
                    Err((kind, text)) => {
                        worst = worst.or_worse(kind);
                        complete &= matches!(kind, FailureKind::NxDomain | FailureKind::NoData);
                        if kind == FailureKind::Error {
                            server_error = text;
                        }
                    }
                }
            }
            if let Some(answer) = Answer::of(addresses, ttl, complete) {
                return Ok(answer);
            }
            verdict = Some(verdict.map_or(worst, |verdict| verdict.or_worse(worst)));
            if worst == FailureKind::Timeout {
                break;
            }
        }
        let servers = &self.servers;
        Err(match verdict {
            None => error(name, "not a valid host name"),
            Some(kind @ FailureKind::NxDomain) => {
                Failure { kind, text: format!("{name}: no such host (NXDOMAIN from {servers})") }
            }
            Some(kind @ FailureKind::NoData) => {
                Failure { kind, text: format!("{name}: the name has no address (asked {servers})") }
            }
            Some(kind @ FailureKind::Timeout) => Failure {
                kind,
                text: format!("{name}: no answer from {servers} in {} ms", timeout.as_millis()),
            },
            Some(FailureKind::Error) => error(name, &format!("{server_error} (asked {servers})")),
        })
    }

    /// The names to ask for, in order (resolv.conf(5), `search` and `ndots`).
    fn candidates(&self, name: Name) -> Vec<Name> {
        let mut absolute = name.clone();
        absolute.set_fqdn(true);
        if name.is_fqdn() {
            return vec![absolute];
        }
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let mut candidates: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let position = if dots >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(position, absolute);
        candidates
    }

    /// One question: its addresses with their TTL, or why there are none.
    async fn query(
        &self,
        name: &Name,
        kind: RecordType,
        timeout: Duration,
    ) -> Result<(Vec<IpAddr>, Duration), (FailureKind, String)> {
        // The resolver keeps the time itself; twice as long is a bound on its own retries with busy connections.
        let lookup =
            tokio::time::timeout(timeout.saturating_mul(2), self.resolver.lookup(name.clone(), kind));
        match lookup.await {
            Ok(Ok(lookup)) => {
                let addresses: Vec<IpAddr> =
                    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
                // A CNAME on the way has a TTL too, and the shortest one counts.
                let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                if addresses.is_empty() {
                    return Err((FailureKind::NoData, String::new()));
                }
                Ok((addresses, Duration::from_secs(ttl.into())))
            }
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err((FailureKind::Timeout, String::new())),
        }
    }
}

fn classify(error: &NetError) -> (FailureKind, String) {
    match error {
        NetError::Timeout => (FailureKind::Timeout, String::new()),
        NetError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            (FailureKind::Timeout, String::new())
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => (FailureKind::NxDomain, String::new()),
            ResponseCode::NoError => (FailureKind::NoData, String::new()),
            code => (FailureKind::Error, format!("the name server answered {}", code.to_str())),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            (FailureKind::Error, format!("the name server answered {}", code.to_str()))
        }
        NetError::Io(error) => (FailureKind::Error, crate::probe::io_text(error)),
        other => (FailureKind::Error, other.to_string()),
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

    /// The one that says less about the name: it stays possible that the name has an address.
    const fn or_worse(self, other: Self) -> Self {
        const fn rank(kind: FailureKind) -> u8 {
            match kind {
                FailureKind::NxDomain => 0,
                FailureKind::NoData => 1,
                FailureKind::Error => 2,
                FailureKind::Timeout => 3,
            }
        }
        if rank(other) > rank(self) { other } else { self }
    }
}

impl Answer {
    fn of(mut addresses: Vec<IpAddr>, ttl: Duration, complete: bool) -> Option<Self> {
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() { None } else { Some(Self { addresses, ttl, complete }) }
    }
}

fn error(name: &str, reason: &str) -> Failure {
    Failure { kind: FailureKind::Error, text: format!("{name}: {reason}") }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    // Another server may know the name that this one denies.
    NameServerConfig::new(address.ip(), false, connections)
}

fn system_config(path: &Path) -> Result<(ResolverConfig, ResolverOpts), String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let (config, options) =
        parse_resolv_conf(text).map_err(|error| format!("{}: {error}", path.display()))?;
    let (domain, search, servers) = config.into_parts();
    let servers = servers.into_iter().take(MAX_SERVERS).map(|mut server| {
        server.trust_negative_responses = false;
        server
    });
    // The domain of the host's own name is the search list of last resort only (resolv.conf(5)).
    let domain = if search.is_empty() { domain } else { None };
    Ok((ResolverConfig::from_parts(domain, search, servers.collect()), options))
}

fn describe(servers: &[NameServerConfig]) -> String {
    let words: Vec<String> = servers
        .iter()
        .map(|server| match server.connections.first() {
            Some(connection) if connection.port != 53 => {
                SocketAddr::new(server.ip, connection.port).to_string()
            }
            _ => server.ip.to_string(),
        })
        .collect();
    words.join(", ")
}

/// Tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() })
    }
}
