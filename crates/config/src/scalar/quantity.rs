//! Durations, sizes, percentages and plain numbers.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Problem;

/// The units of time, in milliseconds, from the largest.
const TIME_UNITS: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// The units of size, in bytes, from the largest, and how else they are written.
const SIZE_UNITS: &[(&str, u64, [&str; 3])] = &[
    ("GiB", 1 << 30, ["g", "gb", "gib"]),
    ("MiB", 1 << 20, ["m", "mb", "mib"]),
    ("KiB", 1 << 10, ["k", "kb", "kib"]),
    ("", 1, ["b", "byte", "bytes"]),
];

/// A number and a unit: `500ms`, `2s`, `1m`, `1h`.
pub(crate) fn duration(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, Problem> {
    let (digits, unit) = split(text);
    if unit.is_empty() && !digits.is_empty() {
        return match digits.trim_start_matches('0') {
            "" => Err(Problem::Unexpected),
            // HAProxy counts in milliseconds, and who writes 2000 hardly means half an hour.
            digits => {
                let unit = if digits.len() > 2 { "ms" } else { "s" };
                Problem::because(format!("a duration has a unit: did you mean \"{digits}{unit}\"?"))
            }
        };
    }
    let Some((_, milliseconds)) = TIME_UNITS.iter().find(|(word, _)| *word == unit) else {
        return Problem::because(
            "a duration is a whole number and one of the units ms, s, m, h, such as 90s",
        );
    };
    let count: u64 = digits.parse().map_err(|_| Problem::Unexpected)?;
    let duration = count.checked_mul(*milliseconds).map(Duration::from_millis);
    let duration = duration.filter(|duration| allowed.contains(duration)).ok_or(Problem::Unexpected)?;
    no_leading_zero(text).map(|()| duration)
}

/// A duration in its largest whole unit. It is cut to milliseconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let whole = TIME_UNITS.iter().find(|(_, unit)| milliseconds.is_multiple_of(u128::from(*unit)));
    let (word, unit) = whole.copied().unwrap_or(("ms", 1));
    format!("{}{word}", milliseconds / u128::from(unit))
}

