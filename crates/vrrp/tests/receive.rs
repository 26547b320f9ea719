//! Which adverts are believed: each check alone, and what an attacker on the network can do.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure message")]

use std::net::IpAddr;
use std::time::Duration;

use vrrp::packet::{
    Advert, ChecksumForm, Endpoints, HmacKey, HmacKeys, Protection, Sequence, Sequencer, TTL, encode,
};
use vrrp::{
    AddressMismatch, AdvertInterval, Authentication, Datagram, Doubt, Expectations, HmacMode, Priority,
    ReceiveError, Received, Receiver, ReplayGuard, Senders, Signed, Version, VirtualRouterId,
};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const WINDOW: Option<Duration> = Some(Duration::from_secs(5));

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn endpoints() -> Endpoints {
    Endpoints { source: address("192.0.2.251"), destination: address("224.0.0.18") }
}

fn advert(version: Version) -> Advert {
    Advert {
        version,
        virtual_router_id: VirtualRouterId::new(51).unwrap(),
        priority: Priority::DEFAULT,
        interval: AdvertInterval::from_seconds(1).unwrap(),
        addresses: vec![address("192.0.2.1"), address("192.0.2.2")],
    }
}

fn expectations(version: Version) -> Expectations {
    let Advert { virtual_router_id, interval, mut addresses, .. } = advert(version);
    addresses.reverse();
    Expectations {
        version,
        virtual_router_id,
        own_address: address("192.0.2.250"),
        interval,
        addresses,
        address_mismatch: AddressMismatch::Warn,
        senders: Senders::Link,
        authentication: Authentication::None,
    }
}

fn keys(active: u8) -> HmacKeys {
    let key = |id: u8| (id, HmacKey::new(vec![id; 32]).unwrap());
    HmacKeys::new(active, vec![key(1), key(active)].into_iter().skip(usize::from(active == 1)).collect())
        .unwrap()
}

/// Sends an advert in the default form and receives it.
fn receive(
    receiver: &mut Receiver,
    advert: &Advert,
    protection: Protection<'_>,
    ttl: u8,
) -> Result<Received, ReceiveError> {
    let payload = encode(advert, endpoints(), ChecksumForm::default(), protection).unwrap();
    receiver.receive(Datagram { endpoints: endpoints(), ttl, payload: &payload }, NOW)
}

#[test]
fn a_good_advert_is_believed_in_both_forms_of_checksum() {
    for form in [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly] {
        let payload = encode(&advert(Version::V3), endpoints(), form, Protection::None).unwrap();
        let received = Receiver::new(expectations(Version::V3))
            .receive(Datagram { endpoints: endpoints(), ttl: TTL, payload: &payload }, NOW)
            .unwrap();
        assert_eq!(received.checksum, form);
        assert_eq!(received.source, endpoints().source);
        assert_eq!(received.advert, advert(Version::V3));
        assert!(!received.addresses_differ, "their order is no difference");
    }
}

// RFC 9568 section 7.1: "It MUST verify that the VRID is configured on the receiving interface"
#[test]
fn nothing_is_wrong_with_another_virtual_router() {
    let mut expected = expectations(Version::V3);
    expected.virtual_router_id = VirtualRouterId::new(52).unwrap();
    let mut payload =
        encode(&advert(Version::V2), endpoints(), ChecksumForm::default(), Protection::None).unwrap();
    payload[6] ^= 1;
    payload.pop();
    for own_address in [expected.own_address, endpoints().source] {
        let mut receiver = Receiver::new(Expectations { own_address, ..expected.clone() });
        let datagram = Datagram { endpoints: endpoints(), ttl: 1, payload: &payload };
        let other = VirtualRouterId::new(51).unwrap();
        assert_eq!(receiver.receive(datagram, NOW), Err(ReceiveError::VirtualRouterId(other)));
    }
}

