//! Error codes (RFC 9113 section 7).

/// Why a stream or a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// There is no error.
    NoError = 0x0,
    /// The other side does not keep to the protocol.
    ProtocolError = 0x1,
    /// Something here went wrong.
    InternalError = 0x2,
    /// More was sent than there was room for.
    FlowControlError = 0x3,
    /// Something came for what is closed.
    StreamClosed = 0x5,
    /// A frame is not as long as it has to be.
    FrameSizeError = 0x6,
    /// Nothing was done for it: it may be asked for again.
    RefusedStream = 0x7,
    /// Fields cannot be read.
    CompressionError = 0x9,
    /// There is too much of something.
    EnhanceYourCalm = 0xb,
}
