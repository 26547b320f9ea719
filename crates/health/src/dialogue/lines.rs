//! Lines of protocols that are made of them.

/// Takes the first line, without its end: a line feed, and a carriage return before it. None while it is not whole.
pub(super) fn take(heard: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = heard.iter().position(|byte| *byte == b'\n')?;
    let mut line: Vec<u8> = heard.drain(..=end).collect();
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_when_it_is_whole() {
        let mut heard = b"a\r\n\nb\rc\nrest".to_vec();
        assert_eq!(take(&mut heard), Some(b"a".to_vec()));
        assert_eq!(take(&mut heard), Some(b"".to_vec()));
        assert_eq!(take(&mut heard), Some(b"b\rc".to_vec()));
        assert_eq!((take(&mut heard), heard.as_slice()), (None, &b"rest"[..]));
    }
}
