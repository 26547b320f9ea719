//! vrrpd's metrics for Prometheus. `docs/metrics.md` documents them, and a test compares the two.

use std::borrow::Cow;
use std::collections::BTreeMap;

use daemon::families::{
    Family, Samples, counter, flag, gauge, histogram, life, number, one, one_of, seconds,
};
use wire::{AnycastState, AnycastStatus, Info, InstanceState, InstanceStatus, PeerStatus, TrackerStatus};

/// Everything that vrrpd knows, at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// vrrpd itself.
    pub info: Info,
    /// The instances.
    pub instances: Vec<InstanceStatus>,
    /// The anycast services.
    pub services: Vec<AnycastStatus>,
}

/// The label of what is about an instance.
const INSTANCE: &[&str] = &["vrrp_instance"];

/// The label of what is about a service.
const SERVICE: &[&str] = &["anycast_service"];

/// Every metric of vrrpd.
pub const FAMILIES: &[Family<Seen>] = &[
    gauge(
        "tandem_vrrp_state",
        "1 for the state that the instance is in on this node.",
        &["vrrp_instance", "state"],
        |seen| each(seen, |status| one_of(InstanceState::ALL.map(InstanceState::word), status.state.word())),
    ),
    gauge(
        "tandem_vrrp_stale",
        "Whether the election hangs, so that all that is told of the instance is of the past.",
        INSTANCE,
        |seen| each(seen, |status| one(flag(status.stale_ms.is_some()))),
    ),
    gauge("tandem_vrrp_state_seconds", "For how long the state has held.", INSTANCE, |seen| {
        each(seen, |status| one(seconds(status.since_ms)))
    }),
    gauge("tandem_vrrp_configured_priority", "The priority in the configuration.", INSTANCE, |seen| {
        each(seen, |status| one(status.configured_priority.into()))
    }),
    gauge(
        "tandem_vrrp_priority",
        "The priority in the election, as the trackers leave it.",
        INSTANCE,
        |seen| each(seen, |status| one(status.priority.into())),
    ),
    gauge(
        "tandem_vrrp_holds_addresses",
        "Whether the virtual addresses are on this node.",
        INSTANCE,
        |seen| each(seen, |status| one(flag(status.holding))),
    ),
    counter(
        "tandem_vrrp_transitions_total",
        "Changes of state, by the state entered and the cause.",
        &["vrrp_instance", "to", "cause"],
        |seen| each(seen, |status| transitions(&status.counters.transitions)),
    ),
    counter("tandem_vrrp_advertisements_sent_total", "Adverts sent.", INSTANCE, |seen| {
        each(seen, |status| one(number(status.counters.adverts_sent)))
    }),
    counter(
        "tandem_vrrp_priority_zero_sent_total",
        "Adverts sent that say that this node leaves.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.releases_sent))),
    ),
    counter("tandem_vrrp_send_errors_total", "Adverts that could not be sent.", INSTANCE, |seen| {
        each(seen, |status| one(number(status.counters.send_errors)))
    }),
    counter(
        "tandem_vrrp_advertisements_received_total",
        "Adverts believed, by the router that sent them.",
        &["vrrp_instance", "peer"],
        |seen| peers(seen, |peer| number(peer.adverts)),
    ),
    counter(
        "tandem_vrrp_priority_zero_received_total",
        "Adverts that say that their sender leaves, by the router that sent them.",
        &["vrrp_instance", "peer"],
        |seen| peers(seen, |peer| number(peer.releases)),
    ),
    gauge(
        "tandem_vrrp_peer_heard_seconds",
        "Since the last advert of a router.",
        &["vrrp_instance", "peer"],
        |seen| peers(seen, |peer| seconds(peer.heard_ms)),
    ),
    gauge(
        "tandem_vrrp_peer_clock_ahead_seconds",
        "By how much a router's clock is ahead of this node's, where adverts are signed.",
        &["vrrp_instance", "peer"],
        |seen| {
            peers(seen, |peer| {
                let ahead = peer.clock_ahead_ms?;
                Some(seconds(ahead.unsigned_abs()).copysign(if ahead < 0 { -1.0 } else { 1.0 }))
            })
        },
    ),
    gauge(
        "tandem_vrrp_peer_doubtful",
        "Whether a router's last advert may be a recording, and counts only while somebody answers for the address.",
        &["vrrp_instance", "peer"],
        |seen| peers(seen, |peer| flag(peer.doubt.is_some())),
    ),
    counter(
        "tandem_vrrp_receive_errors_total",
        "Packets not believed, by the check that failed.",
        &["vrrp_instance", "error"],
        |seen| {
            each(seen, |status| {
                let errors = status.counters.receive_errors.iter();
                errors.map(|(error, count)| (vec![error.into()], number(*count))).collect()
            })
        },
    ),
    counter(
        "tandem_vrrp_address_mismatches_total",
        "Adverts believed that list other virtual addresses than this node.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.address_mismatches))),
    ),
    gauge(
        "tandem_vrrp_tracker_state_seconds",
        "For how long a tracker has been good, or has failed.",
        &["vrrp_instance", "tracker"],
        |seen| trackers(seen, |tracker| seconds(tracker.since_ms)),
    ),
    gauge("tandem_vrrp_tracker_good", "Whether a tracker is good.", &["vrrp_instance", "tracker"], |seen| {
        trackers(seen, |tracker| flag(tracker.good == Some(true)))
    }),
    counter(
        "tandem_vrrp_tracker_failures_total",
        "Times that a tracker began to fail.",
        &["vrrp_instance", "tracker"],
        |seen| trackers(seen, |tracker| number(tracker.failures)),
    ),
    counter(
        "tandem_vrrp_announcements_total",
        "Gratuitous ARP packets and neighbour advertisements sent.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.announcements))),
    ),
    counter(
        "tandem_vrrp_addresses_restored_total",
        "Virtual addresses that somebody else removed and vrrpd put back.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.addresses_restored))),
    ),
    counter(
        "tandem_vrrp_connections_reset_total",
        "Connections that had not ended when their address left this node as planned, and were reset.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.connections_reset))),
    ),
    counter(
        "tandem_vrrp_conflicts_total",
        "Packets in which another station claimed a virtual address that was here.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.conflicts))),
    ),
    counter(
        "tandem_vrrp_takeovers_delayed_total",
        "Takeovers put off because somebody still answered for the address.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.takeovers_delayed))),
    ),
    counter(
        "tandem_vrrp_notify_failures_total",
        "Notifications that failed or were killed.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.counters.notify_failures))),
    ),
    gauge(
        "tandem_vrrp_notify_failing",
        "Whether the hook could not be told of the state that holds.",
        INSTANCE,
        |seen| each(seen, |status| one(flag(status.notify_failing))),
    ),
    gauge(
        "tandem_vrrp_kept_connections",
        "Connections of addresses that another node has, kept here since a handover.",
        INSTANCE,
        |seen| each(seen, |status| one(number(status.keeps.unwrap_or(0)))),
    ),
    gauge(
        "tandem_vrrp_passes_to_nodes",
        "Nodes to which packets are passed on, for the connections that they keep since a handover.",
        INSTANCE,
        |seen| each(seen, |status| one(number(u64::try_from(status.passes_to.len()).unwrap_or(u64::MAX)))),
    ),
    histogram(
        "tandem_vrrp_takeover_seconds",
        "From the end of the wait to all addresses added.",
        INSTANCE,
        |seen| each(seen, |status| one(status.counters.takeover.clone())),
    ),
    histogram(
        "tandem_vrrp_advert_lateness_seconds",
        "How much later than its interval the master's advert came.",
        INSTANCE,
        |seen| each(seen, |status| one(status.counters.advert_lateness.clone())),
    ),
    histogram(
        "tandem_vrrp_loop_lag_seconds",
        "How much later than its deadline the election woke.",
        INSTANCE,
        |seen| each(seen, |status| one(status.counters.loop_lag.clone())),
    ),
    gauge(
        "tandem_anycast_state",
        "1 for the state that the anycast service is in on this node.",
        &["anycast_service", "state"],
        |seen| {
            services(seen, |status| one_of(AnycastState::ALL.map(AnycastState::word), status.state.word()))
        },
    ),
    gauge(
        "tandem_anycast_stale",
        "Whether the thread that decides hangs, so that all that is told of the service is of the past.",
        SERVICE,
        |seen| services(seen, |status| one(flag(status.stale_ms.is_some()))),
    ),
    gauge("tandem_anycast_state_seconds", "For how long the state has held.", SERVICE, |seen| {
        services(seen, |status| one(seconds(status.since_ms)))
    }),
    gauge("tandem_anycast_holds_addresses", "Whether the addresses are on this node.", SERVICE, |seen| {
        services(seen, |status| one(flag(status.holding)))
    }),
    counter(
        "tandem_anycast_transitions_total",
        "Changes of state, by the state entered and the cause.",
        &["anycast_service", "to", "cause"],
        |seen| services(seen, |status| transitions(&status.counters.transitions)),
    ),
    gauge(
        "tandem_anycast_tracker_state_seconds",
        "For how long a tracker has been good, or has failed.",
        &["anycast_service", "tracker"],
        |seen| service_trackers(seen, |tracker| seconds(tracker.since_ms)),
    ),
    gauge(
        "tandem_anycast_tracker_good",
        "Whether a tracker is good.",
        &["anycast_service", "tracker"],
        |seen| service_trackers(seen, |tracker| flag(tracker.good == Some(true))),
    ),
    counter(
        "tandem_anycast_tracker_failures_total",
        "Times that a tracker began to fail.",
        &["anycast_service", "tracker"],
        |seen| service_trackers(seen, |tracker| number(tracker.failures)),
    ),
    counter(
        "tandem_anycast_addresses_restored_total",
        "Addresses that somebody else removed and vrrpd put back.",
        SERVICE,
        |seen| services(seen, |status| one(number(status.counters.addresses_restored))),
    ),
    counter(
        "tandem_anycast_connections_reset_total",
        "Connections that had not ended when their address left this node as planned, and were reset.",
        SERVICE,
        |seen| services(seen, |status| one(number(status.counters.connections_reset))),
    ),
    counter(
        "tandem_anycast_notify_failures_total",
        "Notifications that failed or were killed.",
        SERVICE,
        |seen| services(seen, |status| one(number(status.counters.notify_failures))),
    ),
    gauge(
        "tandem_anycast_notify_failing",
        "Whether the hook could not be told of the state that holds.",
        SERVICE,
        |seen| services(seen, |status| one(flag(status.notify_failing))),
    ),
    histogram(
        "tandem_anycast_announce_seconds",
        "From the event that had the service announced to all addresses added.",
        SERVICE,
        |seen| services(seen, |status| one(status.counters.announce.clone())),
    ),
    gauge("tandem_vrrpd_state", "1 for the state that vrrpd is in.", &["state"], |seen| {
        life(seen.info.state)
    }),
    gauge(
        "tandem_vrrpd_config_generation",
        "Successful loads of the configuration, the start included.",
        &[],
        |seen| one(number(seen.info.generation)),
    ),
    gauge("tandem_vrrpd_config_reload_ok", "1 unless the last reload was refused.", &[], |seen| {
        one(flag(seen.info.reload_error.is_none()))
    }),
];

