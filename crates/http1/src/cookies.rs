//! Cookies: those of a request found and taken out, those of a response taken out (RFC 6265).
//!
//! A cookie ends at the next semicolon, whatever is in quotation marks: RFC 6265 section 4.1.1 allows no semicolon in a value,
//! and browsers split there. Only a value that stands in quotation marks as a whole loses them.

use std::ops::Range;

use crate::bytes::trim;

/// The values of the cookies of that name, in the order in which a request has them. `lines` are field lines of a head, each with
/// its line end: see [`RequestHead::field_lines`](crate::RequestHead::field_lines).
pub fn cookies<'a>(lines: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    let values = lines.filter_map(|line| line.get(value_of(line, b"cookie")?));
    let pairs = values.flat_map(|value| value.split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| value_if_named(pair, name))
}

/// Takes the cookies of that name out of a request's head. A line of which nothing is left goes, too; everything else stays as it
/// is.
pub fn remove_cookies(head: &mut Vec<u8>, name: &[u8]) {
    edit_lines(head, |line| {
        let Some(value) = value_of(line, b"cookie") else { return line.len() };
        let has_it =
            |value: &[u8]| value.split(|&byte| byte == b';').any(|pair| value_if_named(pair, name).is_some());
        if line.get(value.clone()).is_some_and(has_it) { remove_pairs(line, value, name) } else { line.len() }
    });
}

/// Takes the lines that set a cookie of that name out of a response's head.
pub fn remove_set_cookies(head: &mut Vec<u8>, name: &[u8]) {
    edit_lines(head, |line| {
        let value = value_of(line, b"set-cookie").and_then(|value| line.get(value));
        let pair = value.and_then(|value| value.split(|&byte| byte == b';').next());
        if pair.is_some_and(|pair| value_if_named(pair, name).is_some()) { 0 } else { line.len() }
    });
}

/// Closes the gaps that the pairs of that name leave. What stays of the line.
fn remove_pairs(line: &mut [u8], value: Range<usize>, name: &[u8]) -> usize {
    let (mut at, mut kept, mut is_empty) = (value.start, value.start, true);
    while at <= value.end {
        let pair = &line[at..value.end];
        let pair = &pair[..pair.iter().position(|&byte| byte == b';').unwrap_or(pair.len())];
        let end = at + pair.len();
        if value_if_named(pair, name).is_none() {
            is_empty &= trim(pair).is_empty();
            if kept > value.start {
                line[kept] = b';';
                kept += 1;
            }
            line.copy_within(at..end, kept);
            kept += end - at;
        }
        at = end + 1;
    }
    if is_empty {
        return 0;
    }
    line.copy_within(value.end.., kept);
    kept + line.len() - value.end
}

/// Has each line, with its line end, edited; what is returned is how much of it stays.
fn edit_lines(head: &mut Vec<u8>, mut edit: impl FnMut(&mut [u8]) -> usize) {
    let (mut at, mut kept) = (0, 0);
    while at < head.len() {
        let rest = &mut head[at..];
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
        let stays = edit(&mut rest[..end]);
        debug_assert!(stays <= end);
        if kept < at {
            head.copy_within(at..at + stays, kept);
        }
        at += end;
        kept += stays;
    }
    head.truncate(kept);
}

/// Where the value stands in a line of that field; `name` is in lower case.
fn value_of(line: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let (own, rest) = line.split_at_checked(name.len())?;
    let is_it = rest.starts_with(b":") && own.eq_ignore_ascii_case(name);
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    is_it.then(|| name.len() + 1..end)
}

