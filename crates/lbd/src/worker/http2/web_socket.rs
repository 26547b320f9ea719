//! The handshake of a WebSocket with a server, which a client of HTTP/2 does not have (RFC 8441 section 5).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64ct::{Base64, Encoding as _};

/// What a server adds to the key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What shows that a server knows the protocol, and has read the key.
#[derive(Debug)]
pub(super) struct Accept([u8; 28]);

/// The line with the key that is made of some random bits, and what a server makes of it.
pub(super) fn handshake(random: u128) -> (Vec<u8>, Accept) {
    let mut key = [0; 24];
    let _ = Base64::encode(&random.to_be_bytes(), &mut key);
    let mut accept = [0; 28];
    let _ = Base64::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&key, GUID].concat()).as_ref(), &mut accept);
    ([b"Sec-WebSocket-Key: ", &key[..], b"\r\n"].concat(), Accept(accept))
}

impl Accept {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6455 section 1.3
    #[test]
    fn the_example_of_the_rfc() {
        let (line, accept) = handshake(u128::from_be_bytes(*b"the sample nonce"));
        assert_eq!(line, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
        assert_eq!(accept.as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
