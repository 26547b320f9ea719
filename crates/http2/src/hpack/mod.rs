//! Header compression (RFC 7541).

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod table;

pub(crate) use decoder::{Decoder, size};
pub use table::FIELD_OVERHEAD;

pub(crate) use encoder::{Encoder, field, status};

/// A field block that cannot be read, and with it nothing that follows on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;
