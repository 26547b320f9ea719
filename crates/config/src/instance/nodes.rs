//! What only shows when the files of several nodes are read together.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use vrrp::{Authentication, Preemption, Priority, Standing, TrackerRule, Trackers, Version, Weight};

use crate::read::quoted;
use crate::scalar::show_duration;
use crate::{
    Checked, Content, Diagnostic, Instance, LbConfig, Severity, TrackTarget, Unicast, VirtualAddress,
    VrrpConfig, anycast,
};

/// Between the priorities of two nodes: with less, the one's wait hardly differs from the other's.
const STEP: u8 = 10;

/// What does not fit together: instances of several nodes, and what they track with the `lb.yaml` given.
pub fn compare(files: &[Checked]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let groups = groups(files);
    let nodes = files.iter().filter(|file| matches!(file.content, Content::Vrrp(_))).count();
    for group in &groups {
        if let [alone] = group.as_slice()
            && nodes > 1
        {
            found.push(alone.warning(
                &[],
                "is in this file alone",
                "no other node takes its addresses over; give it the same name or virtual_router_id there",
            ));
        }
        for (index, member) in group.iter().enumerate() {
            let (earlier, later) = (&group[..index], &group[index + 1..]);
            if let Some(first) = earlier.first() {
                member.differs_from(first, &mut found);
            }
            if let Some(equal) = earlier.iter().find(|other| other.config.priority == member.config.priority)
            {
                found.push(member.warning(
                    &["priority"],
                    format_args!("has priority {}, as it has in {}", member.config.priority, equal.file.file()),
                    "between equals the higher address wins when both start; give the preferred node a higher one",
                ));
            }
            if let Some(near) = earlier.iter().find(|other| (1..STEP).contains(&member.apart(other))) {
                found.push(member.warning(
                    &["priority"],
                    format_args!(
                        "has priority {}, but {} in {}",
                        member.config.priority,
                        near.config.priority,
                        near.file.file()
                    ),
                    "steps of at least 10 keep two backups from taking over at the same moment",
                ));
            }
            let others: Vec<&Member<'_>> = earlier.iter().chain(later).collect();
            member.slow_successors(&others, files, &mut found);
            member.useless_weights(&others, &mut found);
        }
    }
    anycast::differences(files, &mut found);
    with_load_balancers(files, &mut found);
    found
}

/// An instance as one node has it.
struct Member<'a> {
    file: &'a Checked,
    config: &'a Instance,
}

/// The instances of all nodes that are meant to be of one virtual router: of one name, or else of one id and family.
fn groups(files: &[Checked]) -> Vec<Vec<Member<'_>>> {
    let mut groups: Vec<Vec<Member<'_>>> = Vec::new();
    for file in files {
        let Content::Vrrp(VrrpConfig { instances, .. }) = &file.content else { continue };
        for config in instances {
            let is_free = |group: &[Member<'_>]| group.iter().all(|member| !std::ptr::eq(member.file, file));
            let has_name = |group: &Vec<Member<'_>>| {
                is_free(group) && group.iter().any(|member| member.config.name == config.name)
            };
            let has_id = |group: &Vec<Member<'_>>| {
                is_free(group) && group.iter().any(|member| identity(member.config) == identity(config))
            };
            let index = groups.iter().position(has_name).or_else(|| groups.iter().position(has_id));
            let member = Member { file, config };
            match index.and_then(|index| groups.get_mut(index)) {
                Some(group) => group.push(member),
                None => groups.push(vec![member]),
            }
        }
    }
    groups
}

fn identity(instance: &Instance) -> (u8, bool) {
    (instance.virtual_router_id.get(), is_ipv6(instance))
}

fn is_ipv6(instance: &Instance) -> bool {
    instance.addresses.first().is_some_and(|address| address.ip.is_ipv6())
}

