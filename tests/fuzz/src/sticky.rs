//! Cookies of any kind, where clients stay with their server by one: what counts is what was given.

use balance::{Belongs, Seconds, Sticky, StickyLimits};

const NOW: Seconds = Seconds(1_800_000_000);

pub(crate) fn run(bytes: &[u8]) {
    for limits in [StickyLimits::default(), StickyLimits { idle: Some(600), life: Some(3_600) }] {
        let sticky = Sticky::new(b"secret", "app", ["s1", "s2"].into_iter(), limits);
        let lines = [b"Cookie: SRV=", bytes, b"\r\n"].concat();
        match sticky.read(http1::cookies(&lines, b"SRV"), NOW) {
            Belongs::Nowhere => panic!("there is one"),
            Belongs::Unknown => {}
            Belongs::Idle | Belongs::Old => panic!("time stands still"),
            Belongs::To(session) => {
                let mut given = Vec::new();
                sticky.write(session.place, Belongs::Nowhere, NOW, &mut given);
                assert!(lines.windows(given.len()).any(|part| part == given), "it was not given");
                assert_eq!(sticky.write(session.place, Belongs::To(session), NOW, &mut given), None);
            }
        }
    }
}
