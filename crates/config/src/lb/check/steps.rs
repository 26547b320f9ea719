//! `backends.NAME.check.tcp`

use health::dialogue::Step;

use crate::Probe;
use crate::read::{Section, Value};
use crate::scalar;

const MAX_STEPS: usize = 32;

pub(super) fn read(s: &mut Section<'_>) -> Probe {
    let value =
        s.value("steps", "a list of send, send_hex, expect and expect_hex", "none: connects, and closes");
    if !value.is_given() {
        // Read all the same, for the list of keys.
        value.section(|s| step(s, false));
        return Probe::Tcp;
    }
    let items = value.items();
    let steps: Vec<Step> = items.iter().filter_map(|item| item.section(|s| step(s, true))).collect();
    if steps.len() > MAX_STEPS {
        value.error(format_args!("has {} elements; at most {MAX_STEPS} are allowed", steps.len()));
    }
    let all_known = value.is_list() && steps.len() == items.len();
    if all_known && !steps.iter().any(|step| matches!(step, Step::Expect(_))) {
        value.error("expects nothing; then no check could ever end");
    }
    Probe::Steps(steps)
}

fn step(s: &mut Section<'_>, given: bool) -> Option<Step> {
    const NONE: &str = "none";
    let send = s.value("send", "a text of 1 to 1024 bytes", NONE);
    let send_hex = s.value("send_hex", "1 to 1024 bytes in hexadecimal digits", NONE);
    let expect = s.value("expect", "a text of 1 to 1024 bytes", NONE);
    let expect_hex = s.value("expect_hex", "1 to 1024 bytes in hexadecimal digits", NONE);
    let all = [&send, &send_hex, &expect, &expect_hex];
    let named = all.iter().filter(|value| value.is_given()).count();
    if given && named != 1 {
        s.error([], "has to have one of send, send_hex, expect and expect_hex");
    }
    let text = |value: &Value<'_>| value.scalar(scalar::wanted).map(String::into_bytes);
    let sent = text(&send).or_else(|| send_hex.scalar(scalar::hex)).map(Step::Send);
    let expected = || text(&expect).or_else(|| expect_hex.scalar(scalar::hex)).map(Step::Expect);
    sent.or_else(expected)
}
