//! What of a frontend's clients is done in HTTP/2.

/// Connections and streams of a frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Row {
    /// The frontend.
    pub frontend: String,
    /// Connections that began with the preface of HTTP/2.
    pub connections: u64,
    /// Streams, malformed requests among them.
    pub streams: u64,
    /// Streams that were reset before their end, by why.
    pub resets: [(&'static str, u64); 3],
}
