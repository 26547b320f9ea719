//! One check of a server that has several addresses: they are tried in turn until one is good.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::probe::Probed;

/// The most addresses that one check tries.
pub(crate) const MOST: usize = 4;

/// Tries `first`, and then each of `others` when the one before has failed or has said nothing for `share`. Returns the first
/// that is good; if none is within `whole`, what `first` came to. `probe` itself ends within `whole`.
pub(crate) async fn first_good<F: Future<Output = Probed>>(
    first: SocketAddr,
    others: Vec<SocketAddr>,
    whole: Duration,
    share: Duration,
    probe: impl Fn(SocketAddr) -> F,
) -> (SocketAddr, Probed) {
    if others.is_empty() {
        return (first, probe(first).await);
    }
    let try_one = |address| {
        let probing = probe(address);
        async move { (address, probing.await) }
    };
    let mut running = FuturesUnordered::from_iter([try_one(first)]);
    let mut others = VecDeque::from(others);
    let end = Instant::now() + whole;
    let mut next = Instant::now() + share;
    let (mut failed, mut over) = (None, false);
    loop {
        tokio::select! {
            biased;
            Some((address, probed)) = running.next() => match probed {
                Probed::Server(result) if result.code.is_good() => return (address, Probed::Server(result)),
                // What this machine lacks for one it lacks for all.
                Probed::Starved(result) => return (first, Probed::Starved(result)),
                bad @ Probed::Server(_) => {
                    next = Instant::now();
                    if address == first {
                        failed = Some(bad);
                    }
                }
            },
            () = sleep_until(next), if !others.is_empty() => {
                running.extend(others.pop_front().map(&try_one));
                next = Instant::now() + share;
            }
            () = sleep_until(end), if !over => {
                over = true;
                others.clear();
            }
        }
        let done = over || running.is_empty() && others.is_empty();
        if let Some(failed) = failed.take_if(|_| done) {
            return (first, failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use health::{CheckCode, CheckResult};

    use super::*;

    const WHOLE: Duration = Duration::from_secs(10);

    fn address(number: usize) -> SocketAddr {
        ([127, 0, 0, u8::try_from(number).unwrap()], 80).into()
    }

    /// Each address ends after that many seconds, well or not. What came of it, after how many seconds, and who was tried.
    async fn run(servers: &[(u64, CheckCode)], share: u64) -> (usize, CheckCode, u64, Vec<usize>) {
        let tried = RefCell::new(Vec::new());
        let started = Instant::now();
        let others = (1..servers.len()).map(address).collect();
        let probe = |at: SocketAddr| {
            let number = (0..servers.len()).find(|number| address(*number) == at).unwrap();
            tried.borrow_mut().push(number);
            let (seconds, code) = servers[number];
            async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                let result = CheckResult {
                    code,
                    http_status: None,
                    duration: WHOLE,
                    text: String::new(),
                    certificate: None,
                };
                if code == CheckCode::SockErr { Probed::Starved(result) } else { Probed::Server(result) }
            }
        };
        let share = Duration::from_secs(share);
        let (at, probed) = first_good(address(0), others, WHOLE, share, probe).await;
        let (Probed::Server(result) | Probed::Starved(result)) = probed;
        let number = (0..servers.len()).find(|number| address(*number) == at).unwrap();
        (number, result.code, started.elapsed().as_secs(), tried.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_that_works_is_enough() {
        use CheckCode::{L4Con, L4Ok, L4Tout, L7Ok, L7Tout, SockErr};
        // A good one: nobody else is tried.
        assert_eq!(run(&[(1, L7Ok), (1, L7Ok)], 5).await, (0, L7Ok, 1, vec![0]));
        // One that fails: the next at once.
        assert_eq!(run(&[(0, L4Con), (1, L7Ok)], 5).await, (1, L7Ok, 1, vec![0, 1]));
        assert_eq!(run(&[(0, L4Con), (0, L4Con), (2, L4Ok)], 5).await, (2, L4Ok, 2, vec![0, 1, 2]));
        // One that hangs: the next beside it, when its share of the time is over.
        assert_eq!(run(&[(10, L7Tout), (1, L7Ok)], 5).await, (1, L7Ok, 6, vec![0, 1]));
        // One that is slow may still win.
        assert_eq!(run(&[(6, L7Ok), (3, L7Ok)], 5).await, (0, L7Ok, 6, vec![0, 1]));
        // One that worked before has all the time.
        assert_eq!(run(&[(9, L7Ok), (1, L7Ok)], 10).await, (0, L7Ok, 9, vec![0]));
        // None works: what the first came to, and not later than a check may take.
        assert_eq!(run(&[(0, L4Con), (2, L4Tout)], 5).await, (0, L4Con, 2, vec![0, 1]));
        assert_eq!(run(&[(2, L4Tout), (10, L7Tout), (10, L7Tout)], 5).await, (0, L4Tout, 10, vec![0, 1, 2]));
        // What the machine lacks says nothing about any address.
        assert_eq!(run(&[(0, SockErr), (0, L7Ok)], 5).await, (0, SockErr, 0, vec![0]));
    }
}
