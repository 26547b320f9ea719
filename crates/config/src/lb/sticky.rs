//! `backends.NAME.sticky`

use std::ops::RangeInclusive;
use std::time::Duration;

use super::balancing::name;
use crate::read::Value;
use crate::scalar::{self, Problem};
use crate::{Mode, SameSite, Secret, Sticky};

/// What a session may last, and be idle.
const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(8_760 * 60 * 60);
/// The least characters of a key, and the most.
const KEY: RangeInclusive<usize> = 16..=256;

pub(super) fn read(value: &Value<'_>, mode: Option<Mode>) -> Option<Sticky> {
    if value.is_given() && mode == Some(Mode::Tcp) {
        value.key_error("is about requests, which a backend in mode tcp knows nothing of; \"balance: source\" keeps clients by their address");
    }
    value.section(|s| {
        let cookie = s.required("cookie", "a cookie's name such as SRV").scalar(name);
        let (least, most) = KEY.into_inner();
        let key =
            s.value("key", format_args!("a secret of {least} to {most} characters"), "none").secret(key);
        let max_idle = s.duration_or_off("max_idle", None, "off", TIME);
        let max_life = s.duration_or_off("max_life", None, "off", TIME);
        let secure = s.word("secure", false, &[("off", false), ("on", true)]);
        let http_only = s.word_or("http_only", true, "on", &[("off", false), ("on", true)]);
        let choices = SameSite::ALL.map(|choice| (choice.word(), Some(choice)));
        let same_site = s.word_or("same_site", None, "what browsers choose", &choices);
        let domain = s.value("domain", "a domain such as example.org", "the host alone").scalar(domain);
        let path = s.value("path", "a path such as /shop", "/").scalar(path);
        let path = path.unwrap_or_else(|| "/".to_owned());
        if same_site == Some(SameSite::None) && !secure {
            s.error(["same_site"], "has a same_site of none, which browsers refuse without \"secure: on\"");
        }
        if max_idle.zip(max_life).is_some_and(|(idle, life)| idle > life) {
            s.error(["max_idle"], "has a max_idle longer than its max_life");
        }
        Some(Sticky { cookie: cookie?, key, max_idle, max_life, secure, http_only, same_site, domain, path })
    })
}

fn key(text: &str) -> Result<Secret, Problem> {
    match KEY.contains(&text.chars().count()) {
        true => Ok(Secret::new(text)),
        false => Problem::because("give 16 to 256 characters, for example from \"openssl rand -hex 32\""),
    }
}

/// A host name; a dot in front means nothing (RFC 6265 section 5.2.3).
fn domain(text: &str) -> Result<String, Problem> {
    scalar::host_name(text.strip_prefix('.').unwrap_or(text))
}

/// A path as it may stand in a Set-Cookie field (RFC 6265 section 4.1.1).
fn path(text: &str) -> Result<String, Problem> {
    match scalar::path(text) {
        Ok(path) if path.contains([';', '?']) => {
            Problem::because("a cookie's path has no \";\" and no query")
        }
        other => other,
    }
}
