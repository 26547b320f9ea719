//! The servers that healthd finds: who belongs to a backend that has none of its own, and who has left and still ends what it has.
//!
//! What healthd knows counts; as long as it knows nothing, or is away, everybody stays. They are kept in a file of the run directory,
//! so that the next lbd serves before healthd has found them again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Instant;

use config::{Discover, LbConfig, Member, Server};
use daemon::keeper::Keeper;
use daemon::kept_file;
use wire::{Discovery, Verdict};

use crate::control::verdicts::ServerKey;
use crate::shared::millis;

/// The file.
const FILE: &str = "lbd.members";

/// Members by backend and name, as they are kept.
pub type Kept = BTreeMap<String, BTreeMap<String, wire::Member>>;

/// By backend and name.
type Found = BTreeMap<String, BTreeMap<String, Held>>;

/// Those of a configuration that is to come into force.
#[derive(Debug)]
pub struct Next {
    found: Found,
    left_out: LeftOut,
}

/// Servers that nobody can connect to, as no certificate can be for them, by backend.
type LeftOut = BTreeMap<String, BTreeSet<String>>;

/// The servers that were found.
#[derive(Debug)]
pub struct Members {
    found: Found,
    left_out: LeftOut,
    /// What healthd tells of where they are found, and when it did.
    told: HashMap<String, (Discovery, Instant)>,
    /// The backends whose servers are not those of the routing.
    changed: BTreeSet<String>,
    keeper: Keeper<Kept>,
}

/// A server that was found.
#[derive(Clone, Debug)]
struct Held {
    member: wire::Member,
    /// Since when it belongs to the backend no more.
    left: Option<Instant>,
}

