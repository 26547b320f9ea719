//! Whether a client that waits for its answer is still there.

use std::future::poll_fn;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Waits until the client has reset the connection, or, if `end_counts`, until it has ended its side.
///
/// The end of what a client sends is no hang-up by itself: it may wait for its answer all the same.
pub(crate) async fn hang_up(client: &TcpStream, end_counts: bool) {
    // Whatever a client does makes its connection readable, and waiting for that costs next to nothing. Only if it did
    // something is it worth to look for what.
    let readable = poll_fn(|cx| client.poll_read_ready(cx)).await;
    // What tokio calls priority is here the end of the client's side: nobody asks the kernel for urgent data.
    let gone = if end_counts { Interest::ERROR | Interest::PRIORITY } else { Interest::ERROR };
    if readable.is_ok() {
        // An error means that the runtime ends, and the connection with it.
        let _ = client.ready(gone).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (near, far)
    }

    async fn is_noticed(far: &TcpStream, end_counts: bool) -> bool {
        tokio::time::timeout(Duration::from_millis(100), hang_up(far, end_counts)).await.is_ok()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_end_is_a_hang_up_only_if_it_counts() {
        let (mut near, mut far) = pair().await;
        near.write_all(b"request").await.unwrap();
        far.read_exact(&mut [0; 7]).await.unwrap();
        assert!(!is_noticed(&far, true).await);
        near.write_all(b"and another one").await.unwrap();
        assert!(!is_noticed(&far, true).await);
        near.shutdown().await.unwrap();
        assert!(is_noticed(&far, true).await);
        assert!(!is_noticed(&far, false).await);
        SockRef::from(&near).set_linger(Some(Duration::ZERO)).unwrap();
        drop(near);
        assert!(is_noticed(&far, false).await, "a reset after the end");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_reset_is_noticed() {
        let (near, far) = pair().await;
        SockRef::from(&near).set_linger(Some(Duration::ZERO)).unwrap();
        drop(near);
        assert!(is_noticed(&far, false).await);
    }
}
