//! The admin HTTP server: for people, scripts and Prometheus.
//!
//! It is not on the data path and serves few clients; what matters is that none of them can pile up, and that nobody shuts
//! out those who ask whether the daemon does its work. A connection is for one request: then those that ask are told from
//! those that only sit there, and these [make room](wire::server::seats).

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;
use wire::Document;
use wire::server::seats::{Seat, Seats};

use crate::guard::Guard;
use crate::metrics::{self, Exposition, Pieces};
use crate::{Failure, listening, page};

/// Connections at once that have not asked for anything yet.
const SILENT_MAX: usize = 64;
/// Connections at once that are being answered. One more, and the one that has read for longest makes room.
const ANSWERED_MAX: usize = 64;
/// What is answered even while everything else is too much.
const ALWAYS: [&str; 2] = ["/health", "/ready"];
/// How long a client may take for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the admin address, which that file has under that key.
///
/// # Errors
/// When the address is taken, or not ours.
pub async fn bind(file: &Path, key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let refused = |error| Failure::System(anyhow!(listening::refused(file, key, address, &error)));
    TcpListener::bind(address).await.map_err(refused)
}

/// What a daemon shows on its admin address.
pub trait Shown: Send + Sync + 'static {
    /// Whether it does its work.
    ///
    /// # Errors
    /// Why it does not.
    fn ready(&self) -> Result<(), String>;
    /// The page for people.
    fn page(&self) -> String;
    /// All of it in one document.
    fn document(&self) -> Document;
}

/// What every daemon answers: `/`, `/status.json`, `/metrics`, `/health` (it lives), `/ready` (it does its work; otherwise 503
/// and why not), and for any other path what there is. `more` are the paths that the daemon adds itself.
pub fn router(shown: &Arc<impl Shown>, metrics: Exposition, more: &[&str]) -> Router {
    let paths = ["/", "/status.json", "/metrics", "/health", "/ready"].iter().chain(more);
    let paths = paths.copied().collect::<Vec<_>>().join(" ");
    let (page, status, ready) = (shown.clone(), shown.clone(), shown.clone());
    Router::new()
        .route("/", get(move || async move { html(page.page()) }))
        .route("/status.json", get(move || async move { json(&status.document()) }))
        .route("/metrics", get(move || async move { exposition(metrics.pieces()) }))
        .route("/health", get(|| async { "OK\n" }))
        .route("/ready", get(move || async move { readiness(ready.ready()) }))
        .fallback(move || async move {
            (StatusCode::NOT_FOUND, format!("There is nothing here. Try one of: {paths}\n"))
        })
}

fn html(page: String) -> impl IntoResponse {
    ([(CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY)], Html(page))
}

fn json(document: &Document) -> Response {
    match serde_json::to_string(document) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The pieces are made as the client reads, and everything else has its turn between them.
fn exposition(pieces: Pieces) -> impl IntoResponse {
    let pieces = stream::unfold(pieces, |mut pieces| async {
        yield_now().await;
        pieces.next().map(|piece| (Ok::<_, Infallible>(piece), pieces))
    });
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], Body::from_stream(pieces))
}

fn readiness(ready: Result<(), String>) -> (StatusCode, String) {
    match ready {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

/// Whether newcomers are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Not yet.
    Shut,
    /// They are.
    Open,
    /// No more: another process has the listener.
    Left,
}

/// Serves for as long as it is polled; dropping it ends all connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    guard: Arc<Guard>,
    mut gate: watch::Receiver<Gate>,
) {
    let seats = Seats::new(SILENT_MAX, ANSWERED_MAX);
    let mut connections = JoinSet::new();
    // The gate stays as it is when nobody moves it any more.
    drop(gate.wait_for(|gate| *gate != Gate::Shut).await);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            Ok(_) = gate.wait_for(|gate| *gate == Gate::Left) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let service = TowerToHyperService::new(router.clone());
                let guard = (guard.clone(), client.ip().to_canonical());
                connections.spawn(serve_connection(stream, service, guard, Arc::new(seats.take())));
                // What the others have asked is heard before the next one takes a seat.
                yield_now().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin address; trying again shortly");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    pending::<()>().await;
}

