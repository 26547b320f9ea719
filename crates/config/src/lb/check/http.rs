//! `backends.NAME.check.http`

use std::collections::HashMap;

use crate::read::Section;
use crate::scalar::{self, Problem};
use crate::{ExpectedBody, ExpectedStatus, HttpProbe, Pattern};

/// The most fields and statuses: a check's request is small.
const MAX_ELEMENTS: usize = 32;

pub(super) fn read(s: &mut Section<'_>) -> HttpProbe {
    HttpProbe {
        method: s
            .value("method", "a method in capitals such as GET", "GET")
            .scalar(scalar::method)
            .unwrap_or_else(|| "GET".to_owned()),
        path: s
            .value("path", "a path such as /health", "/")
            .scalar(scalar::path)
            .unwrap_or_else(|| "/".to_owned()),
        host: s
            .value("host", "a host name such as www.example.org", "the server's address")
            .scalar(scalar::host),
        headers: headers(s),
        expect: expect(s),
        body: body(s),
    }
}

/// The fields in the order of the file. Their names are compared without case (RFC 9110 5.1).
fn headers(s: &mut Section<'_>) -> Vec<(String, String)> {
    let value = s.value("headers", "a mapping of field names to texts", "none");
    let mut lines = HashMap::new();
    let headers = value.entries("field", "a text", |name, value| {
        if let Err(problem) = scalar::field_name(name) {
            value.key_error(problem);
        }
        if let Some(line) = lines.insert(name.to_ascii_lowercase(), value.key_at().line) {
            value.key_error(format_args!("is given twice, first on line {line}; case makes no difference"));
        }
        Some((name.to_owned(), value.scalar(scalar::field_value)?))
    });
    if headers.len() > MAX_ELEMENTS {
        value.error(format_args!("has {} fields; at most {MAX_ELEMENTS} are allowed", headers.len()));
    }
    headers
}

fn expect(s: &mut Section<'_>) -> ExpectedStatus {
    let value =
        s.value("expect", "a status from 100 to 599, a range such as 200-299, or a list of them", "200");
    if !value.is_given() {
        return ExpectedStatus(vec![200..=200]);
    }
    if value.is_empty_list() {
        value.error("is an empty list; then no check could ever be good");
    }
    let found = value.one_or_more(scalar::expected_status);
    if found.len() > MAX_ELEMENTS {
        value.error(format_args!("has {} elements; at most {MAX_ELEMENTS} are allowed", found.len()));
    }
    ExpectedStatus(found.into_iter().map(|(_, range)| range).collect())
}

fn body(s: &mut Section<'_>) -> Option<ExpectedBody> {
    let text = s.value("body", "a text of 1 to 1024 bytes", "anything");
    let pattern = s.value("body_matches", "a regular expression of 1 to 1024 bytes", "anything");
    if text.is_given() && pattern.is_given() {
        s.error([], "has both body and body_matches; a check looks for one of them");
    }
    let text = text.scalar(scalar::wanted).map(ExpectedBody::Contains);
    let pattern = pattern.scalar(|text| {
        let text = scalar::wanted(text)?;
        Pattern::new(&text).map(ExpectedBody::Matches).map_err(Problem::Because)
    });
    text.or(pattern)
}