// RFC 9568 section 7.1: "It MUST verify that the VRRP version is 3."
// RFC 9568 section 5.1.2.3: "A VRRP Router receiving a packet with the Hop Limit not equal to 255 MUST discard the packet"
// RFC 9568 section 7.1: "If any one of the above checks fails, the receiver MUST discard the packet"
// RFC 9568 section 5.1.1.3: "A VRRP Router receiving a packet with the TTL not equal to 255 MUST discard the packet"
#[test]
fn every_check_has_its_error() {
    let check = |change: fn(&mut Expectations), version: Version, ttl: u8| {
        let mut expectations = expectations(version);
        change(&mut expectations);
        receive(&mut Receiver::new(expectations), &advert(version), Protection::None, ttl)
            .map_err(|error| (error.label(), error.to_string()))
            .unwrap_err()
    };
    for (change, version, ttl, label, text) in [
        (
            (|_| {}) as fn(&mut Expectations),
            Version::V3,
            254,
            "ttl",
            "TTL 254, but 255 or more is asked for: the advert was routed, or is forged",
        ),
        (
            |expected| expected.own_address = endpoints().source,
            Version::V3,
            TTL,
            "own",
            "this router's own advert came back",
        ),
        (
            |expected| {
                expected.senders = Senders::Peers { addresses: vec![address("192.0.2.9")], min_ttl: 0 };
            },
            Version::V3,
            TTL,
            "source",
            "192.0.2.251 is not a configured peer",
        ),
        (
            |expected| {
                expected.senders = Senders::Peers { addresses: vec![endpoints().source], min_ttl: 200 }
            },
            Version::V3,
            199,
            "ttl",
            "TTL 199, but 200 or more is asked for: the advert was routed, or is forged",
        ),
        (
            |expected| expected.virtual_router_id = VirtualRouterId::new(52).unwrap(),
            Version::V3,
            TTL,
            "virtual_router_id_mismatch",
            "virtual router 51 is not this one",
        ),
        (
            |expected| expected.version = Version::V3,
            Version::V2,
            TTL,
            "version_mismatch",
            "version 2, but this router speaks 3: configure the same on all routers",
        ),
        (
            |expected| expected.interval = AdvertInterval::from_seconds(3).unwrap(),
            Version::V2,
            TTL,
            "interval_mismatch",
            "advert interval 1 s, but 3 s is configured: VRRPv2 needs the same on all routers",
        ),
        (
            |expected| {
                expected.addresses.pop();
                expected.address_mismatch = AddressMismatch::Discard;
            },
            Version::V3,
            TTL,
            "addresses",
            "the advert lists other virtual addresses than configured",
        ),
        (
            |expected| expected.authentication = Authentication::Password(*b"1234\0\0\0\0"),
            Version::V2,
            TTL,
            "authentication_mismatch",
            "authentication by none, but password is configured: configure the same on all routers",
        ),
    ] {
        assert_eq!(check(change, version, ttl), (label, text.to_owned()));
    }
}

#[test]
fn another_interval_or_list_is_no_error_where_it_does_no_harm() {
    let mut expectations = expectations(Version::V3);
    expectations.interval = AdvertInterval::from_seconds(3).unwrap();
    expectations.addresses.pop();
    let received =
        receive(&mut Receiver::new(expectations), &advert(Version::V3), Protection::None, TTL).unwrap();
    assert!(received.addresses_differ);
    assert_eq!(received.advert.interval.duration(), Duration::from_secs(1), "the master's counts");
}

#[test]
fn a_password_has_to_be_the_same() {
    let mut expectations = expectations(Version::V2);
    expectations.authentication = Authentication::Password(*b"1234\0\0\0\0");
    let mut receiver = Receiver::new(expectations);
    let mut send = |password| {
        receive(&mut receiver, &advert(Version::V2), Protection::Password(password), TTL).map(drop)
    };
    assert_eq!(send(*b"1234\0\0\0\0"), Ok(()));
    assert_eq!(send(*b"1235\0\0\0\0"), Err(ReceiveError::Password));
}

