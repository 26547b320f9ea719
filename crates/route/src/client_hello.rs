//! The server name that a TLS client asks for, read from its ClientHello without taking part in the handshake.
//!
//! A ClientHello (RFC 8446 section 4.1.2) is the first message of a handshake, in one TLS record or several. Its name is in an
//! extension (RFC 6066 section 3).

/// The most bytes, record headers included, that a ClientHello may have to be looked into. Real ones have some hundreds, and up to
/// about 2,000 with keys of post-quantum cryptography.
pub const CLIENT_HELLO_MAX: usize = 16 * 1024;

const NAME_MAX: usize = 255;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: usize = 0;
const HOST_NAME: u8 = 0;
/// The largest record (RFC 8446 section 5.1).
const RECORD_MAX: usize = 1 << 14;

/// What the first bytes of a client tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it stands on the stack for a moment; a box would be an allocation"
)]
pub enum ClientHello {
    /// More has to come: there is nothing new to be seen before there are so many bytes in all.
    More(usize),
    /// It asks for this server.
    Name(ServerName),
    /// It names no server, or these are no bytes of TLS, or more than [`CLIENT_HELLO_MAX`].
    Nameless,
}

/// A server's name, of letters, digits, `-`, `_` and dots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServerName {
    len: usize,
    bytes: [u8; NAME_MAX],
}

impl ServerName {
    /// The name as it was sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::fmt::Debug for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl ClientHello {
    /// Looks at all that a client has sent so far. The same bytes with others behind them tell the same, or more.
    pub fn read(received: &[u8]) -> Self {
        let mut message = Message { received, at: 0, left: 0 };
        match message.server_name() {
            Ok(Some(name)) => Self::Name(name),
            Ok(None) | Err(Stop::Other) => Self::Nameless,
            Err(Stop::More(needed)) if needed > CLIENT_HELLO_MAX => Self::Nameless,
            Err(Stop::More(needed)) => {
                debug_assert!(needed > received.len());
                Self::More(needed)
            }
        }
    }
}

/// Why there is no name yet.
enum Stop {
    /// So many bytes are needed in all.
    More(usize),
    /// It is none that has one.
    Other,
}

/// The handshake's bytes, whatever records they came in.
struct Message<'a> {
    received: &'a [u8],
    at: usize,
    /// What is left of the record.
    left: usize,
}

