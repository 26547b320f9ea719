//! `vrrp.yaml`, section by section.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use vrrp::packet::ChecksumForm;
use vrrp::{AddressMismatch, AdvertInterval, Preemption, Priority, Version, VirtualRouterId};

use super::{authentication, lints, track};
use crate::read::{Section, Value, quoted};
use crate::scalar::{self, Problem};
use crate::{
    Access, Command, Gratuitous, Instance, Notify, Unicast, VirtualAddress, VrrpConfig, Vrrpd, anycast,
};

/// What becomes of a file without instances.
const NEEDED: &str = "none where there is anycast, else required";
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8407);
/// One byte counts the addresses of an advert.
const MAX_ADDRESSES: usize = 255;
const MAX_PEERS: usize = 32;
const MAX_WORDS: usize = 64;
/// Long enough to be a time at all, short enough to be waited for.
pub(crate) const TIME: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60 * 60);
/// How long connections may be kept after a handover.
const KEEP: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// When lbd counts as hung where nothing is said of timing.
pub(crate) const HUNG_AFTER: Duration = Duration::from_millis(300);

/// `timing: safe` and `timing: fast`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Profile {
    Safe,
    Fast,
}

impl Profile {
    const fn interval(self) -> Duration {
        match self {
            Self::Safe => Duration::from_secs(1),
            Self::Fast => Duration::from_millis(80),
        }
    }

    /// When lbd counts as hung.
    const fn hung_after(self) -> Duration {
        match self {
            Self::Safe => HUNG_AFTER,
            Self::Fast => Duration::from_millis(110),
        }
    }
}

/// Reads the whole file; key files come through `files`. What is wrong is reported, and then a default stands in the result.
pub(crate) fn read(file: &Value<'_>, files: authentication::Files<'_>) -> VrrpConfig {
    let config = file.section(|s| {
        let mut taken: HashMap<(u8, bool, Option<String>), String> = HashMap::new();
        const INSTANCES: &str = "a mapping of names to what each is";
        let value = match s.has(&["anycast"]) {
            true => s.value("instances", INSTANCES, NEEDED),
            false => s.required("instances", INSTANCES),
        };
        let instances = value.at_least_one(
            "instance",
            "a mapping with virtual_router_id and virtual_addresses",
            |name, value| {
                if let Err(problem) = scalar::name(name) {
                    value.key_error(problem);
                }
                let instance = value.section(|s| instance(name, s, files));
                let ipv6 = instance.addresses.first().is_some_and(|address| address.ip.is_ipv6());
                let key = (instance.virtual_router_id.get(), ipv6, instance.interface.clone());
                if let Some(other) = taken.insert(key, name.to_owned()) {
                    value.key_error(format_args!(
                        "has the virtual_router_id {} of instance {}; on one interface each needs its own",
                        instance.virtual_router_id,
                        quoted(&other)
                    ));
                }
                Some(instance)
            },
        );
        let anycast = anycast::read(s, &instances);
        let (admin, access) = s.section("admin", |s| {
            let bind = s.value("bind", "an address with a port such as 127.0.0.1:8407", ADMIN);
            let bind = bind.scalar(scalar::listen_address).unwrap_or(ADMIN);
            (bind, Access::read(s, bind))
        });
        let vrrpd = s.section("vrrpd", |s| Vrrpd {
            admin,
            realtime: s.number_or_none("realtime", "not real-time", 1..=99),
            lock_memory: s.yes_or_no("lock_memory", false),
        });
        VrrpConfig { instances, anycast, vrrpd, access }
    });
    file.lint(|report, node| {
        lints::check(report, node, &config);
        anycast::remark(report, node, &config);
    });
    config
}

