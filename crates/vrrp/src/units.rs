//! Identifiers, priorities and times of VRRP, each as a type that cannot hold a wrong value.

use std::fmt;
use std::num::NonZeroU8;
use std::time::Duration;

use thiserror::Error;

/// A moment: the time since an instant that the driver chose once, on a clock that never goes back.
pub type Moment = Duration;

/// The interval that bounds the wait after a priority-0 advert, unless an instance is strict. See
/// [`Version::release_skew`].
pub const RELEASE_INTERVAL: Duration = Duration::from_millis(80);

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768: IPv4, intervals of whole seconds, a password field.
    V2,
    /// RFC 9568: IPv4 and IPv6, intervals of centiseconds.
    V3,
}

impl Version {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// Skew_Time: how much longer than three intervals a backup waits, the better its priority, the less.
    ///
    /// RFC 3768 section 6.1 counts in seconds; RFC 9568 section 6.1 in the interval of the master.
    pub fn skew(self, priority: Priority, interval: AdvertInterval) -> Duration {
        let unit = match self {
            Self::V2 => Duration::from_secs(1),
            Self::V3 => interval.duration(),
        };
        fraction(unit, priority)
    }

    /// Active_Down_Interval (RFC 3768: Master_Down_Interval): the silence of a master after which a backup takes over, three
    /// intervals and the skew.
    pub fn master_down(self, priority: Priority, interval: AdvertInterval) -> Duration {
        (interval.duration() * 3).saturating_add(self.skew(priority, interval))
    }

    /// How long a backup waits when the master has said that it leaves.
    ///
    /// The RFCs say the skew. Nobody has to be waited for but better backups, so that unless `strict` the skew is taken of
    /// an interval of at most [`RELEASE_INTERVAL`]. The order among backups stays what it was.
    pub fn release_skew(self, priority: Priority, interval: AdvertInterval, strict: bool) -> Duration {
        let skew = self.skew(priority, interval);
        if strict { skew } else { skew.min(fraction(RELEASE_INTERVAL, priority)) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number(), f)
    }
}

/// `unit * (256 - priority) / 256`, to the nanosecond.
fn fraction(unit: Duration, priority: Priority) -> Duration {
    unit * (256 - u32::from(priority.get())) / 256
}

/// Which virtual router of a network is meant: 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtualRouterId(NonZeroU8);

impl VirtualRouterId {
    /// The lowest.
    pub const FIRST: Self = Self(NonZeroU8::MIN);

    /// `None` for 0, which no virtual router has.
    pub const fn new(id: u8) -> Option<Self> {
        match NonZeroU8::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for VirtualRouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who is preferred as master: the highest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// "I leave": only ever sent, never configured.
    pub const RELEASE: Self = Self(0);
    /// The lowest priority of a router that takes part.
    pub const MIN: Self = Self(1);
    /// The default of RFC 9568 section 6.1.
    pub const DEFAULT: Self = Self(100);
    /// The highest that trackers can reach.
    pub const MAX: Self = Self(254);
    /// The address owner: always master while it runs, moved by no tracker.
    pub const OWNER: Self = Self(255);

    /// Any value that can be on the wire.
    pub const fn from_wire(value: u8) -> Self {
        Self(value)
    }

    /// A priority to configure, `None` for 0.
    pub const fn new(value: u8) -> Option<Self> {
        if value == 0 { None } else { Some(Self(value)) }
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The time between two adverts of a master. Never zero; nanoseconds are kept, so that no skew is rounded away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdvertInterval(Duration);

/// Why a duration is no advert interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IntervalError {
    /// VRRPv2 sends whole seconds in one byte, and its routers discard adverts of another interval than their own.
    #[error(
        "an advert interval of {0:?} does not fit VRRPv2: use whole seconds from 1 s to 255 s, or version 3"
    )]
    V2(Duration),
    /// VRRPv3 sends centiseconds in twelve bits.
    #[error("an advert interval of {0:?} does not fit VRRPv3: use 10 ms to 40.95 s")]
    V3(Duration),
}

const SECOND: Duration = Duration::from_secs(1);
const CENTISECOND: Duration = Duration::from_millis(10);
/// Twelve bits of centiseconds.
const MAX_CENTISECONDS: u16 = 0xfff;

impl AdvertInterval {
    /// The default of the RFCs.
    pub const SECOND: Self = Self(SECOND);

    /// An interval that `version` can say to others.
    ///
    /// # Errors
    /// When the duration is out of the range of the wire, or for version 2 not in whole seconds.
    pub fn new(version: Version, interval: Duration) -> Result<Self, IntervalError> {
        match version {
            Version::V2 if interval.subsec_nanos() != 0 || !(1..=255).contains(&interval.as_secs()) => {
                Err(IntervalError::V2(interval))
            }
            Version::V3 if interval < CENTISECOND || interval > CENTISECOND * u32::from(MAX_CENTISECONDS) => {
                Err(IntervalError::V3(interval))
            }
            Version::V2 | Version::V3 => Ok(Self(interval)),
        }
    }