impl Member<'_> {
    fn error(&self, path: &[&str], problem: impl Display, help: &str) -> Diagnostic {
        self.remark(Severity::Error, path, problem, help)
    }

    fn warning(&self, path: &[&str], doubt: impl Display, help: &str) -> Diagnostic {
        self.remark(Severity::Warning, path, doubt, help)
    }

    fn remark(&self, severity: Severity, path: &[&str], what: impl Display, help: &str) -> Diagnostic {
        let name = &self.config.name;
        let path = [&["instances", name], path].concat();
        self.file.remark(severity, &path, format!("instance {} {what}", quoted(name)), help)
    }

    /// What has to be the same on all nodes.
    fn differs_from(&self, other: &Self, found: &mut Vec<Diagnostic>) {
        const DEAF: &str = "such routers ignore each other, and both would be master";
        let (mine, theirs, file) = (self.config, other.config, other.file.file());
        if mine.virtual_router_id != theirs.virtual_router_id {
            let (mine, theirs) = (mine.virtual_router_id, theirs.virtual_router_id);
            let problem = format!("has virtual_router_id {mine}, but {theirs} in {file}");
            found.push(self.error(&["virtual_router_id"], problem, DEAF));
        }
        if mine.version != theirs.version {
            let problem = format!("has version {}, but {} in {file}", mine.version, theirs.version);
            found.push(self.error(&["version"], problem, DEAF));
        }
        self.compare_addresses(other, found);
        if let Some(problem) = mismatch(&mine.authentication, &theirs.authentication, file) {
            found.push(self.error(&["authentication"], problem, DEAF));
        }
        let [interval, there] = [mine, theirs].map(|instance| instance.interval.duration());
        if interval != there {
            let what = format!(
                "sends adverts every {}, but every {} in {file}",
                show_duration(interval),
                show_duration(there)
            );
            let key = if self.has("advert_interval") { "advert_interval" } else { "timing" };
            found.push(match mine.version {
                Version::V2 => self.error(
                    &[key],
                    what,
                    "VRRPv2 routers ignore adverts of another interval: both would be master",
                ),
                Version::V3 => self.warning(
                    &[key],
                    what,
                    "backups go by the master's interval, so that a failover takes another time on each node",
                ),
            });
        }
        self.compare_peers(other, found);
    }

    fn has(&self, key: &str) -> bool {
        self.file.has(&["instances", &self.config.name, key])
    }

    fn compare_addresses(&self, other: &Self, found: &mut Vec<Diagnostic>) {
        let file = other.file.file();
        let lists = [
            ("virtual_addresses", &self.config.addresses, &other.config.addresses),
            ("excluded_addresses", &self.config.excluded, &other.config.excluded),
        ];
        for (key, mine, theirs) in lists {
            let ips =
                |list: &[VirtualAddress]| list.iter().map(|address| address.ip).collect::<BTreeSet<_>>();
            let (ours, there) = (ips(mine), ips(theirs));
            if ours != there {
                let lacks: Vec<&IpAddr> = there.difference(&ours).collect();
                let extra: Vec<&IpAddr> = ours.difference(&there).collect();
                let lacks =
                    (!lacks.is_empty()).then(|| format!("lacks {}, which {file} has", joined(&lacks)));
                let extra =
                    (!extra.is_empty()).then(|| format!("has {}, which {file} lacks", joined(&extra)));
                let what: Vec<String> = lacks.into_iter().chain(extra).collect();
                let what = format!("{} in {key}", what.join(", and "));
                let help = "an address that only one node has is gone when that node fails";
                found.push(self.error(&[key], what, help));
            } else if let Some((address, prefix)) = mine.iter().find_map(|address| {
                let there = theirs.iter().find(|there| there.ip == address.ip)?;
                (there.prefix != address.prefix).then_some((address, there.prefix))
            }) {
                found.push(self.warning(
                    &[key],
                    format_args!("has {address}, but with /{prefix} in {file}"),
                    "the address would come with another route on each node",
                ));
            }
        }
    }

    fn compare_peers(&self, other: &Self, found: &mut Vec<Diagnostic>) {
        const KEY: &[&str] = &["unicast"];
        const PEERS: &[&str] = &["unicast", "peers"];
        const DEAF: &str =
            "adverts of a router that is not among the peers are ignored: both would be master";
        let file = other.file.file();
        let (mine, theirs): (&Unicast, &Unicast) = match (&self.config.unicast, &other.config.unicast) {
            (Some(mine), Some(theirs)) => (mine, theirs),
            (None, None) => return,
            (mine, _) => {
                let word = |given: bool| if given { "unicast" } else { "multicast" };
                let (mine, theirs) = (word(mine.is_some()), word(mine.is_none()));
                let help = "routers that do not hear each other are both master; use the same on all nodes";
                found.push(self.error(KEY, format_args!("sends by {mine}, but by {theirs} in {file}"), help));
                return;
            }
        };
        if let Some(source) = theirs.source.filter(|source| !mine.peers.contains(source)) {
            found.push(self.error(
                PEERS,
                format_args!("does not list {source}, from which {file} sends"),
                DEAF,
            ));
        }
        if let Some(source) = mine.source.filter(|source| !theirs.peers.contains(source)) {
            found.push(other.error(
                PEERS,
                format_args!("does not list {source}, from which {} sends", self.file.file()),
                DEAF,
            ));
        }
        if mine.source.or(theirs.source).is_none() && mine.peers == theirs.peers && mine.peers.len() == 1 {
            found.push(self.error(
                PEERS,
                format_args!("lists {} alone, and so does {file}", joined(&mine.peers)),
                "each node lists the others, not itself",
            ));
        }
    }

    const fn apart(&self, other: &Self) -> u8 {
        self.config.priority.get().abs_diff(other.config.priority.get())
    }

    /// Handovers during which lbd stops waiting for somebody to take the address. Where no file tells of a successor it is taken
    /// for the slowest.
    fn slow_successors(&self, others: &[&Self], files: &[Checked], found: &mut Vec<Diagnostic>) {
        let interval = self.config.interval;
        let wait = |other: &&Self| {
            let Instance { version, priority, strict, .. } = other.config;
            version.release_skew(*priority, interval, *strict)
        };
        let patience = files.iter().filter_map(|file| match &file.content {
            Content::Lb(config) => Some((file.file(), config.lbd.handover_timeout)),
            Content::Vrrp(_) => None,
        });
        let Some((file, patience)) = patience.min_by_key(|(_, patience)| *patience) else { return };
        let (taken, wait) = match others.iter().map(wait).min() {
            Some(wait) => ("is taken over", wait),
            None => {
                let Instance { version, strict, .. } = self.config;
                ("may be taken over as late as", version.release_skew(Priority::MIN, interval, *strict))
            }
        };
        if wait >= patience {
            let [wait, patience] = [wait, patience].map(show_duration);
            found.push(self.warning(
                &[],
                format_args!(
                    "{taken} {wait} after a handover begins, but lbd waits {patience} by {file}"
                ),
                "lbd would accept connections again that break when the address leaves: use shorter intervals, or a longer \
                 lbd.handover_timeout",
            ));
        }
    }

    /// Virtual addresses that move with lbd, and that it does not listen on.
    fn unserved_addresses(&self, balancers: &[(&str, &LbConfig)], found: &mut Vec<Diagnostic>) {
        let moves_with_lbd =
            self.config.track.iter().any(|tracker| {
                matches!(tracker.target, TrackTarget::Lbd { .. } | TrackTarget::Backend { .. })
            });
        if moves_with_lbd && let Some((doubt, help)) = unserved(&self.config.addresses, balancers) {
            found.push(self.warning(&["virtual_addresses"], doubt, help));
        }
    }

    /// Weights that never move the address.
    fn useless_weights(&self, others: &[&Self], found: &mut Vec<Diagnostic>) {
        let instance = self.config;
        let moves = |floor: Priority| {
            others.iter().any(|other| {
                let best = other.priority_when(|_| true);
                best > floor && other.config.preemption != Preemption::Off
            })
        };
        let all_fail = self.priority_when(|_| false);
        for (index, tracker) in instance.track.iter().enumerate() {
            let own_fault = matches!(tracker.target, TrackTarget::Lbd { .. });
            let floor = self.priority_when(|name| name != tracker.name);
            if others.is_empty()
                || tracker.weight == Weight::Fault
                || moves(floor)
                || (!own_fault && moves(all_fail))
            {
                continue;
            }
            let Some(rival) = others.iter().max_by_key(|other| other.priority_when(|_| true)) else {
                continue;
            };
            let (best, theirs, file) =
                (self.priority_when(|_| true), rival.priority_when(|_| true), rival.file.file());
            let name = quoted(&tracker.name);
            let index = index.to_string();
            let path = ["track", index.as_str(), "weight"];
            let (doubt, help) = if theirs > floor {
                (
                    format!(
                        "tracks {name} with weight {}, but {file} has preempt: false: it never takes over from a lower \
                         priority",
                        tracker.weight.number()
                    ),
                    "leave the weight out, so that a failure gives the address up; or let the other node preempt".to_owned(),
                )
            } else {
                (
                    format!(
                        "tracks {name} with weight {}: when that fails, {best} becomes {floor}, which still beats {theirs} of \
                         {file}: the address never moves",
                        tracker.weight.number()
                    ),
                    help(
                        self.priority_when(|name| name != tracker.name || tracker.weight.number() < 0),
                        theirs.min(rival.config.priority),
                    ),
                )
            };
            found.push(self.warning(&path, doubt, &help));
        }
    }

    /// The priority when the trackers of these names are good, and the others with a weight are not.
    fn priority_when(&self, is_good: impl Fn(&str) -> bool) -> Priority {
        let weighted = self.config.track.iter().filter(|tracker| tracker.weight != Weight::Fault);
        let rule = |name: &String, weight| TrackerRule { name: name.clone(), weight };
        let mut trackers =
            Trackers::new(weighted.clone().map(|tracker| rule(&tracker.name, tracker.weight)).collect());
        for tracker in weighted {
            trackers.report(&tracker.name, is_good(&tracker.name));
        }
        match trackers.standing(self.config.priority) {
            Standing::Fit(priority) => priority,
            // Only a tracker without a weight is a fault.
            Standing::Fault(_) => self.config.priority,
        }
    }
}

