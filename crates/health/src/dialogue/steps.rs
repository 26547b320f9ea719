//! Bytes that are sent and expected, step by step.

use super::{Dialogue, Verdict, shown};

/// One step of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These bytes are sent.
    Send(Vec<u8>),
    /// These bytes are waited for, wherever they stand in what the server sends.
    Expect(Vec<u8>),
}

/// Follows steps; the server is well when the last one is done.
#[derive(Debug)]
pub struct Steps<'a> {
    steps: &'a [Step],
    /// The step that is waited for.
    at: usize,
    /// How many bytes of what was heard are known not to begin with what is expected.
    searched: usize,
}

impl<'a> Steps<'a> {
    /// Follows these steps.
    pub const fn new(steps: &'a [Step]) -> Self {
        Self { steps, at: 0, searched: 0 }
    }

    /// Does what can be done without hearing more.
    fn go_on(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        loop {
            match self.steps.get(self.at) {
                None => return Some(Verdict::good("all steps went as expected")),
                Some(Step::Send(bytes)) => say.extend_from_slice(bytes),
                Some(Step::Expect(wanted)) => {
                    let end = self.find(wanted, heard)?;
                    heard.drain(..end);
                    self.searched = 0;
                }
            }
            self.at += 1;
        }
    }

    /// Where the expected bytes end.
    fn find(&mut self, wanted: &[u8], heard: &[u8]) -> Option<usize> {
        let rest = heard.get(self.searched..).unwrap_or_default();
        let found = rest.windows(wanted.len().max(1)).position(|window| window == wanted);
        match found {
            Some(start) => Some(self.searched + start + wanted.len()),
            None => {
                self.searched = (heard.len() + 1).saturating_sub(wanted.len()).max(self.searched);
                None
            }
        }
    }
}

impl Dialogue for Steps<'_> {
    fn opening(&mut self) -> Vec<u8> {
        let mut say = Vec::new();
        while let Some(Step::Send(bytes)) = self.steps.get(self.at) {
            say.extend_from_slice(bytes);
            self.at += 1;
        }
        say
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> Option<Verdict> {
        self.go_on(heard, say)
    }

    fn awaited(&self) -> String {
        match self.steps.get(self.at) {
            Some(Step::Expect(wanted)) => format!("{} of step {}", shown(wanted), self.at + 1),
            _ => "anything".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk;
    use super::*;
    use crate::CheckCode;

    fn send(text: &str) -> Step {
        Step::Send(text.into())
    }

    fn expect(text: &str) -> Step {
        Step::Expect(text.into())
    }

    #[test]
    fn steps_are_followed_in_their_order() {
        let steps =
            [expect("ready"), send("one"), send("two"), expect("+OK"), expect("role:master"), send("QUIT")];
        let (said, verdict) = talk(&mut Steps::new(&steps), b"*** ready +OK\r\nrole:slave role:master");
        assert_eq!((said.as_slice(), verdict.code), (&b"onetwoQUIT"[..], CheckCode::L7Ok));

        // What a step has taken is not there for the next one.
        let twice = [expect("aa"), expect("aa")];
        assert_eq!(talk(&mut Steps::new(&twice), b"aaa").1.code, CheckCode::L7Rsp);
        assert_eq!(talk(&mut Steps::new(&twice), b"aaaa").1.code, CheckCode::L7Ok);
    }

    #[test]
    fn what_is_missing_is_named() {
        let steps = [send("PING\r\n"), expect("+PONG\r\n")];
        let (said, verdict) = talk(&mut Steps::new(&steps), b"-NOAUTH no\r\n");
        assert_eq!(said, b"PING\r\n");
        assert_eq!(
            verdict.text,
            r#"the connection was closed before "+PONG\r\n" of step 2, after "-NOAUTH no\r\n""#
        );
        let mut dialogue = Steps::new(&steps);
        dialogue.opening();
        let late = dialogue.late(b"-ERR", "2 s");
        assert_eq!(late, r#"connected, but not "+PONG\r\n" of step 2 within 2 s, only "-ERR""#);
    }

    #[test]
    fn what_is_expected_is_found_wherever_it_begins() {
        let steps = [expect("aab")];
        for (server, good) in
            [("aaab", true), ("xaab", true), ("aaxb", false), ("aab and more", true), ("", false)]
        {
            let verdict = talk(&mut Steps::new(&steps), server.as_bytes()).1;
            assert_eq!(verdict.code.is_good(), good, "{server}");
        }
    }
}
