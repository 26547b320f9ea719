//! Texts with placeholders.

use regex::bytes::CaptureLocations;

use crate::{Context, Refused, bounded};

/// The longest text, in bytes.
const LONGEST: usize = 4096;

/// A text with placeholders, such as `{client.ip}`. A brace that is none is doubled.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    Value(Placeholder),
    /// What a group of a pattern has found.
    Group(usize),
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The client's address.
    ClientIp,
    /// The client's port.
    ClientPort,
    /// The host that the client asked for, with its port if it gave one.
    Host,
    /// The scheme.
    Scheme,
    /// The port that the client connected to.
    Port,
    /// The request's method.
    Method,
    /// The request's path, as the client sent it.
    Path,
    /// The request's query, as the client sent it.
    Query,
    /// What the request is known by.
    RequestId,
    /// The frontend's name.
    Frontend,
    /// The backend's name.
    Backend,
    /// The server's name.
    Server,
    /// The version of TLS that the client speaks.
    TlsVersion,
    /// The cipher suite that it was agreed on with.
    TlsCipher,
    /// Whether the client has shown a certificate.
    TlsClientVerified,
    /// Whose certificate the client has shown.
    TlsClientSubject,
    /// Who has signed it.
    TlsClientIssuer,
    /// Its SHA-256.
    TlsClientFingerprint,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::ClientIp,
        Self::ClientPort,
        Self::Host,
        Self::Scheme,
        Self::Port,
        Self::Method,
        Self::Path,
        Self::Query,
        Self::RequestId,
        Self::Frontend,
        Self::Backend,
        Self::Server,
        Self::TlsVersion,
        Self::TlsCipher,
        Self::TlsClientVerified,
        Self::TlsClientSubject,
        Self::TlsClientIssuer,
        Self::TlsClientFingerprint,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientIp => "client.ip",
            Self::ClientPort => "client.port",
            Self::Host => "host",
            Self::Scheme => "scheme",
            Self::Port => "port",
            Self::Method => "method",
            Self::Path => "path",
            Self::Query => "query",
            Self::RequestId => "request.id",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Server => "server",
            Self::TlsVersion => "tls.version",
            Self::TlsCipher => "tls.cipher",
            Self::TlsClientVerified => "tls.client.verified",
            Self::TlsClientSubject => "tls.client.subject",
            Self::TlsClientIssuer => "tls.client.issuer",
            Self::TlsClientFingerprint => "tls.client.fingerprint",
        }
    }
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a field's value (RFC 9110 section 5.5).
    Field,
    /// In a path (RFC 3986 section 3.3).
    Path,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such placeholder.
    #[error("there is no placeholder {{{}}}", .0.escape_debug())]
    Unknown(String),
    /// It may hold what has no place in a path.
    #[error("{{{0}}} can stand in a field, not in a path")]
    Misplaced(&'static str),
    /// A brace opens, and does not close.
    #[error("a \"{{\" has no \"}}\"; a brace that is one is doubled: \"{{{{\"")]
    Unclosed,
    /// A brace closes that was not opened.
    #[error("a \"}}\" has no \"{{\"; a brace that is one is doubled: \"}}}}\"")]
    Unopened,
    /// The pattern has no such group.
    #[error("${wanted} is no group: the pattern has {count}")]
    NoGroup {
        /// Its number.
        wanted: usize,
        /// How many there are.
        count: usize,
    },
    /// A dollar sign that stands for nothing.
    #[error("\"$\" stands before the number of a group, from 0 to 9; one that is itself is doubled: \"$$\"")]
    Dollar,
    /// A character that has no place there.
    #[error("{0:?} cannot stand in {1}")]
    Character(char, &'static str),
    /// White space at an end.
    #[error("a field does not start or end with white space")]
    WhiteSpace,
    /// It is too long.
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
}

impl Template {
    /// Reads a text. With the number of a pattern's `groups`, `$1` stands for what the first of them has found, `$0` for all that
    /// the pattern has, and `$$` for a dollar sign.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, place: Place, groups: Option<usize>) -> Result<Self, TemplateError> {
        if text.len() > LONGEST {
            return Err(TemplateError::TooLong);
        }
        check_characters(text, place)?;
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            let doubled = after.strip_prefix(c);
            let part = match (c, doubled) {
                ('{' | '}', Some(after)) => {
                    literal.push(c);
                    rest = after;
                    continue;
                }
                ('$', Some(after)) if groups.is_some() => {
                    literal.push(c);
                    rest = after;
                    continue;
                }
                ('{', None) => {
                    let (word, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                    rest = after;
                    Part::Value(placeholder(word, place)?)
                }
                ('}', None) => return Err(TemplateError::Unopened),
                ('$', None) if groups.is_some() => {
                    let digit = after.chars().next().and_then(|digit| digit.to_digit(10));
                    rest = after.get(1..).unwrap_or_default();
                    group(digit, groups.unwrap_or_default())?
                }
                _ => {
                    literal.push(c);
                    rest = after;
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self { text: text.to_owned(), parts: parts.into() })
    }

    /// A placeholder alone.
    pub fn of(placeholder: Placeholder) -> Self {
        Self { text: format!("{{{}}}", placeholder.word()), parts: [Part::Value(placeholder)].into() }
    }

    /// It as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds a placeholder.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(value) if *value == placeholder))
    }

    /// Appends what it stands for.
    pub(crate) fn write(&self, context: &Context<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        self.write_found(context, None, out)
    }

    /// The same; `found` are the groups of what was searched, and where that begins in `out`.
    pub(crate) fn write_found(
        &self,
        context: &Context<'_>,
        found: Option<(&CaptureLocations, usize)>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(placeholder) => out.extend_from_slice(context.value(*placeholder)),
                // A group that took no part has found nothing.
                Part::Group(number) => {
                    if let Some((groups, base)) = found
                        && let Some((start, end)) = groups.get(*number)
                    {
                        out.extend_from_within(base + start..base + end);
                    }
                }
            }
            bounded(out)?;
        }
        Ok(())
    }
}