fn instance(name: &str, s: &mut Section<'_>, files: authentication::Files<'_>) -> Instance {
    let written = s.word_given("version", "3", &[("3", Version::V3), ("2", Version::V2)]);
    let version = written.unwrap_or(Version::V3);
    // Where another word stands there, nothing else is wrong for its sake.
    let known = if s.has(&["version"]) { written } else { Some(version) };
    let interface =
        s.value("interface", "an interface's name", "found by the addresses' subnet").scalar(interface);
    let virtual_router_id = s
        .required("virtual_router_id", "a number from 1 to 255")
        .scalar(|text| scalar::number(text, &(1..=255)).map(VirtualRouterId::new))
        .flatten();
    // RFC 9568 section 5.2.4: "VRRP Routers backing up a Virtual Router MUST use priority values between 1-254 (decimal)."
    let priority = s.number("priority", Priority::DEFAULT.get(), 1..=254);
    let (profile, interval) = timing(s, known);
    let addresses =
        addresses(s.required("virtual_addresses", "an address such as 192.0.2.100/24, or a list of them"));
    let ipv6 = addresses.first().is_some_and(|address| address.ip.is_ipv6());
    if addresses.iter().any(|address| address.ip.is_ipv6() != ipv6) {
        s.error(
            ["virtual_addresses"],
            "has IPv4 and IPv6 addresses; adverts carry one family: make an instance of each, or name the others in \
             excluded_addresses",
        );
    }
    if ipv6 && version == Version::V2 {
        s.error(["version"], "has IPv6 addresses, which VRRPv2 does not carry; use version 3");
    }
    let excluded = s.value("excluded_addresses", "an address, or a list of them", "none");
    let excluded = if excluded.is_given() { self::addresses(excluded) } else { Vec::new() };
    if let Some(twice) = excluded.iter().find(|excluded| addresses.iter().any(|own| own.ip == excluded.ip)) {
        s.error(["excluded_addresses"], format_args!("has {} among virtual_addresses too", twice.ip));
    }
    let unicast = unicast(s, ipv6);
    let (authentication, key_files) = authentication::read(s, known, files);
    Instance {
        name: name.to_owned(),
        interface,
        version,
        // Zero has been reported, and a file with an error is not used.
        virtual_router_id: virtual_router_id.unwrap_or(VirtualRouterId::FIRST),
        priority: Priority::new(priority).unwrap_or(Priority::DEFAULT),
        interval,
        addresses,
        excluded,
        preemption: preemption(s),
        strict: s.yes_or_no("strict", false),
        unicast,
        authentication,
        key_files,
        checksum: s.word(
            "checksum",
            ChecksumForm::PseudoHeader,
            &[("pseudo_header", ChecksumForm::PseudoHeader), ("message_only", ChecksumForm::MessageOnly)],
        ),
        address_mismatch: s.word(
            "address_mismatch",
            AddressMismatch::Warn,
            &[("warn", AddressMismatch::Warn), ("discard", AddressMismatch::Discard)],
        ),
        track: track::read(
            s,
            track::Manner {
                hung_after: (profile.hung_after(), "300ms, with timing: fast 110ms"),
                weights: true,
            },
        ),
        gratuitous: s.section("gratuitous", gratuitous),
        probe: optional_duration(s, "probe", Some(Duration::from_millis(25)), TIME),
        keep_connections: optional_duration(s, "keep_connections", None, KEEP),
        notify: notify(s),
    }
}

/// Where the version is not known, an interval is right that is so in one of them.
fn timing(s: &mut Section<'_>, version: Option<Version>) -> (Profile, AdvertInterval) {
    let profile = s.word("timing", Profile::Safe, &[("safe", Profile::Safe), ("fast", Profile::Fast)]);
    let default = profile.interval();
    let interval = |wanted| match version {
        Some(version) => AdvertInterval::new(version, wanted),
        None => {
            AdvertInterval::new(Version::V3, wanted).or_else(|_| AdvertInterval::new(Version::V2, wanted))
        }
    };
    let value = s.value(
        "advert_interval",
        "a duration from 10ms to 40950ms, for version 2 whole seconds",
        "of timing",
    );
    let wanted = value.scalar(|text| {
        let wanted = scalar::duration(text, &(Duration::from_millis(10)..=Duration::from_secs(255)))?;
        interval(wanted).map_err(|error| Problem::Because(error.to_string()))
    });
    let interval = wanted.or_else(|| match interval(default) {
        Ok(interval) => Some(interval),
        Err(error) => {
            if !value.is_given() {
                s.error(["timing"], format_args!("cannot have this timing: {error}"));
            }
            None
        }
    });
    // Of whatever is wrong an error has been reported, and a file with an error is not used.
    (profile, interval.unwrap_or(AdvertInterval::SECOND))
}

