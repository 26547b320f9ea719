//! What vrrpd tells of an instance: the source of its page, its metrics and `tandemctl status`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
/// Where an instance stands.
pub use vrrp::{Doubt, State as InstanceState};

use crate::{Tone, human, latest};

/// An instance: this node's part in one virtual router (RFC 9568).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its key in the configuration.
    pub instance: String,
    /// `init`, `backup`, `master` or `fault`.
    pub state: InstanceState,
    /// For how long.
    pub since_ms: u64,
    /// Why, in words.
    pub reason: String,
    /// `VRRPv2` is 2, `VRRPv3` 3.
    pub version: u8,
    /// VRID: which virtual router of the network.
    pub virtual_router_id: u8,
    /// As the trackers leave it.
    pub priority: u8,
    /// As configured.
    pub configured_priority: u8,
    /// Active_Adver_Interval, between two adverts: the master's, as far as it is known.
    pub interval_ms: u64,
    /// Whether this node has the addresses on its interface.
    pub holding: bool,
    /// The interface in use; none while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The address that adverts are sent from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The virtual addresses with their prefix lengths, the excluded ones last.
    pub addresses: Vec<String>,
    /// The master, as far as it is known; this node's own source address while it is master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<IpAddr>,
    /// The master's priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_priority: Option<u8>,
    /// What the right to be master depends on.
    pub trackers: Vec<TrackerStatus>,
    /// Other routers that were heard, at most 16.
    pub peers: Vec<PeerStatus>,
    /// The latest transitions, the newest first, at most 16.
    pub history: Vec<TransitionRecord>,
    /// For how long the election has not moved, where that is long enough for all of this to be stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_ms: Option<u64>,
    /// The last claim of another station to an address that was here, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// The last packet that was not believed, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedStatus>,
    /// Connections that are kept here though another node has the addresses, if some are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<u64>,
    /// The nodes to which a master passes packets on, for the connections that are kept there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes_to: Vec<IpAddr>,
    /// Whether the hook could not be told of this state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify_failing: bool,
    /// Counters since vrrpd's start.
    pub counters: InstanceCounters,
}

/// Another station said that a virtual address is its own, while this node was master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimStatus {
    /// The address.
    pub address: IpAddr,
    /// The station's hardware address.
    pub mac: String,
    /// How long ago.
    pub age_ms: u64,
}

/// A packet that was not believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStatus {
    /// The check that failed, as metrics name it.
    pub error: String,
    /// What is wrong with it, in words.
    pub text: String,
    /// Who sent it.
    pub source: IpAddr,
    /// How long ago.
    pub age_ms: u64,
}

/// A claim is of the present for so long: gratuitous ARP and probes come in seconds.
const CLAIM_HOLDS_MS: u64 = 10_000;
/// For so long it is worth a word.
const CLAIM_TOLD_MS: u64 = 3_600_000;

impl InstanceStatus {
    /// Where the instance stands, and how good or bad that is: `web is MASTER`, `web is MASTER, and so is 192.0.2.12`.
    pub fn headline(&self) -> (Tone, String) {
        let name = &self.instance;
        let state = self.state.word().to_uppercase();
        if let Some(ms) = self.stale_ms {
            return (
                Tone::Bad,
                format!("{name} was {state}, and the election has hung for {}", human::duration(ms)),
            );
        }
        let tone = Tone::from(self.state);
        match (self.also(), self.handicap()) {
            (Some(also), _) => (Tone::Bad, format!("{name} is {state}, and {also}")),
            (None, Some(handicap)) => (tone.max(Tone::Warning), format!("{name} is {state}, but {handicap}")),
            (None, None) => (tone, format!("{name} is {state}")),
        }
    }

    /// Which trackers fail that leave the instance a lower priority, rather than none: `tracker gateway fails`. In a fault there is
    /// another reason.
    fn handicap(&self) -> Option<String> {
        if self.state == InstanceState::Fault {
            return None;
        }
        let is_failing = |tracker: &&TrackerStatus| tracker.weight != 0 && tracker.good == Some(false);
        let failing: Vec<&str> =
            self.trackers.iter().filter(is_failing).map(|tracker| tracker.name.as_str()).collect();
        match failing.as_slice() {
            [] => None,
            [one] => Some(format!("tracker {one} fails")),
            many => Some(format!("trackers {} fail", many.join(", "))),
        }
    }

