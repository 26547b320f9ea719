//! `request`, `response` and `request_id`: what becomes of heads on their way.

use std::sync::Arc;

use edit::{
    FieldEdits, FieldName, FieldNames, NameError, PathEdits, Place, Placeholder, Replacement,
    ReplacementError, RequestEdits, Template, TemplateError,
};
use route::PathPrefix;

use super::routes::NONE;
use crate::read::{Section, Value, quoted};
use crate::scalar::Problem;
use crate::{Edits, RequestId};

/// The most edits of one kind in one place: each is looked at for each field.
const MAX_EDITS: usize = 100;

/// The edits of a section that may have some.
pub(super) fn read(s: &mut Section<'_>) -> Option<Arc<Edits>> {
    let request = request_value(s).section(request);
    let response = response_value(s).section(|s| fields(s, false).0);
    let edits = Edits { request, response };
    (!edits.is_empty()).then(|| Arc::new(edits))
}

/// The same, whose keys are described elsewhere.
pub(super) fn read_as_elsewhere(s: &mut Section<'_>) -> Option<Arc<Edits>> {
    let (asked, answered) = (request_value(s), response_value(s));
    let mut edits = Edits::default();
    if asked.is_given() {
        edits.request = asked.section(request);
    }
    if answered.is_given() {
        edits.response = answered.section(|s| fields(s, false).0);
    }
    (!edits.is_empty()).then(|| Arc::new(edits))
}

fn request_value<'a>(s: &mut Section<'a>) -> Value<'a> {
    s.value("request", "a mapping of edits", NONE)
}

fn response_value<'a>(s: &mut Section<'a>) -> Value<'a> {
    s.value("response", "a mapping of edits", NONE)
}

fn request(s: &mut Section<'_>) -> RequestEdits {
    let (fields, host) = fields(s, true);
    let strip_prefix = prefix(s, "strip_prefix", "a path such as /v1");
    let replace = s.optional("replace_path", "a mapping with pattern and with", NONE);
    let replace = replace.section(|s| replacement(s, Place::Path));
    let add_prefix = prefix(s, "add_prefix", "a path such as /app");
    RequestEdits { fields, host, path: PathEdits { strip_prefix, replace, add_prefix } }
}

/// The edits of fields, and the host that is set.
fn fields(s: &mut Section<'_>, of_request: bool) -> (FieldEdits, Option<String>) {
    let remove =
        s.value("remove", "a field name, a start of names such as X-Debug-*, or a list of them", NONE);
    let replace = s.value("replace", "a mapping of field names to mappings with pattern and with", NONE);
    let set = s.value("set", "a mapping of field names to values", NONE);
    let add = s.value("add", "a mapping of field names to values, each one or a list of them", NONE);
    let (host, set) = split_host(&set, of_request);
    let edits = FieldEdits {
        remove: names(&remove),
        replace: named(&replace, "a mapping with pattern and with", |name, value| {
            Some((name, value.section(|s| replacement(s, Place::Field))?))
        }),
        set,
        add: named(&add, "a value, or a list of them", |name, value| {
            if value.is_empty_list() {
                value.error("is an empty list");
            }
            let values: Vec<_> = value.one_or_more(template).into_iter().map(|(_, one)| one).collect();
            within(value, values.len());
            (!values.is_empty()).then_some((name, values))
        }),
    };
    lint(s, &edits);
    (edits, host)
}

/// Fields to set, of which the host is one of its own.
fn split_host(set: &Value<'_>, of_request: bool) -> (Option<String>, Vec<(FieldName, Template)>) {
    let mut hosts = Vec::new();
    let mut known: Vec<FieldName> = Vec::new();
    let others: Vec<_> = set.entries("field", "a value, perhaps with placeholders", |name, value| {
        if of_request && name.eq_ignore_ascii_case("host") {
            if !hosts.is_empty() {
                value.key_error("is given twice; case makes no difference");
            }
            hosts.push(value.scalar(|text| {
                match http1::is_host(text.as_bytes()) {
                    true => Ok(text.to_owned()),
                    false => Err(Problem::Because(
                        "it is a host such as www.example.org, perhaps with a port, and without placeholders"
                            .to_owned(),
                    )),
                }
            }));
            return None;
        }
        let name = field_name(name, &value, &mut known)?;
        Some((name, value.scalar(template)?))
    });
    within(set, others.len());
    (hosts.into_iter().flatten().next(), others)
}