/// Clients that break off, take too long or make room are no news.
async fn serve_connection(
    stream: TcpStream,
    router: TowerToHyperService<Router>,
    (guard, client): (Arc<Guard>, IpAddr),
    seat: Arc<Seat>,
) {
    let asked = seat.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, guard, seat) = (router.clone(), guard.clone(), asked.clone());
        async move {
            let answer = if seat.ask() || ALWAYS.contains(&request.uri().path()) {
                match guard.let_in(request.uri().path(), request.headers(), client).await {
                    Ok(()) => router.call(request).await,
                    Err(refusal) => Ok(refusal.response()),
                }
            } else {
                let busy = "too many others are being answered; try again shortly\n";
                Ok((StatusCode::SERVICE_UNAVAILABLE, busy).into_response())
            };
            // It is for the client now to read it.
            seat.rest();
            answer as Result<Response, Infallible>
        }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // What has arrived of a request counts, even if it comes with the last chance.
        biased;
        _ = timeout(CONNECTION_TIMEOUT, connection.as_mut()) => {}
        () = seat.given_up() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get as route;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use wire::{Answer, Info, LifeState};

    use super::*;
    use crate::families::{Family, Samples, gauge};

    fn open() -> watch::Receiver<Gate> {
        watch::channel(Gate::Open).1
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    struct Daemon;

    impl Shown for Daemon {
        fn ready(&self) -> Result<(), String> {
            Err("the first checks are running".to_owned())
        }

        fn page(&self) -> String {
            "<!DOCTYPE html>".to_owned()
        }

        fn document(&self) -> Document {
            let info = Info {
                daemon: "healthd".to_owned(),
                version: "0.1.0".to_owned(),
                pid: 7,
                uptime_ms: 61_000,
                state: LifeState::Starting,
                config: "lb.yaml".to_owned(),
                generation: 1,
                reload_error: None,
                details: BTreeMap::new(),
            };
            Document { info, about: Answer::Verdicts(Vec::new()), anycast: Vec::new() }
        }
    }

    async fn start() -> SocketAddr {
        let listener =
            bind(Path::new("lb.yaml"), "admin.bind", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Exposition::new(metrics::registry("healthd").unwrap(), &[], || ());
        tokio::spawn(serve(listener, router(&Arc::new(Daemon), metrics, &["/;csv"]), Arc::default(), open()));
        address
    }

    #[tokio::test]
    async fn the_paths_of_every_daemon() {
        let address = start().await;
        assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("tandem_build_info"));
        let page = get(address, "/").await;
        assert!(page.contains("content-security-policy: ") && page.contains("<!DOCTYPE html>"), "{page}");
        assert!(get(address, "/status.json").await.contains("\"daemon\":\"healthd\""));
        let ready = get(address, "/ready").await;
        assert!(
            ready.starts_with("HTTP/1.1 503") && ready.contains("the first checks are running"),
            "{ready}"
        );
        let unknown = get(address, "/metric").await;
        assert!(unknown.contains("Try one of: / /status.json /metrics /health /ready /;csv"), "{unknown}");
    }

    /// Clients that connect and then say this.
    async fn clients(address: SocketAddr, count: usize, say: &str) -> Vec<TcpStream> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(say.as_bytes()).await.unwrap();
            clients.push(stream);
        }
        clients
    }

    /// The clock stands still but when nothing else can happen: what is answered at once is answered before any timeout.
    #[tokio::test(start_paused = true)]
    async fn the_admin_side_cannot_be_shut_out_by_the_silent() {
        let address = start().await;
        let asked_at = tokio::time::Instant::now();
        let silent = clients(address, 260, "").await;
        let slow = clients(address, 260, "GET /health HTTP/1.1\r\nHost: ").await;
        assert!(get(address, "/ready").await.contains("the first checks are running"));
        assert!(get(address, "/metrics").await.contains("tandem_build_info"));
        assert!(asked_at.elapsed() < HEAD_TIMEOUT, "nobody's timeout was waited for");
        // All of them end, those that were too many at once.
        for mut stream in silent.into_iter().chain(slow) {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_admin_side_cannot_be_shut_out_by_those_who_do_not_read() {
        let listener =
            bind(Path::new("lb.yaml"), "admin.bind", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        // More than the sockets hold.
        let long = Router::new()
            .route("/long", route(|| async { "x".repeat(16 << 20) }))
            .route("/health", route(|| async { "OK\n" }));
        tokio::spawn(serve(listener, long, Arc::default(), open()));
        let asked_at = tokio::time::Instant::now();
        let request = "GET /long HTTP/1.1\r\nHost: x\r\n\r\n";
        let stuck = clients(address, ANSWERED_MAX + 8, request).await;
        assert!(get(address, "/health").await.ends_with("OK\n"));
        assert!(get(address, "/long").await.len() > 16 << 20, "a newcomer that reads is answered whole");
        assert!(asked_at.elapsed() < HEAD_TIMEOUT, "nobody's timeout was waited for");
        drop(stuck);
    }

    /// How often a family has been read.
    static READ: AtomicUsize = AtomicUsize::new(0);

    fn megabyte(text: &String) -> Samples<'_> {
        READ.fetch_add(1, Ordering::Relaxed);
        vec![(vec![text.into()], 1.0)]
    }

    #[tokio::test]
    async fn a_scrape_is_made_as_its_reader_takes_it() {
        const LARGE: &[Family<String>] =
            &[const { gauge("tandem_large", "A megabyte.", &["x"], megabyte) }; 64];
        let listener =
            bind(Path::new("lb.yaml"), "admin.bind", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Exposition::new(metrics::registry("healthd").unwrap(), LARGE, || "x".repeat(1 << 20));
        tokio::spawn(serve(listener, router(&Arc::new(Daemon), metrics, &[]), Arc::default(), open()));
        let mut reader = clients(address, 1, "GET /metrics HTTP/1.0\r\n\r\n").await.remove(0);
        // The sockets fill up, and others are answered meanwhile.
        for _ in 0..100 {
            assert!(get(address, "/health").await.ends_with("OK\n"));
        }
        assert!((1..64).contains(&READ.load(Ordering::Relaxed)), "{READ:?}");
        let mut all = String::new();
        reader.read_to_string(&mut all).await.unwrap();
        assert!(all.len() > 64 << 20 && READ.load(Ordering::Relaxed) == 64);
    }

    #[tokio::test]
    async fn a_crowd_that_asks_at_once_is_answered_whole() {
        let address = start().await;
        let crowd: Vec<_> = (0..300).map(|_| tokio::spawn(get(address, "/metrics"))).collect();
        for answer in crowd {
            assert!(answer.await.unwrap().contains("tandem_start_time_seconds"));
        }
    }

    #[tokio::test]
    async fn nothing_can_be_changed_here() {
        let address = start().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "POST /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
}
