//! Cookies in heads of any kind: what is found is in the head, what is taken out is not found any more, and the rest stays.

use http1::{cookies, remove_cookies, remove_set_cookies};

const NAMES: [&[u8]; 3] = [b"S", b"SRV", b"a"];

pub(crate) fn run(bytes: &[u8]) {
    // As a head has them, which was found valid: no line end stands alone.
    let lines = bytes.iter().filter(|&&byte| byte != b'\r');
    let bytes: Vec<u8> =
        lines.flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] }).collect();
    let bytes = &bytes[..];
    for name in NAMES {
        let before = others(bytes, name);
        let mut head = bytes.to_vec();
        remove_cookies(&mut head, name);
        assert!(head.len() <= bytes.len());
        assert_eq!(cookies(&head, name).count(), 0);
        assert_eq!(others(&head, name), before);
        if cookies(bytes, name).next().is_none() {
            assert_eq!(head, bytes, "nothing had to go");
        }
        let kept = head.clone();
        remove_cookies(&mut head, name);
        assert_eq!(head, kept, "twice is as good as once");

        let mut head = bytes.to_vec();
        remove_set_cookies(&mut head, name);
        let once = head.clone();
        remove_set_cookies(&mut head, name);
        assert_eq!(head, once);
        let lines =
            |head: &[u8]| head.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let all = lines(bytes);
        assert!(lines(&once).iter().all(|line| all.contains(line)), "lines go whole");
    }
}

/// The cookies of the other names.
fn others(lines: &[u8], but: &[u8]) -> Vec<Vec<u8>> {
    let names = NAMES.into_iter().filter(|name| *name != but);
    names.flat_map(|name| cookies(lines, name).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}
