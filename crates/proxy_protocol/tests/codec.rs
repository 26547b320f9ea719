//! Headers as they are sent and taken: what is written is read, what others write is understood, and what is wrong is refused.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure message")]

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::prop_oneof;
use proptest::sample::select;
use proxy_protocol::{Decoded, Fault, HEADER_MAX, Header, Version, decode};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2, of these parts.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

fn value(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[kind], &len[..], bytes].concat()
}

const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xc3, 0x50, 1, 0xbb];

#[test]
fn lines_are_read_as_they_are_meant() {
    let v4 = || proxied("192.0.2.1:50000", "192.0.2.2:443");
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n", Ok(v4())),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", Ok(proxied("255.255.255.255:65535", "0.0.0.0:0"))),
        ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Ok(proxied("[2001:db8::1]:1", "[::1]:2"))),
        (
            "PROXY TCP6 FFFF:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::ffff:192.0.2.1 1 2\r\n",
            Ok(proxied("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1", "[::ffff:192.0.2.1]:2")),
        ),
        ("PROXY UNKNOWN\r\n", Ok(Header::Local)),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", Ok(Header::Local)),
        ("PROXY UNKNOWNS\r\n", Err(Fault::Line)),
        ("PROXY TCP4\r\n", Err(Fault::Line)),
        ("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", Err(Fault::Line)),
        ("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Err(Fault::Line)),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", Err(Fault::Line)),
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r.", Err(Fault::Line)),
        ("GET / HTTP/1.1\r\n", Err(Fault::Missing)),
        ("PROXI", Err(Fault::Missing)),
        ("\r\n\r\nGET", Err(Fault::Missing)),
    ] {
        let expected = expected.map(|header| Some(Decoded { header, len: line.len() }));
        assert_eq!(decode(line.as_bytes()), expected, "{line:?}");
        let more = [line.as_bytes(), b"\r\n\0more"].concat();
        assert_eq!(decode(&more), expected, "{line:?}, and more");
    }
    let longest = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16)).into_bytes();
    assert_eq!(decode(&longest(107)), Ok(Some(Decoded { header: Header::Local, len: 107 })));
    assert_eq!(decode(&longest(108)), Err(Fault::TooLong));
    assert_eq!(decode(&longest(108)[..107]), Err(Fault::TooLong), "whatever follows");
    assert_eq!(decode(&longest(108)[..106]), Ok(None));
}

#[test]
fn binary_headers_are_read_as_they_are_meant() {
    let with = |more: &[u8]| [V4, more].concat();
    let v4 = || Ok(proxied("192.0.2.1:50000", "192.0.2.2:443"));
    let v6: Vec<u8> = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 1]].concat();
    for (bytes, expected) in [
        (binary(0x21, 0x11, V4), v4()),
        (binary(0x21, 0x11, &with(&value(0x04, b"padding"))), v4()),
        (binary(0x21, 0x11, &with(&[value(0x20, &[1; 300]), value(0xee, b"")].concat())), v4()),
        (
            binary(0x21, 0x21, &[&v6[..], &v6, &[0, 1, 0, 2]].concat()),
            Ok(proxied("[2001:db8::1]:1", "[2001:db8::1]:2")),
        ),
        (binary(0x21, 0x31, &[0; 216]), Ok(Header::Local)),
        (binary(0x21, 0x00, b"whatever"), Ok(Header::Local)),
        (binary(0x20, 0x00, b""), Ok(Header::Local)),
        (binary(0x20, 0x11, &with(&value(3, b"none"))), Ok(Header::Local)),
        (binary(0x20, 0xff, b"ignored"), Ok(Header::Local)),
        (binary(0x22, 0x11, V4), Err(Fault::Command)),
        (binary(0x11, 0x11, V4), Err(Fault::Command)),
        (binary(0x21, 0x12, V4), Err(Fault::Family)),
        (binary(0x21, 0x10, V4), Err(Fault::Family)),
        (binary(0x21, 0x41, V4), Err(Fault::Family)),
        (binary(0x21, 0x11, &V4[..11]), Err(Fault::Length)),
        (binary(0x21, 0x21, V4), Err(Fault::Length)),
        (binary(0x21, 0x31, &[0; 215]), Err(Fault::Length)),
        (binary(0x21, 0x11, &with(&[4])), Err(Fault::Length)),
        (binary(0x21, 0x11, &with(&[4, 0, 2, 0])), Err(Fault::Length)),
        (binary(0x21, 0x11, &with(&value(3, &[0; 3]))), Err(Fault::Length)),
        (binary(0x21, 0x11, &with(&value(3, &[0; 4]))), Err(Fault::Checksum)),
        (binary(0x20, 0x00, &vec![0; HEADER_MAX - 16]), Ok(Header::Local)),
        (binary(0x20, 0x00, &vec![0; HEADER_MAX - 15]), Err(Fault::TooLong)),
    ] {
        let expected = expected.map(|header| Some(Decoded { header, len: bytes.len() }));
        assert_eq!(decode(&bytes), expected, "{:x?}", &bytes[12..bytes.len().min(60)]);
        assert_eq!(decode(&[&bytes[..], b"more"].concat()), expected);
    }
}

