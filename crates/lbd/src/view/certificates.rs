//! The certificates that listeners present, and until when.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use wire::human;

const DAY: i64 = 24 * 60 * 60;

/// A certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// The frontend.
    pub frontend: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The file that it is from.
    pub file: String,
    /// Whom it is for.
    pub names: Vec<String>,
    /// Who has signed it.
    pub issuer: String,
    /// What its key is.
    pub key: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
    /// From when on it is told that it ends, in seconds since 1970.
    pub soon_from: i64,
    /// Until when its OCSP staple counts, in seconds since 1970, if one is presented with it.
    pub staple: Option<i64>,
}

/// What the time says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not valid yet.
    Early,
    /// It is not valid any more.
    Over,
    /// It ends within so many days.
    Soon(i64),
    /// It has as many days left as it should.
    Good(i64),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early => f.write_str("not valid yet"),
            Self::Over => f.write_str("expired"),
            Self::Soon(0) | Self::Good(0) => f.write_str("less than a day left"),
            Self::Soon(1) | Self::Good(1) => f.write_str("1 day left"),
            Self::Soon(days) | Self::Good(days) => {
                write!(f, "{} days left", human::count(days.unsigned_abs()))
            }
        }
    }
}

impl CertificateRow {
    /// What a moment in seconds since 1970 says of it.
    pub fn standing(&self, now: i64) -> Standing {
        match self.days(now) {
            _ if self.not_before > now => Standing::Early,
            ..0 => Standing::Over,
            days if self.soon_from < now => Standing::Soon(days),
            days => Standing::Good(days),
        }
    }

    /// How many whole days are left to it.
    fn days(&self, now: i64) -> i64 {
        days(self.not_after, now)
    }

    /// Whether it is presented by the same frontend, perhaps elsewhere.
    pub fn is_the_same(&self, other: &Self) -> bool {
        (&self.frontend, &self.file, self.not_after) == (&other.frontend, &other.file, other.not_after)
    }
}

fn days(end: i64, now: i64) -> i64 {
    end.saturating_sub(now).div_euclid(DAY)
}

/// TLS handshakes of a frontend, or with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeRow {
    /// The frontend or backend.
    pub proxy: String,
    /// The server, if it is with one.
    pub server: Option<String>,
    /// With everything that belongs to it.
    pub full: u64,
    /// Of sessions that went on.
    pub resumed: u64,
    /// Those of either that agreed on TLS 1.2, and on TLS 1.3.
    pub versions: [(&'static str, u64); 2],
    /// Without success.
    pub failed: u64,
}

/// `show certificates [FRONTEND]`: one line for each, the one that ends first at the top. `now` is in seconds since 1970.
pub fn show_certificates(rows: &[CertificateRow], frontend: Option<&str>, now: i64) -> String {
    let mut rows: Vec<_> =
        rows.iter().filter(|row| frontend.is_none_or(|name| name == row.frontend)).collect();
    rows.sort_by_key(|row| row.not_after);
    let mut text = String::from("# frontend address days staple names key file\n");
    for row in rows {
        let left = row.days(now);
        let staple = row.staple.map_or_else(|| "-".to_owned(), |end| days(end, now).to_string());
        let key = row.key.replace(' ', "-");
        let names = if row.names.is_empty() { "-".to_owned() } else { row.names.join(",") };
        _ = writeln!(text, "{} {} {left} {staple} {names} {key} {}", row.frontend, row.address, row.file);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_first_stands_at_the_top() {
        let row = |file: &str, not_after, staple| CertificateRow {
            frontend: "web".into(),
            address: ([0, 0, 0, 0], 443).into(),
            file: file.into(),
            names: vec!["app.example".into(), "*.app.example".into()],
            issuer: "CN=an authority".into(),
            key: "ECDSA P-256".into(),
            not_before: 0,
            not_after,
            soon_from: not_after - 5 * DAY,
            staple,
        };
        let rows = [
            row("/etc/tandem/later.pem", 1_000_000, Some(600_000)),
            row("/etc/tandem/over.pem", 399_999, None),
        ];
        let expected = "# frontend address days staple names key file\n\
            web 0.0.0.0:443 -1 - app.example,*.app.example ECDSA-P-256 /etc/tandem/over.pem\n\
            web 0.0.0.0:443 6 2 app.example,*.app.example ECDSA-P-256 /etc/tandem/later.pem\n";
        assert_eq!(show_certificates(&rows, Some("web"), 400_000), expected);
        assert_eq!(show_certificates(&rows, Some("api"), 400_000).lines().count(), 1);
        let standings =
            [-1, 0, 400_000, 568_001, 999_999, 1_000_001].map(|now| rows[0].standing(now).to_string());
        assert_eq!(
            standings,
            [
                "not valid yet",
                "11 days left",
                "6 days left",
                "4 days left",
                "less than a day left",
                "expired"
            ]
        );
        let is_soon = |now| matches!(rows[0].standing(now), Standing::Soon(_));
        assert!(!is_soon(568_000) && is_soon(568_001));
    }
}