impl Members {
    /// Those whom an earlier lbd has left in `dir`, and keeps them there from now on. A file that cannot be understood tells of nobody, and
    /// the log of it. Reads from the disk.
    pub fn read(dir: &Path) -> Kept {
        kept_file::read(&dir.join(FILE)).map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::warn!("servers that were found before are not known: {error:#}");
            Kept::default()
        })
    }

    /// Begins with those who are known; they are kept in a file of `dir`. Must be called within a runtime.
    pub fn new(dir: &Path, kept: Kept) -> Self {
        let held = |(name, member)| (name, Held { member, left: None });
        let all =
            |(backend, members): (_, BTreeMap<_, _>)| (backend, members.into_iter().map(held).collect());
        Self {
            found: kept.into_iter().map(all).collect(),
            left_out: LeftOut::new(),
            told: HashMap::new(),
            changed: BTreeSet::new(),
            keeper: Keeper::start(dir.join(FILE), "which servers were found"),
        }
    }

    /// A configuration with the servers that were found.
    pub fn expand(&mut self, declared: &LbConfig) -> LbConfig {
        let (config, left_out) = expand(&self.found, declared);
        self.leave_out(left_out);
        config
    }

    /// These are left out. The log has a line for each backend where somebody is who was not before.
    fn leave_out(&mut self, left_out: LeftOut) {
        for (backend, servers) in &left_out {
            let before = self.left_out.get(backend);
            let mut new =
                servers.iter().filter(|server| before.is_none_or(|before| !before.contains(*server)));
            if let Some(first) = new.next() {
                let others = new.count();
                tracing::warn!(
                    backend,
                    server = first,
                    others,
                    "no certificate can be for a server that was found: it is left out"
                );
            }
        }
        self.left_out = left_out;
    }

    /// Those of another configuration; `before` is what is in force, with all servers. Where servers are found that were named before,
    /// these stay until it is known who is found.
    pub fn next(&self, declared: &LbConfig, before: &LbConfig) -> Next {
        let finds = |backend: &str| declared.backend(backend).is_some_and(|one| one.discover.is_some());
        let mut found = self.found.clone();
        found.retain(|backend, _| finds(backend));
        let named = before.backends.iter().filter(|one| one.discover.is_none() && finds(&one.name));
        for backend in named {
            let held = |server: &Server| {
                let member = Member {
                    weight: Some(server.weight),
                    backup: server.backup,
                    server_name: server.server_name.clone(),
                    name: server.name.clone(),
                    ..Member::at(server.address.clone())
                };
                (server.name.clone(), Held { member: wire::Member::of(&member), left: None })
            };
            found.insert(backend.name.clone(), backend.servers.iter().map(held).collect());
        }
        Next { found, left_out: LeftOut::new() }
    }

    /// Another configuration comes into force.
    pub fn adopt(&mut self, Next { found, left_out }: Next) {
        self.leave_out(left_out);
        self.told.retain(|backend, _| found.contains_key(backend));
        self.found = found;
        self.changed.clear();
    }

    /// Takes all that healthd tells, in the place of what it told before. A backend of which it knows nothing yet keeps whom it has.
    pub fn replace(&mut self, verdicts: &[Verdict], discoveries: Vec<Discovery>, now: Instant) {
        let mut told: HashMap<&str, BTreeMap<&str, &wire::Member>> = HashMap::new();
        for verdict in verdicts {
            if let Some(member) = &verdict.member {
                told.entry(&verdict.backend).or_default().insert(&verdict.server, member);
            }
        }
        for discovery in &discoveries {
            let Some(held) = self.found.get_mut(&discovery.backend).filter(|_| discovery.known) else {
                continue;
            };
            let named = told.get(discovery.backend.as_str());
            for (name, held) in held {
                if held.left.is_none() && !named.is_some_and(|named| named.contains_key(name.as_str())) {
                    held.left = Some(now);
                    self.changed.insert(discovery.backend.clone());
                }
            }
        }
        for verdict in verdicts {
            self.update(verdict);
        }
        self.told.clear();
        for discovery in discoveries {
            self.tell(discovery, now);
        }
    }

    /// Takes what a verdict tells of a member.
    pub fn update(&mut self, verdict: &Verdict) {
        let Some(member) = &verdict.member else { return };
        let members = self.found.entry(verdict.backend.clone()).or_default();
        let is_known =
            members.get(&verdict.server).is_some_and(|held| held.left.is_none() && held.member == *member);
        if !is_known {
            members.insert(verdict.server.clone(), Held { member: member.clone(), left: None });
            self.changed.insert(verdict.backend.clone());
        }
    }

    /// A member has left its backend.
    pub fn leave(&mut self, backend: &str, server: &str, now: Instant) {
        let held = self.found.get_mut(backend).and_then(|members| members.get_mut(server));
        if let Some(held) = held.filter(|held| held.left.is_none()) {
            held.left = Some(now);
            self.changed.insert(backend.to_owned());
        }
    }

    /// Takes what is told of where servers are found.
    pub fn tell(&mut self, discovery: Discovery, now: Instant) {
        self.told.insert(discovery.backend.clone(), (discovery, now));
    }

    /// Forgets those who have left and have ended what they had, and says who that is. `is_busy` is asked for a server of a backend.
    pub fn forget(&mut self, is_busy: impl Fn(&str, &str) -> bool) -> Vec<ServerKey> {
        let mut forgotten = Vec::new();
        for (backend, members) in &mut self.found {
            members.retain(|server, held| {
                let stays = held.left.is_none() || is_busy(backend, server);
                if !stays {
                    forgotten.push((backend.clone(), server.clone()));
                }
                stays
            });
        }
        self.changed.extend(forgotten.iter().map(|(backend, _)| backend.clone()));
        forgotten
    }

    /// The backends whose servers have changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// Whether servers have changed.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Since when a server belongs to its backend no more, and only ends what it has.
    pub fn left(&self, backend: &str, server: &str) -> Option<Instant> {
        self.found.get(backend)?.get(server)?.left
    }

    /// Whether somebody has left and is still there.
    pub fn has_leaving(&self) -> bool {
        self.found.values().flatten().any(|(_, held)| held.left.is_some())
    }

    /// Whether it is not known yet who belongs to a backend that has no servers of its own.
    pub fn is_awaited(&self, backend: &str) -> bool {
        !self.told.get(backend).is_some_and(|(discovery, _)| discovery.known)
            && self.found.get(backend).is_none_or(BTreeMap::is_empty)
    }

    /// What is known of where a backend's servers are found.
    pub fn discovery(&self, backend: &config::Backend, now: Instant) -> Option<Discovery> {
        let discover = backend.discover.as_ref()?;
        let Some((told, at)) = self.told.get(&backend.name) else {
            return Some(Discovery {
                backend: backend.name.clone(),
                source: discover.source.to_string(),
                members: self.found.get(&backend.name).map_or(0, BTreeMap::len) as u64,
                max: discover.max.into(),
                trouble: Some("healthd has not told of it yet".to_owned()),
                ..Discovery::default()
            });
        };
        let later = millis(now.saturating_duration_since(*at));
        Some(Discovery {
            answer_age_ms: told.answer_age_ms.map(|age| age.saturating_add(later)),
            ..told.clone()
        })
    }

    /// Has it kept who was found.
    pub fn keep(&self) {
        let kept = |(backend, members): (&String, &BTreeMap<String, Held>)| {
            let members = members.iter().filter(|(_, held)| held.left.is_none());
            let members: BTreeMap<_, _> =
                members.map(|(name, held)| (name.clone(), held.member.clone())).collect();
            (backend.clone(), members)
        };
        // Nobody waits for the disk.
        drop(self.keeper.keep(&self.found.iter().map(kept).collect()));
    }
}

impl Next {
    /// The configuration with them.
    pub fn expand(&mut self, declared: &LbConfig) -> LbConfig {
        let (config, left_out) = expand(&self.found, declared);
        self.left_out = left_out;
        config
    }
}

/// A configuration with those who were found, and who of them is left out.
fn expand(found: &Found, declared: &LbConfig) -> (LbConfig, LeftOut) {
    let mut config = declared.with_servers(|backend, discover| servers(found.get(backend), discover));
    let mut left_out = LeftOut::new();
    for backend in &mut config.backends {
        if backend.discover.is_none() || backend.tls.is_none() {
            continue;
        }
        let all = std::mem::take(&mut backend.servers);
        let (certifiable, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|server| is_certifiable(backend, server));
        backend.servers = certifiable;
        if !others.is_empty() {
            let names = others.into_iter().map(|server| server.name).collect();
            left_out.insert(backend.name.clone(), names);
        }
    }
    (config, left_out)
}

fn servers(found: Option<&BTreeMap<String, Held>>, discover: &Discover) -> Vec<Server> {
    let member = |(name, held): (&String, &Held)| Some(discover.server(&held.member.named(name)?));
    found.into_iter().flatten().filter_map(member).collect()
}

/// Whether a certificate can be for a server: without that nobody can connect to it.
fn is_certifiable(backend: &config::Backend, server: &Server) -> bool {
    certificates::server_name(&backend.tls_name_of(server).unwrap_or_default()).is_some()
}