/// A weight that would do, in round numbers.
fn help(best: Priority, rival: Priority) -> String {
    let needed = (i16::from(best.get()) - i16::from(rival.get()) + 1).max(1);
    let round = (needed + 9) / 10 * 10;
    format!("leave the weight out, so that a failure gives the address up at once; or use weight: -{round}")
}

/// Why routers do not believe each other, in words that tell no secrets.
fn mismatch(mine: &Authentication, theirs: &Authentication, file: &str) -> Option<String> {
    match (mine, theirs) {
        (Authentication::None, Authentication::None) => None,
        (Authentication::Password(mine), Authentication::Password(theirs)) => {
            (mine != theirs).then(|| format!("has another password than in {file}"))
        }
        (Authentication::Hmac { mode, .. }, Authentication::None)
        | (Authentication::None, Authentication::Hmac { mode, .. })
            if !mode.signs() =>
        {
            None
        }
        (
            Authentication::Hmac { keys: mine, mode, .. },
            Authentication::Hmac { keys: theirs, mode: mode_there, .. },
        ) => {
            let (active, there) = (mine.active(), theirs.active());
            if !mode.signs() && !mode_there.believes_unsigned() {
                Some(format!("does not sign (mode: receive_only), but {file} believes none that does not"))
            } else if !mode_there.signs() && !mode.believes_unsigned() {
                Some(format!("believes none that does not sign, and {file} does not (mode: receive_only)"))
            } else if theirs.get(active).is_none() {
                Some(format!("signs with key {active}, which {file} does not accept"))
            } else if mine.get(there).is_none() {
                Some(format!("does not accept key {there}, with which {file} signs"))
            } else {
                let other = [active, there].into_iter().find(|id| mine.get(*id) != theirs.get(*id));
                other.map(|id| format!("has another key {id} than in {file}"))
            }
        }
        (mine, theirs) => {
            Some(format!("has authentication {}, but {} in {file}", mine.label(), theirs.label()))
        }
    }
}

