//! Fields set, added, removed and replaced.

use http1::is_same_field;

use crate::replacement::Replacer;
use crate::{Context, FieldName, FieldNames, Placeholder, Refused, Replacement, Template, bounded};

/// What becomes of the fields of a head: first some are removed, then values are replaced, then fields are set, which removes others
/// of the name, and at last some are added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldEdits {
    /// Fields that go.
    pub remove: Vec<FieldNames>,
    /// Values in which a pattern is found. Each field of the name is looked at.
    pub replace: Vec<(FieldName, Replacement)>,
    /// Fields of which there is then one.
    pub set: Vec<(FieldName, Template)>,
    /// Fields that stand beside others of the name.
    pub add: Vec<(FieldName, Vec<Template>)>,
}

impl FieldEdits {
    /// Whether nothing becomes of them.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.replace.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Whether some value holds a placeholder.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        let replaced = self.replace.iter().map(|(_, replacement)| replacement.with());
        let set = self.set.iter().map(|(_, value)| value);
        let added = self.add.iter().flat_map(|(_, values)| values);
        replaced.chain(set).chain(added).any(|value| value.uses(placeholder))
    }
}

/// The edits of several places, one after the other: each sees what the one before has left.
#[derive(Debug)]
pub(crate) struct Layers(Box<[Layer]>);

#[derive(Debug)]
struct Layer {
    edits: FieldEdits,
    replacers: Box<[Replacer]>,
}

impl Layers {
    pub(crate) fn new<'e>(edits: impl IntoIterator<Item = &'e FieldEdits>) -> Self {
        let layer = |edits: &FieldEdits| Layer {
            edits: edits.clone(),
            replacers: edits.replace.iter().map(|(_, replacement)| Replacer::new(replacement)).collect(),
        };
        Self(edits.into_iter().filter(|edits| !edits.is_empty()).map(layer).collect())
    }

    /// Appends what becomes of a field line, which has its line end.
    pub(crate) fn write_line(
        &self,
        line: &[u8],
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let start = out.len();
        out.extend_from_slice(line);
        self.pass(0, start, name.len(), context, out)?;
        bounded(out)
    }

    /// Appends the fields that are set and added.
    pub(crate) fn write_new(&self, context: &Context<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        for (place, Layer { edits, .. }) in self.0.iter().enumerate() {
            let set = edits.set.iter().map(|(name, value)| (name, value));
            let added =
                edits.add.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
            for (name, value) in set.chain(added) {
                let start = out.len();
                out.extend_from_slice(name.as_str().as_bytes());
                out.extend_from_slice(b": ");
                value.write(context, out)?;
                out.extend_from_slice(b"\r\n");
                self.pass(place + 1, start, name.as_str().len(), context, out)?;
                bounded(out)?;
            }
        }
        Ok(())
    }

    /// Does to the line that begins at `start`, the last one, what is done from a layer on.
    fn pass(
        &self,
        from: usize,
        start: usize,
        name_len: usize,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        for Layer { edits, replacers } in self.0.iter().skip(from) {
            let name = out.get(start..start + name_len).unwrap_or_default();
            let goes = edits.remove.iter().any(|names| names.have(name))
                || edits.set.iter().any(|(set, _)| set.is(name));
            if goes {
                out.truncate(start);
                return Ok(());
            }
            for ((replaced, _), replacer) in edits.replace.iter().zip(replacers) {
                let name = out.get(start..start + name_len).unwrap_or_default();
                if !is_same_field(replaced.as_str().as_bytes(), name) {
                    continue;
                }
                let value = trimmed(out, start + name_len + 1);
                if replacer.replace(value, context, out)? {
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        Ok(())
    }
}

/// Where the value is of the last line, without the white space around it, from behind its colon on.
fn trimmed(out: &[u8], from: usize) -> std::ops::Range<usize> {
    let value = out.get(from..).unwrap_or_default();
    let start = from + value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    start..start + out.get(start..).unwrap_or_default().trim_ascii_end().len()
}
