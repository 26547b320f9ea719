//! Sticky sessions: what a cookie says about the server that a client belongs to.
//!
//! The value names a server by a keyed hash of its name and its backend's. It tells nothing, and is the same after each restart
//! and in each load balancer that has the same configuration: nobody has to remember anything. Where sessions end by time, the value
//! has their dates, and a keyed hash over all of it: whoever changes a date has a cookie that counts for nothing.
//!
//! ```text
//! server (16) | begun (8) | seen (8) | hash (16)     hexadecimal digits; without limits of time the first part alone
//! ```

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How many cookies of one request are looked at: one is usual, and a few come with domains and paths.
const LOOKED_AT: usize = 4;
/// A cookie is renewed when it has got older by this part of the time that it may be idle.
const RENEWED_BY: u32 = 60;

const SERVER: usize = 16;
const DATES: usize = 16;
const TAG: usize = 16;

/// The longest value.
pub const STICKY_VALUE_MAX: usize = SERVER + DATES + TAG;

/// Seconds since 1970, to 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

/// How long sessions last, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StickyLimits {
    /// Without a request.
    pub idle: Option<u32>,
    /// In all.
    pub life: Option<u32>,
}

/// The cookie values of a backend's servers.
#[derive(Clone, Debug)]
pub struct Sticky {
    key: Hmac<Sha256>,
    servers: Vec<[u8; SERVER]>,
    places: BTreeMap<[u8; SERVER], usize>,
    limits: StickyLimits,
}

/// What a request's cookies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// There is none.
    Nowhere,
    /// There is none that we know.
    Unknown,
    /// The session was idle for too long.
    Idle,
    /// The session has lasted for too long.
    Old,
    /// It belongs to the server at that place.
    To(Session),
}

/// A session with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The server's place.
    pub place: usize,
    begun: Seconds,
    seen: Seconds,
}

impl Session {
    /// The same session, of a server that has got another place.
    #[must_use]
    pub const fn at(self, place: usize) -> Self {
        Self { place, ..self }
    }
}

impl Sticky {
    /// The values for these servers, in their order. Without a secret, whoever knows the names can make them.
    pub fn new<'n>(
        secret: &[u8],
        backend: &str,
        servers: impl Iterator<Item = &'n str>,
        limits: StickyLimits,
    ) -> Self {
        // The backend's name is a part of the key: what one backend gave means nothing to another one.
        let mut of_backend = keyed(secret);
        of_backend.update(b"backend\0");
        of_backend.update(backend.as_bytes());
        let key = keyed(&of_backend.finalize().into_bytes());
        let value = |name: &str| hash(&key, b"server\0", name.as_bytes());
        let servers: Vec<_> = servers.map(value).collect();
        let places = servers.iter().enumerate().map(|(place, value)| (*value, place)).collect();
        Self { key, servers, places, limits }
    }

    /// What cookie values say: the first that counts, of the first few.
    pub fn read<'c>(&self, values: impl Iterator<Item = &'c [u8]>, now: Seconds) -> Belongs {
        let mut said = Belongs::Nowhere;
        for value in values.take(LOOKED_AT) {
            match self.value(value, now) {
                Belongs::To(session) => return Belongs::To(session),
                // What was right once says more than what never was.
                Belongs::Unknown if said != Belongs::Nowhere => {}
                other => said = other,
            }
        }
        said
    }

    fn value(&self, value: &[u8], now: Seconds) -> Belongs {
        let Some((server, rest)) = value.split_first_chunk::<SERVER>() else { return Belongs::Unknown };
        let Some(place) = self.places.get(server).copied() else { return Belongs::Unknown };
        if !self.has_dates() {
            let session = Session { place, begun: now, seen: now };
            return if rest.is_empty() { Belongs::To(session) } else { Belongs::Unknown };
        }
        let Some((dates, tag)) = rest.split_first_chunk::<DATES>() else { return Belongs::Unknown };
        if !self.is_tag(server, dates, tag) {
            return Belongs::Unknown;
        }
        let (begun, seen) = dates.split_at(DATES / 2);
        let Some((begun, seen)) = number(begun).zip(number(seen)) else { return Belongs::Unknown };
        // The other node's clock may be ahead.
        let over =
            |limit: Option<u32>, since: u32| limit.is_some_and(|limit| now.0.saturating_sub(since) > limit);
        if over(self.limits.life, begun) {
            Belongs::Old
        } else if over(self.limits.idle, seen) {
            Belongs::Idle
        } else {
            Belongs::To(Session { place, begun: Seconds(begun), seen: Seconds(seen) })
        }
    }

    /// Whether the client has to be given a cookie: its request went to the server at that place. If so, its value is appended.
    /// None where it has the right one.
    pub fn write(&self, place: usize, belongs: Belongs, now: Seconds, out: &mut Vec<u8>) -> Option<Written> {
        let (written, begun) = match belongs {
            Belongs::To(session) if session.place == place => {
                let renewed = self.limits.idle.map(|idle| (idle / RENEWED_BY).max(1));
                if renewed.is_none_or(|step| now.0.saturating_sub(session.seen.0) < step) {
                    return None;
                }
                (Written::Renewed, session.begun)
            }
            _ => (Written::New, now),
        };
        let server = self.servers.get(place)?;
        out.extend_from_slice(server);
        if self.has_dates() {
            let mut dates = [0; DATES];
            let both = u64::from(begun.0) << 32 | u64::from(now.0);
            dates.copy_from_slice(&hex(both.to_be_bytes()));
            out.extend_from_slice(&dates);
            out.extend_from_slice(&self.tag(server, &dates));
        }
        Some(written)
    }

    const fn has_dates(&self) -> bool {
        self.limits.idle.is_some() || self.limits.life.is_some()
    }

    fn tag(&self, server: &[u8; SERVER], dates: &[u8; DATES]) -> [u8; TAG] {
        first_half(self.dated(server, dates).finalize().into_bytes().into())
    }

    /// In constant time.
    fn is_tag(&self, server: &[u8; SERVER], dates: &[u8; DATES], tag: &[u8]) -> bool {
        let bytes = <[u8; TAG]>::try_from(tag).ok().and_then(|tag| u64_of(&tag)).map(u64::to_be_bytes);
        bytes.is_some_and(|bytes| self.dated(server, dates).verify_truncated_left(&bytes).is_ok())
    }

    fn dated(&self, server: &[u8; SERVER], dates: &[u8; DATES]) -> Hmac<Sha256> {
        let mut mac = self.key.clone();
        mac.update(b"dates\0");
        mac.update(server);
        mac.update(dates);
        mac
    }
}