/// What trackers and addresses have to do with the `lb.yaml` given.
fn with_load_balancers(files: &[Checked], found: &mut Vec<Diagnostic>) {
    let balancers: Vec<(&str, &LbConfig)> = files
        .iter()
        .filter_map(|file| match &file.content {
            Content::Lb(config) => Some((file.file(), config)),
            Content::Vrrp(_) => None,
        })
        .collect();
    if balancers.is_empty() {
        return;
    }
    for file in files {
        let Content::Vrrp(VrrpConfig { instances, anycast, vrrpd, .. }) = &file.content else { continue };
        for config in instances {
            let member = Member { file, config };
            member.unserved_addresses(&balancers, found);
            for (index, tracker) in config.track.iter().enumerate() {
                if let Some((problem, help)) = unknown_backend(&tracker.target, &balancers) {
                    let index = index.to_string();
                    found.push(member.error(&["track", &index, "backend"], problem, &help));
                }
            }
        }
        anycast::compare(file, anycast, &balancers, found);
        for (name, config) in &balancers {
            let listens =
                config.frontends.iter().flat_map(|frontend| &frontend.bind).map(|bind| bind.address);
            let mut listens = listens.chain([config.lbd.admin, config.healthd.admin]);
            if let Some(taken) = listens.find(|taken| collide(*taken, vrrpd.admin)) {
                let message = format!("vrrpd listens on {}, but {name} has {taken} for itself", vrrpd.admin);
                let help = "all daemons of a node need ports of their own";
                found.push(file.remark(Severity::Error, &["admin", "bind"], message, help));
            }
        }
    }
}