/// Bit by bit, unlike the table that it is compared with.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

#[test]
fn a_checksum_is_over_the_whole_header() {
    for (before, after) in [(vec![], vec![]), (value(4, b"pad"), value(5, b"id"))] {
        let rest = [V4, &before, &value(3, &[0; 4]), &after].concat();
        let mut bytes = binary(0x21, 0x11, &rest);
        let at = 16 + V4.len() + before.len() + 3;
        let checksum = crc32c(&bytes);
        bytes[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
        assert!(decode(&bytes).is_ok(), "{bytes:x?}");
        // But for the word that there is one.
        for wrong in (16..16 + V4.len()).chain(at..bytes.len()) {
            bytes[wrong] ^= 1;
            assert!(decode(&bytes).is_err(), "changed at {wrong}");
            bytes[wrong] ^= 1;
        }
    }
}

#[test]
fn addresses_are_written_in_one_family() {
    let line = |source: &str, destination: &str| {
        let mut bytes = Vec::new();
        proxied(source, destination).encode(Version::V1, &mut bytes);
        String::from_utf8(bytes).unwrap()
    };
    for (source, destination, expected) in [
        ("192.0.2.1:1", "192.0.2.2:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.2:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("[2001:db8::1]:1", "192.0.2.2:2", "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1 2\r\n"),
        ("[fe80::1%3]:1", "[fe80::2%3]:2", "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"),
    ] {
        assert_eq!(line(source, destination), expected);
    }
}

fn address(ip: impl Strategy<Value = IpAddr>) -> impl Strategy<Value = SocketAddr> {
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn headers() -> impl Strategy<Value = Header> {
    let v4 = || address(any::<[u8; 4]>().prop_map(IpAddr::from));
    let v6 = || {
        let ip = any::<[u8; 16]>().prop_map(IpAddr::from);
        address(ip.prop_filter("it is no IPv4 address", |ip| ip.to_canonical() == *ip))
    };
    let pairs = prop_oneof![(v4(), v4()), (v6(), v6())];
    let proxied = pairs.prop_map(|(source, destination)| Header::Proxied { source, destination });
    prop_oneof![1 => Just(Header::Local), 9 => proxied]
}

/// Bytes that are nearly a header.
fn near_headers() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&'static [u8]> = vec![
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"192.0.2.1",
        b"::1",
        b" ",
        b"\r\n",
        b"\r",
        b"0",
        b"65535",
        SIGNATURE,
        b"\x20",
        b"\x21",
        b"\x11",
        b"\x31",
        b"\0\x0c",
        b"\0\0",
        b"\0\x13",
        V4,
        b"\x03\0\x04",
        b"\x04",
    ];
    prop_oneof![
        vec(select(tokens), 0..12).prop_map(|tokens| tokens.concat()),
        (headers(), any::<bool>(), any::<proptest::sample::Index>(), any::<u8>()).prop_map(
            |(header, binary, at, byte)| {
                let mut bytes = Vec::new();
                header.encode(if binary { Version::V2 } else { Version::V1 }, &mut bytes);
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            }
        ),
        vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in headers(), version in select(vec![Version::V1, Version::V2]), more in vec(any::<u8>(), 0..20)) {
        let mut bytes = Vec::new();
        header.encode(version, &mut bytes);
        let len = bytes.len();
        bytes.extend(more);
        prop_assert_eq!(decode(&bytes), Ok(Some(Decoded { header, len })));
        for end in 0..len {
            prop_assert_eq!(decode(&bytes[..end]), Ok(None), "cut at {}", end);
        }
    }

    #[test]
    fn an_answer_does_not_change_with_what_follows(bytes in near_headers()) {
        let whole = decode(&bytes);
        for end in 0..bytes.len() {
            let early = decode(&bytes[..end]);
            prop_assert!(early == Ok(None) || early == whole, "{:?} of {} bytes, then {:?}", early, end, whole);
        }
        if let Ok(Some(Decoded { len, .. })) = whole {
            prop_assert!(len <= bytes.len() && decode(&bytes[..len]) == whole);
            prop_assert_eq!(decode(&bytes[..len - 1]), Ok(None));
        }
    }
}