    /// What a VRRPv2 advert says, `None` for 0.
    pub fn from_seconds(seconds: u8) -> Option<Self> {
        (seconds != 0).then(|| Self(SECOND * u32::from(seconds)))
    }

    /// What a VRRPv3 advert says in its low twelve bits, `None` for 0.
    pub fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        let centiseconds = centiseconds & MAX_CENTISECONDS;
        (centiseconds != 0).then(|| Self(CENTISECOND * u32::from(centiseconds)))
    }

    /// The interval as time.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// For the wire of VRRPv2. Rounded up, so that nobody waits less than this router does.
    pub fn seconds(self) -> u8 {
        u8::try_from(self.0.as_nanos().div_ceil(SECOND.as_nanos())).unwrap_or(u8::MAX)
    }

    /// For the wire of VRRPv3. Rounded up, so that nobody waits less than this router does.
    pub fn centiseconds(self) -> u16 {
        u16::try_from(self.0.as_nanos().div_ceil(CENTISECOND.as_nanos()))
            .unwrap_or(MAX_CENTISECONDS)
            .min(MAX_CENTISECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(milliseconds: u64) -> AdvertInterval {
        AdvertInterval::new(Version::V3, Duration::from_millis(milliseconds)).unwrap()
    }

    #[test]
    fn failover_times_are_those_of_the_rfc() {
        // Interval in ms, priority, skew and master-down in microseconds.
        for (milliseconds, priority, skew, down) in [
            (1000, 100, 609_375, 3_609_375),
            (1000, 200, 218_750, 3_218_750),
            (1000, 250, 23_437, 3_023_437),
            (100, 100, 60_937, 360_937),
            (80, 200, 17_500, 257_500),
            (80, 250, 1_875, 241_875),
            (50, 254, 390, 150_390),
            (10, 255, 39, 30_039),
        ] {
            let priority = Priority::from_wire(priority);
            let interval = interval(milliseconds);
            assert_eq!(Version::V3.skew(priority, interval).as_micros(), skew);
            assert_eq!(Version::V3.master_down(priority, interval).as_micros(), down);
        }
    }

    #[test]
    fn the_skew_of_version_2_counts_in_seconds() {
        let interval = AdvertInterval::new(Version::V2, Duration::from_secs(5)).unwrap();
        assert_eq!(Version::V2.skew(Priority::DEFAULT, interval), Duration::from_nanos(609_375_000));
        assert_eq!(
            Version::V2.master_down(Priority::DEFAULT, interval),
            Duration::from_nanos(15_609_375_000)
        );
    }

    #[test]
    fn a_released_address_is_taken_over_soon_and_in_order() {
        for version in [Version::V2, Version::V3] {
            let waits: Vec<_> = (1..=255)
                .map(|value| version.release_skew(Priority::from_wire(value), interval(1000), false))
                .collect();
            assert!(waits.windows(2).all(|pair| pair[0] > pair[1]), "better priorities wait less");
            assert!(waits.iter().all(|wait| *wait < RELEASE_INTERVAL));
            assert_eq!(
                version.release_skew(Priority::DEFAULT, interval(1000), true),
                Duration::from_nanos(609_375_000)
            );
        }
        let short = interval(50);
        let skew = Version::V3.skew(Priority::DEFAULT, short);
        assert_eq!(
            Version::V3.release_skew(Priority::DEFAULT, short, false),
            skew,
            "never longer than the RFC"
        );
    }

    #[test]
    fn intervals_keep_to_the_range_of_the_wire() {
        let v2 = |duration| AdvertInterval::new(Version::V2, duration);
        let v3 = |duration| AdvertInterval::new(Version::V3, duration);
        for bad in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(256), Duration::MAX] {
            assert_eq!(v2(bad), Err(IntervalError::V2(bad)));
        }
        for bad in [Duration::ZERO, Duration::from_millis(9), Duration::from_millis(40_951), Duration::MAX] {
            assert_eq!(v3(bad), Err(IntervalError::V3(bad)));
        }
        assert_eq!(v2(Duration::from_secs(255)).unwrap().seconds(), 255);
        assert_eq!(v3(Duration::from_millis(40_950)).unwrap().centiseconds(), 4095);
        assert_eq!(v3(Duration::from_micros(10_001)).unwrap().centiseconds(), 2, "rounded up");
        assert_eq!(AdvertInterval::from_seconds(0), None);
        assert_eq!(AdvertInterval::from_centiseconds(0xf000), None, "the high bits are reserved");
        assert_eq!(AdvertInterval::from_centiseconds(0xf064), Some(interval(1000)));
    }

    #[test]
    fn zero_is_no_router_and_no_priority_to_configure() {
        assert_eq!(VirtualRouterId::new(0), None);
        assert_eq!(VirtualRouterId::new(51).map(VirtualRouterId::get), Some(51));
        assert_eq!(Priority::new(0), None);
        assert_eq!(Priority::new(255), Some(Priority::OWNER));
    }
}