impl Message<'_> {
    fn server_name(&mut self) -> Result<Option<ServerName>, Stop> {
        if self.byte()? != CLIENT_HELLO {
            return Err(Stop::Other);
        }
        let mut left = self.number(3)?;
        // Version and random.
        self.skip(&mut left, 2 + 32)?;
        for width in [1, 2, 1] {
            // Session, cipher suites, compression methods.
            let len = self.length(&mut left, width)?;
            self.skip(&mut left, len)?;
        }
        if left == 0 {
            return Ok(None);
        }
        let mut extensions = self.length(&mut left, 2)?;
        while extensions > 0 {
            let kind = self.length(&mut extensions, 2)?;
            let mut len = self.length(&mut extensions, 2)?;
            extensions = extensions.checked_sub(len).ok_or(Stop::Other)?;
            if kind == SERVER_NAME {
                return self.host_name(&mut len);
            }
            let all = len;
            self.skip(&mut len, all)?;
        }
        Ok(None)
    }

    fn host_name(&mut self, left: &mut usize) -> Result<Option<ServerName>, Stop> {
        let mut names = self.length(left, 2)?;
        if names > *left {
            return Err(Stop::Other);
        }
        while names > 0 {
            let kind = self.length(&mut names, 1)?;
            let len = self.length(&mut names, 2)?;
            if kind != usize::from(HOST_NAME) {
                self.skip(&mut names, len)?;
                continue;
            }
            let mut name = ServerName { len, bytes: [0; NAME_MAX] };
            if len == 0 || len > names {
                return Err(Stop::Other);
            }
            for byte in name.bytes.get_mut(..len).ok_or(Stop::Other)? {
                *byte = self.byte()?;
                if !byte.is_ascii_alphanumeric() && !matches!(*byte, b'-' | b'_' | b'.') {
                    return Err(Stop::Other);
                }
            }
            return Ok(Some(name));
        }
        Ok(None)
    }

    /// A number of that many bytes, out of a part of which `left` are left.
    fn length(&mut self, left: &mut usize, width: usize) -> Result<usize, Stop> {
        *left = left.checked_sub(width).ok_or(Stop::Other)?;
        self.number(width)
    }

    fn number(&mut self, width: usize) -> Result<usize, Stop> {
        let mut number = 0;
        for _ in 0..width {
            number = number << 8 | usize::from(self.byte()?);
        }
        Ok(number)
    }

    fn skip(&mut self, left: &mut usize, len: usize) -> Result<(), Stop> {
        *left = left.checked_sub(len).ok_or(Stop::Other)?;
        let mut len = len;
        while len > 0 {
            self.record()?;
            let step = len.min(self.left);
            if step > self.received.len() - self.at {
                return Err(Stop::More(self.at + self.left));
            }
            self.at += step;
            self.left -= step;
            len -= step;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.record()?;
        let byte = *self.received.get(self.at).ok_or(Stop::More(self.at + self.left))?;
        self.at += 1;
        self.left -= 1;
        Ok(byte)
    }

    /// Begins the next record where one has ended.
    fn record(&mut self) -> Result<(), Stop> {
        if self.left > 0 {
            return Ok(());
        }
        let rest = &self.received[self.at..];
        // Whatever is no TLS shows as soon as it can: it is not waited for.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE) || rest.get(1).is_some_and(|major| *major != 3)
        {
            return Err(Stop::Other);
        }
        let [_, _, _, high, low, ..] = rest else { return Err(Stop::More(self.at + 5)) };
        self.left = usize::from(*high) << 8 | usize::from(*low);
        self.at += 5;
        if self.left == 0 || self.left > RECORD_MAX { Err(Stop::Other) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// The handshake message of a client that asks for a name, with other extensions around it.
    fn message(name: Option<&[u8]>) -> Vec<u8> {
        let part = |width: usize, bytes: &[u8]| {
            [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[4 - width..], bytes].concat()
        };
        let mut extensions = [&[0, 43][..], &part(2, &[2, 3, 4])].concat();
        if let Some(name) = name {
            let names = [&[HOST_NAME][..], &part(2, name)].concat();
            extensions.extend([&[0, 0][..], &part(2, &part(2, &names))].concat());
        }
        extensions.extend([&[0, 16][..], &part(2, b"\x00\x03\x02h2")].concat());
        let hello = [
            &[3, 3][..],
            &[7; 32],
            &part(1, &[9; 32]),
            &part(2, &[19, 1]),
            &part(1, &[0]),
            &part(2, &extensions),
        ];
        [&[CLIENT_HELLO][..], &part(3, &hello.concat())].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let len = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[HANDSHAKE, 3, 1][..], &len, part].concat()
        };
        message.chunks(size).flat_map(record).collect()
    }

    fn name(hello: ClientHello) -> Option<String> {
        match hello {
            ClientHello::Name(name) => Some(String::from_utf8(name.as_bytes().to_vec()).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn the_name_is_found_however_the_message_is_cut() {
        let message = message(Some(b"db.example.org"));
        for size in [1, 2, 3, 7, 100, 1000] {
            let bytes = records(&message, size);
            let mut needed = 0;
            for len in 0..=bytes.len() {
                match ClientHello::read(&bytes[..len]) {
                    ClientHello::More(more) => {
                        assert!(more > len && more <= bytes.len(), "{len}: {more}");
                        assert!(more >= needed, "less is never needed than before");
                        needed = more;
                    }
                    other => assert_eq!(name(other).as_deref(), Some("db.example.org"), "{size} {len}"),
                }
            }
            assert_ne!(needed, 0);
        }
        assert_eq!(ClientHello::read(&records(&self::message(None), 1000)), ClientHello::Nameless);
    }

    #[test]
    fn what_is_no_client_hello_is_not_waited_for() {
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n",
            b"\x16\x02",
            b"\x15\x03\x01",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x40\x01",
            b"\x16\x03\x01\x00\x05\x02",
        ] {
            assert_eq!(ClientHello::read(bytes), ClientHello::Nameless, "{bytes:?}");
        }
        let wrong: [&[u8]; 4] = [b"", b"a b", b"\xc3\xa4", &[b'a'; 256]];
        for name in wrong {
            assert_eq!(ClientHello::read(&records(&message(Some(name)), 1000)), ClientHello::Nameless);
        }
        // One that says that it is longer than what is looked at.
        let long = records(
            &[&[CLIENT_HELLO, 0, 0xff, 0xff, 3, 3][..], &[0; 32], &[0, 0xff, 0xff], &[0; 16000]].concat(),
            1000,
        );
        assert!(long.len() > 16000);
        assert_eq!(ClientHello::read(&[long, vec![HANDSHAKE, 3, 1, 16, 0]].concat()), ClientHello::Nameless);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..200), at in 0..300_usize, size in 1..50_usize) {
            let mut damaged = records(&message(Some(b"a.example")), size);
            let at = at.min(damaged.len());
            damaged.splice(at..(at + bytes.len() / 4).min(damaged.len()), bytes.iter().take(4).copied());
            for bytes in [bytes, damaged] {
                let whole = ClientHello::read(&bytes);
                for len in 0..bytes.len() {
                    match ClientHello::read(&bytes[..len]) {
                        ClientHello::More(needed) => prop_assert!(needed > len),
                        decided => prop_assert_eq!(decided, whole),
                    }
                }
            }
        }
    }
}
