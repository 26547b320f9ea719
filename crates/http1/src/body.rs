//! Passing a body through while verifying its framing.
//!
//! It is compacted where it lies: what must not pass is closed up, and the rest is sent in one piece.

use crate::bytes::{Scan, scan_line};
use crate::fields::Field;
use crate::name::is_essential;
use crate::{Body, BodyFault};

/// The longest line of a chunk's size with its extensions and line end. It must fit in the buffer.
const CHUNK_LINE: usize = 1024;
/// The longest trailer section, with its empty line. Each line of it must fit in the buffer.
const TRAILERS: usize = 8192;
/// Hexadecimal digits of a chunk size.
const SIZE_DIGITS: usize = 16;

// RFC 9112 section 7.1: "A recipient MUST be able to parse and decode the chunked transfer coding"
/// Verifies a body's framing as it passes, and says which bytes to pass on.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// Chunk framing is left out.
    decoded: bool,
    /// How many bytes after the consumed ones were looked at in search of a line end.
    scanned: usize,
    /// Bytes of trailers so far.
    trailers: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// That many bytes, not 0, then the end.
    Length(u64),
    /// Everything.
    UntilClose,
    /// A chunk's size.
    Size,
    /// That many bytes, not 0, of a chunk.
    Data(u64),
    /// The line end after a chunk's data.
    DataEnd,
    /// A trailer field, or the last line.
    Trailer,
    /// Nothing.
    Done,
}

/// What became of the bytes at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// That many bytes are dealt with; 0 without `done` means that more bytes are needed than the buffer holds.
    pub consumed: usize,
    /// What is passed on of them lies together at the start of the buffer now, and is that long. What is left of the
    /// consumed ones behind it is of no use.
    pub forward: usize,
    /// That many of the bytes passed on are content: neither chunk framing nor trailer fields.
    pub data: usize,
    /// Whether the body has ended. What follows in the buffer is not part of it.
    pub done: bool,
}

/// A step over a buffer: what is kept is moved together at its start, in runs as long as can be.
struct Sieve<'a> {
    buf: &'a mut [u8],
    /// Bytes that are kept and in their place.
    kept: usize,
    /// Where the run begins that is kept and not yet moved.
    run: usize,
    /// Where it ends: bytes dealt with.
    at: usize,
    data: usize,
}

impl<'a> Sieve<'a> {
    fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, kept: 0, run: 0, at: 0, data: 0 }
    }

    fn rest(&self) -> &[u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    fn keep(&mut self, bytes: usize) {
        self.at += bytes;
        self.check_invariants();
    }

    fn keep_data(&mut self, bytes: usize) {
        self.keep(bytes);
        self.data += bytes;
    }

    fn drop(&mut self, bytes: usize) {
        self.settle();
        self.at += bytes;
        self.run = self.at;
        self.check_invariants();
    }

    /// Moves the run to what was kept before it.
    fn settle(&mut self) {
        if self.run > self.kept {
            self.buf.copy_within(self.run..self.at, self.kept);
        }
        self.kept += self.at - self.run;
        self.run = self.at;
    }

    fn finish(mut self, done: bool) -> Step {
        self.settle();
        self.check_invariants();
        Step { consumed: self.at, forward: self.kept, data: self.data, done }
    }

    /// Nothing that was not looked at is overwritten, and content is never more than what is kept.
    fn check_invariants(&self) {
        debug_assert!(self.kept <= self.run && self.run <= self.at && self.at <= self.buf.len());
        debug_assert!(self.data <= self.kept + (self.at - self.run));
    }
}

/// A chunk's size line.
struct SizeLine {
    size: u64,
    /// Bytes of the number.
    digits: usize,
    /// Bytes before the line end.
    len: usize,
}

impl BodyReader {
    /// Passes a body on as it is, without chunk extensions and without trailer fields that have no place there.
    pub fn new(body: Body) -> Self {
        let state = match body {
            Body::Empty | Body::Length(0) => State::Done,
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Size,
            Body::UntilClose => State::UntilClose,
        };
        Self { state, decoded: false, scanned: 0, trailers: 0 }
    }

    // RFC 9112 section 6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request indicates HTTP/1.1"
    /// Passes on the content alone, without chunk framing and trailer fields, for a client that knows HTTP/1.0 only.
    pub fn decoded(body: Body) -> Self {
        Self { decoded: true, ..Self::new(body) }
    }

    /// Looks at the next bytes of the body. `buf` must begin with the bytes that the previous step did not consume.
    ///
    /// A step goes as far as the buffer does, and moves what is passed on together, so that it is sent at once however
    /// little each chunk holds. A line of framing must be in the buffer as a whole, so that a buffer of 8 KiB is always
    /// enough.
    pub fn step(&mut self, buf: &mut [u8]) -> Result<Step, BodyFault> {
        let mut sieve = Sieve::new(buf);
        while self.piece(&mut sieve)? {}
        self.check_invariants();
        Ok(sieve.finish(self.is_done()))
    }

    /// What is to come is never nothing, and only a line of framing is looked at in part. Trailers are bounded.
    fn check_invariants(&self) {
        debug_assert!(!matches!(self.state, State::Length(0) | State::Data(0)));
        debug_assert!(self.scanned == 0 || matches!(self.state, State::Size | State::Trailer));
        debug_assert!(self.trailers <= TRAILERS);
    }