#[test]
fn a_trailer_where_none_is_configured_is_a_mismatch_not_padding() {
    for version in [Version::V2, Version::V3] {
        let mut receiver = Receiver::new(expectations(version));
        let protection = Protection::Hmac(&keys(1), Sequence::at(NOW));
        let error = receive(&mut receiver, &advert(version), protection, TTL).unwrap_err();
        assert_eq!(error, ReceiveError::AuthenticationType { found: "hmac", expected: "none" });
    }
}

#[test]
fn only_fresh_adverts_of_key_holders_are_believed() {
    for version in [Version::V2, Version::V3] {
        let mut expectations = expectations(version);
        expectations.authentication =
            Authentication::Hmac { keys: keys(1), window: WINDOW, mode: HmacMode::Require };
        let mut receiver = Receiver::new(expectations);
        let mut send = |keys: &HmacKeys, sequence| {
            receive(&mut receiver, &advert(version), Protection::Hmac(keys, sequence), TTL)
                .map(|received| received.signed.and_then(|signed| signed.doubt))
        };
        let mut sequencer = Sequencer::default();
        let first = sequencer.next(NOW, WINDOW);
        assert_eq!(send(&keys(1), first), Ok(None));
        assert_eq!(send(&keys(1), first), Ok(Some(Doubt::Sequence)), "a replay is doubtful");
        assert_eq!(send(&keys(1), sequencer.next(NOW, WINDOW)), Ok(None));
        assert_eq!(send(&keys(2), sequencer.next(NOW, WINDOW)), Err(ReceiveError::HmacKey(2)));
        let forger = HmacKeys::new(1, vec![(1, HmacKey::new(vec![9; 32]).unwrap())]).unwrap();
        let future = Sequence::at(NOW + Duration::from_secs(4));
        assert_eq!(send(&forger, future), Err(ReceiveError::Hmac));
        assert_eq!(send(&keys(1), sequencer.next(NOW, WINDOW)), Ok(None), "a forgery moves no mark");
    }
}

#[test]
fn keys_are_introduced_in_three_steps() {
    let keys = keys(1);
    let unsigned = Protection::None;
    let mismatch = |found, expected| Err(ReceiveError::AuthenticationType { found, expected });
    for (mode, without) in [
        (HmacMode::ReceiveOnly, Ok(())),
        (HmacMode::Send, Ok(())),
        (HmacMode::Require, mismatch("none", "hmac")),
    ] {
        let mut expectations = expectations(Version::V3);
        expectations.authentication = Authentication::Hmac { keys: keys.clone(), window: WINDOW, mode };
        let mut receiver = Receiver::new(expectations);
        let mut send = |protection| receive(&mut receiver, &advert(Version::V3), protection, TTL).map(drop);
        assert_eq!(send(Protection::Hmac(&keys, Sequence::at(NOW))), Ok(()), "{mode:?}");
        assert_eq!(send(unsigned), without, "{mode:?}");
        let forger = HmacKeys::new(1, vec![(1, HmacKey::new(vec![9; 32]).unwrap())]).unwrap();
        let forged = send(Protection::Hmac(&forger, Sequence::at(NOW)));
        assert_eq!(forged, Err(ReceiveError::Hmac), "{mode:?}");
    }
}

#[test]
fn a_trailer_of_another_scheme_is_refused() {
    let mut expectations = expectations(Version::V3);
    expectations.authentication =
        Authentication::Hmac { keys: keys(1), window: None, mode: HmacMode::Require };
    let protection = Protection::Hmac(&keys(1), Sequence::at(NOW));
    let mut payload = encode(&advert(Version::V3), endpoints(), ChecksumForm::default(), protection).unwrap();
    payload[16] = 2;
    let datagram = Datagram { endpoints: endpoints(), ttl: TTL, payload: &payload };
    assert_eq!(Receiver::new(expectations).receive(datagram, NOW), Err(ReceiveError::HmacForm));
}