/// A number of bytes, or with a unit: `8192`, `8KiB`, `10MiB`, `1GiB`.
pub(crate) fn size(text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, Problem> {
    let (digits, unit) = split(text);
    let Some((_, bytes, _)) = SIZE_UNITS.iter().find(|(word, ..)| *word == unit) else {
        let lower = unit.to_ascii_lowercase();
        return match SIZE_UNITS.iter().find(|(.., others)| others.contains(&lower.as_str())) {
            Some((word, ..)) if !digits.is_empty() => Problem::meant(format_args!("{digits}{word}")),
            _ => Problem::because("a size is a number of bytes, or of KiB, MiB or GiB, such as 8KiB"),
        };
    };
    let size = digits.parse().ok().and_then(|count: u64| count.checked_mul(*bytes));
    let size = size.filter(|size| allowed.contains(size)).ok_or(Problem::Unexpected)?;
    no_leading_zero(text).map(|()| size)
}

/// A size in its largest whole unit.
pub(crate) fn show_size(size: u64) -> String {
    let whole = SIZE_UNITS.iter().find(|(_, unit, _)| size > 0 && size.is_multiple_of(*unit));
    let (word, unit) = whole.map_or(("", 1), |(word, unit, _)| (*word, *unit));
    format!("{}{word}", size / unit)
}

/// A whole number within bounds.
pub(crate) fn number<N>(text: &str, allowed: &RangeInclusive<N>) -> Result<N, Problem>
where
    N: TryFrom<u64> + PartialOrd + Display,
{
    let (digits, unit) = split(text);
    let number = if unit.is_empty() { digits.parse::<u64>().ok() } else { None };
    let number = number.and_then(|number| N::try_from(number).ok());
    let number = number.filter(|number| allowed.contains(number)).ok_or(Problem::Unexpected)?;
    no_leading_zero(text).map(|()| number)
}

/// A whole number of per cent within bounds, with or without the sign: `20%`, `20`.
pub(crate) fn percentage(text: &str, allowed: &RangeInclusive<u32>) -> Result<u32, Problem> {
    number(text.strip_suffix('%').unwrap_or(text), allowed)
}

/// Refuses `03`: some dialects of YAML read an octal number there, and whoever wrote it may have meant either.
fn no_leading_zero(text: &str) -> Result<(), Problem> {
    let is_digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let mut better = text;
    while let Some(rest) = better.strip_prefix('0').filter(|rest| is_digit(rest)) {
        better = rest;
    }
    if better.len() == text.len() { Ok(()) } else { Problem::meant(better) }
}

/// The digits that a text starts with, and the rest.
fn split(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<Duration, Problem> {
        duration(text, &(Duration::from_millis(10)..=Duration::from_secs(86_400)))
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in [("10ms", 10), ("2s", 2000), ("1m", 60_000), ("24h", 86_400_000)] {
            assert_eq!(seconds(text), Ok(Duration::from_millis(milliseconds)));
            assert_eq!(show_duration(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "0", "0s", "9ms", "25h", "99999999999999999999s", "18446744073709551615h", "٣s"]
        {
            assert!(seconds(text).is_err(), "{text}");
        }
        for text in ["1.5s", "1m30s", "2 s", "-1s", "2sec", "1d"] {
            assert!(matches!(seconds(text), Err(Problem::Because(_))), "{text}");
        }
        for (text, meant) in
            [("2", "2s"), ("99", "99s"), ("100", "100ms"), ("2000", "2000ms"), ("060", "60s")]
        {
            let advice = format!("a duration has a unit: did you mean \"{meant}\"?");
            assert_eq!(seconds(text), Problem::because(advice));
        }
        assert_eq!(seconds("02s"), Problem::meant("2s"));
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let allowed = 256..=2 << 30;
        for (text, bytes) in [("8KiB", 8192), ("1000", 1000), ("10MiB", 10 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(size(text, &allowed), Ok(bytes));
            assert_eq!(show_size(bytes), text);
        }
        assert_eq!(show_size(0), "0");
        for (text, meant) in
            [("8k", "8KiB"), ("8KB", "8KiB"), ("8kib", "8KiB"), ("1M", "1MiB"), ("512B", "512")]
        {
            assert_eq!(size(text, &allowed), Problem::meant(meant));
        }
        for (text, meant) in [("08KiB", "8KiB"), ("0256", "256")] {
            assert_eq!(size(text, &allowed), Problem::meant(meant));
        }
        for text in ["255", "3GiB", "99999999999999999KiB", "99999999999999999999", ""] {
            assert_eq!(size(text, &allowed), Err(Problem::Unexpected), "{text}");
        }
        for text in ["8 KiB", "8TiB", "8kilo", "k", "-8", "8ß"] {
            assert!(matches!(size(text, &allowed), Err(Problem::Because(_))), "{text}");
        }
    }

    #[test]
    fn numbers_are_digits_within_bounds() {
        assert_eq!(number("256", &(0..=256_u16)), Ok(256));
        for text in ["257", "-1", "+1", "1.0", "0x10", "1_000", "", "one", "0999", "99999999999999999999"] {
            assert_eq!(number(text, &(0..=256_u16)), Err(Problem::Unexpected), "{text}");
        }
        for (text, meant) in [("03", "3"), ("010", "10"), ("00", "0")] {
            assert_eq!(number(text, &(0..=256_u16)), Problem::meant(meant));
        }
        assert_eq!(number("0", &(0..=256_u16)), Ok(0));
        assert_eq!((percentage("20%", &(0..=100)), percentage("20", &(0..=100))), (Ok(20), Ok(20)));
        assert_eq!(percentage("101%", &(0..=100)), Err(Problem::Unexpected));
        assert_eq!(percentage("20%%", &(0..=100)), Err(Problem::Unexpected));
    }
}
