//! Frames about the connection and its streams, and not of their messages.

use super::{Connection, Departure, LEAVING_PING, WINDOW_MAX};
use crate::code::Code;
use crate::event::Event;
use crate::frame::{self, Head, flag, kind};
use crate::stream::StreamId;

impl<T: Default> Connection<T> {
    pub(super) fn rst_stream(&mut self, head: Head) -> Result<Option<Event>, Code> {
        if head.length != 4 {
            return Err(Code::FrameSizeError);
        }
        let id = self.known(head.stream)?;
        self.idle_frame()?;
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.is_open()) else {
            return Ok(None);
        };
        stream.close();
        Ok(Some(Event::Reset(StreamId(id))))
    }

    pub(super) fn settings(&mut self, head: Head, payload: &[u8]) -> Result<Option<Event>, Code> {
        if head.stream != 0 {
            return Err(Code::ProtocolError);
        }
        self.idle_frame()?;
        if head.has(flag::ACK) {
            return if payload.is_empty() { Ok(None) } else { Err(Code::FrameSizeError) };
        }
        let before = self.client.window;
        self.client.take(payload)?;
        self.encoder.table_is_limited(self.client.table);
        frame::write(kind::SETTINGS, flag::ACK, 0, &[], &mut self.out);
        // RFC 9113 section 6.9.2: "a receiver MUST adjust the size of all stream flow-control windows that it maintains by the difference"
        let more = i64::from(self.client.window) - i64::from(before);
        for stream in self.streams.iter_mut() {
            stream.send_window += more;
            if stream.send_window > WINDOW_MAX {
                return Err(Code::FlowControlError);
            }
        }
        Ok((more > 0).then_some(Event::RoomOfStreams))
    }

    pub(super) fn ping(&mut self, head: Head, payload: &[u8]) -> Result<Option<Event>, Code> {
        if head.stream != 0 {
            return Err(Code::ProtocolError);
        }
        if head.length != 8 {
            return Err(Code::FrameSizeError);
        }
        self.idle_frame()?;
        if !head.has(flag::ACK) {
            frame::write(kind::PING, flag::ACK, 0, payload, &mut self.out);
        } else if payload == LEAVING_PING && self.departure == Departure::Told {
            self.departure = Departure::Known { last: self.last };
            frame::goaway(self.last, Code::NoError, &mut self.out);
        }
        Ok(None)
    }

    pub(super) fn goaway(&mut self, head: Head) -> Result<Option<Event>, Code> {
        match head.stream {
            0 if head.length >= 8 => self.idle_frame().map(|()| None),
            0 => Err(Code::FrameSizeError),
            _ => Err(Code::ProtocolError),
        }
    }

    pub(super) fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<Option<Event>, Code> {
        let more = match <[u8; 4]>::try_from(payload) {
            Ok(bytes) => i64::from(u32::from_be_bytes(bytes) & 0x7fff_ffff),
            Err(_) => return Err(Code::FrameSizeError),
        };
        self.idle_frame()?;
        if head.stream == 0 {
            // RFC 9113 section 6.9: "errors on the connection flow-control window MUST be treated as a connection error."
            self.send_window += more;
            return match more {
                0 => Err(Code::ProtocolError),
                _ if self.send_window > WINDOW_MAX => Err(Code::FlowControlError),
                _ => Ok(Some(Event::RoomOfConnection)),
            };
        }
        let id = self.known(head.stream)?;
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.is_open()) else {
            return Ok(None);
        };
        if more == 0 {
            return self.fault(id, Code::ProtocolError);
        }
        stream.send_window += more;
        if stream.send_window > WINDOW_MAX {
            return self.fault(id, Code::FlowControlError);
        }
        Ok(Some(Event::RoomOfStream(StreamId(id))))
    }
}