/// What it means follows from the text.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn check_characters(text: &str, place: Place) -> Result<(), TemplateError> {
    let wrong = |c: char| match place {
        Place::Field => !c.is_ascii_graphic() && c != ' ' && c != '\t',
        Place::Path => !c.is_ascii_graphic() || c == '?' || c == '#',
    };
    match (text.chars().find(|c| wrong(*c)), place) {
        (Some(c), Place::Field) => Err(TemplateError::Character(c, "a field")),
        (Some(c), Place::Path) => Err(TemplateError::Character(c, "a path")),
        (None, Place::Field) if text.trim() != text => Err(TemplateError::WhiteSpace),
        (None, _) => Ok(()),
    }
}

fn placeholder(word: &str, place: Place) -> Result<Placeholder, TemplateError> {
    let found = Placeholder::ALL.into_iter().find(|one| one.word() == word);
    let found = found.ok_or_else(|| TemplateError::Unknown(word.to_owned()))?;
    // These may have characters that end a path.
    let breaks = matches!(
        found,
        Placeholder::Method
            | Placeholder::Query
            | Placeholder::RequestId
            | Placeholder::TlsClientSubject
            | Placeholder::TlsClientIssuer
    );
    if place == Place::Path && breaks { Err(TemplateError::Misplaced(found.word())) } else { Ok(found) }
}

fn group(digit: Option<u32>, count: usize) -> Result<Part, TemplateError> {
    let wanted = digit.and_then(|digit| usize::try_from(digit).ok()).ok_or(TemplateError::Dollar)?;
    if wanted > count { Err(TemplateError::NoGroup { wanted, count }) } else { Ok(Part::Group(wanted)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tls, TlsClient};

    fn written(text: &str) -> String {
        let request = b"GET /a/b?c=d&e HTTP/1.1\r\nX: y\r\nhost:  a.example:81 \r\n\r\n";
        let context = Context { client_ip: "192.0.2.1", server: "s1", ..Context::of(request) };
        let mut out = Vec::new();
        Template::parse(text, Place::Field, None).unwrap().write(&context, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn placeholders_stand_for_what_is_known() {
        assert_eq!(written("{client.ip} by {server}"), "192.0.2.1 by s1");
        assert_eq!(written("{method} {scheme}://{host}{path}?{query}"), "GET http://a.example:81/a/b?c=d&e");
        assert_eq!(written("{{client.ip}} $1 $$ }}{{"), "{client.ip} $1 $$ }{");
        assert_eq!(written(""), "");
    }

    #[test]
    fn a_client_with_a_certificate_is_told_from_one_without() {
        let text = "{tls.version} {tls.client.verified} {tls.client.subject}";
        assert_eq!(written(text), " NONE ");
        let template = Template::parse(text, Place::Field, None).unwrap();
        let mut out = Vec::new();
        let client = Some(TlsClient { subject: "CN=a,O=b", issuer: "CN=c", fingerprint: "00ff" });
        let tls = Tls { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", client };
        template.write(&Context { tls, ..Context::of(b"GET / HTTP/1.1\r\n\r\n") }, &mut out).unwrap();
        assert_eq!(out, b"TLSv1.3 SUCCESS CN=a,O=b");
    }

    #[test]
    fn mistakes_are_told_apart() {
        let wrong = |text: &str, place, groups| Template::parse(text, place, groups).unwrap_err();
        let field = |text: &str| wrong(text, Place::Field, None);
        assert_eq!(field("{clientip}"), TemplateError::Unknown("clientip".to_owned()));
        assert_eq!(field("{}"), TemplateError::Unknown(String::new()));
        assert_eq!(field("{a\tb}").to_string(), r"there is no placeholder {a\tb}");
        assert_eq!(field("a {host"), TemplateError::Unclosed);
        assert_eq!(field("host}"), TemplateError::Unopened);
        assert_eq!(field("a\r\nb"), TemplateError::Character('\r', "a field"));
        assert_eq!(field("\u{e4}"), TemplateError::Character('\u{e4}', "a field"));
        assert_eq!(field(" a"), TemplateError::WhiteSpace);
        assert_eq!(field(&"a".repeat(4097)), TemplateError::TooLong);
        assert_eq!(wrong("/{query}", Place::Path, Some(1)), TemplateError::Misplaced("query"));
        let subject = TemplateError::Misplaced("tls.client.subject");
        assert_eq!(wrong("/{tls.client.subject}", Place::Path, Some(1)), subject);
        assert_eq!(wrong("/a b", Place::Path, Some(1)), TemplateError::Character(' ', "a path"));
        assert_eq!(wrong("/a?b", Place::Path, Some(1)), TemplateError::Character('?', "a path"));
        assert_eq!(wrong("/$2", Place::Path, Some(1)), TemplateError::NoGroup { wanted: 2, count: 1 });
        assert_eq!(wrong("/$a", Place::Path, Some(1)), TemplateError::Dollar);
        assert_eq!(wrong("$", Place::Field, Some(0)), TemplateError::Dollar);
    }

    #[test]
    fn every_placeholder_has_its_word() {
        for one in Placeholder::ALL {
            assert!(Template::parse(Template::of(one).as_str(), Place::Field, None).unwrap().uses(one));
        }
    }
}
