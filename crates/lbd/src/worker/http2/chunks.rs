//! Taking the chunks off a body that lbd itself has written, or has passed on after a look at every byte of its framing.

/// What has come of a chunked body (RFC 9112 section 7.1).
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// The trailer section so far, with its line ends. What checked the body bounds it.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a size, which is this so far.
    Size(u64),
    /// In a chunk, which has so many bytes to go.
    Data(u64),
    /// In the line end behind it.
    DataEnd,
    /// In the trailer section, at the beginning of a line or not.
    Trailers { fresh: bool },
    /// Behind it.
    End,
}

impl Default for At {
    fn default() -> Self {
        Self::Size(0)
    }
}

/// This is no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotChunked;

impl Chunks {
    /// Takes what there is of the body, and puts its content behind `content`, so many bytes at most. How many bytes that were.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        room: usize,
        content: &mut Vec<u8>,
    ) -> Result<usize, NotChunked> {
        let mut left = room;
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let mut taken = 1;
            self.at = match (self.at, byte) {
                (At::Size(0), b'\n') => At::Trailers { fresh: true },
                (At::Size(size), b'\n') => At::Data(size),
                (At::Size(size), b'\r') => At::Size(size),
                (At::Size(size), _) => {
                    let digit = char::from(byte).to_digit(16).ok_or(NotChunked)?;
                    At::Size(size.checked_mul(16).ok_or(NotChunked)? + u64::from(digit))
                }
                (At::Data(size), _) => {
                    let most = rest.len().min(left);
                    taken = usize::try_from(size).map_or(most, |size| size.min(most));
                    if taken == 0 {
                        break;
                    }
                    content.extend_from_slice(&rest[..taken]);
                    left -= taken;
                    let size = size - taken as u64;
                    if size > 0 { At::Data(size) } else { At::DataEnd }
                }
                (At::DataEnd, b'\r') => At::DataEnd,
                (At::DataEnd, b'\n') => At::Size(0),
                (At::Trailers { fresh: true }, b'\r') => At::Trailers { fresh: true },
                (At::Trailers { fresh: true }, b'\n') => At::End,
                (At::Trailers { .. }, _) => {
                    self.trailers.push(byte);
                    At::Trailers { fresh: byte == b'\n' }
                }
                (At::DataEnd | At::End, _) => return Err(NotChunked),
            };
            rest = &rest[taken..];
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether all of it is there.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::End
    }

    /// The trailer section, with its line ends.
    pub(super) fn trailers(&self) -> &[u8] {
        &self.trailers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nA: b\r\nC: d\r\n\r\n";

    #[test]
    fn pieces_of_any_size_come_to_the_same() {
        for piece in 1..=BODY.len() {
            for room in [1, 3, 1000] {
                let (mut chunks, mut content) = (Chunks::default(), Vec::new());
                let mut at = 0;
                while at < BODY.len() {
                    let end = BODY.len().min(at + piece);
                    at += chunks.take(&BODY[at..end], room, &mut content).unwrap();
                }
                assert!(chunks.is_done());
                assert_eq!(content, b"hello0123456789abcdef");
                assert_eq!(chunks.trailers(), b"A: b\r\nC: d\r\n");
            }
        }
    }

    #[test]
    fn without_room_nothing_is_taken_but_framing() {
        let (mut chunks, mut content) = (Chunks::default(), Vec::new());
        assert_eq!(chunks.take(BODY, 0, &mut content), Ok(3));
        assert_eq!(chunks.take(&BODY[3..], 0, &mut content), Ok(0));
        assert_eq!(content, b"");
    }

    #[test]
    fn what_is_not_chunked_is_not_taken_for_it() {
        for body in ["x\r\n", "ffffffffffffffffff\r\n", "1\r\nab", "0\r\n\r\nmore"] {
            let mut chunks = Chunks::default();
            assert_eq!(chunks.take(body.as_bytes(), 100, &mut Vec::new()), Err(NotChunked), "{body}");
        }
    }
}
