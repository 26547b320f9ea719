//! Packets as bytes: vectors that other implementations and tshark agree on, every way to be wrong, and no panic at all.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure message")]

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::packet::{
    Advert, ChecksumForm, DecodeError, Decoded, EncodeError, Endpoints, HmacKey, HmacKeys, KeyError,
    Presented, Protection, Sequence, Sequencer, encode, virtual_router_id,
};
use vrrp::{AdvertInterval, Priority, Version, VirtualRouterId};

const V2: &str = "210ac802000192edc0000201c00002020000000000000000";
const V3_PSEUDO_HEADER: &str = "310ac8020064defbc0000201c0000202";
const V3_MESSAGE_ONLY: &str = "310ac8020064828ac0000201c0000202";
const V3_IPV6: &str = "310a640200643f5dfe80000000000000000000000000000120010db8000000000000000000000001";
/// Key 00 to 1f with id 1, sequence 0x6800000080000000, source 198.51.100.10.
const V3_HMAC: &str = "3133c80100644402c00002640101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265";
/// The same key and sequence, fe80::10 to fe80::20.
const V3_IPV6_HMAC: &str = "3133c8010064a2e9fe8000000000000000000000000001000101000068000000800000\
                            00c8c56146ebfd66ee10ec4d8186461b78";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|index| u8::from_str_radix(&hex[index..index + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn endpoints(source: &str, destination: &str) -> Endpoints {
    Endpoints { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn ipv4() -> Endpoints {
    endpoints("192.0.2.251", "224.0.0.18")
}

fn ipv6() -> Endpoints {
    endpoints("fe80::c8", "ff02::12")
}

fn advert(version: Version, virtual_router_id: u8, priority: u8, addresses: &[&str]) -> Advert {
    Advert {
        version,
        virtual_router_id: VirtualRouterId::new(virtual_router_id).unwrap(),
        priority: Priority::from_wire(priority),
        interval: AdvertInterval::new(version, Duration::from_secs(1)).unwrap(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn keys() -> HmacKeys {
    HmacKeys::new(1, vec![(1, HmacKey::new((0..32).collect()).unwrap())]).unwrap()
}

const SEQUENCE: Sequence = Sequence::from_bits(0x6800_0000_8000_0000);

/// Encodes to the vector, and decodes back to the advert.
#[track_caller]
fn check(
    vector: &str,
    advert: &Advert,
    endpoints: Endpoints,
    form: ChecksumForm,
    protection: Protection<'_>,
) {
    let encoded = encode(advert, endpoints, form, protection).unwrap();
    assert_eq!(hex(&encoded), vector.replace(' ', ""));
    for padding in [0, 14] {
        let mut padded = encoded.clone();
        padded.resize(encoded.len() + padding, 0);
        let decoded = Decoded::read(&padded, endpoints).unwrap();
        assert_eq!(decoded.advert, *advert);
        assert_eq!(decoded.checksum, form);
        assert_eq!(virtual_router_id(&padded), Some(advert.virtual_router_id));
        match (decoded.presented, protection) {
            (Presented::None, Protection::None) => {}
            (Presented::Password(found), Protection::Password(sent)) => assert_eq!(found, sent),
            (Presented::Hmac(trailer), Protection::Hmac(keys, sequence)) => {
                assert_eq!((trailer.key_id(), trailer.sequence()), (1, sequence));
                let key = keys.get(1).unwrap();
                assert!(trailer.is_well_formed());
                assert!(trailer.is_signed_by(key, endpoints.source, decoded.message));
                let elsewhere = if endpoints.source.is_ipv4() { "192.0.2.1" } else { "fe80::1" };
                assert!(!trailer.is_signed_by(key, elsewhere.parse().unwrap(), decoded.message));
            }
            (presented, protection) => panic!("{presented:?} is not {protection:?}"),
        }
    }
}

#[test]
fn packets_are_those_that_others_send() {
    let addresses = ["192.0.2.1", "192.0.2.2"];
    let v2 = advert(Version::V2, 10, 200, &addresses);
    check(V2, &v2, ipv4(), ChecksumForm::MessageOnly, Protection::None);
    let v3 = advert(Version::V3, 10, 200, &addresses);
    check(V3_PSEUDO_HEADER, &v3, ipv4(), ChecksumForm::PseudoHeader, Protection::None);
    check(V3_MESSAGE_ONLY, &v3, ipv4(), ChecksumForm::MessageOnly, Protection::None);
    let v6 = advert(Version::V3, 10, 100, &["fe80::1", "2001:db8::1"]);
    check(V3_IPV6, &v6, ipv6(), ChecksumForm::PseudoHeader, Protection::None);
}

#[test]
fn trailers_are_those_that_keepalived_sends() {
    let keys = keys();
    let protection = Protection::Hmac(&keys, SEQUENCE);
    let v3 = advert(Version::V3, 51, 200, &["192.0.2.100"]);
    check(V3_HMAC, &v3, endpoints("198.51.100.10", "224.0.0.18"), ChecksumForm::MessageOnly, protection);
    let v6 = advert(Version::V3, 51, 200, &["fe80::100"]);
    check(V3_IPV6_HMAC, &v6, endpoints("fe80::10", "fe80::20"), ChecksumForm::PseudoHeader, protection);
}

#[test]
fn an_hmac_covers_everything_but_the_checksum() {
    let original = bytes(V3_HMAC);
    let endpoints = endpoints("198.51.100.10", "224.0.0.18");
    let keys = keys();
    for bit in 0..original.len() * 8 {
        let mut forged = original.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        // Mend the checksum, as a forger would. Without a known form there is nothing to verify.
        for _ in 0..2 {
            if let Err(DecodeError::Checksum { expected, .. }) = Decoded::read(&forged, endpoints) {
                forged[6..8].copy_from_slice(&expected.to_be_bytes());
            }
        }
        if let Ok(Decoded { presented: Presented::Hmac(trailer), message, .. }) =
            Decoded::read(&forged, endpoints)
        {
            let key = keys.get(trailer.key_id());
            let believed = trailer.is_well_formed()
                && key.is_some_and(|key| trailer.is_signed_by(key, endpoints.source, message));
            assert_eq!(believed, (48..64).contains(&bit), "bit {bit}");
        }
    }
}

#[test]
fn a_password_is_sent_and_read() {
    let v2 = advert(Version::V2, 10, 200, &["192.0.2.1", "192.0.2.2"]);
    let encoded =
        encode(&v2, ipv4(), ChecksumForm::default(), Protection::Password(*b"1234\0\0\0\0")).unwrap();
    assert_eq!(hex(&encoded), "210ac80201012d87c0000201c00002023132333400000000");
    let decoded = Decoded::read(&encoded, ipv4()).unwrap();
    assert_eq!(decoded.presented, Presented::Password(*b"1234\0\0\0\0"));
}

/// Sums up again, so that only the change that is meant is wrong.
fn mended(mut packet: Vec<u8>, endpoints: Endpoints) -> Vec<u8> {
    if let Err(DecodeError::Checksum { expected, .. }) = Decoded::read(&packet, endpoints) {
        packet[6..8].copy_from_slice(&expected.to_be_bytes());
    }
    packet
}

// RFC 9568 section 7.1: "It MUST verify that the received packet contains the complete VRRP packet"
// RFC 9568 section 5.2.6: "The Reserve field MUST be set to zero on transmission and ignored on reception."
// RFC 9568 section 5.2.2: "A packet with unknown type MUST be discarded."
// RFC 9568 section 7.1: "It MUST verify that the VRRP packet type is 1 (ADVERTISEMENT)."
// RFC 9568 section 7.1: "It MUST verify the VRRP checksum."
#[test]
fn every_check_has_its_error() {
    let changed = |vector: &str, index: usize, value: u8| {
        let mut packet = bytes(vector);
        packet[index] = value;
        Decoded::read(&mended(packet, ipv4()), ipv4()).map(|decoded| decoded.advert)
    };
    let label = |vector, index, value| changed(vector, index, value).unwrap_err().label();
    assert_eq!(changed(V3_PSEUDO_HEADER, 0, 0x41), Err(DecodeError::Version(4)));
    assert_eq!(changed(V3_PSEUDO_HEADER, 0, 0x32), Err(DecodeError::Type(2)));
    assert_eq!(changed(V3_PSEUDO_HEADER, 1, 0), Err(DecodeError::VirtualRouterId));
    assert_eq!(changed(V3_PSEUDO_HEADER, 3, 3), Err(DecodeError::Length { length: 16, needed: 20 }));
    assert_eq!(changed(V3_PSEUDO_HEADER, 3, 0), Err(DecodeError::Length { length: 16, needed: 12 }));
    assert_eq!(changed(V3_PSEUDO_HEADER, 5, 0), Err(DecodeError::Interval));
    assert_eq!(changed(V2, 5, 0), Err(DecodeError::Interval));
    assert_eq!(changed(V2, 4, 2), Err(DecodeError::AuthenticationType(2)));
    assert_eq!(changed(V2, 3, 3), Err(DecodeError::Length { length: 24, needed: 28 }));
    assert_eq!(label(V2, 0, 0x11), "version");
    assert_eq!(changed(V3_PSEUDO_HEADER, 4, 0xf0).unwrap().interval.centiseconds(), 100, "reserved bits");

    let mut damaged = bytes(V3_PSEUDO_HEADER);
    damaged[15] ^= 1;
    let error = Decoded::read(&damaged, ipv4()).unwrap_err();
    assert_eq!(error, DecodeError::Checksum { found: 0xdefb, expected: 0xdefa });
    assert_eq!(error.to_string(), "the checksum is 0xdefb, but should be 0xdefa");
    assert_eq!(Decoded::read(&bytes(V2), ipv6()), Err(DecodeError::Version(2)));
    assert_eq!(Decoded::read(&[0x31; 7], ipv4()), Err(DecodeError::Length { length: 7, needed: 8 }));
    for length in 0..16 {
        assert!(Decoded::read(&bytes(V3_PSEUDO_HEADER)[..length], ipv4()).is_err());
    }
}

// RFC 9568 section 5.2.9: "The address family of the addresses, IPv4 or IPv6 but not both, MUST be the same as the VRRP packet's IPvX header address family."
#[test]
fn what_a_version_cannot_carry_is_refused() {
    let encode = |advert: &Advert, endpoints, protection| {
        encode(advert, endpoints, ChecksumForm::default(), protection)
    };
    let v3 = |addresses: &[&str]| advert(Version::V3, 1, 100, addresses);
    let v2_over_ipv6 = advert(Version::V2, 1, 100, &["fe80::1"]);
    assert_eq!(encode(&v2_over_ipv6, ipv6(), Protection::None), Err(EncodeError::Version));
    assert_eq!(encode(&v3(&[]), ipv4(), Protection::None), Err(EncodeError::AddressCount(0)));
    let many = v3(&["192.0.2.1"; 256]);
    assert_eq!(encode(&many, ipv4(), Protection::None), Err(EncodeError::AddressCount(256)));
    let mixed: IpAddr = "fe80::1".parse().unwrap();
    let refused = encode(&v3(&["192.0.2.1", "fe80::1"]), ipv4(), Protection::None);
    assert_eq!(refused, Err(EncodeError::Family(mixed)));
    let refused = encode(&v3(&["192.0.2.1"]), ipv4(), Protection::Password([0; 8]));
    assert_eq!(refused, Err(EncodeError::Password));
}

#[test]
fn keys_are_long_and_their_ids_unique() {
    let key = |length| HmacKey::new(vec![7; length]);
    for length in [0, 31, 65] {
        assert_eq!(key(length), Err(KeyError::Length(length)));
    }
    let key = key(64).unwrap();
    assert_eq!(format!("{key:?}"), "HmacKey(..)", "secrets stay out of logs");
    let keys = |active, ids: &[u8]| HmacKeys::new(active, ids.iter().map(|id| (*id, key.clone())).collect());
    assert!(keys(2, &[1, 2]).is_ok());
    assert_eq!(keys(1, &[0, 1]), Err(KeyError::Id));
    assert_eq!(keys(1, &[1, 2, 1]), Err(KeyError::Duplicate(1)));
    assert_eq!(keys(3, &[1, 2]), Err(KeyError::Active(3)));
}

#[test]
fn sequences_grow_whatever_the_clock_does() {
    let window = Some(Duration::from_secs(5));
    let at = Duration::from_secs;
    let mut sequencer = Sequencer::default();
    let first = sequencer.next(at(1000), window);
    assert_eq!(first.bits(), 1000 << 32);
    let second = sequencer.next(at(1000), window);
    assert_eq!(second.bits(), first.bits() + 1, "the counter breaks ties");
    let third = sequencer.next(at(998), window);
    assert_eq!(third.bits(), second.bits() + 1, "a small step back is waited out");
    let fourth = sequencer.next(at(900), window);
    assert_eq!(fourth, Sequence::at(at(900)), "a large one is followed");
    assert_eq!(
        sequencer.next(at(800), None).bits(),
        fourth.bits() + 1,
        "without a window only growth counts"
    );
    assert_eq!(Sequence::at(Duration::from_millis(1500)).bits(), 0x1_8000_0000);

    let end = Sequence::from_bits(u64::MAX);
    assert!(
        Sequence::from_bits(0).is_after(end) && !end.is_after(Sequence::from_bits(0)),
        "a wrap is no event"
    );
    assert_eq!(end.seconds_apart(Sequence::from_bits(0)), 1);
}

#[test]
fn a_run_goes_on_behind_the_sequences_of_the_one_before() {
    let (window, margin) = (Some(Duration::from_secs(5)), Duration::from_secs(2));
    let at = Duration::from_secs;
    let kept = Sequence::at(at(1000));
    let first = |clock, window| Sequencer::resume(kept, margin, at(clock)).next(at(clock), window);
    for window in [None, window] {
        assert_eq!(first(1001, window), Sequence::at(at(1001)), "the clock goes on: no margin");
        let next = Sequence::from_bits(Sequence::at(at(1002)).bits() + 1);
        assert_eq!(first(1000, window), next, "what was sent after it was kept may be more");
        assert_eq!(first(998, window), next);
    }
    assert_eq!(first(900, None).bits(), Sequence::at(at(1002)).bits() + 1, "only growth counts");
    assert_eq!(first(900, window), Sequence::at(at(900)), "nobody with a window would believe anything else");
    let decades = 60 * 365 * 86400;
    let next = Sequencer::resume(kept.later(at(decades)), margin, at(1000)).next(at(1000), None);
    assert!(next.is_after(kept.later(at(decades))), "a clock that begins at the epoch, as without a battery");

    let mut sequencer = Sequencer::resume(kept, margin, at(1001));
    assert!(sequencer.next(at(10), None).is_after(kept), "the clock was set back before the first advert");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..96), v6: bool) {
        let endpoints = if v6 { ipv6() } else { ipv4() };
        let payload = mended(payload, endpoints);
        if let Ok(decoded) = Decoded::read(&payload, endpoints) {
            prop_assert_eq!(decoded.message.len() <= payload.len(), true);
        }
    }

    #[test]
    fn what_is_sent_is_what_is_read(
        router in 1..=255_u8, priority: u8, centiseconds in 1..4096_u16, octets in prop::collection::vec(any::<u128>(), 1..20),
        v6: bool, form in prop::sample::select(vec![ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly]), bits: u64, hmac: bool,
    ) {
        let (endpoints, form) = if v6 { (ipv6(), ChecksumForm::PseudoHeader) } else { (ipv4(), form) };
        let address = |bits: u128| -> IpAddr {
            if v6 { std::net::Ipv6Addr::from(bits).into() } else { std::net::Ipv4Addr::from((bits >> 96) as u32).into() }
        };
        let advert = Advert {
            version: Version::V3,
            virtual_router_id: VirtualRouterId::new(router).unwrap(),
            priority: Priority::from_wire(priority),
            interval: AdvertInterval::from_centiseconds(centiseconds).unwrap(),
            addresses: octets.into_iter().map(address).collect(),
        };
        let keys = keys();
        let protection =
            if hmac { Protection::Hmac(&keys, Sequence::from_bits(bits)) } else { Protection::None };
        let encoded = encode(&advert, endpoints, form, protection).unwrap();
        let decoded = Decoded::read(&encoded, endpoints).unwrap();
        prop_assert_eq!(decoded.advert, advert);
        match decoded.presented {
            Presented::Hmac(trailer) =>
                prop_assert!(hmac && trailer.is_signed_by(keys.get(1).unwrap(), endpoints.source, decoded.message)),
            _ => prop_assert!(!hmac),
        }
    }
}