    /// Who else has what a master alone should have: `so is 192.0.2.12`.
    fn also(&self) -> Option<String> {
        if let Some(other) = self.other_master() {
            return Some(format!("so is {other}"));
        }
        if let Some(refused) = self.unbelieved_master() {
            return Some(format!("so is {}, whose adverts are not believed", refused.source));
        }
        self.living_claim().map(|claim| format!("{} claims {}", claim.mac, claim.address))
    }

    /// Another router that is master, too, by adverts that were heard within three intervals.
    pub fn other_master(&self) -> Option<IpAddr> {
        let is_master = |peer: &&PeerStatus| peer.priority > 0 && peer.heard_ms <= self.interval_ms * 3;
        let masters = (self.state == InstanceState::Master).then_some(&self.peers);
        masters?.iter().find(is_master).map(|peer| peer.address)
    }

    /// Another router whose adverts come in while this node is master, and are not believed.
    pub fn unbelieved_master(&self) -> Option<&RefusedStatus> {
        let refused = self.refused.as_ref().filter(|refused| refused.age_ms <= self.interval_ms * 3);
        refused.filter(|refused| self.state == InstanceState::Master && self.source != Some(refused.source))
    }

    /// The last packet that was not believed, in words; it stands out for a minute.
    pub fn refusal(&self) -> Option<(Tone, String)> {
        let RefusedStatus { text, source, age_ms, .. } = self.refused.as_ref()?;
        let count: u64 = self.counters.receive_errors.values().sum();
        let (count, ago) = (human::things(count, "packet"), human::duration(*age_ms));
        let text = format!("{count} not believed, the last from {source}, {ago} ago: {text}");
        Some((latest(Some(*age_ms), Tone::Warning).unwrap_or(Tone::Paused), text))
    }

    /// A claim to an address that is here, if one was heard lately.
    pub fn living_claim(&self) -> Option<&ClaimStatus> {
        let claim = self.claim.as_ref().filter(|claim| claim.age_ms <= CLAIM_HOLDS_MS);
        claim.filter(|_| self.state == InstanceState::Master)
    }

    /// What outlives a handover here, in words.
    pub fn kept(&self) -> Vec<String> {
        let keeps = self.keeps.map(|count| {
            format!("keeps {} of before the handover, until they end", human::things(count, "connection"))
        });
        let passes =
            |to| format!("passes packets on to {to}, which keeps connections of before the handover");
        keeps.into_iter().chain(self.passes_to.iter().map(passes)).collect()
    }

    /// What other stations have claimed within the last hour, in words.
    pub fn claims(&self) -> Option<(Tone, String)> {
        let claim = self.claim.as_ref().filter(|claim| claim.age_ms <= CLAIM_TOLD_MS);
        let ClaimStatus { address, mac, age_ms } = claim?;
        let (count, ago) = (human::things(self.counters.conflicts, "claim"), human::duration(*age_ms));
        let tone = if self.living_claim().is_some() { Tone::Bad } else { Tone::Paused };
        Some((
            tone,
            format!("another station ({mac}) claimed {address}, which was here, {ago} ago; {count} in all"),
        ))
    }
}

impl From<InstanceState> for Tone {
    /// A backup is as well as a master, but has nothing to do.
    fn from(state: InstanceState) -> Self {
        match state {
            InstanceState::Master => Self::Good,
            InstanceState::Backup => Self::Paused,
            InstanceState::Init => Self::Warning,
            InstanceState::Fault => Self::Bad,
        }
    }
}

impl TrackerStatus {
    /// What it says, in a word, and how good or bad that is.
    pub const fn word(&self) -> (&'static str, Tone) {
        match self.good {
            Some(true) => ("good", Tone::Good),
            Some(false) => ("fails", Tone::Bad),
            None => ("unknown", Tone::Warning),
        }
    }

