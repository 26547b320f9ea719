//! The access log: lines in HAProxy's `httplog` and `tcplog` formats or in JSON, collected by each worker and written by one thread.
//!
//! A worker appends to a buffer of its own and hands it over when it is full or a tick has passed. When standard output is
//! slower than the traffic, whole buffers are dropped and counted: the log never holds up a request.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::AccessLog as Format;
use time::OffsetDateTime;

use crate::shared::tls::Agreed;

/// A buffer of this size is handed to the writer.
const BATCH: usize = 32 * 1024;
/// Batches that may wait for the writer, for all workers together.
const BACKLOG: usize = 64;
/// Bytes of a request line that are kept for the log.
pub const REQUEST_LINE_MAX: usize = 1024;

/// Starts the thread that writes batches to standard output. It ends when every sender is gone.
///
/// # Errors
/// When the thread cannot be started.
pub fn start_writer() -> std::io::Result<(Sink, JoinHandle<()>)> {
    let (sender, batches) = sync_channel(BACKLOG);
    let thread = std::thread::Builder::new().name("access-log".into()).spawn(move || write_all(&batches))?;
    Ok((Sink(sender), thread))
}

fn write_all(batches: &Receiver<Batch>) {
    while let Ok(batch) = batches.recv() {
        // Nobody reads a closed standard output: then there is nothing to log to, and nothing to tell it to.
        let _ = std::io::stdout().write_all(&batch.text);
    }
}

/// Where batches go.
#[derive(Clone, Debug)]
pub struct Sink(SyncSender<Batch>);

#[derive(Debug)]
struct Batch {
    text: Vec<u8>,
}

/// One finished request, or session.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The client.
    pub client: SocketAddr,
    /// The same as text.
    pub client_text: &'a str,
    /// When the request's head had arrived.
    pub received: SystemTime,
    /// The frontend.
    pub frontend: &'a str,
    /// What the client's handshake has agreed on, if it speaks TLS.
    pub tls: Option<Agreed>,
    /// The backend.
    pub backend: &'a str,
    /// The last server tried.
    pub server: Option<&'a str>,
    /// Times of the request.
    pub times: Times,
    /// The status sent to the client; none if it was sent no response.
    pub status: Option<u16>,
    /// Bytes sent to the client, the head included.
    pub bytes: u64,
    /// How the session ended.
    pub termination: Termination,
    /// What became of the cookie by which the client stays with its server.
    pub cookie: CookieStates,
    /// Connections: of this worker, of its frontend; requests in flight: of its backend, of its server.
    pub concurrency: [u64; 4],
    /// Requests that had to have their turn first when it queued up.
    pub queued_behind: u64,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Whether another server than the first chosen answered.
    pub redispatched: bool,
    /// The request line as it came, or what stood in its place, cut at [`REQUEST_LINE_MAX`]; none of a session in TCP mode.
    pub request: Option<&'a [u8]>,
    /// What the request is known by, where requests are; empty if this one came to none.
    pub request_id: Option<&'a [u8]>,
}

/// Times of a request in HAProxy's terms; none where the request did not get so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// TR: from the first byte of the head to its last.
    pub request: Option<Duration>,
    /// Tw: waiting for a place at a server.
    pub queue: Option<Duration>,
    /// Tc: connecting.
    pub connect: Option<Duration>,
    /// Tr: from being connected to the response's head.
    pub response: Option<Duration>,
    /// Ta: from the head's first byte to the response's last.
    pub total: Duration,
}

/// HAProxy's two letters: who ended the session, and in which phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination(pub [u8; 2]);

