//! Why a message is refused: one variant a rule.

use crate::bytes::LineFault;

/// Defines a fault: for each rule its status, its label in metrics and its sentence for people.
macro_rules! faults {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $status:literal $label:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum $name {
            $($(#[$doc])* #[error($text)] $variant,)+
        }

        impl $name {
            /// Every variant, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The status of the answer to send.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The name in metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

faults! {
    /// Why a request head is refused. The client gets [`RequestFault::status`], then the connection is closed.
    RequestFault {
        /// RFC 9112 section 2.2: lines end in CR LF.
        BareLf = 400 "bare_lf" "a line feed without a carriage return before it",
        // RFC 9112 section 2.2: "A recipient of such a bare CR MUST consider that element to be invalid"
        /// RFC 9112 section 2.2.
        BareCr = 400 "bare_cr" "a carriage return without a line feed after it",
        // RFC 9110 section 5.5: "MUST either reject the message or replace each of those characters with SP"
        /// RFC 9110 section 5.5: NUL and other control characters.
        ControlCharacter = 400 "control_character" "a control character in the head",
        /// RFC 9112 section 3: method, one space, target, one space, version.
        RequestLine = 400 "request_line" "the request line is not `METHOD TARGET HTTP/1.1`",
        /// RFC 9110 section 9.1: a method is a token.
        Method = 400 "method" "the method has a character that is not allowed",
        /// A tunnel through the proxy. 501, not 405, which would have to list what is allowed (RFC 9110 section 15.5.6).
        Connect = 501 "connect" "CONNECT is not supported",
        /// Neither origin-form, nor absolute-form of http or https, nor `*` with OPTIONS (RFC 9112 section 3.2).
        Target = 400 "target" "the request target is not a path, an http URL, or `*` with OPTIONS",
        /// A fragment, or a byte that must be percent-encoded (RFC 3986 section 2).
        TargetCharacter = 400 "target_character" "the request target has a character that must be percent-encoded",
        /// A major version other than 1, HTTP/2's preface among them, where that is not spoken.
        Version = 505 "version" "only HTTP/1.0 and HTTP/1.1 are supported",
        /// The request line exceeds its limit.
        RequestLineTooLong = 414 "request_line_too_long" "the request line is too long",
        /// The head exceeds its limit.
        HeadTooLarge = 431 "head_too_large" "the request head is too large",
        /// More fields than the limit.
        TooManyFields = 431 "too_many_fields" "the request has too many header fields",
        /// More fields to remove or rewrite, or more options in Connection, than a head's fixed tables hold.
        TooManyHopFields = 431 "too_many_hop_fields" "the request has too many hop-by-hop or forwarding fields",
        // RFC 9112 section 2.2: "MUST either reject the message as invalid or consume each whitespace-preceded line"
        /// White space before the first field (RFC 9112 section 2.2).
        LeadingWhitespace = 400 "leading_whitespace" "white space before the first header field",
        // RFC 9112 section 5.2: "MUST either reject the message by sending a 400 (Bad Request)"
        /// A line continued on the next (RFC 9112 section 5.2).
        ObsFold = 400 "obs_fold" "a header field folded over several lines",
        /// A field name that is empty or not a token, or a line without a colon.
        FieldName = 400 "field_name" "a header field's name has a character that is not allowed",
        // RFC 9112 section 5.1: "A server MUST reject, with a response status code of 400 (Bad Request), any received request message that contains whitespace"
        /// White space between a field's name and its colon (RFC 9112 section 5.1).
        SpaceBeforeColon = 400 "space_before_colon" "white space between a header field's name and its colon",
        /// `Content_Length` or `Transfer_Encoding`, which some servers take for the real ones.
        FramingLookAlike = 400 "framing_look_alike" "a header field that some servers take for Content-Length or Transfer-Encoding",
        // RFC 9112 section 6.3: "the recipient MUST treat it as an unrecoverable error"
        /// Not a decimal number in range, in one of several ways (RFC 9112 section 6.3).
        ContentLength = 400 "content_length" "Content-Length is not a decimal number in range",
        /// Several, with different values.
        ContentLengthConflict = 400 "content_length_conflict" "several Content-Length fields with different values",
        // RFC 9112 section 6.2: "A sender MUST NOT send a Content-Length header field in any message that contains a Transfer-Encoding"
        // RFC 9112 section 6.1: "the server MUST close the connection after responding to such a request"
        /// Content-Length and Transfer-Encoding together (RFC 9112 section 6.1).
        LengthAndCoding = 400 "length_and_coding" "Content-Length and Transfer-Encoding together",
        // RFC 9112 section 6.1: "A sender MUST NOT apply the chunked transfer coding more than once to a message body"
        /// Not a list of tokens, or chunked twice.
        TransferEncoding = 400 "transfer_encoding" "Transfer-Encoding is malformed",
        // RFC 9112 section 6.3: "the server MUST respond with the 400 (Bad Request) status code and then close the connection"
        /// The body's end could not be found (RFC 9112 section 6.3).
        FinalCodingNotChunked = 400 "final_coding_not_chunked" "the last transfer coding is not chunked",
        /// A coding besides chunked (RFC 9112 section 6.1).
        UnknownCoding = 501 "unknown_coding" "a transfer coding other than chunked",
        // RFC 9112 section 6.1: "MUST treat the message as if the framing is faulty"
        /// Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1).
        CodingInHttp10 = 400 "coding_in_http10" "Transfer-Encoding in an HTTP/1.0 request",
        // RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host"
        /// HTTP/1.1 without Host (RFC 9112 section 3.2).
        HostMissing = 400 "host_missing" "the Host field is missing",
        // RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host header field and to any request message that contains more than one Host"
        /// More than one Host (RFC 9112 section 3.2).
        HostRepeated = 400 "host_repeated" "several Host fields",
        /// Not a name or address with an optional port; or user information in an absolute-form target.
        Host = 400 "host" "the host is not a name or an address with an optional port",
        /// Connection is not a list of tokens.
        Connection = 400 "connection" "Connection is not a list of names",
        /// An expectation other than 100-continue (RFC 9110 section 10.1.1).
        Expectation = 417 "expectation" "an expectation other than 100-continue",
    }
}

faults! {
    /// Why a response head is refused. The client gets a 502, and the server connection is closed.
    ResponseFault {
        /// RFC 9112 section 2.2: lines end in CR LF.
        BareLf = 502 "bare_lf" "a line feed without a carriage return before it",
        /// RFC 9112 section 2.2.
        BareCr = 502 "bare_cr" "a carriage return without a line feed after it",
        /// RFC 9110 section 5.5: NUL and other control characters.
        ControlCharacter = 502 "control_character" "a control character in the head",
        /// RFC 9112 section 4: version, one space, three digits, one space, reason.
        StatusLine = 502 "status_line" "the status line is not `HTTP/1.1 STATUS REASON`",
        /// A major version other than 1.
        Version = 502 "version" "the response is neither HTTP/1.0 nor HTTP/1.1",
        /// The head exceeds its limit.
        HeadTooLarge = 502 "head_too_large" "the response head is too large",
        /// More fields than the limit.
        TooManyFields = 502 "too_many_fields" "the response has too many header fields",
        /// More fields to remove, or more options in Connection, than a head's fixed tables hold.
        TooManyHopFields = 502 "too_many_hop_fields" "the response has too many hop-by-hop fields",
        /// White space before the first field.
        LeadingWhitespace = 502 "leading_whitespace" "white space before the first header field",
        // RFC 9112 section 5.2: "MUST either discard the message and replace it with a 502 (Bad Gateway) response"
        /// A line continued on the next (RFC 9112 section 5.2).
        ObsFold = 502 "obs_fold" "a header field folded over several lines",
        /// A field name that is empty or not a token, or a line without a colon.
        FieldName = 502 "field_name" "a header field's name has a character that is not allowed",
        /// White space before a colon. RFC 9112 section 5.1 would remove it; refusing is what nginx does, and safer.
        SpaceBeforeColon = 502 "space_before_colon" "white space between a header field's name and its colon",
        // RFC 9112 section 6.3: "the proxy MUST close the connection to the server, discard the received response, and send a 502 (Bad Gateway)"
        /// Not a decimal number in range.
        ContentLength = 502 "content_length" "Content-Length is not a decimal number in range",
        /// Several, with different values.
        ContentLengthConflict = 502 "content_length_conflict" "several Content-Length fields with different values",
        /// Content-Length and Transfer-Encoding together (RFC 9112 section 6.3).
        LengthAndCoding = 502 "length_and_coding" "Content-Length and Transfer-Encoding together",
        /// Not a list of tokens, or chunked twice.
        TransferEncoding = 502 "transfer_encoding" "Transfer-Encoding is malformed",
        /// RFC 9112 section 6.3 would read until the connection closes; refused, as it cannot be told from a cut.
        FinalCodingNotChunked = 502 "final_coding_not_chunked" "the last transfer coding is not chunked",
        /// A coding besides chunked, which no client of ours asked for.
        UnknownCoding = 502 "unknown_coding" "a transfer coding other than chunked",
        /// Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1).
        CodingInHttp10 = 502 "coding_in_http10" "Transfer-Encoding in an HTTP/1.0 response",
        /// Connection is not a list of tokens.
        Connection = 502 "connection" "Connection is not a list of names",
    }
}

faults! {
    /// Why a body is refused. [`BodyFault::status`] is for a request's body; after a response's, both connections are
    /// closed, since its head has been sent.
    BodyFault {
        // RFC 9112 section 7.1: "recipients MUST anticipate potentially large hexadecimal numerals"
        /// A chunk size is not a hexadecimal number in range (RFC 9112 section 7.1).
        ChunkSize = 400 "chunk_size" "a chunk size is not a hexadecimal number in range",
        /// A chunk size with its extensions does not end within 1 KiB.
        ChunkLineTooLong = 400 "chunk_line_too_long" "a chunk's extensions are too long",
        // RFC 9112 section 7.1.1: "A recipient MUST ignore unrecognized chunk extensions"
        /// A control character, or a line end that is not CR LF, among a chunk's extensions.
        ChunkExtension = 400 "chunk_extension" "a control character or a bad line end in a chunk's extensions",
        /// A chunk's data is not followed by CR LF.
        ChunkEnd = 400 "chunk_end" "a chunk is longer than its size",
        /// A malformed trailer field.
        Trailer = 400 "trailer" "a malformed trailer field",
        /// More than 8 KiB of trailer fields.
        TrailersTooLarge = 400 "trailers_too_large" "the trailer fields are too large",
        /// The peer closed its connection before the end.
        Truncated = 400 "truncated" "the body ended early",
    }
}

/// Faults that requests and responses have in common.
macro_rules! head_faults {
    ($($variant:ident)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum HeadFault { $($variant,)+ }

        impl From<HeadFault> for RequestFault {
            fn from(fault: HeadFault) -> Self {
                match fault { $(HeadFault::$variant => Self::$variant,)+ }
            }
        }

        impl From<HeadFault> for ResponseFault {
            fn from(fault: HeadFault) -> Self {
                match fault { $(HeadFault::$variant => Self::$variant,)+ }
            }
        }
    };
}

head_faults! {
    BareLf BareCr ControlCharacter
    TooManyFields TooManyHopFields
    LeadingWhitespace ObsFold FieldName SpaceBeforeColon
    ContentLength ContentLengthConflict LengthAndCoding
    TransferEncoding FinalCodingNotChunked UnknownCoding CodingInHttp10
    Connection
}

impl From<LineFault> for HeadFault {
    fn from(fault: LineFault) -> Self {
        match fault {
            LineFault::BareLf => Self::BareLf,
            LineFault::BareCr => Self::BareCr,
            LineFault::Control => Self::ControlCharacter,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn labels_are_distinct_snake_case_words() {
        let requests: Vec<_> = RequestFault::ALL.iter().map(|fault| fault.label()).collect();
        let responses: Vec<_> = ResponseFault::ALL.iter().map(|fault| fault.label()).collect();
        let bodies: Vec<_> = BodyFault::ALL.iter().map(|fault| fault.label()).collect();
        for labels in [requests, responses, bodies] {
            assert_eq!(labels.iter().collect::<HashSet<_>>().len(), labels.len(), "{labels:?}");
            for label in labels {
                assert!(
                    label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                    "{label}"
                );
            }
        }
    }

    #[test]
    fn every_fault_has_a_status_of_an_error() {
        assert!(
            RequestFault::ALL.iter().all(|fault| [400, 414, 417, 431, 501, 505].contains(&fault.status()))
        );
        assert!(ResponseFault::ALL.iter().all(|fault| fault.status() == 502));
        assert!(BodyFault::ALL.iter().all(|fault| fault.status() == 400));
    }
}
