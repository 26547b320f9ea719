//! What becomes of the heads of requests and responses on their way.

use edit::{FieldEdits, FieldName, RequestEdits};

/// What becomes of the heads of a request and its response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    /// Of the request, on its way to a server.
    pub request: RequestEdits,
    /// Of the fields of the response, on its way to the client.
    pub response: FieldEdits,
}

impl Edits {
    /// Whether nothing becomes of them.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// What requests are known by, to servers and in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestId {
    /// The field that tells it to servers.
    pub field: FieldName,
    /// Whether what a client sends there is taken over. Default no.
    pub accept: bool,
}