impl Termination {
    /// Nobody ended it early.
    pub const NORMAL: Self = Self(*b"--");
    /// The client closed while its request was arriving.
    pub const CLIENT_IN_REQUEST: Self = Self(*b"CR");
    /// The client was too slow with its request.
    pub const CLIENT_TIMEOUT_IN_REQUEST: Self = Self(*b"cR");
    /// The client closed during the transfer.
    pub const CLIENT_IN_DATA: Self = Self(*b"CD");
    /// The client stalled during the transfer.
    pub const CLIENT_TIMEOUT_IN_DATA: Self = Self(*b"cD");
    /// The request was refused.
    pub const REFUSED_REQUEST: Self = Self(*b"PR");
    /// lbd answered the request itself, as it was told to.
    pub const LOCAL: Self = Self(*b"LR");
    /// The client left while its request waited for a place at a server.
    pub const CLIENT_IN_QUEUE: Self = Self(*b"CQ");
    /// The client left while lbd connected to a server.
    pub const CLIENT_IN_CONNECT: Self = Self(*b"CC");
    /// The client left while the server worked on its response.
    pub const CLIENT_IN_HEAD: Self = Self(*b"CH");
    /// The request waited for too long for a place at a server, or too many waited already.
    pub const TIMEOUT_IN_QUEUE: Self = Self(*b"sQ");
    /// No server to connect to, or none that could be connected to.
    pub const SERVER_IN_CONNECT: Self = Self(*b"SC");
    /// This host lacked what it takes to connect to a server.
    pub const SHORTAGE_IN_CONNECT: Self = Self(*b"RC");
    /// Connecting took too long.
    pub const SERVER_TIMEOUT_IN_CONNECT: Self = Self(*b"sC");
    /// The server closed before its response's head was complete.
    pub const SERVER_IN_HEAD: Self = Self(*b"SH");
    /// The server's response did not come in time.
    pub const SERVER_TIMEOUT_IN_HEAD: Self = Self(*b"sH");
    /// The response was refused as malformed.
    pub const REFUSED_RESPONSE: Self = Self(*b"PH");
    /// The server broke off the transfer.
    pub const SERVER_IN_DATA: Self = Self(*b"SD");
    /// The session was closed because its server went down.
    pub const SERVER_DOWN: Self = Self(*b"DD");
    /// The session was closed because its backup server was not needed any more.
    pub const BACKUP_RELIEVED: Self = Self(*b"UD");
    /// An operator ended it before the server had begun to answer.
    pub const KILLED_IN_HEAD: Self = Self(*b"KH");
    /// An operator ended it.
    pub const KILLED_IN_DATA: Self = Self(*b"KD");
    /// The server stalled during the transfer.
    pub const SERVER_TIMEOUT_IN_DATA: Self = Self(*b"sD");

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("--")
    }
}

/// HAProxy's two letters behind [`Termination`]'s: what the request's cookie said of its server (N: there was none; V: it was
/// right; D: its server was dead, or could not be reached; I: nobody knows it; E: it was idle for too long; O: it is too old), and
/// what the response did (N: nothing; I: it set one; U: it renewed its date).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieStates(pub [u8; 2]);

impl CookieStates {
    /// Clients do not stay with their servers.
    pub const NONE: Self = Self(*b"--");

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("--")
    }
}

/// One worker's end of the log.
#[derive(Debug)]
pub struct AccessLog {
    sink: Sink,
    text: Vec<u8>,
    lines: u64,
    second: i64,
    date: String,
}

impl AccessLog {
    /// A log that hands its batches to `sink`.
    pub fn new(sink: Sink) -> Self {
        Self { sink, text: Vec::with_capacity(BATCH + 4096), lines: 0, second: i64::MIN, date: String::new() }
    }

    /// Appends a line. Returns how many lines had to be dropped, if the batch was full and nobody took it.
    pub fn append(&mut self, format: Format, record: &Record<'_>) -> u64 {
        match format {
            Format::Off => return 0,
            Format::Httplog => self.append_httplog(record),
            Format::Tcplog => self.append_tcplog(record),
            Format::Json => self.append_json(record),
        }
        self.lines += 1;
        if self.text.len() >= BATCH { self.flush() } else { 0 }
    }