/// What became of a client's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It leads to another server than before, or is the first.
    New,
    /// It has got a new date.
    Renewed,
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

fn hash(key: &Hmac<Sha256>, what: &[u8], name: &[u8]) -> [u8; SERVER] {
    let mut mac = key.clone();
    mac.update(what);
    mac.update(name);
    first_half(mac.finalize().into_bytes().into())
}

/// The first 64 bits.
fn first_half(hash: [u8; 32]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, ..] = hash;
    hex([a, b, c, d, e, f, g, h])
}

fn hex(bytes: [u8; 8]) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|at| DIGITS[usize::from(bytes[at / 2] >> (4 - at % 2 * 4) & 15)])
}

/// The number that these digits are, in the one way in which we write it.
fn u64_of(digits: &[u8; 16]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u64::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u64::from(digit - b'a' + 10)),
        _ => None,
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["s1", "s2", "s3"];
    const LIMITED: StickyLimits = StickyLimits { idle: Some(600), life: Some(3_600) };
    const NOW: Seconds = Seconds(1_800_000_000);

    fn sticky(secret: &str, limits: StickyLimits) -> Sticky {
        Sticky::new(secret.as_bytes(), "app", NAMES.into_iter(), limits)
    }

    fn at(later: u32) -> Seconds {
        Seconds(NOW.0 + later)
    }

    /// The cookie of a client that is new at a server.
    fn given(sticky: &Sticky, place: usize) -> Vec<u8> {
        let mut value = Vec::new();
        assert_eq!(sticky.write(place, Belongs::Nowhere, NOW, &mut value), Some(Written::New));
        assert!(value.iter().all(u8::is_ascii_hexdigit) && value.len() <= STICKY_VALUE_MAX);
        value
    }

    fn read(sticky: &Sticky, value: &[u8], now: Seconds) -> Belongs {
        sticky.read(std::iter::once(value), now)
    }

    fn place(said: Belongs) -> Option<usize> {
        match said {
            Belongs::To(session) => Some(session.place),
            _ => None,
        }
    }

    #[test]
    fn a_value_leads_back_to_its_server_wherever_the_same_is_configured() {
        for limits in [StickyLimits::default(), LIMITED] {
            let one = sticky("secret", limits);
            // The other node, in which the order is another one.
            let two = Sticky::new(b"secret", "app", ["s3", "s1"].into_iter(), limits);
            for (place, name) in NAMES.iter().enumerate() {
                let value = given(&one, place);
                assert_eq!(self::place(read(&one, &value, NOW)), Some(place));
                let there = ["s3", "s1"].iter().position(|other| other == name);
                assert_eq!(self::place(read(&two, &value, NOW)), there);
                let mut nothing = Vec::new();
                assert_eq!(one.write(place, read(&one, &value, NOW), NOW, &mut nothing), None);
                assert!(nothing.is_empty());
            }
        }
    }

    /// Recorded: two nodes, and two versions, must agree.
    #[test]
    fn values_never_change() {
        let values = [sticky("", StickyLimits::default()), sticky("secret", LIMITED)]
            .map(|sticky| String::from_utf8(given(&sticky, 0)).unwrap());
        assert_eq!(values, RECORDED);
    }

    const RECORDED: [&str; 2] = ["5d3534a1a38fb525", "4952f1535a700f056b49d2006b49d2002fdd18622d624d7e"];

    #[test]
    fn another_secret_or_backend_gives_other_values() {
        let value = given(&sticky("secret", StickyLimits::default()), 1);
        assert_eq!(read(&sticky("other", StickyLimits::default()), &value, NOW), Belongs::Unknown);
        let other = Sticky::new(b"secret", "ap", ["ps1", "s2"].into_iter(), StickyLimits::default());
        assert_eq!(read(&other, &value, NOW), Belongs::Unknown);
    }

    #[test]
    fn a_session_ends_when_it_was_idle_for_too_long_or_has_lasted_for_too_long() {
        let sticky = sticky("secret", LIMITED);
        let value = given(&sticky, 2);
        assert_eq!(place(read(&sticky, &value, at(600))), Some(2));
        assert_eq!(read(&sticky, &value, at(601)), Belongs::Idle);
        assert_eq!(read(&sticky, &value, at(3_601)), Belongs::Old);
        assert_eq!(place(read(&sticky, &value, Seconds(NOW.0 - 5))), Some(2), "clocks differ");
        // With requests it is renewed, up to its end; not with each request.
        let (mut value, mut now, mut renewals) = (value, 0, 0);
        while let said @ Belongs::To(_) = read(&sticky, &value, at(now)) {
            let mut next = Vec::new();
            match sticky.write(2, said, at(now), &mut next) {
                Some(written) => {
                    assert_eq!(written, Written::Renewed);
                    (value, renewals) = (next, renewals + 1);
                }
                None => assert!(next.is_empty()),
            }
            now += 1;
        }
        assert_eq!((now, read(&sticky, &value, at(now))), (3_601, Belongs::Old));
        assert_eq!(renewals, 360);
        // Elsewhere it is a new session.
        let mut next = Vec::new();
        let said = read(&sticky, &given(&sticky, 2), at(300));
        assert_eq!(sticky.write(0, said, at(300), &mut next), Some(Written::New));
        assert_eq!(place(read(&sticky, &next, at(900))), Some(0));
    }

    #[test]
    fn the_first_value_that_counts_is_taken_of_a_few() {
        let sticky = sticky("secret", LIMITED);
        let (one, two) = (given(&sticky, 0), given(&sticky, 1));
        let said = |values: &[&[u8]], now| sticky.read(values.iter().copied(), now);
        assert_eq!(said(&[], NOW), Belongs::Nowhere);
        assert_eq!(said(&[b"", b"x"], NOW), Belongs::Unknown);
        assert_eq!(place(said(&[b"x", &two, &one], NOW)), Some(1));
        assert_eq!(said(&[&one, b"x"], at(601)), Belongs::Idle);
        assert_eq!(said(&[b"a", b"b", b"c", b"d", &one], NOW), Belongs::Unknown);
    }

    proptest! {
        #[test]
        fn what_was_not_given_counts_for_nothing(
            which in 0..3_usize,
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
            cut in any::<prop::sample::Index>(),
            dated in any::<bool>(),
        ) {
            let sticky = sticky("secret", if dated { LIMITED } else { StickyLimits::default() });
            let value = given(&sticky, which);
            let mut changed = value.clone();
            let at = at.index(value.len());
            changed[at] = to;
            if changed != value {
                prop_assert_eq!(read(&sticky, &changed, NOW), Belongs::Unknown);
            }
            prop_assert_eq!(read(&sticky, &value[..cut.index(value.len())], NOW), Belongs::Unknown);
            let longer = [&value[..], &[to]].concat();
            prop_assert_eq!(read(&sticky, &longer, NOW), Belongs::Unknown);
        }

        #[test]
        fn any_bytes_are_answered(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let sticky = sticky("secret", LIMITED);
            let said = sticky.read(values.iter().map(Vec::as_slice), NOW);
            prop_assert_eq!(said, if values.is_empty() { Belongs::Nowhere } else { Belongs::Unknown });
        }
    }
}
