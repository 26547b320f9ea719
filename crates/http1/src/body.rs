//! Passing a body through while verifying its framing.

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
    /// The line end of a chunk's size, after extensions were dropped.
    SizeEnd(u64),
    /// That many bytes, not 0, of a chunk.
    Data(u64),
    /// The line end after a chunk's data.
    DataEnd,
    /// A trailer field, or the last line.
    Trailer,
    /// Nothing.
    Done,
}

/// What to do with the bytes at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// That many bytes are dealt with; 0 without `done` means that more bytes are needed than the buffer holds.
    pub consumed: usize,
    /// That many of them, the first ones, are passed on. The rest is dropped.
    pub forward: usize,
    /// Whether the body has ended. What follows in the buffer is not part of it.
    pub done: bool,
}

impl Step {
    /// Passes on the next bytes, if nothing was dropped before them in this step.
    fn keep(&mut self, bytes: usize) -> bool {
        let adjacent = self.forward == self.consumed;
        if adjacent {
            self.consumed += bytes;
            self.forward = self.consumed;
        }
        adjacent
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

    /// Passes on the content alone, without chunk framing and trailer fields, for a client that knows HTTP/1.0 only.
    pub fn decoded(body: Body) -> Self {
        Self { decoded: true, ..Self::new(body) }
    }

    /// Looks at the next bytes of the body. `buf` must begin with the bytes that the previous step did not consume.
    ///
    /// A step goes as far as one contiguous run to pass on allows: all whole chunks in the buffer are one step. A line
    /// of framing must be in the buffer as a whole, so that a buffer of 8 KiB is always enough.
    pub fn step(&mut self, buf: &[u8]) -> Result<Step, BodyFault> {
        let mut step = Step { consumed: 0, forward: 0, done: false };
        while self.piece(buf, &mut step)? {}
        step.done = self.is_done();
        Ok(step)
    }

    /// Deals with one piece of the body. Returns false if the step ends before it.
    fn piece(&mut self, buf: &[u8], step: &mut Step) -> Result<bool, BodyFault> {
        let rest = buf.get(step.consumed..).unwrap_or_default();
        match self.state {
            State::Done => Ok(false),
            State::UntilClose => {
                step.keep(rest.len());
                Ok(false)
            }
            State::Length(left) => {
                let taken = take(left, rest);
                if step.keep(taken) {
                    self.advance(taken as u64);
                }
                Ok(false)
            }
            State::Data(left) => {
                let taken = take(left, rest);
                if taken == 0 || !step.keep(taken) {
                    return Ok(false);
                }
                self.advance(taken as u64);
                Ok(true)
            }
            State::DataEnd => {
                if !self.line_end(rest, step)? {
                    return Ok(false);
                }
                self.state = State::Size;
                Ok(true)
            }
            State::SizeEnd(size) => {
                if !self.line_end(rest, step)? {
                    return Ok(false);
                }
                self.state = after_size(size);
                Ok(true)
            }
            State::Size => self.size(rest, step),
            State::Trailer => self.trailer(rest, step),
        }
    }

    /// CR LF alone.
    fn line_end(&self, rest: &[u8], step: &mut Step) -> Result<bool, BodyFault> {
        match rest {
            [] | [b'\r'] => Ok(false),
            [b'\r', b'\n', ..] => Ok(self.framing(2, step)),
            _ => Err(BodyFault::ChunkEnd),
        }
    }

    /// Passes on framing, or drops it where the content alone is wanted.
    fn framing(&self, bytes: usize, step: &mut Step) -> bool {
        if self.decoded {
            step.consumed += bytes;
            return true;
        }
        step.keep(bytes)
    }

    fn size(&mut self, rest: &[u8], step: &mut Step) -> Result<bool, BodyFault> {
        let Some(line) = self.size_line(rest)? else { return Ok(false) };
        if self.decoded || line.digits == line.len {
            if !self.framing(line.len + 2, step) {
                return Ok(false);
            }
            self.state = after_size(line.size);
        } else {
            if !step.keep(line.digits) {
                return Ok(false);
            }
            step.consumed += line.len - line.digits;
            self.state = State::SizeEnd(line.size);
        }
        self.scanned = 0;
        Ok(true)
    }

    /// The line of a chunk's size, once it is there (RFC 9112 section 7.1). White space after the number is not
    /// tolerated, nor is any other line end than CR LF, since servers disagree about them.
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
        match rest.get(digits..) {
            Some([b'\r', b'\n', ..]) => Ok(Some(SizeLine { size, digits, len: digits })),
            None | Some([] | [b'\r']) => Ok(None),
            Some([b';', ..]) => {
                let line = &rest[..rest.len().min(CHUNK_LINE)];
                match scan_line(line, self.scanned.max(digits)) {
                    Ok(Scan::End(len)) => Ok(Some(SizeLine { size, digits, len })),
                    Ok(Scan::More(_)) if line.len() == CHUNK_LINE => Err(BodyFault::ChunkLineTooLong),
                    Ok(Scan::More(scanned)) => {
                        self.scanned = scanned;
                        Ok(None)
                    }
                    Err(_) => Err(BodyFault::ChunkExtension),
                }
            }
            Some(_) => Err(BodyFault::ChunkSize),
        }
    }

    /// A trailer field, or the empty line that ends the body (RFC 9112 section 7.1.2). A field that decides anything
    /// comes too late to be trusted, and is dropped (RFC 9110 section 6.5.1).
    fn trailer(&mut self, rest: &[u8], step: &mut Step) -> Result<bool, BodyFault> {
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
        let kept = if end == 0 {
            if !self.framing(2, step) {
                return Ok(false);
            }
            self.state = State::Done;
            true
        } else {
            let field = Field::split(&section[..end]).map_err(|_| BodyFault::Trailer)?;
            if is_essential(field.name) {
                step.consumed += end + 2;
                true
            } else {
                self.framing(end + 2, step)
            }
        };
        if kept {
            self.trailers += end + 2;
            self.scanned = 0;
        }
        Ok(kept)
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

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
    }
}

/// What follows the line of a chunk's size. The last chunk's is 0.
fn after_size(size: u64) -> State {
    if size == 0 { State::Trailer } else { State::Data(size) }
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
