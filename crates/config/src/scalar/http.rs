//! The parts of a check's request, and the statuses that it takes as good. What is accepted here cannot break the framing.

use std::ops::RangeInclusive;

use super::Problem;
use crate::read::quoted;

/// A method: a token (RFC 9110 9.1) in capitals.
pub(crate) fn method(text: &str) -> Result<String, Problem> {
    if text == "CONNECT" {
        return Problem::because("CONNECT asks for a tunnel and cannot check a server");
    }
    if (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return Ok(text.to_owned());
    }
    let capitals = text.to_ascii_uppercase();
    if capitals != text && method(&capitals).is_ok() {
        return Problem::meant(capitals);
    }
    Err(Problem::Unexpected)
}

/// A path, perhaps with a query: visible ASCII without a fragment (RFC 9112 3.2.1).
pub(crate) fn path(text: &str) -> Result<String, Problem> {
    if text.len() > 2048 {
        return Problem::because("a path has at most 2048 bytes");
    }
    if !text.starts_with('/') {
        let better = if text.contains("://") {
            String::new()
        } else {
            format!(": did you mean {}?", quoted(&format!("/{text}")))
        };
        return Problem::because(format!("a path starts with \"/\"{better}"));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(wrong) => Problem::because(format!(
            "{wrong:?} cannot stand in a path; write it as {}",
            percent_encoded(wrong)
        )),
        None => Ok(text.to_owned()),
    }
}

fn percent_encoded(c: char) -> String {
    c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A Host field: a host, perhaps with a port (RFC 9110 7.2).
pub(crate) fn host(text: &str) -> Result<String, Problem> {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    if (1..=261).contains(&text.len()) && text.bytes().all(usual) {
        return Ok(text.to_owned());
    }
    Err(Problem::Unexpected)
}

/// Whether it can be a field's name (RFC 9110 5.1).
pub(crate) fn token(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(usual)
}

/// Checks a field's name: a token (RFC 9110 5.1) that the check does not write itself.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn field_name(text: &str) -> Result<(), &'static str> {
    if !token(text) {
        return Err("is no field name; a field name has letters, digits and \"-\"");
    }
    match text.to_ascii_lowercase().as_str() {
        "host" => Err("is set with the key \"host\" beside \"headers\""),
        "connection" | "content-length" | "transfer-encoding" | "upgrade" | "te" | "trailer" | "expect" => {
            Err("is decided by the check itself: its request has no body, and its connection is closed")
        }
        _ => Ok(()),
    }
}

/// A field's value: visible ASCII, spaces and tabs, not at its ends (RFC 9110 5.5).
pub(crate) fn field_value(text: &str) -> Result<String, Problem> {
    let wrong = text.chars().find(|c| !c.is_ascii_graphic() && *c != ' ' && *c != '\t');
    if let Some(wrong) = wrong {
        return Problem::because(format!("{wrong:?} cannot stand in a field"));
    }
    if text.len() > 4096 {
        return Problem::because("a field has at most 4096 bytes");
    }
    if text.trim() != text {
        return Problem::because("a field does not start or end with white space");
    }
    Ok(text.to_owned())
}

/// One status, or a range of them: `200`, `200-299`.
pub(crate) fn expected_status(text: &str) -> Result<RangeInclusive<u16>, Problem> {
    if let Some(class @ '1'..='5') = text.chars().next()
        && text.get(1..).is_some_and(|rest| rest.eq_ignore_ascii_case("xx"))
    {
        return Problem::meant(format_args!("{class}00-{class}99"));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first.trim_end()), status(last.trim_start())) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(first), Some(last)) => Problem::meant(format_args!("{last}-{first}")),
        _ => Err(Problem::Unexpected),
    }
}

fn status(text: &str) -> Option<u16> {
    super::number(text, &(100..=599)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_end_a_line() {
        for text in ["/\r\nX: y", "/a\nb", "/\0", "/a b", "/\u{7f}", "/ä", "/#top"] {
            assert!(path(text).is_err(), "{text:?}");
            assert!(method(text).is_err() && host(text).is_err() && field_name(text).is_err(), "{text:?}");
        }
        for text in ["a\r\nb", "a\nb", "a\0b", "\u{1b}[1m", " a", "a\t", "ä"] {
            assert!(field_value(text).is_err(), "{text:?}");
        }
        assert_eq!(path("/a b"), Problem::because("' ' cannot stand in a path; write it as %20"));
        assert_eq!(field_value("a b\tc"), Ok("a b\tc".to_owned()));
    }

    #[test]
    fn near_misses_are_named() {
        assert_eq!(method("get"), Problem::meant("GET"));
        assert_eq!(path("health"), Problem::because("a path starts with \"/\": did you mean \"/health\"?"));
        assert_eq!(expected_status("2xx"), Problem::meant("200-299"));
        assert_eq!(expected_status("299-200"), Problem::meant("200-299"));
    }

    #[test]
    fn statuses_are_three_digits() {
        assert_eq!(expected_status("200"), Ok(200..=200));
        assert_eq!(expected_status("200 - 299"), Ok(200..=299));
        for text in ["", "-", "99", "600", "200-", "-299", "2xxx", "OK", "200-299-300"] {
            assert_eq!(expected_status(text), Err(Problem::Unexpected), "{text}");
        }
    }
}
