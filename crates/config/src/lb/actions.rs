//! `frontends.NAME.routes`: what becomes of the requests of a route.

use std::collections::HashMap;
use std::sync::Arc;

use route::HostPattern;

use super::Known;
use super::frontend::known_backend;
use super::routes::NONE;
use crate::files::Files;
use crate::read::{Section, Value};
use crate::scalar::{self, Problem};
use crate::{Action, Mode, Page, Redirect, Respond, Scheme};

/// The longest body of an answer of lbd's own, in bytes.
const MAX_PAGE: usize = 64 * 1024;

pub(super) fn read(
    s: &mut Section<'_>,
    mode: Option<Mode>,
    backends: &HashMap<&str, Known>,
    files: Files<'_>,
    given: bool,
) -> Option<Action> {
    let backend = s.value("backend", "the name of a backend", NONE);
    let redirect = s.value("redirect", "a mapping with scheme, host or path", NONE);
    let respond = s.value("respond", "a mapping with status, content_type and body or file", NONE);
    let deny = s.value("deny", "a status from 400 to 599 such as 403", NONE);
    let all = [&backend, &redirect, &respond, &deny];
    match all.iter().filter(|value| value.is_given()).count() {
        0 if given && !s.is_excused() => {
            s.error([], "lacks what becomes of its requests: one of backend, redirect, respond and deny");
        }
        0 | 1 => {}
        _ => {
            s.error([], "has several of backend, redirect, respond and deny; one thing becomes of a request");
        }
    }
    if mode == Some(Mode::Tcp) {
        for value in [&redirect, &respond, &deny].into_iter().filter(|value| value.is_given()) {
            value.key_error("is about requests, which a frontend in mode tcp knows nothing of");
        }
    }
    // All are read, for the list of keys.
    let to = redirect.section(|s| self::redirect(s, redirect.is_given()));
    let answer = respond.section(|s| self::respond(s, files));
    if redirect.is_given() {
        Some(Action::Redirect(to))
    } else if respond.is_given() {
        Some(Action::Respond(answer))
    } else if deny.is_given() {
        deny.scalar(|text| scalar::number(text, &(400..=599))).map(Action::Deny)
    } else {
        known_backend(&backend, mode, backends).map(Action::Backend)
    }
}

fn redirect(s: &mut Section<'_>, given: bool) -> Redirect {
    const CODES: [u16; 5] = [301, 302, 303, 307, 308];
    let scheme = s.value("scheme", "one of http, https", "the request's").scalar(|text| match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        other => Err(Problem::NoneOf { word: other.to_owned(), words: vec!["http", "https"] }),
    });
    let host = s
        .value("host", "a host such as www.example.org, perhaps with a port", "the request's")
        .scalar(host_and_port);
    let path = s.value("path", "a path such as /new", "the request's").scalar(scalar::path);
    let code = s.value("code", "one of 301, 302, 303, 307, 308", "302").scalar(|text| {
        let code = scalar::number(text, &(300..=399))?;
        if CODES.contains(&code) { Ok(code) } else { Err(Problem::Unexpected) }
    });
    let keeps_query = s.word("query", true, &[("keep", true), ("drop", false)]);
    if given
        && scheme.is_none()
        && host.is_none()
        && path.is_none()
        && s.is_empty(&["scheme", "host", "path"])
    {
        s.error([], "changes nothing: it leads to where it comes from; give it a scheme, host or path");
    }
    if keeps_query && path.as_ref().is_some_and(|path| path.contains('?')) {
        s.error(["path"], "has a query of its own, and keeps the request's; say \"query: drop\"");
    }
    Redirect { scheme, host, path, code: code.unwrap_or(302), keeps_query }
}

/// A host of one form, as a link has it.
fn host_and_port(text: &str) -> Result<String, Problem> {
    let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match text.get(end..).and_then(|rest| rest.find(':')) {
        Some(colon) => text.split_at(end + colon),
        None => (text, ""),
    };
    let host = match HostPattern::parse(host) {
        Ok(HostPattern::Exact(host)) => host,
        Ok(HostPattern::Below(_)) => return Err(Problem::Unexpected),
        Err(error) => return Err(Problem::Because(error.to_string())),
    };
    if let Some(port) = port.strip_prefix(':') {
        scalar::number::<u16>(port, &(1..=u16::MAX))?;
    }
    Ok(format!("{host}{port}"))
}

fn respond(s: &mut Section<'_>, files: Files<'_>) -> Respond {
    let status = s.number("status", 200, 200..=599);
    let content_type = s
        .value("content_type", "a media type such as text/html", "text/plain; charset=utf-8")
        .scalar(|text| match text.contains('/') {
            true => scalar::field_value(text),
            false => Err(Problem::Unexpected),
        });
    let content_type = content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned());
    let body = s.value("body", "a text", "none");
    let file = s.value("file", "a file with the body", "none");
    let page = page(s, &body, &file, files);
    if matches!(status, 204 | 205 | 304) && !page.content.is_empty() {
        s.error(["status"], format_args!("answers {status}, which has no body"));
    }
    Respond { status, content_type, page }
}

fn page(s: &Section<'_>, body: &Value<'_>, file: &Value<'_>, files: Files<'_>) -> Page {
    if body.is_given() && file.is_given() {
        s.error([], "has both body and file; the one is the other's content");
    }
    let text = body.scalar(|text| match text.len() {
        0..=MAX_PAGE => Ok(Arc::from(text.as_bytes())),
        longer => Err(Problem::Because(format!("it has {longer} bytes; at most {MAX_PAGE} are allowed"))),
    });
    match file.scalar(|name| page_file(name, files)) {
        Some((name, content)) => Page { file: Some(name), content },
        None => Page { file: None, content: text.unwrap_or_default() },
    }
}

/// The content of a file that answers are made of.
pub(super) fn page_file(name: &str, files: Files<'_>) -> Result<(String, Arc<[u8]>), Problem> {
    let content = files.page(name).map_err(Problem::Because)?;
    match content.len() {
        0..=MAX_PAGE => Ok((name.to_owned(), content.into())),
        _ => Err(Problem::Because(format!("it is longer than {} KiB", MAX_PAGE / 1024))),
    }
}
