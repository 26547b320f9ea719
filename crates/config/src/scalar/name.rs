//! Names that users give to frontends, backends and servers.

/// The longest name, in bytes.
const LONGEST: usize = 64;

/// Checks a name. It becomes a metric's label, a CSV field and a word on the control socket, and must need no quoting there.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn name(text: &str) -> Result<(), String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(other) = text.chars().find(|c| !usual(*c)) {
        return Err(format!(
            "has {other:?} in its name; only letters, digits, \"-\", \"_\" and \".\" are allowed"
        ));
    }
    match text.len() {
        0 => Err("has an empty name".to_owned()),
        1..=LONGEST => Ok(()),
        longer => Err(format!("has a name of {longer} bytes; at most {LONGEST} are allowed")),
    }
}
