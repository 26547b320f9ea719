//! Writing a field block (RFC 7541 section 6).
//!
//! The other side remembers nothing for us: names that both know are numbers, all else is sent as it is. That costs some bytes, and
//! neither memory nor a search.

use super::integer;

/// Writes the field blocks of a connection.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// The other side has made its table smaller than it was, and is owed a word that we do not need it.
    owes_resize: bool,
}

impl Encoder {
    // RFC 7541 section 4.2: "the smallest maximum table size that occurs in that interval MUST be signaled in a dynamic table size update."
    /// The other side's table may have at most this size from now on.
    pub(crate) fn table_is_limited(&mut self, size: u32) {
        self.owes_resize |= size < 4096;
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.owes_resize) {
            out.push(0x20);
        }
    }
}

/// Writes a response's status.
pub(crate) fn status(status: u16, out: &mut Vec<u8>) {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    if let Some(at) = KNOWN.iter().position(|&known| known == status) {
        integer::write(0x80, 7, 8 + at, out);
        return;
    }
    out.extend_from_slice(&[8, 3]);
    let digit = |by: u16| b'0' + (status / by % 10).to_le_bytes()[0];
    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
}

/// Writes a field, whose name gets lower-case letters (RFC 9113 section 8.2).
pub(crate) fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.push(0);
    integer::write(0, 7, name.len(), out);
    let begin = out.len();
    out.extend_from_slice(name);
    out[begin..].make_ascii_lowercase();
    if let Some(number) = number_of(&out[begin..]) {
        out.truncate(at);
        integer::write(0, 4, number, out);
    }
    integer::write(0, 7, value.len(), out);
    out.extend_from_slice(value);
}

/// The number of a name that responses have.
fn number_of(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"accept-ranges" => 18,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-length" => 28,
        b"content-location" => 29,
        b"content-range" => 30,
        b"content-type" => 31,
        b"date" => 33,
        b"etag" => 34,
        b"expires" => 36,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"proxy-authenticate" => 48,
        b"refresh" => 52,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::super::table::STATIC;
    use super::*;

    #[test]
    fn numbers_are_those_of_the_table() {
        let known = STATIC.iter().enumerate().filter_map(|(at, (name, _))| Some((at + 1, number_of(name)?)));
        let mut count = 0;
        for (number, known) in known {
            assert_eq!(number, known);
            count += 1;
        }
        assert_eq!(count, 27);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        let mut encoder = Encoder::default();
        encoder.table_is_limited(0);
        encoder.begin(&mut out);
        for number in [100, 200, 204, 206, 304, 400, 404, 500, 999] {
            status(number, &mut out);
        }
        field(b"Content-Type", b"text/plain", &mut out);
        field(b"X-Own", &[b'v'; 300], &mut out);
        let mut said = Vec::new();
        let take = |name: &[u8], value: &[u8]| said.push((name.to_vec(), value.to_vec()));
        assert_eq!(Decoder::new().decode(&out, take), Ok(()));
        let statuses: Vec<_> = said[..9].iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
        assert_eq!(statuses, ["100", "200", "204", "206", "304", "400", "404", "500", "999"]);
        assert_eq!(said[9], (b"content-type".to_vec(), b"text/plain".to_vec()));
        assert_eq!(said[10], (b"x-own".to_vec(), vec![b'v'; 300]));
        assert_eq!(out[0], 0x20);
        out.clear();
        encoder.begin(&mut out);
        assert_eq!(out, b"");
    }
}