/// The value of a cookie, if it has that name.
fn value_if_named<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let pair = trim(pair);
    let (own, rest) = pair.split_at_checked(name.len())?;
    let value = trim(trim(rest).strip_prefix(b"=")?);
    (own == name)
        .then(|| value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(lines: &str, name: &str) -> Vec<String> {
        let values = cookies(lines.as_bytes(), name.as_bytes());
        values.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    fn removed(head: &str, name: &str) -> String {
        let mut head = head.as_bytes().to_vec();
        remove_cookies(&mut head, name.as_bytes());
        String::from_utf8(head).unwrap()
    }

    #[test]
    fn cookies_are_found_in_every_line_in_their_order() {
        let lines = "Cookie: a=1; SRV=x;b=2\r\nHost: SRV=h\r\ncOOKIE:SRV = \"y\" \r\nCookies: SRV=z\r\nCookie: srv=u; SRV; SRVX=v; SRV=; SRV=\"\r\n";
        assert_eq!(found(lines, "SRV"), ["x", "y", "", "\""]);
        assert_eq!(found(lines, "a"), ["1"]);
        assert_eq!(found("Cookie: c=\"p; SRV=q\"\r\n", "SRV"), ["q\""], "a cookie ends at a semicolon");
        assert!(found("", "a").is_empty() && found("Cookie:\r\n", "a").is_empty());
    }

    #[test]
    fn what_is_taken_out_leaves_no_trace() {
        for (line, left) in [
            ("Cookie: SRV=x", ""),
            ("Cookie:SRV=x;", ""),
            ("Cookie: ; SRV=x ;SRV=y", ""),
            ("Cookie: a=1; SRV=x", "Cookie: a=1\r\n"),
            ("Cookie: SRV=x; a=1", "Cookie: a=1\r\n"),
            ("Cookie: SRV=x;a=1 ", "Cookie:a=1 \r\n"),
            ("cookie: a=1; SRV=x; b=2", "cookie: a=1; b=2\r\n"),
            ("Cookie: a;b;SRV=\"x\";c", "Cookie: a;b;c\r\n"),
            ("Cookie: a=1;; SRV=x;", "Cookie: a=1;;\r\n"),
            ("Cookie: srv=x; SRVX=y; SRV", "Cookie: srv=x; SRVX=y; SRV\r\n"),
            ("Cookie2: SRV=x", "Cookie2: SRV=x\r\n"),
        ] {
            let head = |line: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{line}X: y\r\n\r\n");
            assert_eq!(removed(&head(&format!("{line}\r\n")), "SRV"), head(left), "{line}");
        }
    }

    #[test]
    fn a_response_sets_no_such_cookie_any_more() {
        let mut head = b"HTTP/1.1 200 OK\r\nSet-Cookie: SRV=x; path=/\r\nset-cookie: a=SRV; SRV=y\r\nSET-COOKIE:SRV=\r\n\r\n".to_vec();
        remove_set_cookies(&mut head, b"SRV");
        assert_eq!(head, b"HTTP/1.1 200 OK\r\nset-cookie: a=SRV; SRV=y\r\n\r\n");
    }

    proptest! {
        #[test]
        fn only_cookies_of_that_name_go(
            lines in prop::collection::vec(
                prop::collection::vec(("(SRV|srv|a|SRVX| )", "(=| = )?", "[x\"= ]{0,4}"), 0..6),
                0..4,
            ),
        ) {
            let line = |pairs: &Vec<(String, String, String)>| {
                let pairs: Vec<String> = pairs.iter().map(|(name, is, value)| format!("{name}{is}{value}")).collect();
                format!("Cookie: {}\r\n", pairs.join("; "))
            };
            let head: String = lines.iter().map(line).collect::<String>() + "X: SRV=1\r\n\r\n";
            let left = removed(&head, "SRV");
            prop_assert_eq!(found(&left, "SRV"), Vec::<String>::new());
            for other in ["srv", "a", "SRVX"] {
                prop_assert_eq!(found(&left, other), found(&head, other));
            }
            prop_assert!(left.ends_with("X: SRV=1\r\n\r\n") && left.len() <= head.len());
            if found(&head, "SRV").is_empty() {
                prop_assert_eq!(left, head);
            }
        }
    }
}
