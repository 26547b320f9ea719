//! The certificates that listeners present, and until when.

use std::fmt::Write;
use std::net::SocketAddr;

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
    /// What its key is.
    pub key: String,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
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
    let mut text = String::from("# frontend address days names key file\n");
    for row in rows {
        let days = (row.not_after - now).div_euclid(24 * 60 * 60);
        let key = row.key.replace(' ', "-");
        let names = if row.names.is_empty() { "-".to_owned() } else { row.names.join(",") };
        _ = writeln!(text, "{} {} {days} {names} {key} {}", row.frontend, row.address, row.file);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_first_stands_at_the_top() {
        let row = |file: &str, not_after| CertificateRow {
            frontend: "web".into(),
            address: ([0, 0, 0, 0], 443).into(),
            file: file.into(),
            names: vec!["app.example".into(), "*.app.example".into()],
            key: "ECDSA P-256".into(),
            not_after,
        };
        let rows = [row("/etc/tandem/later.pem", 1_000_000), row("/etc/tandem/over.pem", 399_999)];
        let expected = "# frontend address days names key file\n\
            web 0.0.0.0:443 -1 app.example,*.app.example ECDSA-P-256 /etc/tandem/over.pem\n\
            web 0.0.0.0:443 6 app.example,*.app.example ECDSA-P-256 /etc/tandem/later.pem\n";
        assert_eq!(show_certificates(&rows, Some("web"), 400_000), expected);
        assert_eq!(show_certificates(&rows, Some("api"), 400_000).lines().count(), 1);
    }
}
