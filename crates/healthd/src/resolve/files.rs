//! What the system's files say about names: /etc/hosts and /etc/resolv.conf, read again when they change, so that a container
//! network that is attached later is found.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hickory_proto::rr::Name;

/// The port of name servers.
const PORT: u16 = 53;

/// The largest number of name servers asked at once. resolv.conf has at most three (resolv.conf(5)).
pub(super) const MAX_SERVERS: usize = 8;

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

/// The files as they were last read.
#[derive(Debug)]
pub(super) struct Files {
    paths: SystemFiles,
    loaded: Mutex<Option<(Stamps, Arc<Loaded>)>>,
}

type Stamps = [Option<Stamp>; 2];

/// What the files say.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) hosts: Hosts,
    pub(super) resolv_conf: Result<ResolvConf, String>,
}

impl Files {
    pub(super) fn new(paths: SystemFiles) -> Self {
        Self { paths, loaded: Mutex::default() }
    }

    /// What the files say now. These are a stat(2) each and small reads of local files.
    pub(super) fn load(&self) -> Result<Arc<Loaded>, String> {
        let SystemFiles { resolv_conf, hosts } = &self.paths;
        let stamps = [resolv_conf, hosts].map(|path| Stamp::of(path));
        let mut slot = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, loaded)) = slot.as_ref().filter(|(known, _)| *known == stamps) {
            return Ok(Arc::clone(loaded));
        }
        let loaded = Arc::new(Loaded {
            hosts: Hosts::parse(&read(hosts)?),
            resolv_conf: read(resolv_conf).map(|text| ResolvConf::parse(text.as_bytes())),
        });
        *slot = Some((stamps, Arc::clone(&loaded)));
        Ok(loaded)
    }
}

/// The text of a file; one that is not there is empty.
fn read(path: &Path) -> Result<String, String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The names of the hosts file, in lower case, with their addresses in its order (hosts(5)).
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    fn parse(text: &str) -> Self {
        let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            // An address with a zone (fe80::1%eth0) leads somewhere only on a link, and is left out like what is none.
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
            for name in words {
                names.entry(key(name)).or_default().push(address);
            }
        }
        Self(names)
    }

    /// The addresses of a name. `localhost` is known without the file: no name server is to be asked for it (RFC 6761, 6.3).
    pub(super) fn get(&self, name: &str) -> Option<Vec<IpAddr>> {
        let key = key(name);
        let local = || {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            (key == "localhost" || key.ends_with(".localhost")).then(|| loopback.to_vec())
        };
        self.0.get(&key).cloned().or_else(local)
    }
}

fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The name servers, and how names are completed.
#[derive(Debug)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<Name>,
    pub(super) ndots: usize,
}

impl ResolvConf {
    /// Lines that say nothing are passed over, as by the C library. Without a server it is the one on this machine
    /// (resolv.conf(5)).
    fn parse(text: &[u8]) -> Self {
        let (parsed, _) = resolv_conf::Config::parse_with_errors(text);
        let mut servers: Vec<SocketAddr> = parsed
            .nameservers
            .iter()
            .take(MAX_SERVERS)
            .map(|server| SocketAddr::new(IpAddr::from(server), PORT))
            .collect();
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        // The domain of the host's own name is the search list of last resort only.
        let mut domains: Vec<String> = parsed.get_last_search_or_domain().cloned().collect();
        if domains.is_empty() {
            domains.extend(parsed.get_system_domain());
        }
        // systemd writes `--` or `.` where there is no domain.
        let search = domains
            .iter()
            .filter(|domain| !matches!(domain.as_str(), "--" | "."))
            .filter_map(|domain| Name::from_str_relaxed(domain).ok())
            .collect();
        Self { servers, search, ndots: usize::try_from(parsed.ndots).unwrap_or(usize::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn names_of_the_hosts_file() {
        let text = "# machines\n127.0.0.1\tlocalhost\n10.0.0.1 Web.Test web # web2\n\n::1 six\n10.0.0.2 web\n\
                    not-an-address web\nfe80::1%lo link\n 10.0.0.3  indented \n";
        let hosts = Hosts::parse(text);
        for (name, addresses) in [
            ("localhost", &["127.0.0.1"][..]),
            ("LOCALHOST.", &["127.0.0.1"]),
            ("web.test", &["10.0.0.1"]),
            ("web", &["10.0.0.1", "10.0.0.2"]),
            ("six", &["::1"]),
            ("indented", &["10.0.0.3"]),
            ("app.localhost", &["127.0.0.1", "::1"]),
        ] {
            assert_eq!(hosts.get(name), Some(ips(addresses)), "{name}");
        }
        for name in ["web2", "link", "", "machines", "host"] {
            assert_eq!(hosts.get(name), None, "{name}");
        }
    }

    #[test]
    fn localhost_needs_no_hosts_file() {
        assert_eq!(Hosts::default().get("localhost"), Some(ips(&["127.0.0.1", "::1"])));
    }

    #[test]
    fn without_a_name_server_it_is_the_machines_own() {
        for text in ["", "\n", "# nothing\n", "search a.test\n", "nameserver\n", "nameserver nonsense\n"] {
            let parsed = ResolvConf::parse(text.as_bytes());
            assert_eq!(parsed.servers, ["127.0.0.1:53".parse().unwrap()], "{text:?}");
        }
        let parsed = ResolvConf::parse(
            b"nonsense\nnameserver 10.0.0.1\nnameserver fd00::1\noptions ndots:3 nonsense\n",
        );
        assert_eq!(parsed.servers, ["10.0.0.1:53".parse().unwrap(), "[fd00::1]:53".parse().unwrap()]);
        assert_eq!(parsed.ndots, 3);
    }

    #[test]
    fn the_last_search_list_counts() {
        let names = |text: &str| {
            ResolvConf::parse(text.as_bytes()).search.iter().map(Name::to_ascii).collect::<Vec<_>>()
        };
        assert_eq!(names("domain a.test\nsearch b.test c_1.test\n"), ["b.test", "c_1.test"]);
        assert_eq!(names("search -- lan\n"), ["lan"]);
    }
}
