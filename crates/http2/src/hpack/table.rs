//! The fields that a block can name by a number (RFC 7541 section 2.3).

use std::collections::VecDeque;

/// What both sides know (RFC 7541 appendix A), from 1.
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// What a field counts beside its name and its value, in bytes: in the table of a connection (RFC 7541 section 4.1), and in the size
/// of a list of fields (RFC 9113 section 6.5.2).
pub const FIELD_OVERHEAD: usize = 32;

/// What the other side has had us remember, the last one first.
#[derive(Debug)]
pub(super) struct Dynamic {
    /// Names and values, the oldest first.
    bytes: VecDeque<u8>,
    /// How long they are, the oldest first.
    lengths: VecDeque<(u32, u32)>,
    size: usize,
    max: usize,
}

impl Dynamic {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: VecDeque::new(), lengths: VecDeque::new(), size: 0, max }
    }

    /// Changes how much it holds.
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.make_room(0);
    }

    /// Adds a field; one that is too large empties it (RFC 7541 section 4.4).
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        self.make_room(size);
        if let (true, Ok(n), Ok(v)) = (size <= self.max, name.len().try_into(), value.len().try_into()) {
            self.bytes.extend(name);
            self.bytes.extend(value);
            self.lengths.push_back((n, v));
            self.size += size;
        }
    }

    fn make_room(&mut self, size: usize) {
        while self.size + size > self.max
            && let Some((name, value)) = self.lengths.pop_front()
        {
            let bytes = name as usize + value as usize;
            self.bytes.drain(..bytes);
            self.size -= bytes + FIELD_OVERHEAD;
        }
        debug_assert!(self.size <= self.max || size > 0, "the table holds more than it may");
    }

    /// Puts the field with a number, from 0, behind `out`. How long its name is.
    pub(super) fn copy(&self, number: usize, out: &mut Vec<u8>) -> Option<usize> {
        let at = self.lengths.len().checked_sub(number + 1)?;
        let &(name, value) = self.lengths.get(at)?;
        let behind: usize = self.lengths.range(at + 1..).map(|&(n, v)| n as usize + v as usize).sum();
        let length = name as usize + value as usize;
        let from = self.bytes.len() - behind - length;
        let (front, back) = self.bytes.as_slices();
        let within = |slice: &[u8], offset: usize| {
            let begin = from.max(offset).min(offset + slice.len()) - offset;
            let end = (from + length).max(offset).min(offset + slice.len()) - offset;
            begin..end
        };
        out.extend_from_slice(&front[within(front, 0)]);
        out.extend_from_slice(&back[within(back, front.len())]);
        Some(name as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(table: &Dynamic, number: usize) -> Option<(String, String)> {
        let mut out = Vec::new();
        let name = table.copy(number, &mut out)?;
        let text = String::from_utf8(out).unwrap();
        Some((text[..name].to_owned(), text[name..].to_owned()))
    }

    #[test]
    fn the_last_is_the_first_and_the_oldest_go() {
        let mut table = Dynamic::new(3 * (FIELD_OVERHEAD + 2) + 1);
        for name in ["a", "b", "c", "d", "e"] {
            table.add(name.as_bytes(), b"1");
        }
        let said = |n| field(&table, n).map(|(name, value)| name + &value);
        assert_eq!(
            [said(0), said(1), said(2), said(3)],
            ["e1", "d1", "c1"].map(str::to_owned).map(Some).into_iter().chain([None]).collect::<Vec<_>>()[..]
        );
        table.resize(FIELD_OVERHEAD + 2);
        assert_eq!((field(&table, 0).unwrap().0, field(&table, 1)), ("e".to_owned(), None));
        table.add(b"too", &[b'x'; 100]);
        assert_eq!((field(&table, 0), table.size), (None, 0));
        table.add(b"z", b"");
        table.resize(0);
        assert_eq!((field(&table, 0), table.size, table.bytes.len()), (None, 0, 0));
    }

    #[test]
    fn fields_are_whole_wherever_they_lie() {
        let mut table = Dynamic::new(4096);
        for n in 0..1000_usize {
            let value = "v".repeat(n % 97);
            table.add(format!("name{n}").as_bytes(), value.as_bytes());
            for back in 0..20.min(n + 1) {
                let expected = (format!("name{}", n - back), "v".repeat((n - back) % 97));
                assert_eq!(field(&table, back), Some(expected));
            }
        }
    }
}
