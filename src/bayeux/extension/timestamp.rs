//! [`TimestampFormat`]: how the time is written into messages.

use std::fmt::{self, Write};
use std::str::FromStr;

/// How the time is written into messages, in the letters of Java's date patterns, which CometD takes.
///
/// The letters are `y` year, `M` month, `d` day, `E` day of the week, `H` hour of 24, `h` of 12, `a` AM or PM, `m` minute,
/// `s` second, `S` fraction of a second, `z` abbreviation of the zone, and `Z`, `X` or `x` its offset. Repeating a letter
/// pads the number, or chooses between a short and a long name. Text stands between apostrophes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampFormat {
    text: String,
    pieces: Vec<Piece>,
}

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A letter and how often it stands there.
    Field(char, usize),
}

/// A text that is not a [`TimestampFormat`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimestampFormat {
    /// A letter that means nothing here, or stands there too often.
    #[error("\"{0}\" has no meaning in a pattern")]
    Field(String),
    /// An apostrophe without its other half.
    #[error("an apostrophe is not closed")]
    Quote,
    /// There is nothing in it, or too much.
    #[error("it must have 1 to {LENGTH_MAX} characters")]
    Length,
}

/// Longest pattern, in bytes: every message carries what it makes.
const LENGTH_MAX: usize = 128;
/// The letters with the most times that each may stand in a row.
const FIELDS: &[(char, usize)] = &[
    ('y', 4),
    ('M', 4),
    ('d', 2),
    ('E', 4),
    ('H', 2),
    ('h', 2),
    ('a', 1),
    ('m', 2),
    ('s', 2),
    ('S', 9),
    ('z', 3),
    ('Z', 3),
    ('X', 3),
    ('x', 3),
];

/// What a server that is told nothing about zones writes.
const UTC: &str = "UTC";

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How far a time zone is from UTC at some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneOffset {
    /// Seconds to add to UTC.
    pub seconds: i32,
    /// What people call the zone then, `CEST`.
    pub abbreviation: String,
}

impl Default for ZoneOffset {
    fn default() -> Self {
        Self { seconds: 0, abbreviation: UTC.to_owned() }
    }
}

impl TimestampFormat {
    /// CometD's own pattern, which gives `Sat Nov 21 00:25:38 UTC 2026`.
    pub const COMETD: &str = "EEE MMM dd HH:mm:ss zzz yyyy";

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Writes an instant, in milliseconds since the Unix epoch, as it is read in a zone.
    #[must_use]
    pub fn format(&self, unix_millis: u64, offset: &ZoneOffset) -> String {
        let civil = Civil::of(unix_millis, offset.seconds);
        let mut out = String::with_capacity(self.text.len() + 8);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                // Writing to a `String` cannot fail.
                Piece::Field(letter, count) => drop(civil.write(&mut out, *letter, *count, offset)),
            }
        }
        out
    }
}

impl Default for TimestampFormat {
    fn default() -> Self {
        Self::COMETD.parse().expect("CometD's pattern is one")
    }
}

impl FromStr for TimestampFormat {
    type Err = InvalidTimestampFormat;

    fn from_str(text: &str) -> Result<Self, InvalidTimestampFormat> {
        if text.is_empty() || text.len() > LENGTH_MAX {
            return Err(InvalidTimestampFormat::Length);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (piece, length) = match first {
                '\'' => quoted(rest)?,
                letter if letter.is_ascii_alphabetic() => field(rest, letter)?,
                other => (Piece::Text(other.to_string()), other.len_utf8()),
            };
            pieces.push(piece);
            rest = &rest[length..];
        }
        Ok(Self { text: text.to_owned(), pieces })
    }
}

/// Reads text between apostrophes; two in a row are one, inside and outside of quotes.
fn quoted(text: &str) -> Result<(Piece, usize), InvalidTimestampFormat> {
    let mut out = String::new();
    let mut symbols = text.char_indices().skip(1).peekable();
    while let Some((at, symbol)) = symbols.next() {
        if symbol != '\'' {
            out.push(symbol);
        } else if at == 1 {
            return Ok((Piece::Text("'".to_owned()), 2));
        } else if symbols.next_if(|(_, next)| *next == '\'').is_some() {
            out.push('\'');
        } else {
            return Ok((Piece::Text(out), at + 1));
        }
    }
    Err(InvalidTimestampFormat::Quote)
}

fn field(text: &str, letter: char) -> Result<(Piece, usize), InvalidTimestampFormat> {
    let count = text.chars().take_while(|symbol| *symbol == letter).count();
    match FIELDS.iter().find(|(known, most)| *known == letter && count <= *most) {
        Some(_) => Ok((Piece::Field(letter, count), count)),
        None => Err(InvalidTimestampFormat::Field(text[..count].to_owned())),
    }
}

/// A time as calendars and clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: u64,
    /// 1 to 12.
    month: usize,
    day: u64,
    /// 0 is Sunday.
    weekday: usize,
    second_of_day: u64,
    millisecond: u64,
}

