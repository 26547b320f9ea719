//! The head of a response.

use crate::request::end_of_line;
use crate::{Context, FieldEdits, Refused, bounded, fields};

/// The edits of several places, put together.
#[derive(Debug)]
pub struct ResponseEditor {
    fields: fields::Layers,
}

impl ResponseEditor {
    /// Puts edits together: each sees what the one before has left.
    pub fn new<'e>(edits: impl IntoIterator<Item = &'e FieldEdits>) -> Self {
        Self { fields: fields::Layers::new(edits) }
    }

    /// Appends a head that [`http1::ResponseHead::write`] has written, with what becomes of it. `context` is about the request.
    ///
    /// # Errors
    /// When the response has to be refused. What was appended then is nothing to send.
    pub fn apply(&self, head: &[u8], context: &Context<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        out.reserve(head.len() + 256);
        let (line, fields) = head.split_at(end_of_line(head));
        out.extend_from_slice(line);
        for line in fields.split_inclusive(|&byte| byte == b'\n').take_while(|line| *line != b"\r\n") {
            self.fields.write_line(line, context, out)?;
        }
        self.fields.write_new(context, out)?;
        out.extend_from_slice(b"\r\n");
        bounded(out)
    }
}
