//! PROXY headers: any bytes are answered, early answers stay, and what is understood means the same when it is written anew.

use proxy_protocol::{Decoded, HEADER_MAX, Header, Version, decode};

pub(crate) fn run(bytes: &[u8]) {
    let whole = decode(bytes);
    for end in (0..bytes.len()).take(600) {
        let early = decode(&bytes[..end]);
        assert!(early == Ok(None) || early == whole, "{early:?} of {end} bytes, then {whole:?}");
    }
    let Ok(decoded) = whole else { return };
    let Some(Decoded { header, len }) = decoded else {
        assert!(bytes.len() < HEADER_MAX, "what may be too long is refused");
        return;
    };
    assert!(len <= bytes.len() && len <= HEADER_MAX);
    for version in [Version::V1, Version::V2] {
        let mut written = Vec::new();
        header.encode(version, &mut written);
        let len = written.len();
        written.extend_from_slice(bytes);
        let again = decode(&written).expect("it was written here").expect("it is whole");
        assert_eq!((canonical(again.header), again.len), (canonical(header), len));
    }
}

/// IPv4 addresses are the same in IPv6.
fn canonical(header: Header) -> Header {
    match header {
        Header::Local => header,
        Header::Proxied { mut source, mut destination } => {
            source.set_ip(source.ip().to_canonical());
            destination.set_ip(destination.ip().to_canonical());
            Header::Proxied { source, destination }
        }
    }
}