pub(crate) fn addresses(value: Value<'_>) -> Vec<VirtualAddress> {
    if value.is_empty_list() {
        value.error("is an empty list; without an address there is nothing to move");
    }
    let found = value.one_or_more(address);
    if found.len() > MAX_ADDRESSES {
        value.error(format_args!("has {} addresses; at most {MAX_ADDRESSES} fit", found.len()));
    }
    let addresses: Vec<_> = found.into_iter().map(|(_, address)| address).collect();
    for (index, address) in addresses.iter().enumerate() {
        if addresses[..index].iter().any(|earlier| earlier.ip == address.ip) {
            value.error(format_args!("has {} twice", address.ip));
        }
    }
    addresses
}

/// `192.0.2.100/24`; without a prefix length the address alone.
fn address(text: &str) -> Result<VirtualAddress, Problem> {
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| Problem::Unexpected)?;
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
        return Err(Problem::Because("this address cannot move between nodes".to_owned()));
    }
    let longest = if ip.is_ipv6() { 128 } else { 32 };
    let prefix = match prefix {
        Some(prefix) => scalar::number(prefix, &(1..=longest)).map_err(|_| {
            Problem::Because(format!("the length of the prefix is a number from 1 to {longest}"))
        })?,
        None => longest,
    };
    match shared_by_all(ip, prefix) {
        Some(what) => Err(Problem::Because(format!(
            "{ip} is {what}, which no node can have; give one of its addresses"
        ))),
        None => Ok(VirtualAddress { ip, prefix }),
    }
}

/// What an address is in its network, if it is not one of a node. Links of two nodes have no such addresses (RFC 3021, RFC 6164).
fn shared_by_all(ip: IpAddr, prefix: u8) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) if prefix <= 30 => match ip.to_bits() << prefix >> prefix {
            0 => Some("the network itself"),
            host if host == u32::MAX >> prefix => Some("the network's broadcast address"),
            _ => None,
        },
        // RFC 4291 section 2.6.1
        IpAddr::V6(ip) if prefix <= 126 && ip.to_bits() << prefix == 0 => Some("the network itself"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

pub(super) fn ip(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| Problem::Unexpected)
}

/// What the kernel takes for the name of an interface.
pub(crate) fn interface(text: &str) -> Result<String, Problem> {
    let fits = (1..16).contains(&text.len()) && !text.contains(['/', ' ', '\t', '\n', '\0']);
    if fits && !matches!(text, "." | "..") {
        Ok(text.to_owned())
    } else {
        Err(Problem::Because(
            "an interface's name has 1 to 15 characters, none of them a space or \"/\"".to_owned(),
        ))
    }
}

fn unicast(s: &mut Section<'_>, ipv6: bool) -> Option<Unicast> {
    let value = s.value("unicast", "a mapping with peers", "multicast");
    if !value.is_given() {
        // Read all the same, for the list of keys.
        value.section(|s| peers(s, ipv6, false));
        return None;
    }
    Some(value.section(|s| peers(s, ipv6, true)))
}