    /// What its weight does.
    pub fn effect(&self) -> String {
        match self.weight {
            0 => "no mastership while it fails".to_owned(),
            weight if weight > 0 => format!("priority +{weight} while good"),
            weight => format!("priority {weight} while it fails"),
        }
    }
}

/// A tracker and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackerStatus {
    /// Its name.
    pub name: String,
    /// Whether it is good; none before its first report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<bool>,
    /// Its last report, in words.
    pub text: String,
    /// keepalived's number: 0 forbids mastership while it fails, above is added while good, below while failing.
    pub weight: i16,
    /// For how long.
    pub since_ms: u64,
    /// Times that it began to fail.
    pub failures: u64,
}

/// Another router of the same virtual router, as it was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub address: IpAddr,
    /// Its last advert's priority; 0 when it left.
    pub priority: u8,
    /// Since its last advert.
    pub heard_ms: u64,
    /// Adverts believed.
    pub adverts: u64,
    /// Of these, with priority 0.
    pub releases: u64,
    /// What its checksums cover: `pseudo_header` or `message_only`.
    pub checksum: String,
    /// By how many milliseconds its clock is ahead of this node's; negative where it is behind. Known of signed adverts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// Why its last advert may be a recording: signed too far from now (`window`), or behind what it said before (`sequence`). It
    /// counts only together with an answer for a virtual address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

impl PeerStatus {
    /// What is wrong with its clock, if something is. `interval_ms` is that of the adverts.
    pub fn clock_trouble(&self, interval_ms: u64) -> Option<String> {
        let ahead = self.clock_ahead_ms?;
        let Self { address, .. } = self;
        let apart = human::duration(ahead.unsigned_abs());
        let direction = if ahead < 0 { "behind" } else { "ahead" };
        match self.doubt {
            Some(Doubt::Window) => Some(format!(
                "clocks differ: {address} is {apart} {direction}; its adverts count only while somebody answers for the address"
            )),
            Some(Doubt::Sequence) => Some(format!(
                "the clock of {address} was set back, or its adverts are replays: they count only while somebody answers for the \
                 address"
            )),
            None if ahead.unsigned_abs() > (interval_ms * 3).max(KEEPALIVED_WINDOW_MS) => Some(format!(
                "clocks differ: {address} is {apart} {direction}; a keepalived among the routers would not believe it"
            )),
            None => None,
        }
    }
}

/// keepalived believes what was signed at most so long from now, or three intervals if that is longer.
const KEEPALIVED_WINDOW_MS: u64 = 5000;

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionRecord<S = InstanceState> {
    /// The state before.
    pub from: S,
    /// The state after.
    pub to: S,
    /// The cause as metrics name it.
    pub cause: String,
    /// The cause in words.
    pub reason: String,
    /// How long ago.
    pub age_ms: u64,
    /// From the event to the last action done: addresses on the interface and announced, or removed.
    pub took_us: u64,
}

/// Counters of an instance since vrrpd's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceCounters {
    /// Adverts sent.
    pub adverts_sent: u64,
    /// Of these, with priority 0.
    pub releases_sent: u64,
    /// Adverts that could not be sent.
    pub send_errors: u64,
    /// Adverts believed.
    pub adverts_received: u64,
    /// Packets not believed, by the check that failed.
    pub receive_errors: BTreeMap<String, u64>,
    /// Adverts believed that list other addresses.
    pub address_mismatches: u64,
    /// Transitions by `to` and cause, as `master master_silent`.
    pub transitions: BTreeMap<String, u64>,
    /// Gratuitous ARP packets and neighbour advertisements sent.
    pub announcements: u64,
    /// Virtual addresses that somebody else removed and vrrpd put back.
    pub addresses_restored: u64,
    /// Connections reset because their address left this node as planned.
    #[serde(default)]
    pub connections_reset: u64,
    /// Packets in which another station claimed a virtual address while this node was master.
    pub conflicts: u64,
    /// Takeovers put off because somebody answered for the address.
    pub takeovers_delayed: u64,
    /// Notifications that failed or were killed.
    pub notify_failures: u64,
    /// From the end of the wait, or the advert that ended it, to addresses added and announced.
    pub takeover: Histogram,
    /// Between two adverts of the master, less its interval: how late they come.
    pub advert_lateness: Histogram,
    /// How late the election's loop wakes.
    pub loop_lag: Histogram,
}

