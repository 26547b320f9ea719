//! The lines of a head that are not copied as they are.

use crate::Span;
use crate::bytes::trim;
use crate::fault::HeadFault;
use crate::fields::Field;
use crate::request::ForwardedField;

/// Why a line may have to go; the writer decides with what it knows then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It always goes.
    #[default]
    Drop,
    /// It stays, with one blank before its value and none behind it.
    Respace,
    /// Upgrade: stays, respaced, if the protocol may be switched.
    Upgrade,
    /// A field that tells where a request is from.
    Forwarded(Option<ForwardedField>),
    /// Transfer-Encoding of a response: goes for clients that know HTTP/1.0 only, and stays respaced for others.
    Coding,
}

impl Kind {
    /// Whether a line may stay behind those `before` it, in a place that none of ours takes: where a field is told by one of ours at
    /// most, the first that the client sent has that one's place.
    fn stays(self, before: &[Edit]) -> bool {
        use ForwardedField::{For, Forwarded, Host, Port, Proto, RealIp};
        match self {
            Self::Upgrade | Self::Coding | Self::Forwarded(None) => true,
            Self::Forwarded(Some(For | Proto)) | Self::Drop | Self::Respace => false,
            Self::Forwarded(Some(Host | Port | RealIp | Forwarded)) => {
                before.iter().any(|edit| edit.kind == self)
            }
        }
    }
}

/// A whole line with its line end, or several adjacent ones of kind [`Kind::Drop`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edit {
    pub(crate) lines: Span,
    pub(crate) kind: Kind,
}

/// The edits of a head, in the order of their lines.
///
/// Inline, so that a head costs no allocation; real heads have about three.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edits {
    len: usize,
    /// How many of them may stay beside those of ours.
    staying: usize,
    items: [Edit; Self::CAPACITY],
}

impl Edits {
    const CAPACITY: usize = 29;
    /// What a head that we write may have beside the lines that stayed: six fields that tell where a request is from, and
    /// Connection with the TE before it. Others like us have room for them, and so a head is refused by the first of us or by
    /// none.
    const ADDED: usize = 8;

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.staying = 0;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Edit> {
        self.items.iter().take(self.len)
    }

    /// Notes a line after all others.
    pub(crate) fn push(&mut self, lines: Span, kind: Kind) -> Result<(), HeadFault> {
        if let Some(last) = self.items[..self.len].last_mut()
            && last.kind == Kind::Drop
            && kind == Kind::Drop
            && last.lines.end == lines.start
        {
            last.lines.end = lines.end;
            return Ok(());
        }
        if kind.stays(&self.items[..self.len]) {
            if self.staying == Self::CAPACITY - Self::ADDED {
                return Err(HeadFault::TooManyHopFields);
            }
            self.staying += 1;
        }
        *self.items.get_mut(self.len).ok_or(HeadFault::TooManyHopFields)? = Edit { lines, kind };
        self.len += 1;
        Ok(())
    }

    /// Notes a line to drop, between the others, none of which covers it.
    pub(crate) fn insert_drop(&mut self, lines: Span) -> Result<(), HeadFault> {
        let place = self.iter().position(|edit| edit.lines.start > lines.start).unwrap_or(self.len);
        if self.len == Self::CAPACITY {
            return Err(HeadFault::TooManyHopFields);
        }
        self.items[place..=self.len].rotate_right(1);
        self.items[place] = Edit { lines, kind: Kind::Drop };
        self.len += 1;
        Ok(())
    }

    /// They stand in the order of their lines, within `part` of the head, and what may stay is counted.
    pub(crate) fn check_invariants(&self, part: Span) {
        let mut at = part.start;
        for Edit { lines, .. } in self.iter() {
            debug_assert!(at <= lines.start && lines.start < lines.end && lines.end <= part.end, "{self:?}");
            at = lines.end;
        }
        let stays = |place: &usize| self.items[*place].kind.stays(&self.items[..*place]);
        debug_assert_eq!((0..self.len).filter(stays).count(), self.staying);
        debug_assert!(self.staying <= Self::CAPACITY - Self::ADDED);
    }

    // RFC 9110 section 5.1: "A proxy MUST forward unrecognized header fields"
    // RFC 9110 section 5.3: "a proxy MUST NOT change the order of these field line values when forwarding a message"
    /// Appends `part` of `buf` without the lines whose kind is `dropped`.
    pub(crate) fn copy(&self, buf: &[u8], part: Span, dropped: impl Fn(Kind) -> bool, out: &mut Vec<u8>) {
        let mut from = part.start;
        for edit in self.iter() {
            let dropped = dropped(edit.kind);
            if !dropped && !matches!(edit.kind, Kind::Respace | Kind::Upgrade | Kind::Coding) {
                continue;
            }
            out.extend_from_slice(Span { start: from, end: edit.lines.start }.of(buf));
            from = edit.lines.end;
            if !dropped {
                respace(edit.lines.of(buf), out);
            }
        }
        out.extend_from_slice(Span { start: from, end: part.end }.of(buf));
    }
}

/// Appends a field line, with one blank before its value and none behind it.
fn respace(line: &[u8], out: &mut Vec<u8>) {
    let Some(Field { name, value }) = line.strip_suffix(b"\r\n").and_then(|line| Field::split(line).ok())
    else {
        return;
    };
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(trim(value));
    out.extend_from_slice(b"\r\n");
}
