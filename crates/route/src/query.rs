//! The query's parameters, as forms write them: `a=1&b=%20x+y`.

use crate::hex::encoded;

/// Whether the query has a parameter of that name, whose value is this if one is asked for.
pub(crate) fn has(query: &[u8], name: &str, value: Option<&str>) -> bool {
    query.split(|&byte| byte == b'&').any(|parameter| {
        let mut parts = parameter.splitn(2, |&byte| byte == b'=');
        let (own, its) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        !parameter.is_empty() && says(own, name) && value.is_none_or(|value| says(its, value))
    })
}

/// The value, as it is written, of the query's first parameter of that name.
pub fn parameter<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    query.split(|&byte| byte == b'&').filter(|parameter| !parameter.is_empty()).find_map(|parameter| {
        let equals = parameter.iter().position(|&byte| byte == b'=');
        let (own, value) = parameter.split_at(equals.unwrap_or(parameter.len()));
        says(own, name).then(|| value.get(1..).unwrap_or_default())
    })
}

fn says(written: &[u8], text: &str) -> bool {
    let mut rest = written;
    let own = std::iter::from_fn(|| {
        let byte = encoded(rest);
        let taken = if byte.is_some() { 3 } else { 1 };
        let (taken, others) = rest.split_at_checked(taken)?;
        rest = others;
        // A plus sign is a blank, and one that was encoded a plus sign.
        Some(byte.unwrap_or(if taken == b"+" { b' ' } else { taken[0] }))
    });
    own.eq(text.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_compared_decoded() {
        let query = b"a=1&b=%20x+y&c&d=&a=2&%65=+%2B";
        for (name, value, expected) in [
            ("a", None, true),
            ("a", Some("1"), true),
            ("a", Some("2"), true),
            ("a", Some("3"), false),
            ("b", Some(" x y"), true),
            ("c", None, true),
            ("c", Some(""), true),
            ("d", Some(""), true),
            ("e", Some(" +"), true),
            ("f", None, false),
            ("", None, false),
        ] {
            assert_eq!(has(query, name, value), expected, "{name} {value:?}");
        }
        assert!(!has(b"", "a", None));
        let values = ["a", "b", "c", "d", "e", "f"].map(|name| parameter(query, name));
        let expected = [Some(&b"1"[..]), Some(b"%20x+y"), Some(b""), Some(b""), Some(b"+%2B"), None];
        assert_eq!(values, expected, "as they are written");
    }
}
