//! Pure readers of single values: text in, value or problem out.

mod address;
mod boolean;
mod bytes;
mod http;
mod name;
mod quantity;

pub(crate) use address::{host_name, listen_address, name_server, server_address};
pub(crate) use boolean::boolean;
pub(crate) use bytes::{hex, wanted};
pub(crate) use http::{expected_status, field_name, field_value, host, method, path, token};
pub(crate) use name::name;
pub(crate) use quantity::{duration, number, percentage, show_duration, show_size, size};

use crate::read::quoted;

/// Why a text is not the value that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Nothing more can be said than what was expected.
    Unexpected,
    /// The reason, or the advice.
    Because(String),
    /// It is none of these words, but perhaps near one of them.
    NoneOf {
        /// The text.
        word: String,
        /// The words.
        words: Vec<&'static str>,
    },
}

impl Problem {
    /// A reason, or an advice.
    pub(crate) fn because<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Because(reason.into()))
    }

    /// The text that was probably meant.
    pub(crate) fn meant<T>(better: impl std::fmt::Display) -> Result<T, Self> {
        Err(Self::Because(format!("did you mean {}?", quoted(&better.to_string()))))
    }
}
