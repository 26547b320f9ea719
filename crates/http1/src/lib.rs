//! HTTP/1.1 heads and body framing: strict, and pure: bytes in, decisions out.
