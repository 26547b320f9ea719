//! What is changed in the heads of requests and responses on their way: fields set, added, removed and replaced, paths stripped,
//! extended and replaced. Pure: a head comes in, another one comes out.
//!
//! Edits are read once ([`RequestEdits`], [`FieldEdits`]), put together with those of other places ([`RequestEditor`],
//! [`ResponseEditor`]), and then applied to many heads, as `http1` writes them: what is not edited stays as it was, byte for byte.
//! Whatever the edits are, a message stays one message: the fields that frame it cannot be named, and no value can end a line.
//!
//! ```
//! use edit::{Context, FieldName, Place, RequestEditor, RequestEdits, Template};
//!
//! let mut edits = RequestEdits::default();
//! let value = Template::parse("{client.ip}", Place::Field, None)?;
//! edits.fields.set.push((FieldName::parse("X-Real-IP")?, value));
//! let editor = RequestEditor::new([&edits]);
//!
//! let head = b"GET / HTTP/1.1\r\nHost: a\r\nx-real-ip: 198.51.100.7\r\n\r\n";
//! let context = Context { client_ip: "192.0.2.1", ..Context::of(head) };
//! let mut out = Vec::new();
//! editor.apply(&context, &mut out)?;
//! assert_eq!(out, b"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.1\r\n\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod context;
mod fields;
mod id;
mod name;
mod path;
mod replacement;
mod request;
mod response;
mod template;

pub use context::{Context, Tls, TlsClient};
pub use fields::FieldEdits;
pub use id::{ID_MAX, accepted_id, push_id};
pub use name::{FieldName, FieldNames, NameError};
pub use path::PathEdits;
pub use replacement::{Replacement, ReplacementError};
pub use request::{RequestEditor, RequestEdits};
pub use response::ResponseEditor;
pub use template::{Place, Placeholder, Template, TemplateError};

/// The longest head that edits may make, in bytes: twice what lbd takes from a client or a server.
pub const HEAD_MAX: usize = 64 * 1024;

/// Why a head could not be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It would become longer than [`HEAD_MAX`].
    #[error("the edited head would be longer than {} KiB", HEAD_MAX / 1024)]
    TooLarge,
    /// The path is one that servers understand in different ways: a prefix, or a pattern, would not hold for all of them.
    #[error("the path has a segment \".\" or \"..\", or a NUL")]
    AmbiguousPath,
}

/// Fails once a head has become too long.
fn bounded(out: &[u8]) -> Result<(), Refused> {
    if out.len() > HEAD_MAX { Err(Refused::TooLarge) } else { Ok(()) }
}
