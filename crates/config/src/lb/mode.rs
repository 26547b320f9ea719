//! The keys that a mode has no use for.

use crate::Mode;

/// Of a frontend.
pub(crate) const fn useless_to_frontend(mode: Mode) -> &'static [&'static [&'static str]] {
    match mode {
        Mode::Http => &[&["timeouts", "client_fin"], &["timeouts", "client_hello"]],
        Mode::Tcp => &[
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
        Mode::Http => &[&["timeouts", "server_fin"], &["on_down"], &["on_up"]],
        Mode::Tcp => &[&["timeouts", "keep_alive"], &["abort_on_close"], &["request"], &["response"]],
    }
}
