//! The HTTP check: one request on a connection of its own, decided by the status of the answer.
//!
//! The head decides. The body is not waited for, and the connection is closed with the check: the server is asked to
//! close it as well.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use config::{ExpectedStatus, HttpProbe, ServerAddress};
use health::CheckCode;
use reqwest::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};
use tokio::time::Instant;

use super::failure::io_text;
use super::{BadCheck, Finding, Limits};

/// How much later than the check's timeout the client is stopped, so that it can say by itself that connecting took too
/// long. What arrives in that time is too late all the same.
const GRACE: Duration = Duration::from_millis(50);

/// The largest number of header fields of an answer. More are no HTTP answer worth trusting.
const MAX_FIELDS: usize = 128;

/// Runs the HTTP checks of a backend.
#[derive(Debug)]
pub(super) struct HttpProber {
    client: Client,
    method: Method,
    path: String,
    /// With `Host` if it is configured.
    headers: HeaderMap,
    expect: ExpectedStatus,
    limits: Limits,
}

impl HttpProber {
    /// The client is built once for a backend: it has no state but its settings, since no connection is ever kept.
    pub(super) fn new(probe: &HttpProbe, limits: Limits) -> Result<Self, BadCheck> {
        let method = Method::from_bytes(probe.method.as_bytes())
            .map_err(|_| BadCheck(format!("`{}` is not an HTTP method", probe.method)))?;
        let headers = headers(probe)?;
        let client = Client::builder()
            .http1_only()
            .http1_max_headers(MAX_FIELDS)
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("tandem-healthd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits.connect)
            .build()
            .map_err(|error| BadCheck(format!("cannot prepare HTTP checks: {error}")))?;
        let prober =
            Self { client, method, path: probe.path.clone(), headers, expect: probe.expect.clone(), limits };
        // Addresses differ from check to check, paths do not: one that fits no address fits none.
        prober.url(SocketAddr::from(([127, 0, 0, 1], 80)))?;
        Ok(prober)
    }

    fn url(&self, address: SocketAddr) -> Result<Url, BadCheck> {
        Url::parse(&format!("http://{address}{}", self.path))
            .ok()
            .filter(|_| self.path.starts_with('/'))
            .ok_or_else(|| BadCheck(format!("`{}` is not a path: it has to start with `/`", self.path)))
    }

    pub(super) async fn probe(&self, configured: &ServerAddress, address: SocketAddr) -> Finding {
        let url = match self.url(address) {
            Ok(url) => url,
            Err(error) => return Finding::new(CheckCode::SockErr, error.to_string()),
        };
        let mut headers = self.headers.clone();
        if !headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::try_from(configured.to_string())
        {
            headers.insert(HOST, host);
        }
        let started = Instant::now();
        let send = self.client.request(self.method.clone(), url).headers(headers).send();
        match tokio::time::timeout(self.limits.whole.saturating_add(GRACE), send).await {
            Err(_) => Finding::answer_timeout(self.limits),
            Ok(Err(error)) if error.is_connect() => self.not_connected(&error),
            Ok(_) if started.elapsed() > self.limits.whole => Finding::answer_timeout(self.limits),
            Ok(Err(error)) => Finding::new(CheckCode::L7Rsp, response_text(&error)),
            Ok(Ok(response)) => self.judge(response.status()),
        }
    }

    fn not_connected(&self, error: &reqwest::Error) -> Finding {
        match io_error(error) {
            _ if error.is_timeout() => Finding::connect_timeout(self.limits),
            Some(cause) => Finding::not_connected(cause, self.limits),
            None => Finding::new(CheckCode::L4Con, innermost(error).to_string()),
        }
    }

    fn judge(&self, status: StatusCode) -> Finding {
        let words = match status.canonical_reason() {
            Some(reason) => format!("{} {reason}", status.as_u16()),
            None => status.as_u16().to_string(),
        };
        let finding = if self.expect.contains(status.as_u16()) {
            Finding::new(CheckCode::L7Ok, words)
        } else {
            Finding::new(CheckCode::L7Sts, format!("{words}, expected {}", expected(&self.expect)))
        };
        Finding { http_status: Some(status.as_u16()), ..finding }
    }
}

fn headers(probe: &HttpProbe) -> Result<HeaderMap, BadCheck> {
    let mut headers = HeaderMap::with_capacity(probe.headers.len() + 2);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let host = probe.host.iter().map(|host| ("Host", host.as_str()));
    let others = probe.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in host.chain(others) {
        let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let Some((name, value)) = parsed else {
            return Err(BadCheck(format!("`{name}: {value}` is not an HTTP header field")));
        };
        if name == HOST || name == CONNECTION {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// The expected statuses as they are written in the configuration.
fn expected(expect: &ExpectedStatus) -> String {
    let words: Vec<String> = expect
        .0
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (one, other) if one == other => one.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    words.join(" or ")
}

/// What was wrong with an answer, without the layers of the client.
fn response_text(error: &reqwest::Error) -> String {
    match io_error(error) {
        Some(cause) => io_text(cause),
        None => format!("no valid HTTP answer: {}", innermost(error)),
    }
}

fn io_error(error: &reqwest::Error) -> Option<&io::Error> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>())
}

fn innermost(error: &reqwest::Error) -> &dyn Error {
    causes(error).last().unwrap_or(error)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
