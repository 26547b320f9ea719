//! The numbers of messages as people read them.

/// A time in milliseconds, in its one or two largest units: `3 ms`, `1.2 s`, `5 min 3 s`, `2 d 4 h`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (major, minor) = match seconds {
        0 => return format!("{ms} ms"),
        1..10 if ms % 1000 >= 100 => return format!("{seconds}.{} s", ms % 1000 / 100),
        1..60 => return format!("{seconds} s"),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds / 60 % 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds / 3600 % 24, "h")),
    };
    match minor.0 {
        0 => format!("{} {}", major.0, major.1),
        rest => format!("{} {} {rest} {}", major.0, major.1, minor.1),
    }
}

/// A time in milliseconds, in its largest unit and without a space: `3ms`, `4s`, `5m`, `2h`, `12d`.
pub fn short_duration(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms}ms"),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A number in groups of three digits: `12,345`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// So many things, in the singular where there is one: `1 server`, `2 servers`, `3 addresses`.
pub fn things(n: impl TryInto<u64>, thing: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    let plural = match (n, thing.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {thing}{plural}", count(n))
}

/// So many of all things: `1 of 3 servers`, `1 of 1 server`.
pub fn part(n: usize, all: usize, thing: &str) -> String {
    format!("{n} of {}", things(all, thing))
}

/// A number in at most four digits and a letter: `999`, `12.3k`, `4.5M`.
pub fn short_count(n: u64) -> String {
    scaled(n, 1000, ["", "k", "M", "G", "T", "P"])
}

/// A number of bytes in binary units: `512 B`, `1.5 KiB`, `3.2 GiB`.
pub fn bytes(n: u64) -> String {
    scaled(n, 1024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

/// `n` in the largest of `units` that leaves it at least 1, with one decimal place if it is below 100.
fn scaled(n: u64, step: u64, units: [&str; 6]) -> String {
    let mut divisor = 1;
    let mut unit = 0;
    while unit + 1 < units.len() && n / divisor >= step {
        divisor *= step;
        unit += 1;
    }
    let whole = n / divisor;
    match units.get(unit) {
        Some(name) if unit == 0 || whole >= 100 => format!("{whole}{name}"),
        Some(name) => format!("{whole}.{}{name}", n % divisor * 10 / divisor),
        None => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            (0, "0 ms", "0ms"),
            (999, "999 ms", "999ms"),
            (1_000, "1 s", "1s"),
            (1_234, "1.2 s", "1s"),
            (59_999, "59 s", "59s"),
            (303_000, "5 min 3 s", "5m"),
            (3_600_000, "1 h", "1h"),
            (187_200_000, "2 d 4 h", "2d"),
        ];
        for (ms, long, short) in cases {
            assert_eq!(duration(ms), long);
            assert_eq!(short_duration(ms), short);
        }
        assert_eq!(short_duration(u64::MAX), "213503982334d");
    }

    #[test]
    fn things_are_counted() {
        assert_eq!(things(1, "server"), "1 server");
        assert_eq!(things(0, "server"), "0 servers");
        assert_eq!(things(1_200_u32, "address"), "1,200 addresses");
        assert_eq!(part(1, 3, "server"), "1 of 3 servers");
        assert_eq!(part(1, 1, "server"), "1 of 1 server");
    }

    #[test]
    fn counts_and_bytes() {
        for (n, grouped, short, binary) in [
            (0, "0", "0", "0 B"),
            (999, "999", "999", "999 B"),
            (1_000, "1,000", "1.0k", "1000 B"),
            (12_345, "12,345", "12.3k", "12.0 KiB"),
            (123_456_789, "123,456,789", "123M", "117 MiB"),
        ] {
            assert_eq!((count(n), short_count(n), bytes(n)), (grouped.into(), short.into(), binary.into()));
        }
        assert_eq!(bytes(u64::MAX), "16383 PiB");
    }
}
