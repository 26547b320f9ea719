//! What `load` is told on the command line.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::TypedValueParser;

use crate::time::{LEAST, duration};

/// The most requests of a run: each leaves its latency in memory.
const REQUESTS_MAX: u64 = 10_000_000;
/// The longest run, and the longest that a request may take.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 3600);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The command line of `load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Where to send requests, such as http://172.20.0.100/
    #[arg(value_name = "URL")]
    pub(crate) url: Url,
    /// Requests a second, each on a new connection unless some are kept
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// For how long
    #[arg(long = "for", default_value = "10s", value_name = "TIME", value_parser = length)]
    pub(crate) length: Duration,
    /// How long a request may take, from connecting to the last byte of its answer
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = patience)]
    pub(crate) timeout: Duration,
    /// The most requests in flight; beyond them one is not sent, and counts as lost
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000).map(usize::from))]
    pub(crate) concurrency: usize,
    /// Send the requests on so many connections in turn, which are kept. A new one takes the place of one that has ended before
    /// its request; a request that gets no answer is lost, and not repeated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000).map(usize::from))]
    pub(crate) keep: Option<usize>,
    /// Count answers by their page's title: who answered
    #[arg(long)]
    pub(crate) by_title: bool,
    /// Print JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

impl LoadArgs {
    /// From one request to the next.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }

    /// The most requests in flight: a kept connection carries one at a time.
    pub(crate) fn in_flight(&self) -> usize {
        self.keep.map_or(self.concurrency, |keep| keep.min(self.concurrency))
    }

    /// How many requests are sent in all.
    pub(crate) fn requests(&self) -> u64 {
        let wanted = self.length.as_millis() * u128::from(self.rate) / 1000;
        u64::try_from(wanted).unwrap_or(u64::MAX).clamp(1, REQUESTS_MAX)
    }
}

/// `http://HOST[:PORT][/PATH]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the `Host` field has it.
    pub(crate) authority: String,
    /// With the query; `/` at least.
    pub(crate) path: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("http://").ok_or("a URL begins with http://")?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a URL has no spaces or other letters than ASCII's; encode them as %20 and so on".into()
            );
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = match authority.strip_prefix('[') {
            Some(inside) => {
                let (host, after) = inside.split_once(']').ok_or("the address lacks its `]`")?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() || host.contains('@') {
            return Err("a URL is http://HOST, http://HOST:PORT or http://HOST:PORT/PATH".into());
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(format!("`{port}` is no port"))?,
            None => 80,
        };
        Ok(Self { host: host.to_owned(), port, authority: authority.to_owned(), path })
    }
}

fn length(text: &str) -> Result<Duration, String> {
    duration(text, LEAST..=LENGTH_MAX)
}

fn patience(text: &str) -> Result<Duration, String> {
    duration(text, LEAST..=TIMEOUT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<(String, u16, String, String), String> {
        text.parse().map(|Url { host, port, authority, path }| (host, port, authority, path))
    }

    #[test]
    fn urls_have_defaults() {
        let expected = |host: &str, port, authority: &str, path: &str| {
            Ok((host.to_owned(), port, authority.to_owned(), path.to_owned()))
        };
        assert_eq!(url("http://lb"), expected("lb", 80, "lb", "/"));
        assert_eq!(url("http://lb:8080?a=b"), expected("lb", 8080, "lb:8080", "/?a=b"));
        assert_eq!(url("http://172.20.0.100/x/y#z"), expected("172.20.0.100", 80, "172.20.0.100", "/x/y"));
        assert_eq!(url("http://[::1]:81/"), expected("::1", 81, "[::1]:81", "/"));
        for bad in [
            "",
            "lb",
            "https://lb",
            "http://",
            "http://:80",
            "http://lb:0",
            "http://lb:x",
            "http://a b",
            "http://[::1",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_a_unit_and_a_bound() {
        assert_eq!(length("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(length("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "0s", "-1s", "25h", "99999999999999999999s", "1.5s"] {
            assert!(length(bad).is_err(), "{bad}");
        }
        assert!(patience("61s").is_err());
    }
}