/// The values of each instance, with its label before theirs.
fn each<'a, V>(seen: &'a Seen, values: impl Fn(&'a InstanceStatus) -> Samples<'a, V>) -> Samples<'a, V> {
    seen.instances.iter().flat_map(|status| labelled(&status.instance, values(status))).collect()
}

/// The values of each service, with its label before theirs.
fn services<'a, V>(seen: &'a Seen, values: impl Fn(&'a AnycastStatus) -> Samples<'a, V>) -> Samples<'a, V> {
    seen.services.iter().flat_map(|status| labelled(&status.service, values(status))).collect()
}

fn labelled<'a, V>(label: &'a str, values: Samples<'a, V>) -> Samples<'a, V> {
    let with_label = |(mut labels, value): (Vec<Cow<'a, str>>, V)| {
        labels.insert(0, label.into());
        (labels, value)
    };
    values.into_iter().map(with_label).collect()
}

/// Counts of transitions, by state and cause.
fn transitions(counts: &BTreeMap<String, u64>) -> Samples<'_> {
    let sample = |(key, count): (&'_ String, &u64)| {
        let (to, cause) = key.split_once(' ').unwrap_or((key, ""));
        (vec![to.to_owned().into(), cause.to_owned().into()], number(*count))
    };
    counts.iter().map(sample).collect()
}

/// A value of each router that an instance has heard, by its address, or of those that have one.
fn peers<V: Into<Option<f64>>>(seen: &Seen, value: impl Fn(&PeerStatus) -> V) -> Samples<'_> {
    each(seen, |status| {
        let known = status.peers.iter().filter_map(|peer| Some((peer, value(peer).into()?)));
        known.map(|(peer, value)| (vec![peer.address.to_string().into()], value)).collect()
    })
}

/// A value of each tracker of an instance, by its name.
fn trackers(seen: &Seen, value: impl Fn(&TrackerStatus) -> f64) -> Samples<'_> {
    each(seen, |status| of_trackers(&status.trackers, &value))
}

/// A value of each tracker of a service, by its name.
fn service_trackers(seen: &Seen, value: impl Fn(&TrackerStatus) -> f64) -> Samples<'_> {
    services(seen, |status| of_trackers(&status.trackers, &value))
}

fn of_trackers(trackers: &[TrackerStatus], value: impl Fn(&TrackerStatus) -> f64) -> Samples<'_> {
    trackers.iter().map(|tracker| (vec![(&tracker.name).into()], value(tracker))).collect()
}
