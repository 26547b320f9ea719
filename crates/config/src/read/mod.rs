//! Typed readers over the tree: they report what is wrong, answer a default, and go on.

mod access;
mod place;
mod report;
mod section;
mod value;

pub(crate) use place::Place;
pub(crate) use report::Report;
pub(crate) use section::Section;
pub(crate) use value::Value;

/// A text as messages show it: in quotes, unprintable characters escaped, and not too long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}", format!("{}...", text.get(..end).unwrap_or_default())),
    }
}