    /// Whether nothing waits to be handed over.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Hands over what has been collected. Returns how many lines had to be dropped.
    pub fn flush(&mut self) -> u64 {
        if self.text.is_empty() {
            return 0;
        }
        let lines = std::mem::take(&mut self.lines);
        let text = std::mem::replace(&mut self.text, Vec::with_capacity(BATCH + 4096));
        match self.sink.0.try_send(Batch { text }) {
            Ok(()) => 0,
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                self.text = batch.text;
                self.text.clear();
                lines
            }
        }
    }

    /// Put together by hand: the formatting of `write!` would be a tenth of what lbd itself does for a request.
    fn append_httplog(&mut self, record: &Record<'_>) {
        let (second, millis) = split(record.received);
        self.set_date(second);
        let times = &record.times;
        let total = u64::try_from(times.total.as_millis()).unwrap_or(u64::MAX);
        let [all, front, back, server] = record.concurrency;
        let mut line = Line(&mut self.text);
        line.text(record.client_text).text(" [").text(&self.date).text(".").three_digits(millis).text("] ");
        line.text(record.frontend).text(tls_mark(record)).text(record.backend).text("/");
        line.text(record.server.unwrap_or("<NOSRV>")).text(" ").number(ms(times.request)).text("/");
        line.number(ms(times.queue)).text("/").number(ms(times.connect)).text("/");
        line.number(ms(times.response)).text("/").number(total).text(" ");
        line.number(status(record)).text(" ").number(record.bytes).text(" - - ");
        line.text(record.termination.as_str())
            .text(record.cookie.as_str())
            .text(" ")
            .number(all)
            .text("/")
            .number(front)
            .text("/");
        line.number(back).text("/").number(server).text("/");
        line.text(if record.redispatched { "+" } else { "" }).number(record.retries).text(" 0/");
        line.number(record.queued_behind);
        if let Some(id) = record.request_id {
            // Where HAProxy has a field of the request that is captured.
            line.text(" {");
            escape_into(id, &mut self.text);
            self.text.push(b'}');
        }
        self.text.extend_from_slice(b" \"");
        escape_into(record.request.unwrap_or_default(), &mut self.text);
        self.text.extend_from_slice(b"\"\n");
    }

    fn append_tcplog(&mut self, record: &Record<'_>) {
        let (second, millis) = split(record.received);
        self.set_date(second);
        let times = &record.times;
        let [all, front, back, server] = record.concurrency;
        let mut line = Line(&mut self.text);
        line.text(record.client_text).text(" [").text(&self.date).text(".").three_digits(millis).text("] ");
        line.text(record.frontend).text(tls_mark(record)).text(record.backend).text("/");
        line.text(record.server.unwrap_or("<NOSRV>")).text(" ").number(ms(times.queue)).text("/");
        line.number(ms(times.connect)).text("/").number(ms(Some(times.total))).text(" ").number(record.bytes);
        line.text(" ")
            .text(record.termination.as_str())
            .text(" ")
            .number(all)
            .text("/")
            .number(front)
            .text("/");
        line.number(back).text("/").number(server).text("/");
        line.text(if record.redispatched { "+" } else { "" }).number(record.retries).text(" 0/");
        line.number(record.queued_behind).text("\n");
    }

    fn append_json(&mut self, record: &Record<'_>) {
        let (second, millis) = split(record.received);
        let date = utc(second);
        let times = &record.times;
        let mut line = serde_json::json!({
            "time": format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}Z",
                date.year(), u8::from(date.month()), date.day(), date.hour(), date.minute(), date.second()
            ),
            "client": record.client.ip().to_canonical(),
            "client_port": record.client.port(),
            "frontend": record.frontend,
            "backend": record.backend,
            "server": record.server,
            "bytes": record.bytes,
            "queue_ms": ms(times.queue),
            "connect_ms": ms(times.connect),
            "total_ms": u64::try_from(times.total.as_millis()).unwrap_or(u64::MAX),
            "termination": record.termination.as_str(),
            "retries": record.retries,
            "redispatched": record.redispatched,
            "queued_behind": record.queued_behind,
        });
        if let Some(tls) = record.tls {
            line["tls_version"] = tls.version().into();
            line["tls_cipher"] = tls.cipher().into();
        }
        if let Some(request) = record.request {
            line["request"] = String::from_utf8_lossy(request).into();
            line["status"] = status(record).into();
            line["request_ms"] = ms(times.request).into();
            line["response_ms"] = ms(times.response).into();
            line["cookie"] = record.cookie.as_str().into();
        }
        if let Some(id) = record.request_id.filter(|id| !id.is_empty()) {
            line["request_id"] = String::from_utf8_lossy(id).into();
        }
        let _ = writeln!(self.text, "{line}");
    }

    /// The date changes once a second; formatting it costs more than the rest of a line.
    fn set_date(&mut self, second: i64) {
        if self.second == second {
            return;
        }
        let date = utc(second);
        self.second = second;
        self.date = format!(
            "{:02}/{}/{}:{:02}:{:02}:{:02}",
            date.day(),
            MONTHS[usize::from(u8::from(date.month()) - 1)],
            date.year(),
            date.hour(),
            date.minute(),
            date.second()
        );
    }
}

