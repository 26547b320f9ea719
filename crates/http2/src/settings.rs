//! What each side says of itself at the beginning (RFC 9113 section 6.5).

use crate::code::Code;
use crate::frame::{self, kind};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 section 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
/// The largest window (RFC 9113 section 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// What the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// What may be sent on a new stream at once.
    pub(crate) window: u32,
    /// The longest payload.
    pub(crate) payload: usize,
    /// How large its table of fields may be.
    pub(crate) table: u32,
}

impl Client {
    /// What holds before it has said anything.
    pub(crate) const UNSAID: Self = Self { window: 65_535, payload: frame::PAYLOAD, table: 4096 };

    /// Takes what a frame of it says.
    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), Code> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Code::FrameSizeError);
        }
        for &[a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(value);
            match u16::from_be_bytes([a, b]) {
                HEADER_TABLE_SIZE => self.table = value,
                ENABLE_PUSH if value > 1 => return Err(Code::ProtocolError),
                INITIAL_WINDOW_SIZE if value > WINDOW_MAX => return Err(Code::FlowControlError),
                INITIAL_WINDOW_SIZE => self.window = value,
                MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => return Err(Code::ProtocolError),
                // Long frames would have others wait for theirs.
                MAX_FRAME_SIZE => {}
                // RFC 9113 section 6.5.2: "An endpoint that receives a SETTINGS frame with any unknown or unsupported identifier MUST ignore that setting."
                _ => {}
            }
        }
        Ok(())
    }
}

/// What we take (see [`crate::Limits`]).
pub(crate) fn write_own(streams: u32, window: u32, list: u32, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(24);
    for (setting, value) in [
        (MAX_CONCURRENT_STREAMS, streams),
        (INITIAL_WINDOW_SIZE, window),
        (MAX_HEADER_LIST_SIZE, list),
        (ENABLE_CONNECT_PROTOCOL, 1),
    ] {
        payload.extend_from_slice(&setting.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame::write(kind::SETTINGS, 0, 0, &payload, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: &[(u16, u32)]) -> Result<Client, Code> {
        let bytes = |&(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let payload: Vec<u8> = settings.iter().flat_map(bytes).collect();
        let mut client = Client::UNSAID;
        client.take(&payload).map(|()| client)
    }

    #[test]
    fn what_is_said_holds_and_the_unknown_is_left_alone() {
        let all = said(&[(1, 0), (2, 0), (3, 7), (4, 1 << 20), (5, 1 << 20), (6, 100), (0xff, 9), (4, 5)]);
        assert_eq!(all, Ok(Client { window: 5, payload: frame::PAYLOAD, table: 0 }));
        assert_eq!(said(&[]), Ok(Client::UNSAID));
    }

    #[test]
    fn what_cannot_be_is_an_error_of_its_own_kind() {
        assert_eq!(said(&[(2, 2)]), Err(Code::ProtocolError));
        assert_eq!(said(&[(4, 1 << 31)]), Err(Code::FlowControlError));
        assert_eq!([said(&[(5, (1 << 14) - 1)]), said(&[(5, 1 << 24)])], [Err(Code::ProtocolError); 2]);
        assert_eq!(Client::UNSAID.clone().take(&[0; 7]), Err(Code::FrameSizeError));
    }
}