#[test]
fn another_clock_makes_an_advert_doubtful() {
    for apart in [-3_600_000_i64, -6_000, 6_000, 3_600_000] {
        let mut expectations = expectations(Version::V3);
        expectations.authentication =
            Authentication::Hmac { keys: keys(1), window: WINDOW, mode: HmacMode::Require };
        let mut receiver = Receiver::new(expectations);
        let sequence = Sequence::at(Duration::from_millis(
            u64::try_from(NOW.as_millis()).unwrap().saturating_add_signed(apart),
        ));
        let received =
            receive(&mut receiver, &advert(Version::V3), Protection::Hmac(&keys(1), sequence), TTL).unwrap();
        assert_eq!(received.signed, Some(Signed { clock_ahead_ms: apart, doubt: Some(Doubt::Window) }));
    }
}

#[test]
fn a_clock_that_was_set_back_is_believed_once_vouched_for() {
    for window in [None, WINDOW] {
        let mut guard = ReplayGuard::default();
        let sender = address("192.0.2.9");
        let at = |seconds: u64| Sequence::at(NOW + Duration::from_secs(seconds));
        let mut accepts = |seconds| guard.accept(sender, at(seconds), at(seconds), window);
        assert!(accepts(4));
        assert!(!accepts(4), "the same again");
        assert!(!accepts(1));
        assert!(!accepts(2));
        guard.vouch(sender);
        let mut accepts = |seconds| guard.accept(sender, at(seconds), at(seconds), window);
        assert!(!accepts(2));
        assert!(accepts(3));
        assert!(!accepts(3));
        // Without doubt there is nothing to vouch for.
        assert!(accepts(5));
        guard.vouch(sender);
        assert!(!guard.accept(sender, at(5), at(5), window));
    }
}

#[test]
fn the_memory_of_senders_is_bounded() {
    let mut guard = ReplayGuard::default();
    let clock = Sequence::at(NOW);
    for sender in 0..=255 {
        assert!(guard.accept(IpAddr::from([192, 0, 2, sender]), clock, clock, None));
        assert!(!guard.accept(IpAddr::from([192, 0, 2, sender]), clock, clock, None));
    }
    assert!(guard.accept(IpAddr::from([192, 0, 2, 0]), clock, clock, None), "the oldest made room");
}

#[test]
fn what_a_run_has_accepted_is_no_news_to_the_next() {
    let mut guard = ReplayGuard::default();
    let at = |seconds: u64| Sequence::at(NOW + Duration::from_secs(seconds));
    let [first, second] = ["192.0.2.9", "192.0.2.1"].map(address);
    assert!(guard.accept(first, at(3), at(3), None));
    assert!(guard.accept(second, at(5), at(5), None));
    assert!(!guard.accept(first, at(2), at(2), None), "doubtful, and no mark");
    let marks: Vec<_> = guard.marks().collect();
    assert_eq!(marks, [(second, at(5)), (first, at(3))], "the latest heard last");

    let mut next = ReplayGuard::default();
    next.recall(marks);
    assert!(!next.accept(first, at(3), at(3), None));
    assert!(!next.accept(second, at(5), at(5), None));
    assert!(next.accept(first, at(4), at(4), None));
    next.recall((0..=255).map(|last| (IpAddr::from([192, 0, 3, last]), at(0))));
    assert_eq!(next.marks().count(), 16, "bounded like all that is heard");
}

#[test]
fn clocks_are_compared_across_the_wrap_of_the_seconds() {
    let last = Sequence::from_bits(u64::from(u32::MAX) << 32);
    let next = Sequence::from_bits(1 << 31);
    assert_eq!(next.milliseconds_ahead_of(last), 1500);
    assert_eq!(last.milliseconds_ahead_of(next), -1500);
    assert_eq!(last.milliseconds_ahead_of(last), 0);
}