/// A line that is being put together.
struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }

    fn three_digits(&mut self, number: u32) -> &mut Self {
        let zeros = match number {
            0..10 => "00",
            10..100 => "0",
            _ => "",
        };
        self.text(zeros).number(number)
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn utc(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Seconds since 1970 and milliseconds beyond them.
fn split(time: SystemTime) -> (i64, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_millis())
}

/// What stands between frontend and backend: HAProxy marks frontends whose client speaks TLS.
fn tls_mark(record: &Record<'_>) -> &'static str {
    if record.tls.is_some() { "~ " } else { " " }
}

/// The status, or -1 as in HAProxy where there was no response.
fn status(record: &Record<'_>) -> i32 {
    record.status.map_or(-1, i32::from)
}

/// Milliseconds, or -1 for a phase that was not reached.
fn ms(time: Option<Duration>) -> i64 {
    time.map_or(-1, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// Bytes that could break a line out of its quotes become `#XX`, as in HAProxy.
fn escape_into(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        if matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'#') {
            out.push(*byte);
        } else {
            let _ = write!(out, "#{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, ProtocolVersion};

    use super::*;

    fn record(request: &[u8]) -> Record<'_> {
        Record {
            client: "192.0.2.7:5123".parse().unwrap(),
            client_text: "192.0.2.7:5123",
            received: UNIX_EPOCH + Duration::from_millis(1_795_433_100_042),
            frontend: "web",
            tls: None,
            backend: "nginx",
            server: Some("nginx2"),
            times: Times {
                request: Some(Duration::from_millis(1)),
                queue: Some(Duration::from_millis(6)),
                connect: Some(Duration::ZERO),
                response: None,
                total: Duration::from_millis(12),
            },
            status: Some(200),
            bytes: 345,
            termination: Termination::NORMAL,
            cookie: CookieStates(*b"VN"),
            concurrency: [4, 3, 2, 1],
            queued_behind: 5,
            retries: 1,
            redispatched: true,
            request: Some(request),
            request_id: None,
        }
    }

    fn line(format: Format, record: &Record<'_>) -> String {
        let (sender, batches) = sync_channel(1);
        let mut log = AccessLog::new(Sink(sender));
        log.append(format, record);
        assert_eq!(log.flush(), 0);
        String::from_utf8(batches.recv().unwrap().text).unwrap()
    }

    #[test]
    fn httplog_has_haproxys_fields() {
        assert_eq!(
            line(Format::Httplog, &record(b"GET /a\"b\x01 HTTP/1.1")),
            "192.0.2.7:5123 [23/Nov/2026:11:25:00.042] web nginx/nginx2 1/6/0/-1/12 200 345 - - --VN 4/3/2/1/+1 0/5 \
             \"GET /a#22b#01 HTTP/1.1\"\n"
        );
    }

    #[test]
    fn tls_is_marked_as_haproxy_does_and_told_in_json() {
        let agreed = Agreed::new(ProtocolVersion::TLSv1_3, CipherSuite::TLS13_AES_256_GCM_SHA384);
        let record = Record { tls: Some(agreed), ..record(b"GET / HTTP/1.1") };
        for format in [Format::Httplog, Format::Tcplog] {
            assert!(line(format, &record).contains("] web~ nginx/nginx2 "));
        }
        let value: serde_json::Value = serde_json::from_str(&line(Format::Json, &record)).unwrap();
        assert_eq!(
            (&value["tls_version"], &value["tls_cipher"], &value["frontend"]),
            (&"TLSv1.3".into(), &"TLS_AES_256_GCM_SHA384".into(), &"web".into())
        );
    }

    #[test]
    fn a_request_is_called_by_its_name() {
        let named = Record { request_id: Some(b"a-1"), ..record(b"GET / HTTP/1.1") };
        assert!(line(Format::Httplog, &named).ends_with(" 0/5 {a-1} \"GET / HTTP/1.1\"\n"));
        let value: serde_json::Value = serde_json::from_str(&line(Format::Json, &named)).unwrap();
        assert_eq!(value["request_id"], "a-1");
        let nameless = Record { request_id: Some(b""), ..named };
        assert!(line(Format::Httplog, &nameless).contains(" 0/5 {} \""));
        let value: serde_json::Value = serde_json::from_str(&line(Format::Json, &nameless)).unwrap();
        assert_eq!(value.get("request_id"), None);
    }

    #[test]
    fn tcplog_has_haproxys_fields() {
        let session = Record { request: None, status: None, ..record(b"") };
        assert_eq!(
            line(Format::Tcplog, &session),
            "192.0.2.7:5123 [23/Nov/2026:11:25:00.042] web nginx/nginx2 6/0/12 345 -- 4/3/2/1/+1 0/5\n"
        );
        let value: serde_json::Value = serde_json::from_str(&line(Format::Json, &session)).unwrap();
        assert_eq!((value["total_ms"].as_u64(), value.get("status")), (Some(12), None));
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = line(Format::Json, &record(b"GET /\xff\n HTTP/1.1"));
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "2026-11-23T11:25:00.042Z");
        assert_eq!(value["response_ms"], -1);
        assert_eq!((value["server"].as_str(), value["cookie"].as_str()), (Some("nginx2"), Some("VN")));
    }

    #[test]
    fn a_slow_reader_costs_lines_and_no_waiting() {
        let (sender, _batches) = sync_channel(1);
        let mut log = AccessLog::new(Sink(sender));
        let record = record(b"GET / HTTP/1.1");
        log.append(Format::Httplog, &record);
        assert_eq!(log.flush(), 0);
        log.append(Format::Httplog, &record);
        log.append(Format::Httplog, &record);
        assert_eq!(log.flush(), 2);
    }
}
