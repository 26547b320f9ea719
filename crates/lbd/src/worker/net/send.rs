//! Writing a head, with the body bytes that are there already, in as few system calls as possible.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;

use tokio::io::AsyncWrite;

/// Body bytes up to here are copied behind the head: cheaper than a second vector entry.
pub(crate) const COPIED: usize = 4096;

/// Writes `head`, `body` and `end`, completely. `head` is left empty. `moved` is called after each write that leaves some:
/// whoever takes bytes slowly is not stalled.
pub(crate) async fn head_and_body<W: AsyncWrite + Unpin>(
    to: &mut W,
    head: &mut Vec<u8>,
    body: &[u8],
    end: &[u8],
    moved: impl Fn(),
) -> io::Result<()> {
    if body.len() <= COPIED {
        head.extend_from_slice(body);
        head.extend_from_slice(end);
        all(to, head, moved).await?;
    } else {
        let mut parts = [&head[..], body, end].map(IoSlice::new);
        let mut rest = if end.is_empty() { &mut parts[..2] } else { &mut parts[..] };
        // Without a head it is left out.
        IoSlice::advance_slices(&mut rest, 0);
        while rest.len() > 1 {
            let written = some(poll_fn(|cx| Pin::new(&mut *to).poll_write_vectored(cx, rest)).await?)?;
            IoSlice::advance_slices(&mut rest, written);
            if !rest.is_empty() {
                moved();
            }
        }
        if let [last] = rest {
            all(to, last, moved).await?;
        }
    }
    head.clear();
    Ok(())
}

/// Writes `bytes`, completely. `moved` is called after each write that leaves some.
pub(crate) async fn all<W: AsyncWrite + Unpin>(to: &mut W, bytes: &[u8], moved: impl Fn()) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = some(poll_fn(|cx| Pin::new(&mut *to).poll_write(cx, rest)).await?)?;
        rest = &rest[written..];
        if !rest.is_empty() {
            moved();
        }
    }
    Ok(())
}

fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn short_writes_lose_nothing() {
        let sizes = [0, 1, COPIED, COPIED + 1, 3 * COPIED];
        let heads = [&b""[..], b"a head that is longer than the pipe"];
        let ends = [&b""[..], b"\r\n", b"an end that is longer"];
        let cases = sizes.into_iter().flat_map(|size| heads.map(|head| (size, head)));
        for (size, head, end) in cases.flat_map(|(size, head)| ends.map(|end| (size, head, end))) {
            let (mut near, mut far) = tokio::io::duplex(7);
            let mut head = head.to_vec();
            let body: Vec<u8> = (0..=255).cycle().take(size).collect();
            let expected = [head.as_slice(), &body, end].concat();
            let mut received = Vec::new();
            let (sent, read) = tokio::join!(
                async move {
                    let result = head_and_body(&mut near, &mut head, &body, end, || {}).await;
                    drop(near);
                    result
                },
                far.read_to_end(&mut received)
            );
            sent.unwrap();
            read.unwrap();
            assert_eq!(received, expected);
        }
    }
}