/// Things of fields that may be edited.
fn named<T>(
    value: &Value<'_>,
    expected: &str,
    mut read: impl FnMut(FieldName, &Value<'_>) -> Option<T>,
) -> Vec<T> {
    let mut known = Vec::new();
    let found: Vec<_> = value.entries("field", expected, |name, value| {
        let name = field_name(name, &value, &mut known)?;
        read(name, &value)
    });
    within(value, found.len());
    found
}

fn field_name(name: &str, value: &Value<'_>, known: &mut Vec<FieldName>) -> Option<FieldName> {
    match FieldName::parse(name) {
        Ok(name) => {
            if let Some(other) = known.iter().find(|other| other.is(name.as_str().as_bytes())) {
                value.key_error(format_args!(
                    "is the same field as {}: neither case nor \"_\" for \"-\" makes a difference",
                    quoted(other.as_str())
                ));
            }
            known.push(name.clone());
            Some(name)
        }
        Err(error) => {
            value.key_error(error);
            None
        }
    }
}

fn names(value: &Value<'_>) -> Vec<FieldNames> {
    if value.is_empty_list() {
        value.error("is an empty list; leave it out where nothing is removed");
    }
    let found = value.one_or_more(|text| FieldNames::parse(text).map_err(name_problem));
    within(value, found.len());
    found.into_iter().map(|(_, names)| names).collect()
}

fn within(value: &Value<'_>, count: usize) {
    if count > MAX_EDITS {
        value.error(format_args!("has {count} elements; at most {MAX_EDITS} are allowed"));
    }
}

fn template(text: &str) -> Result<Template, Problem> {
    Template::parse(text, Place::Field, None).map_err(template_problem)
}

/// A pattern, and what takes the place of a value in which it is found.
fn replacement(s: &mut Section<'_>, place: Place) -> Option<Replacement> {
    let pattern = s.required("pattern", "a regular expression");
    let with = s.required("with", "a text, with $1 for the first group of the pattern");
    let text = |value: &Value<'_>| value.scalar(|text| Ok(text.to_owned()));
    let (read_pattern, read_with) = (text(&pattern), text(&with));
    match Replacement::parse(&read_pattern?, &read_with?, place) {
        Ok(replacement) => Some(replacement),
        Err(ReplacementError::Pattern(error)) => pattern.scalar(|_| Err(Problem::Because(error.to_string()))),
        Err(ReplacementError::With(error)) => with.scalar(|_| Err(template_problem(error))),
    }
}

fn prefix(s: &mut Section<'_>, key: &'static str, expected: &str) -> Option<PathPrefix> {
    let value = s.value(key, expected, NONE);
    value.scalar(|text| PathPrefix::parse(text).map_err(|error| Problem::Because(error.to_string())))
}

fn name_problem(error: NameError) -> Problem {
    let text = error.to_string();
    // As a key it is "X is no field name"; here what it is stands before.
    Problem::Because(match text.strip_prefix("is ") {
        Some(rest) => format!("that is {rest}"),
        None => format!("it {text}"),
    })
}

fn template_problem(error: TemplateError) -> Problem {
    match error {
        TemplateError::Unknown(word) => {
            let near = crate::nearest(&word, Placeholder::ALL.map(Placeholder::word));
            let advice = match near {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => {
                    let all = Placeholder::ALL.map(|one| format!("{{{}}}", one.word()));
                    format!("there are {}", all.join(", "))
                }
            };
            Problem::Because(format!("{}; {advice}", TemplateError::Unknown(word)))
        }
        error => Problem::Because(error.to_string()),
    }
}

/// Edits that undo each other.
fn lint(s: &Section<'_>, edits: &FieldEdits) {
    for (name, _) in &edits.set {
        let field = name.as_str();
        if edits.remove.iter().any(|names| names.have(field.as_bytes())) {
            s.warning(
                ["remove"],
                format_args!("removes {} and sets it", quoted(field)),
                "what is set stands alone: it need not be removed",
            );
        }
        if edits.replace.iter().any(|(replaced, _)| replaced.is(field.as_bytes())) {
            s.warning(
                ["replace"],
                format_args!("replaces values of {} and sets it", quoted(field)),
                "fields are set after that; nothing is left of what was replaced",
            );
        }
    }
    for (name, _) in &edits.replace {
        if edits.remove.iter().any(|names| names.have(name.as_str().as_bytes())) {
            s.warning(
                ["replace"],
                format_args!("removes {} and replaces its values", quoted(name.as_str())),
                "fields are removed before that; nothing is left to replace",
            );
        }
    }
}

/// What requests are known by.
pub(super) fn request_id(s: &mut Section<'_>) -> Option<RequestId> {
    let value = s.value("request_id", "off, or a mapping", "off");
    // Read all the same, for the list of keys.
    let given = value.is_given() && !value.is_off();
    let read = |s: &mut Section<'_>| {
        let field = s.value("field", "a field name", "X-Request-ID");
        let field = field.scalar(|text| FieldName::parse(text).map_err(name_problem));
        let field = field.or_else(|| FieldName::parse("X-Request-ID").ok())?;
        Some(RequestId { field, accept: s.word("accept", false, &[("off", false), ("on", true)]) })
    };
    if value.is_off() { None } else { value.section(read).filter(|_| given) }
}
