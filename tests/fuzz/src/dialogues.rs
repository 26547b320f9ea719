//! Any bytes as what a server says in a check. However they arrive the check says the same and finds the same, what it holds is
//! what it was sent, and its verdict's text is one line of printable characters. That may show more where more has come.
//!
//! The first byte chooses the check's options, the second one how the bytes arrive.

use health::dialogue::{Dialogue, Mysql, Postgres, Redis, RedisRole, Smtp, Step, Steps, Verdict};

use super::pieces::Pieces;

pub(crate) fn mysql(bytes: &[u8]) {
    run(bytes, |choice| Box::new(Mysql::new((choice & 1 != 0).then_some("check"))));
}

pub(crate) fn postgres(bytes: &[u8]) {
    run(bytes, |choice| Box::new(Postgres::new("check", (choice & 1 != 0).then_some("app"))));
}

pub(crate) fn redis(bytes: &[u8]) {
    let roles = [None, Some(RedisRole::Master), Some(RedisRole::Replica)];
    run(bytes, |choice| Box::new(Redis::new(roles[usize::from(choice) % roles.len()])));
}

pub(crate) fn smtp(bytes: &[u8]) {
    run(bytes, |_| Box::new(Smtp::new("lb1.example.org")));
}

pub(crate) fn steps(bytes: &[u8]) {
    let steps = [
        Step::Expect(b"aab".to_vec()),
        Step::Send(b"one".to_vec()),
        Step::Send(b"two".to_vec()),
        Step::Expect(b"\0\xff".to_vec()),
        Step::Expect(b"\r\n".to_vec()),
    ];
    run(bytes, |choice| Box::new(Steps::new(&steps[usize::from(choice) % 3..])));
}

fn run<'a>(bytes: &[u8], new: impl Fn(u8) -> Box<dyn Dialogue + 'a>) {
    let [choice, pieces, bytes @ ..] = bytes else { return };
    let (said, whole) = talk(new(*choice), bytes, Pieces::WHOLE);
    for pieces in Pieces::others(*pieces) {
        let (also_said, verdict) = talk(new(*choice), bytes, pieces);
        assert_eq!((also_said, verdict.code), (said.clone(), whole.code), "{pieces:?}");
        let text = verdict.text;
        assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{text:?}");
        assert!(text.len() < 2048, "{} bytes", text.len());
    }
}

/// All that is said, and the verdict, if need be at the end of the connection.
fn talk(mut dialogue: Box<dyn Dialogue + '_>, bytes: &[u8], pieces: Pieces) -> (Vec<u8>, Verdict) {
    let mut said = dialogue.opening();
    let (mut heard, mut start) = (Vec::new(), 0);
    for end in pieces.ends(bytes.len()) {
        heard.extend_from_slice(&bytes[start..end]);
        start = end;
        if let Some(verdict) = dialogue.hear(&mut heard, &mut said) {
            return (said, verdict);
        }
        assert!(heard.len() <= end, "it holds what it was sent");
    }
    assert!(!dialogue.late(&heard, "2 s").is_empty());
    (said, dialogue.ended(&heard))
}
