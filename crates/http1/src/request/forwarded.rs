//! Where a request is from, as servers are told.

use super::RequestHead;
use super::write::Forward;
use crate::bytes::{is_token, trim};
use crate::edits::Kind;

/// What becomes of what the client sent about where the request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFor {
    /// The client's address is appended to what the client sent.
    Append,
    /// What the client sent is removed first, with everything else that claims to tell where a request is from:
    /// `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, and the same spelled with underscores.
    Replace,
    /// Nothing is added or changed.
    Off,
}

/// A field that tells servers where a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`: the client's address, after what it sent.
    For,
    /// `X-Forwarded-Proto`: the scheme.
    Proto,
    /// `X-Forwarded-Host`: the host that was asked for.
    Host,
    /// `X-Forwarded-Port`: the port that the client connected to.
    Port,
    /// `X-Real-IP`: the client's address.
    RealIp,
    /// `Forwarded` (RFC 7239): address, host and scheme, after what the client sent.
    Forwarded,
}

impl ForwardedField {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 6] =
        [Self::For, Self::Proto, Self::Host, Self::Port, Self::RealIp, Self::Forwarded];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::For => "X-Forwarded-For",
            Self::Proto => "X-Forwarded-Proto",
            Self::Host => "X-Forwarded-Host",
            Self::Port => "X-Forwarded-Port",
            Self::RealIp => "X-Real-IP",
            Self::Forwarded => "Forwarded",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of such fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedFields(u8);

impl ForwardedFields {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub const USUAL: Self = Self(ForwardedField::For.bit() | ForwardedField::Proto.bit());

    /// Whether a field is one of them.
    pub const fn has(self, field: ForwardedField) -> bool {
        self.0 & field.bit() != 0
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = ForwardedField> {
        ForwardedField::ALL.into_iter().filter(move |field| self.has(*field))
    }
}

impl FromIterator<ForwardedField> for ForwardedFields {
    fn from_iter<I: IntoIterator<Item = ForwardedField>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |set, field| set | field.bit()))
    }
}

impl Forward<'_> {
    /// Whether what the client sent in such a field goes, or moves into one of ours.
    pub(super) fn replaces(&self, field: Option<ForwardedField>) -> bool {
        match self.forwarded_for {
            ForwardedFor::Append => field.is_some_and(|field| self.forwarded.has(field)),
            ForwardedFor::Replace => true,
            ForwardedFor::Off => false,
        }
    }
}

impl RequestHead {
    /// Appends the fields that tell where the request is from.
    pub(super) fn write_forwarded(&self, buf: &[u8], forward: &Forward<'_>, out: &mut Vec<u8>) {
        if forward.forwarded_for == ForwardedFor::Off {
            return;
        }
        let host = self.host.map(|host| host.of(buf));
        for field in forward.forwarded.iter() {
            if field == ForwardedField::Host && host.is_none() {
                continue;
            }
            out.extend_from_slice(field.name().as_bytes());
            out.extend_from_slice(b": ");
            match field {
                ForwardedField::For => {
                    self.write_elements(buf, forward, field, out);
                    out.extend_from_slice(forward.client.as_bytes());
                }
                ForwardedField::Proto => out.extend_from_slice(forward.proto.as_bytes()),
                ForwardedField::Host => out.extend_from_slice(host.unwrap_or_default()),
                ForwardedField::Port => push_number(forward.port, out),
                ForwardedField::RealIp => out.extend_from_slice(forward.client.as_bytes()),
                ForwardedField::Forwarded => {
                    self.write_elements(buf, forward, field, out);
                    push_element(forward, host, out);
                }
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Appends the elements that the client sent, of all fields in one, each with the comma that follows it: a server
    /// that looks at one field alone must see ours too.
    fn write_elements(&self, buf: &[u8], forward: &Forward<'_>, field: ForwardedField, out: &mut Vec<u8>) {
        if forward.forwarded_for != ForwardedFor::Append {
            return;
        }
        for edit in self.edits.iter().filter(|edit| edit.kind == Kind::Forwarded(Some(field))) {
            let value =
                edit.lines.of(buf).get(field.name().len() + 1..).and_then(|line| line.strip_suffix(b"\r\n"));
            let value = trim(value.unwrap_or_default());
            if !value.is_empty() {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
    }
}

// RFC 7239 section 6: "Note that an IPv6 address is always enclosed in square brackets"
/// Appends an element of Forwarded (RFC 7239 section 4).
fn push_element(forward: &Forward<'_>, host: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"for=");
    if forward.client.contains(':') {
        out.extend_from_slice(b"\"[");
        out.extend_from_slice(forward.client.as_bytes());
        out.extend_from_slice(b"]\"");
    } else {
        out.extend_from_slice(forward.client.as_bytes());
    }
    if let Some(host) = host {
        out.extend_from_slice(b";host=");
        // No host has a quote or a backslash.
        let quote: &[u8] = if is_token(host) { b"" } else { b"\"" };
        out.extend_from_slice(quote);
        out.extend_from_slice(host);
        out.extend_from_slice(quote);
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(forward.proto.as_bytes());
}

/// Appends a number in decimal digits.
fn push_number(number: u16, out: &mut Vec<u8>) {
    let mut unit = 10_000;
    while unit > number.max(1) {
        unit /= 10;
    }
    while unit > 0 {
        out.push(b'0' + u8::try_from(number / unit % 10).unwrap_or_default());
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_digits() {
        for number in [0, 7, 80, 443, 8080, 65535] {
            let mut out = Vec::new();
            push_number(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