    /// Deals with one piece of the body. Returns false if the step ends before it.
    fn piece(&mut self, sieve: &mut Sieve<'_>) -> Result<bool, BodyFault> {
        match self.state {
            State::Done => Ok(false),
            State::UntilClose => {
                sieve.keep_data(sieve.rest().len());
                Ok(false)
            }
            State::Length(left) | State::Data(left) => {
                let taken = take(left, sieve.rest());
                sieve.keep_data(taken);
                self.advance(taken as u64);
                Ok(self.state == State::DataEnd)
            }
            State::DataEnd => match sieve.rest() {
                [] | [b'\r'] => Ok(false),
                [b'\r', b'\n', ..] => {
                    self.framing(2, sieve);
                    self.state = State::Size;
                    Ok(true)
                }
                _ => Err(BodyFault::ChunkEnd),
            },
            State::Size => self.size(sieve),
            State::Trailer => self.trailer(sieve),
        }
    }

    /// Passes on framing, or drops it where the content alone is wanted.
    fn framing(&self, bytes: usize, sieve: &mut Sieve<'_>) {
        if self.decoded { sieve.drop(bytes) } else { sieve.keep(bytes) }
    }

    fn size(&mut self, sieve: &mut Sieve<'_>) -> Result<bool, BodyFault> {
        let Some(SizeLine { size, digits, len }) = self.size_line(sieve.rest())? else { return Ok(false) };
        self.framing(digits, sieve);
        if len > digits {
            sieve.drop(len - digits);
        }
        self.framing(2, sieve);
        // The last chunk's size is 0.
        self.state = if size == 0 { State::Trailer } else { State::Data(size) };
        self.scanned = 0;
        Ok(true)
    }

    /// The line of a chunk's size, once it is there (RFC 9112 section 7.1). White space is tolerated before an extension
    /// alone (section 7.1.1), and no other line end than CR LF, since servers disagree about them.
    fn size_line(&mut self, rest: &[u8]) -> Result<Option<SizeLine>, BodyFault> {
        let mut size = 0_u64;
        let mut digits = 0;
        while let Some(digit) = rest.get(digits).copied().and_then(hex) {
            if digits == SIZE_DIGITS {
                return Err(BodyFault::ChunkSize);
            }
            size = size << 4 | u64::from(digit);
            digits += 1;
        }
        if digits == 0 && !rest.is_empty() || i64::try_from(size).is_err() {
            return Err(BodyFault::ChunkSize);
        }
        let line = &rest[..rest.len().min(CHUNK_LINE)];
        let blanks = line[digits..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &line[digits + blanks..] {
            [b'\r', b'\n', ..] if blanks == 0 => Ok(Some(SizeLine { size, digits, len: digits })),
            [b'\r'] if blanks == 0 => Ok(None),
            [b';', ..] => match scan_line(line, self.scanned.max(digits + blanks)) {
                Ok(Scan::End(len)) => Ok(Some(SizeLine { size, digits, len })),
                Ok(Scan::More(_)) if line.len() == CHUNK_LINE => Err(BodyFault::ChunkLineTooLong),
                Ok(Scan::More(scanned)) => {
                    self.scanned = scanned;
                    Ok(None)
                }
                Err(_) => Err(BodyFault::ChunkExtension),
            },
            [] if line.len() == CHUNK_LINE => Err(BodyFault::ChunkLineTooLong),
            [] => Ok(None),
            _ => Err(BodyFault::ChunkSize),
        }
    }

    /// A trailer field, or the empty line that ends the body (RFC 9112 section 7.1.2). A field that decides anything
    /// comes too late to be trusted, and is dropped (RFC 9110 section 6.5.1).
    fn trailer(&mut self, sieve: &mut Sieve<'_>) -> Result<bool, BodyFault> {
        let rest = sieve.rest();
        let section = &rest[..rest.len().min(TRAILERS - self.trailers)];
        let end = match scan_line(section, self.scanned) {
            Ok(Scan::End(end)) => end,
            Ok(Scan::More(_)) if section.len() == TRAILERS - self.trailers => {
                return Err(BodyFault::TrailersTooLarge);
            }
            Ok(Scan::More(scanned)) => {
                self.scanned = scanned;
                return Ok(false);
            }
            Err(_) => return Err(BodyFault::Trailer),
        };
        if end == 0 {
            self.framing(2, sieve);
            self.state = State::Done;
        } else {
            let field = Field::split(&section[..end]).map_err(|_| BodyFault::Trailer)?;
            if is_essential(field.name) { sieve.drop(end + 2) } else { self.framing(end + 2, sieve) }
        }
        self.trailers += end + 2;
        self.scanned = 0;
        Ok(true)
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    // RFC 9112 section 6.3: "the recipient MUST consider the message to be incomplete"
    /// The peer closed its connection: the regular end of [`Body::UntilClose`], and a fault within any other body.
    pub fn end_of_stream(&mut self) -> Result<(), BodyFault> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyFault::Truncated),
        }
    }

    /// How many bytes can be passed on next without looking at them, so that they may be spliced; `u64::MAX` until
    /// the connection closes. `None` if the next bytes are framing, or the body has ended.
    pub fn next_data_len(&self) -> Option<u64> {
        match self.state {
            State::Length(left) | State::Data(left) => Some(left),
            State::UntilClose => Some(u64::MAX),
            _ => None,
        }
    }

    /// That many bytes were passed on without a step; at most [`BodyReader::next_data_len`], beyond which they do not
    /// count.
    pub fn advance(&mut self, bytes: u64) {
        self.state = match self.state {
            State::Length(left) if left <= bytes => State::Done,
            State::Length(left) => State::Length(left - bytes),
            State::Data(left) if left <= bytes => State::DataEnd,
            State::Data(left) => State::Data(left - bytes),
            other => other,
        };
        self.check_invariants();
    }
}

/// How much of `rest` belongs to the `left` bytes that are to come.
fn take(left: u64, rest: &[u8]) -> usize {
    usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()))
}

/// The value of a hexadecimal digit.
fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
