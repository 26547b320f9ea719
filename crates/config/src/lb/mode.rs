//! The mode of frontends and backends, and the keys that it has no use for.

use crate::Mode;
use crate::read::Section;

/// The mode; none where another word stands there: then nothing else is wrong for its sake.
pub(super) fn read(s: &mut Section<'_>) -> Option<Mode> {
    let modes = [Mode::Http, Mode::Tcp].map(|mode| (mode.word(), mode));
    let mode = s.word_given("mode", Mode::Http.word(), &modes);
    if s.has(&["mode"]) { mode } else { Some(Mode::Http) }
}

/// Of a frontend.
pub(crate) const fn useless_to_frontend(mode: Mode) -> &'static [&'static [&'static str]] {
    match mode {
        Mode::Http => &[&["timeouts", "client_fin"], &["timeouts", "client_hello"]],
        Mode::Tcp => &[
            &["http2"],
            &["errors"],
            &["limits"],
            &["forwarded_for"],
            &["forwarded"],
            &["request_id"],
            &["request"],
            &["response"],
            &["timeouts", "request_head"],
            &["timeouts", "keep_alive"],
        ],
    }
}

/// Of a backend.
pub(crate) const fn useless_to_backend(mode: Mode) -> &'static [&'static [&'static str]] {
    match mode {
        Mode::Http => &[&["timeouts", "server_fin"], &["on_down"], &["on_up"], &["tls", "alpn"]],
        Mode::Tcp => &[&["timeouts", "keep_alive"], &["abort_on_close"], &["request"], &["response"]],
    }
}
