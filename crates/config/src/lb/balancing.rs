//! `backends.NAME.balance`

use balance::{Algorithm, LoadFactor};

use crate::read::{Section, Value};
use crate::scalar::{self, Problem};
use crate::{Balance, HashKey, Mode};

const WORDS: [Algorithm; 4] =
    [Algorithm::Roundrobin, Algorithm::Leastconn, Algorithm::Source, Algorithm::Random];
const DEFAULT: Balance = Balance::By(Algorithm::Roundrobin);

pub(super) fn read(s: &mut Section<'_>, mode: Option<Mode>) -> Balance {
    let words = WORDS.map(Algorithm::word);
    let expected = format!("one of {}, or a mapping with hash", words.join(", "));
    let value = s.optional("balance", expected, words[0]);
    if value.is_scalar() || value.is_empty() {
        return value.scalar(word).map_or(DEFAULT, Balance::By);
    }
    let read = value.section(|s| {
        let of = hash(&s.required("hash", HASH));
        let (least, most) = (LoadFactor::MIN, LoadFactor::MAX);
        let factor = s.value("factor", format_args!("a percentage from {least}% to {most}%"), "no bound");
        let factor = factor.scalar(|text| scalar::percentage(text, &(least..=most)));
        Some(Balance::Hash { of: of?, factor: factor.and_then(LoadFactor::per_cent) })
    });
    if value.is_given() && mode == Some(Mode::Tcp) {
        value.error("hashes a part of the request, and in mode tcp there is none; \"source\" hashes the client's address");
    }
    read.unwrap_or(DEFAULT)
}

fn word(text: &str) -> Result<Algorithm, Problem> {
    if text == Algorithm::Hash.word() {
        return Problem::because("it needs what to hash, as in \"balance: { hash: path }\"");
    }
    let found = WORDS.into_iter().find(|algorithm| algorithm.word() == text);
    found.ok_or_else(|| Problem::NoneOf { word: text.to_owned(), words: WORDS.map(Algorithm::word).to_vec() })
}

const HASH: &str = "one of host, path, query, or a mapping with one of header, cookie, url_param";

/// A word, or a mapping with a name.
fn hash(value: &Value<'_>) -> Option<HashKey> {
    const PARTS: [(&str, HashKey); 3] =
        [("host", HashKey::Host), ("path", HashKey::Path), ("query", HashKey::Query)];
    if value.is_scalar() {
        return value.scalar(|text| {
            let found = PARTS.into_iter().find(|(word, _)| *word == text);
            let words = PARTS.iter().map(|(word, _)| *word).collect();
            found.map(|(_, part)| part).ok_or_else(|| Problem::NoneOf { word: text.to_owned(), words })
        });
    }
    value.section(|s| {
        let header = s.value("header", "a field's name", "none").scalar(name);
        let cookie = s.value("cookie", "a cookie's name", "none").scalar(name);
        let parameter = s.value("url_param", "a parameter's name", "none").scalar(parameter);
        let given = ["header", "cookie", "url_param"].iter().filter(|key| s.has(&[key])).count();
        if given != 1 && value.is_given() {
            value.error("needs one of header, cookie, url_param");
        }
        let header = header.map(HashKey::Header);
        header.or(cookie.map(HashKey::Cookie)).or(parameter.map(HashKey::UrlParam))
    })
}

/// A name of a field, or of a cookie (RFC 6265 section 4.1.1): a token.
pub(super) fn name(text: &str) -> Result<String, Problem> {
    if scalar::token(text) { Ok(text.to_owned()) } else { Err(Problem::Unexpected) }
}

fn parameter(text: &str) -> Result<String, Problem> {
    if (1..=128).contains(&text.len()) { Ok(text.to_owned()) } else { Err(Problem::Unexpected) }
}