/// An address on which nobody listens: what of it, and what to do.
pub(crate) fn unserved(
    addresses: &[VirtualAddress],
    balancers: &[(&str, &LbConfig)],
) -> Option<(String, &'static str)> {
    let frontends = || balancers.iter().flat_map(|(_, config)| &config.frontends);
    let listens = || frontends().flat_map(|one| &one.bind).map(|bind| bind.address);
    let is_served = |ip: IpAddr| {
        listens().any(|bind| bind.ip() == ip || bind.ip().is_unspecified() && bind.is_ipv4() == ip.is_ipv4())
    };
    let address = addresses.iter().find(|address| !is_served(address.ip))?;
    let files = joined(&balancers.iter().map(|(file, _)| *file).collect::<Vec<_>>());
    Some((
        format!("has {}, on which no frontend of {files} listens", address.ip),
        "bind it, or all addresses; lbd listens on an address before the node has it, too",
    ))
}

/// A tracked backend that no load balancer has: what of it, and what to do.
pub(crate) fn unknown_backend(
    target: &TrackTarget,
    balancers: &[(&str, &LbConfig)],
) -> Option<(String, String)> {
    let TrackTarget::Backend { name, .. } = target else { return None };
    if balancers.iter().any(|(_, config)| config.backend(name).is_some()) {
        return None;
    }
    let known = balancers.iter().flat_map(|(_, config)| &config.backends);
    let help = match crate::nearest(name, known.map(|backend| backend.name.as_str())) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "a backend that does not exist counts as failed for ever".to_owned(),
    };
    let file = joined(&balancers.iter().map(|(file, _)| *file).collect::<Vec<_>>());
    Some((format!("tracks backend {}, which {file} does not have", quoted(name)), help))
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let anywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (anywhere || one.ip() == other.ip())
}

pub(crate) fn joined<T: Display>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
