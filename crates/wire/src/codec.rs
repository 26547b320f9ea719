//! Lines: one JSON object each, at most 64 KiB, checked before more is buffered.

use std::io;

use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line, its newline included.
pub const MAX_LINE: usize = 64 * 1024;

/// Why there is no line.
#[derive(Debug, Error)]
pub enum LineError {
    /// More than [`MAX_LINE`] bytes came without a newline.
    #[error("a line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// The connection ended within a line.
    #[error("the connection ended in the middle of a line")]
    Cut,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads lines, and holds at most one of them plus what came with it.
#[derive(Debug)]
pub struct LineReader<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where in the buffer the line that is returned next begins.
    start: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), start: 0 }
    }

    /// The next line without its newline; none at the end of the stream. Cancel safe: what has arrived is kept.
    ///
    /// # Errors
    /// When a line is too long or cut off, or the connection fails.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, LineError> {
        let mut searched = self.start;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let end = searched + at;
                let line = &self.buffer[std::mem::replace(&mut self.start, end + 1)..end];
                return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            // Once a read, not once a line: many may have come together.
            self.buffer.drain(..std::mem::take(&mut self.start));
            searched = self.buffer.len();
            if searched >= MAX_LINE {
                return Err(LineError::TooLong);
            }
            let room = (MAX_LINE - searched) as u64;
            if (&mut self.reader).take(room).read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(LineError::Cut) };
            }
        }
    }

    /// What is read from: a stream of both directions can be written to.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// What arrived of a line that the end of the stream cut off.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// A message as a line.
///
/// # Errors
/// When the message cannot be JSON; none of the protocol's is of that kind.
pub fn encode(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn lines_come_whole_and_long_ones_not_at_all() {
        let mut reader = LineReader::new(&b"one\r\n\ntwo\nrest"[..]);
        assert_eq!(reader.next().await.unwrap().unwrap(), b"one");
        assert_eq!(reader.next().await.unwrap().unwrap(), b"");
        assert_eq!(reader.next().await.unwrap().unwrap(), b"two");
        assert!(matches!(reader.next().await, Err(LineError::Cut)));
        assert_eq!(reader.rest(), b"rest");

        let endless = tokio::io::repeat(b'x');
        let mut reader = LineReader::new(endless);
        assert!(matches!(reader.next().await, Err(LineError::TooLong)));
        assert!(reader.rest().len() <= MAX_LINE);
    }
}