impl Civil {
    fn of(unix_millis: u64, offset: i32) -> Self {
        const DAY: u64 = 86_400;
        let seconds = (unix_millis / 1_000).saturating_add_signed(i64::from(offset));
        let days = seconds / DAY;
        // Years that begin in March have their leap day last; in 400 of them there are always 146,097 days.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as usize,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            weekday: ((days + 4) % 7) as usize,
            second_of_day: seconds % DAY,
            millisecond: unix_millis % 1_000,
        }
    }

    fn write(&self, out: &mut String, letter: char, count: usize, offset: &ZoneOffset) -> fmt::Result {
        let hour = self.second_of_day / 3_600;
        let number = match letter {
            'E' | 'M' if count > 2 || letter == 'E' => {
                let name = if letter == 'E' { DAYS[self.weekday] } else { MONTHS[self.month - 1] };
                out.push_str(if count > 3 { name } else { &name[..3] });
                return Ok(());
            }
            'a' => {
                out.push_str(if hour < 12 { "AM" } else { "PM" });
                return Ok(());
            }
            'z' => {
                out.push_str(&offset.abbreviation);
                return Ok(());
            }
            'Z' | 'X' | 'x' => return write_offset(out, letter, count, offset.seconds),
            'S' => {
                let digits = format!("{:03}000000", self.millisecond);
                out.push_str(&digits[..count]);
                return Ok(());
            }
            'y' if count == 2 => self.year % 100,
            'y' => self.year,
            'M' => self.month as u64,
            'd' => self.day,
            'H' => hour,
            'h' => (hour + 11) % 12 + 1,
            'm' => self.second_of_day / 60 % 60,
            _ => self.second_of_day % 60,
        };
        write!(out, "{number:0count$}")
    }
}

/// Writes `+0200`, or as ISO 8601 has it: `Z` for `X` at UTC, hours alone if one letter suffices, a colon for three.
fn write_offset(out: &mut String, letter: char, count: usize, seconds: i32) -> fmt::Result {
    if letter == 'X' && seconds == 0 {
        return out.write_char('Z');
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.unsigned_abs() / 3_600, seconds.unsigned_abs() / 60 % 60);
    write!(out, "{sign}{hours:02}")?;
    match (letter, count) {
        ('X' | 'x', 1) if minutes == 0 => Ok(()),
        ('X' | 'x', 3) => write!(out, ":{minutes:02}"),
        _ => write!(out, "{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 00:25:38.042 UTC, a Saturday.
    const INSTANT: u64 = 1_795_220_738_042;

    fn format(pattern: &str, seconds: i32, abbreviation: &str) -> String {
        let offset = ZoneOffset { seconds, abbreviation: abbreviation.to_owned() };
        pattern.parse::<TimestampFormat>().expect(pattern).format(INSTANT, &offset)
    }

    // [TM-2]
    #[test]
    fn the_default_is_cometds() {
        let written = TimestampFormat::default().format(INSTANT, &ZoneOffset::default());
        assert_eq!(written, "Sat Nov 21 00:25:38 UTC 2026");
    }

    // [TM-2]
    #[test]
    fn each_letter_means_what_it_means_in_java() {
        for (pattern, seconds, zone, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", 0, "UTC", "2026-11-21T00:25:38.042Z"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", 19_800, "IST", "2026-11-21T05:55:38+05:30"),
            ("yy M d h:m:s a E EEEE MMMM", -3_600, "-01", "26 11 20 11:25:38 PM Fri Friday November"),
            ("Z z", -12_600, "NST", "-0330 NST"),
            ("X XX x xxx", 7_200, "CEST", "+02 +0200 +02 +02:00"),
            ("hh a S", 43_200, "+12", "12 PM 0"),
            ("'it''s' ''yyyy''", 0, "UTC", "it's '2026'"),
        ] {
            assert_eq!(format(pattern, seconds, zone), expected, "{pattern}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, problem) in [
            ("", InvalidTimestampFormat::Length),
            (&"y".repeat(200), InvalidTimestampFormat::Length),
            ("yyyyy", InvalidTimestampFormat::Field("yyyyy".to_owned())),
            ("HH:mm Q", InvalidTimestampFormat::Field("Q".to_owned())),
            ("iso", InvalidTimestampFormat::Field("i".to_owned())),
            ("HH 'o", InvalidTimestampFormat::Quote),
        ] {
            assert_eq!(text.parse::<TimestampFormat>(), Err(problem), "{text}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let pattern: TimestampFormat = "E yyyy-MM-dd".parse().expect("a pattern");
        for (day, expected) in [
            (0, "Thu 1970-01-01"),
            (59, "Sun 1970-03-01"),
            (11_016, "Tue 2000-02-29"),
            (19_782, "Thu 2024-02-29"),
            (20_818, "Thu 2026-12-31"),
            (47_541, "Mon 2100-03-01"),
        ] {
            assert_eq!(pattern.format(day * 86_400_000, &ZoneOffset::default()), expected);
        }
    }
}
