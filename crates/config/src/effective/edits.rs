//! Edits of heads, written out.

use edit::{FieldEdits, Replacement, RequestEdits, Template};
use serde_yaml::Value;

use super::{list, map, text};
use crate::{Edits, RequestId};

/// The keys of edits, as far as there are some.
pub(super) fn written(edits: Option<&Edits>) -> Vec<(&'static str, Value)> {
    let Some(Edits { request, response }) = edits else { return Vec::new() };
    let mut keys = Vec::new();
    if !request.is_empty() {
        keys.push(("request", self::request(request)));
    }
    if !response.is_empty() {
        keys.push(("response", map(fields(response, None))));
    }
    keys
}

pub(super) fn request_id(id: &RequestId) -> Value {
    map([("field", text(id.field.as_str())), ("accept", text(if id.accept { "on" } else { "off" }))])
}

fn request(edits: &RequestEdits) -> Value {
    let RequestEdits { fields, host, path } = edits;
    let mut keys = self::fields(fields, host.as_deref());
    keys.extend(path.strip_prefix.iter().map(|prefix| ("strip_prefix", text(prefix.as_str()))));
    keys.extend(path.replace.iter().map(|replaced| ("replace_path", replacement(replaced))));
    keys.extend(path.add_prefix.iter().map(|prefix| ("add_prefix", text(prefix.as_str()))));
    map(keys)
}

fn fields(edits: &FieldEdits, host: Option<&str>) -> Vec<(&'static str, Value)> {
    let value = |template: &Template| text(template.as_str());
    let set = edits.set.iter().map(|(name, template)| (name.as_str(), value(template)));
    let set = host.iter().map(|host| ("Host", text(host))).chain(set);
    let add = edits.add.iter().map(|(name, templates)| (name.as_str(), list(templates, value)));
    let replace = edits.replace.iter().map(|(name, replaced)| (name.as_str(), replacement(replaced)));
    let all = [
        (edits.remove.is_empty(), "remove", list(&edits.remove, |names| text(names))),
        (edits.replace.is_empty(), "replace", map(replace)),
        (edits.set.is_empty() && host.is_none(), "set", map(set)),
        (edits.add.is_empty(), "add", map(add)),
    ];
    all.into_iter().filter(|(empty, ..)| !empty).map(|(_, key, value)| (key, value)).collect()
}

fn replacement(replacement: &Replacement) -> Value {
    map([("pattern", text(replacement.pattern())), ("with", text(replacement.with().as_str()))])
}