fn peers(s: &mut Section<'_>, ipv6: bool, given: bool) -> Unicast {
    const WHAT: &str = "an address of another router, or a list of them";
    let value = if given { s.required("peers", WHAT) } else { s.value("peers", WHAT, "required") };
    if value.is_empty_list() {
        value.error(
            "is an empty list; a router without peers would always be master, and so would the others",
        );
    }
    let found = value.one_or_more(ip);
    if found.len() > MAX_PEERS {
        value.error(format_args!("has {} peers; at most {MAX_PEERS} are allowed", found.len()));
    }
    let source = s.value("source", "an address of this node", "the interface's first").scalar(ip);
    let peers: Vec<IpAddr> = found.into_iter().map(|(_, ip)| ip).collect();
    if let Some(other) = peers.iter().chain(&source).find(|ip| given && ip.is_ipv6() != ipv6) {
        s.error(["peers"], format_args!("has {other}, which is not of the family of virtual_addresses"));
    }
    Unicast { peers, source, min_ttl: s.number("min_ttl", 255, 0..=255) }
}

fn preemption(s: &mut Section<'_>) -> Preemption {
    s.value("preempt", "true, false, or a delay such as 30s", "true")
        .scalar(|text| {
            if let Some(yes) = scalar::boolean(text) {
                return Ok(if yes { Preemption::After(Duration::ZERO) } else { Preemption::Off });
            }
            scalar::duration(text, &TIME).map(Preemption::After)
        })
        .unwrap_or_default()
}

fn gratuitous(s: &mut Section<'_>) -> Gratuitous {
    Gratuitous {
        repeat: s.number("repeat", 5, 1..=100),
        interval: s.duration("interval", Duration::from_millis(100), TIME),
        delay: optional_duration(s, "delay", Some(Duration::from_secs(5)), TIME),
        refresh: optional_duration(s, "refresh", None, TIME),
    }
}

pub(crate) fn notify(s: &mut Section<'_>) -> Option<Notify> {
    let value = s.value("notify", "a mapping with command", "nobody is told");
    if !value.is_given() {
        value.section(|s| notification(s, false));
        return None;
    }
    Some(value.section(|s| notification(s, true)))
}

fn notification(s: &mut Section<'_>, given: bool) -> Notify {
    const WHAT: &str = "a program's absolute path, or a list of it and its arguments";
    let command = if given { s.required("command", WHAT) } else { s.value("command", WHAT, "required") };
    Notify {
        timeout: s.duration("timeout", Duration::from_secs(30), TIME),
        fault_after: optional_duration(s, "fault_after", None, TIME),
        command: Command { argv: argv(&command), privileged: s.yes_or_no("privileged", false) },
    }
}

/// A program and its arguments, as a list; a single word is a program without arguments.
pub(super) fn argv(value: &Value<'_>) -> Vec<String> {
    let words: Vec<String> =
        value.one_or_more(|text| Ok(text.to_owned())).into_iter().map(|(_, word)| word).collect();
    if words.len() > MAX_WORDS {
        value.error(format_args!("has {} words; at most {MAX_WORDS} are allowed", words.len()));
    }
    match words.first() {
        Some(program) if !program.starts_with('/') => value.error(format_args!(
            "is {program:?}; give the absolute path of a program, and its arguments as further elements of a list: no \
             shell reads it"
        )),
        None if value.is_empty_list() => value.error("is an empty list; expected a program"),
        Some(_) | None => {}
    }
    words
}

/// A duration, or `off`.
fn optional_duration(
    s: &mut Section<'_>,
    key: &'static str,
    default: Option<Duration>,
    allowed: RangeInclusive<Duration>,
) -> Option<Duration> {
    let [least, most] = [*allowed.start(), *allowed.end()].map(scalar::show_duration);
    let in_words = default.map_or_else(|| "off".to_owned(), scalar::show_duration);
    let value = s.value(key, format_args!("off, or a duration from {least} to {most}"), in_words);
    if !value.is_given() {
        return default;
    }
    if value.is_off() { None } else { value.scalar(|text| scalar::duration(text, &allowed)).or(default) }
}
