//! The head of a request.

use crate::{Context, FieldEdits, PathEdits, Placeholder, Refused, bounded, fields, path};

/// What becomes of a request's head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestEdits {
    /// Its fields.
    pub fields: FieldEdits,
    /// The host that is asked for instead: one that [`http1::is_host`] is true of.
    pub host: Option<String>,
    /// Its path.
    pub path: PathEdits,
}

impl RequestEdits {
    /// Whether nothing becomes of it.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.host.is_none() && self.path.is_empty()
    }

    /// Whether something holds a placeholder.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.fields.uses(placeholder) || self.path.uses(placeholder)
    }
}

/// The edits of several places, put together.
#[derive(Debug)]
pub struct RequestEditor {
    fields: fields::Layers,
    host: Option<String>,
    path: path::Layers,
    names_server: bool,
}

impl RequestEditor {
    /// Puts edits together: each sees what the one before has left. A path is the client's only for the first of them.
    pub fn new<'e>(edits: impl IntoIterator<Item = &'e RequestEdits, IntoIter: Clone>) -> Self {
        let mut edits = edits.into_iter();
        Self {
            fields: fields::Layers::new(edits.clone().map(|edits| &edits.fields)),
            host: edits.clone().filter_map(|edits| edits.host.clone()).last(),
            path: path::Layers::new(edits.clone().map(|edits| &edits.path)),
            names_server: edits.any(|edits| edits.uses(Placeholder::Server)),
        }
    }

    /// Whether what is written depends on the server that the request goes to.
    pub fn names_server(&self) -> bool {
        self.names_server
    }

    /// Appends the head of `context`, which [`http1::RequestHead::write`] has written, with what becomes of it.
    ///
    /// # Errors
    /// When the request has to be refused. What was appended then is nothing to send.
    pub fn apply(&self, context: &Context<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
        let head = context.request;
        out.reserve(head.len() + 256);
        let line_end = end_of_line(head);
        let (line, fields) = head.split_at(line_end);
        self.write_request_line(line, context, out)?;
        for line in fields.split_inclusive(|&byte| byte == b'\n') {
            match (&self.host, line) {
                (_, b"\r\n") => break,
                (Some(host), [b'H' | b'h', b'O' | b'o', b'S' | b's', b'T' | b't', b':', ..]) => {
                    out.extend_from_slice(b"Host: ");
                    out.extend_from_slice(host.as_bytes());
                    out.extend_from_slice(b"\r\n");
                    bounded(out)?;
                }
                _ => self.fields.write_line(line, context, out)?,
            }
        }
        self.fields.write_new(context, out)?;
        out.extend_from_slice(b"\r\n");
        bounded(out)
    }

    fn write_request_line(
        &self,
        line: &[u8],
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let mut words = line.splitn(3, |&byte| byte == b' ');
        match (words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some(version)) if !self.path.is_empty() => {
                out.extend_from_slice(method);
                out.push(b' ');
                self.path.write_target(target, context, out)?;
                out.push(b' ');
                out.extend_from_slice(version);
            }
            _ => out.extend_from_slice(line),
        }
        bounded(out)
    }
}

/// How long the first line is, with its line end.
pub(crate) fn end_of_line(head: &[u8]) -> usize {
    head.iter().position(|&byte| byte == b'\n').map_or(head.len(), |end| end + 1)
}