/// How often a time was how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bounds in microseconds, and how many were at most that long.
    pub buckets: Vec<(u64, u64)>,
    /// All times together, in microseconds.
    pub sum_us: u64,
    /// How many.
    pub count: u64,
}

/// The upper bounds of every histogram, in microseconds: from what a takeover should take to what nobody should see.
const BOUNDS_US: [u64; 11] =
    [100, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

impl Histogram {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { buckets: BOUNDS_US.map(|bound| (bound, 0)).into(), sum_us: 0, count: 0 }
    }

    /// Counts one time.
    pub fn observe(&mut self, time: std::time::Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        for (_, count) in self.buckets.iter_mut().filter(|(bound, _)| us <= *bound) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
        self.count += 1;
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: InstanceState, peers: &[(u8, u64)], claimed_ms: Option<u64>) -> InstanceStatus {
        let peer = |(priority, heard_ms): &(u8, u64)| PeerStatus {
            address: IpAddr::from([192, 0, 2, 12]),
            priority: *priority,
            heard_ms: *heard_ms,
            adverts: 1,
            releases: 0,
            checksum: "pseudo_header".to_owned(),
            clock_ahead_ms: None,
            doubt: None,
        };
        InstanceStatus {
            instance: "web".to_owned(),
            state,
            since_ms: 0,
            reason: String::new(),
            version: 3,
            virtual_router_id: 51,
            priority: 100,
            configured_priority: 100,
            interval_ms: 1000,
            holding: true,
            interface: None,
            source: None,
            addresses: Vec::new(),
            master: None,
            master_priority: None,
            trackers: Vec::new(),
            peers: peers.iter().map(peer).collect(),
            history: Vec::new(),
            claim: claimed_ms.map(|age_ms| ClaimStatus {
                address: IpAddr::from([192, 0, 2, 100]),
                mac: "02:00:00:00:00:07".to_owned(),
                age_ms,
            }),
            refused: None,
            keeps: None,
            passes_to: Vec::new(),
            notify_failing: false,
            stale_ms: None,
            counters: InstanceCounters::default(),
        }
    }

    #[test]
    fn two_masters_are_no_good_news() {
        let told = |status: InstanceStatus| status.headline();
        let (master, backup) = (InstanceState::Master, InstanceState::Backup);
        assert_eq!(told(status(master, &[], None)), (Tone::Good, "web is MASTER".to_owned()));
        let two = (Tone::Bad, "web is MASTER, and so is 192.0.2.12".to_owned());
        assert_eq!(told(status(master, &[(90, 3000)], None)), two);
        assert_eq!(told(status(master, &[(90, 3001)], None)).0, Tone::Good, "it has been silent since");
        assert_eq!(told(status(master, &[(0, 10)], None)).0, Tone::Good, "it left");
        assert_eq!(told(status(backup, &[(90, 10)], Some(10))).0, Tone::Paused, "that is as it should be");
        let claimed = (Tone::Bad, "web is MASTER, and 02:00:00:00:00:07 claims 192.0.2.100".to_owned());
        assert_eq!(told(status(master, &[], Some(9000))), claimed);
        let past = status(master, &[], Some(11_000));
        assert_eq!(past.headline().0, Tone::Good);
        assert_eq!(past.claims().unwrap().0, Tone::Paused, "what is over is not red for ever");
        assert_eq!(status(master, &[], Some(3_700_000)).claims(), None, "it is worth no word any more");
        let hung = InstanceStatus { stale_ms: Some(4000), ..status(master, &[], None) };
        assert_eq!(told(hung), (Tone::Bad, "web was MASTER, and the election has hung for 4 s".to_owned()));
    }

    #[test]
    fn a_tracker_that_lowers_the_priority_is_no_good_news() {
        let with = |state, trackers: &[(&str, i16, bool)]| InstanceStatus {
            trackers: trackers
                .iter()
                .map(|(name, weight, good)| TrackerStatus {
                    name: (*name).to_owned(),
                    good: Some(*good),
                    text: String::new(),
                    weight: *weight,
                    since_ms: 0,
                    failures: 0,
                })
                .collect(),
            ..status(state, &[], None)
        };
        let (master, backup) = (InstanceState::Master, InstanceState::Backup);
        assert_eq!(with(master, &[("lbd", 0, true), ("disk", -20, true)]).headline().0, Tone::Good);
        let one = (Tone::Warning, "web is MASTER, but tracker disk fails".to_owned());
        assert_eq!(with(master, &[("disk", -20, false)]).headline(), one);
        let two = (Tone::Warning, "web is BACKUP, but trackers disk, uplink fail".to_owned());
        assert_eq!(with(backup, &[("disk", -20, false), ("uplink", 20, false)]).headline(), two);
        let fault = with(InstanceState::Fault, &[("lbd", 0, false), ("disk", -20, false)]).headline();
        assert_eq!(fault, (Tone::Bad, "web is FAULT".to_owned()), "the reason says why");
    }

    #[test]
    fn a_master_that_is_not_believed_is_a_master_all_the_same() {
        let refused = |state, age_ms| InstanceStatus {
            refused: Some(RefusedStatus {
                error: "hmac".to_owned(),
                text: "the signature does not fit".to_owned(),
                source: IpAddr::from([192, 0, 2, 12]),
                age_ms,
            }),
            counters: InstanceCounters {
                receive_errors: [("hmac".to_owned(), 7)].into(),
                ..Default::default()
            },
            ..status(state, &[], None)
        };
        let (tone, told) = refused(InstanceState::Master, 3000).headline();
        assert_eq!(tone, Tone::Bad);
        assert_eq!(told, "web is MASTER, and so is 192.0.2.12, whose adverts are not believed");
        assert_eq!(refused(InstanceState::Master, 3001).headline().0, Tone::Good, "it has been silent since");
        assert_eq!(refused(InstanceState::Backup, 10).headline().0, Tone::Paused);
        let (tone, told) = refused(InstanceState::Backup, 4000).refusal().unwrap();
        assert_eq!(tone, Tone::Warning);
        assert_eq!(
            told,
            "7 packets not believed, the last from 192.0.2.12, 4 s ago: the signature does not fit"
        );
        assert_eq!(refused(InstanceState::Backup, 61_000).refusal().unwrap().0, Tone::Paused, "it is over");
    }

    #[test]
    fn clocks_are_wrong_beyond_what_keepalived_bears() {
        let trouble = |ahead: Option<i64>, doubt, interval_ms| {
            let peer = PeerStatus {
                address: IpAddr::from([192, 0, 2, 12]),
                priority: 100,
                heard_ms: 0,
                adverts: 1,
                releases: 0,
                checksum: "pseudo_header".to_owned(),
                clock_ahead_ms: ahead,
                doubt,
            };
            peer.clock_trouble(interval_ms)
        };
        assert_eq!(trouble(None, None, 1000), None, "nobody signs");
        assert_eq!(trouble(Some(-5000), None, 1000), None);
        assert_eq!(trouble(Some(6000), None, 2000), None, "three intervals are longer");
        let told = trouble(Some(6000), None, 1000).unwrap();
        assert!(told.starts_with("clocks differ: 192.0.2.12 is 6 s ahead; a keepalived"), "{told}");
        let told = trouble(Some(-40_000), Some(Doubt::Window), 1000).unwrap();
        assert!(
            told.starts_with("clocks differ: 192.0.2.12 is 40 s behind; its adverts count only"),
            "{told}"
        );
        let told = trouble(Some(0), Some(Doubt::Sequence), 1000).unwrap();
        assert!(
            told.starts_with("the clock of 192.0.2.12 was set back, or its adverts are replays"),
            "{told}"
        );
    }
}
