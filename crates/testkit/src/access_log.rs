//! lbd's access log in HAProxy's `httplog` format, line by line.

use crate::Stack;
use crate::wait::wait_for;

/// One line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The client's address and port.
    pub client: String,
    /// When the request had arrived, as the log writes it.
    pub date: String,
    /// The server's name, `<NOSRV>` if there was none.
    pub server: String,
    /// Milliseconds from the head's first byte to the response's last.
    pub total_ms: u64,
    /// The status sent to the client; 0 where nobody listened any more.
    pub status: u16,
    /// How it ended: HAProxy's two letters.
    pub termination: String,
    /// The request's target, or what stood in its place.
    pub target: String,
}

impl LogLine {
    /// Reads a line; none if it is something else.
    pub fn parse(line: &str) -> Option<Self> {
        // client [date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - tsc a/f/b/s/r sq/bq "request"
        let words: Vec<_> = line.splitn(12, ' ').collect();
        let &[client, date, _, service, times, status, _, _, _, termination, _, rest] = words.as_slice()
        else {
            return None;
        };
        let (_, request) = rest.split_once('"')?;
        Some(Self {
            client: client.to_owned(),
            date: date.trim_matches(['[', ']']).to_owned(),
            server: service.split_once('/')?.1.to_owned(),
            total_ms: times.rsplit('/').next()?.trim_start_matches('+').parse().ok()?,
            status: status.parse().ok().or((status == "-1").then_some(0))?,
            termination: termination.get(..2)?.to_owned(),
            target: request.split(' ').nth(1).unwrap_or_default().trim_end_matches('"').to_owned(),
        })
    }
}

impl Stack {
    /// Waits until lbd's access log has `count` lines that are of interest, and returns those: it is written in batches.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn log_lines(&self, count: usize, of_interest: impl Fn(&LogLine) -> bool) -> Vec<LogLine> {
        wait_for(&format!("{count} lines of access log"), || {
            let log = self.lbd.stdout();
            let lines: Vec<_> = log.lines().filter_map(LogLine::parse).filter(&of_interest).collect();
            (lines.len() >= count).then_some(lines)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = "127.0.0.1:40000 [26/Nov/2026:21:00:00.123] web app/s1 0/0/1/2/345 200 678 - - SD-- 1/1/1/1/0 0/0 \
                    \"GET /some?query HTTP/1.1\"";
        let read = LogLine::parse(line).unwrap();
        assert_eq!((read.server.as_str(), read.total_ms, read.status), ("s1", 345, 200));
        assert_eq!((read.termination.as_str(), read.target.as_str()), ("SD", "/some?query"));
        assert_eq!(LogLine::parse("something else"), None);
    }
}
