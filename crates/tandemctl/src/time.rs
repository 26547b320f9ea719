//! Times on the command line, written as in configuration files.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The least time that is one.
pub(crate) const LEAST: Duration = Duration::from_millis(1);

/// A whole number and a unit, within bounds, of which the lower one is [`LEAST`] or nothing.
pub(crate) fn duration(text: &str, allowed: RangeInclusive<Duration>) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a number and a unit, such as 500ms, 10s or 1m".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .map(Duration::from_millis)
        .filter(|time| allowed.contains(time))
        .ok_or_else(|| {
            let least = if allowed.start().is_zero() { "0s" } else { "1ms" };
            format!("from {least} to {}s", allowed.end().as_secs())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_bounds() {
        let allowed = Duration::ZERO..=Duration::from_secs(60);
        assert_eq!(duration("1m", allowed.clone()), Ok(Duration::from_secs(60)));
        assert_eq!(duration("0s", allowed.clone()), Ok(Duration::ZERO));
        for (wrong, message) in [
            ("30", "a time is a number and a unit, such as 500ms, 10s or 1m"),
            ("-1s", "a time is a number and a unit, such as 500ms, 10s or 1m"),
            ("61s", "from 0s to 60s"),
            ("99999999999999999999h", "from 0s to 60s"),
        ] {
            assert_eq!(duration(wrong, allowed.clone()), Err(message.to_owned()), "{wrong}");
        }
    }
}
