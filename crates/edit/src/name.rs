//! The names of fields that may be edited.

use http1::{FRAMING_FIELDS, field_starts_with, is_same_field};

/// The name of a field that may be edited: a token (RFC 9110 section 5.1), and none that frames messages.
///
/// Two names are of one field in any case and with an underscore for a dash, as servers that hand fields over as variables of the
/// environment read them: what is set here must not stand beside a value that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(String);

/// Why a field cannot be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no token.
    #[error("is no field name; a field name has letters, digits and \"-\"")]
    NoToken,
    /// It frames messages, or is between neighbours only.
    #[error("cannot be edited: it says where a message ends, or is about one connection alone")]
    Framing,
    /// Each request has one.
    #[error("can only be set, in requests and without placeholders: each request has one host")]
    Host,
    /// Such names are too many.
    #[error("would remove {0}, which cannot be edited")]
    Takes(&'static str),
}

impl FieldName {
    /// Reads a name.
    ///
    /// # Errors
    /// Why the field cannot be edited.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if !is_token(text) {
            return Err(NameError::NoToken);
        }
        let new = Self(text.to_owned());
        match () {
            () if FRAMING_FIELDS.iter().any(|field| new.is(field.as_bytes())) => Err(NameError::Framing),
            () if new.is(b"host") => Err(NameError::Host),
            () => Ok(new),
        }
    }

    /// It as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a name of the same field.
    pub fn is(&self, name: &[u8]) -> bool {
        is_same_field(self.0.as_bytes(), name)
    }
}

/// The names of fields to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldNames {
    /// This one.
    One(FieldName),
    /// All that start so.
    Starting(String),
}

impl FieldNames {
    /// Reads a name, or a start of names with a star behind it.
    ///
    /// # Errors
    /// Why these fields cannot be edited.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some(start) = text.strip_suffix('*').filter(|start| !start.is_empty()) else {
            return FieldName::parse(text).map(Self::One);
        };
        if !is_token(start) {
            return Err(NameError::NoToken);
        }
        let kept = FRAMING_FIELDS.iter().chain(&["host"]);
        match kept.copied().find(|field| field_starts_with(field.as_bytes(), start.as_bytes())) {
            Some(field) => Err(NameError::Takes(field)),
            None => Ok(Self::Starting(start.to_owned())),
        }
    }

    /// Whether this is one of them.
    pub fn have(&self, name: &[u8]) -> bool {
        match self {
            Self::One(one) => one.is(name),
            Self::Starting(start) => field_starts_with(name, start.as_bytes()),
        }
    }
}

/// As it is read.
impl std::fmt::Display for FieldNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(one) => f.write_str(one.as_str()),
            Self::Starting(start) => write!(f, "{start}*"),
        }
    }
}

fn is_token(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_messages_has_no_name_here() {
        for name in [
            "Content-Length",
            "transfer_encoding",
            "CONNECTION",
            "TE",
            "Keep-Alive",
            "HTTP2-Settings",
            "Trailer",
        ] {
            assert_eq!(FieldName::parse(name), Err(NameError::Framing), "{name}");
        }
        assert_eq!(FieldName::parse("host"), Err(NameError::Host));
        for name in ["", "a b", "a:", "X\r\nY", "\u{e4}"] {
            assert_eq!(FieldName::parse(name), Err(NameError::NoToken), "{name:?}");
        }
        assert_eq!(FieldNames::parse("Content-*"), Err(NameError::Takes("content-length")));
        assert_eq!(FieldNames::parse("t*"), Err(NameError::Takes("te")));
        assert_eq!(FieldNames::parse("Ho*"), Err(NameError::Takes("host")));
        assert_eq!(FieldNames::parse(" *"), Err(NameError::NoToken));
    }

    #[test]
    fn one_field_has_several_spellings() {
        let names = FieldNames::parse("X-Debug-*").unwrap();
        assert!(names.have(b"x_debug_level") && names.have(b"X-Debug-") && !names.have(b"X-Debug"));
        let name = FieldName::parse("X-Real-IP").unwrap();
        assert!(name.is(b"x_real-ip") && !name.is(b"x-real-i"));
    }
}
