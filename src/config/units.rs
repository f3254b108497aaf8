//! Durations and sizes as people write them: `"30s"`, `"64KiB"`.

use std::time::Duration;

/// What a duration without a unit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// Milliseconds, as CometD writes nearly all its times.
    Milliseconds,
    /// Seconds, as CometD writes the age of a cookie.
    Seconds,
    /// Nothing: a key that CometD does not have needs a unit.
    Refused,
}

/// Reads `"500ms"`, `"30s"`, `"5m"` or `"1h"`: one whole number and one unit.
///
/// # Errors
///
/// A sentence without a subject, to be put behind the name of the key.
pub(super) fn parse_duration(text: &str, bare: Bare) -> Result<Duration, String> {
    let Some((number, unit)) = split_number(text) else {
        return Err(format!("must be a duration such as \"30s\", \"500ms\", \"5m\" or \"1h\", not \"{text}\""));
    };
    let milliseconds = match (unit, bare) {
        ("ms", _) | ("", Bare::Milliseconds) => Some(number),
        ("s", _) | ("", Bare::Seconds) => number.checked_mul(1_000),
        ("m", _) => number.checked_mul(60_000),
        ("h", _) => number.checked_mul(3_600_000),
        ("", Bare::Refused) => return Err(format!("needs a unit: \"{number}s\" or \"{number}ms\"")),
        _ => return Err(format!("has no unit \"{unit}\" for a duration; write ms, s, m or h")),
    };
    milliseconds.map(Duration::from_millis).ok_or_else(|| format!("is too long: \"{text}\""))
}

/// Reads `"64KiB"`, `"2MiB"`, `"1GiB"`, `"512B"` or a plain number of bytes.
///
/// # Errors
///
/// A sentence without a subject, to be put behind the name of the key.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let Some((number, unit)) = split_number(text) else {
        return Err(format!("must be a size such as \"64KiB\", \"2MiB\" or a number of bytes, not \"{text}\""));
    };
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("has no unit \"{unit}\" for a size; write B, KiB, MiB or GiB")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("is too large: \"{text}\""))
}

/// Writes a duration with the largest unit that leaves a whole number.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 => "0s".to_owned(),
        whole if whole.is_multiple_of(3_600_000) => format!("{}h", whole / 3_600_000),
        whole if whole.is_multiple_of(60_000) => format!("{}m", whole / 60_000),
        whole if whole.is_multiple_of(1_000) => format!("{}s", whole / 1_000),
        whole => format!("{whole}ms"),
    }
}

/// Writes a size with the largest unit that leaves a whole number.
pub(super) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0B".to_owned(),
        whole if whole.is_multiple_of(1 << 30) => format!("{}GiB", whole >> 30),
        whole if whole.is_multiple_of(1 << 20) => format!("{}MiB", whole >> 20),
        whole if whole.is_multiple_of(1 << 10) => format!("{}KiB", whole >> 10),
        whole => format!("{whole}B"),
    }
}

/// Splits digits from what follows them; `None` without digits, or with more than fit.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_four_units() {
        let cases = [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0), ("10 s", 10_000)];
        for (text, milliseconds) in cases {
            assert_eq!(parse_duration(text, Bare::Refused), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_bare_number_means_what_cometd_means() {
        assert_eq!(parse_duration("20000", Bare::Milliseconds), Ok(Duration::from_secs(20)));
        assert_eq!(parse_duration("20", Bare::Seconds), Ok(Duration::from_secs(20)));
        let refused = parse_duration("20", Bare::Refused).expect_err("a unit is needed");
        assert_eq!(refused, "needs a unit: \"20s\" or \"20ms\"");
    }

    #[test]
    fn bad_durations_are_sentences() {
        let cases = [
            ("", "must be a duration"),
            ("s", "must be a duration"),
            ("-1", "must be a duration"),
            ("1.5s", "has no unit \".5s\""),
            ("3d", "has no unit \"d\""),
            ("99999999999999999999s", "must be a duration"),
            ("9999999999999999999s", "is too long"),
        ];
        for (text, start) in cases {
            let problem = parse_duration(text, Bare::Milliseconds).expect_err(text);
            assert!(problem.starts_with(start), "{text}: {problem}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("512", 512), ("512B", 512), ("64KiB", 65_536), ("2MiB", 2_097_152), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, start) in [
            ("64KB", "has no unit \"KB\""),
            ("64k", "has no unit \"k\""),
            ("KiB", "must be a size"),
            ("99999999999GiB", "is too large"),
        ] {
            let problem = parse_size(text).expect_err(text);
            assert!(problem.starts_with(start), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for milliseconds in [0, 1, 997, 1_000, 90_000, 120_000, 7_200_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&show_duration(duration), Bare::Refused), Ok(duration));
        }
        for bytes in [0, 1, 1_000, 1_024, 65_536, 3 << 20, 1 << 30] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_duration(Duration::from_secs(300)), "5m");
        assert_eq!(show_size(512 * 1024), "512KiB");
    }
}
