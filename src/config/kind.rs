//! [`Kind`]: what a setting may hold, how it is read, shown and described; and [`Given`], what was written.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::units::{Bare, parse_duration, parse_size, show_duration, show_size};

/// Leads to the field of a setting.
pub(super) type At<O, X> = fn(&mut O) -> &mut X;

/// What a setting of the owner `O` may hold, and the field that holds it.
pub(super) enum Kind<O> {
    /// `true` or `false`.
    Bool(At<O, bool>),
    /// A duration within a range.
    Duration { at: At<O, Duration>, range: RangeInclusive<Duration>, bare: Bare },
    /// A duration within a range, or `-1` for none.
    OptionalDuration { at: At<O, Option<Duration>>, range: RangeInclusive<Duration>, bare: Bare },
    /// A whole number within a range.
    Count { at: At<O, usize>, range: RangeInclusive<usize> },
    /// A whole number within a range, or `-1` for no limit.
    OptionalCount { at: At<O, Option<u32>>, range: RangeInclusive<u32> },
    /// An HTTP status code within a range.
    Status { at: At<O, u16>, range: RangeInclusive<u16> },
    /// A size in bytes within a range.
    Size { at: At<O, usize>, range: RangeInclusive<usize> },
    /// A text of the form that `form` describes. `set` answers with a sentence without a subject; `show` gives what
    /// would have to be written to get the same value, with `None` for a secret or a value that cannot be written.
    Text { form: &'static str, set: fn(&mut O, &str) -> Result<(), String>, show: fn(&O) -> Option<String> },
    /// A list of such texts.
    List { form: &'static str, set: fn(&mut O, &[String]) -> Result<(), String>, show: fn(&O) -> Vec<String> },
}

/// What was written for a setting.
#[derive(Clone)]
pub(super) enum Given {
    /// A text from the environment or a flag: whatever the setting makes of it.
    Untyped(String),
    /// A text in quotes.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
    /// A list of texts in quotes.
    List(Vec<String>),
    /// Something that no setting takes, by its name.
    Other(&'static str),
}

impl Given {
    /// Names the type and not the value, which might be a secret.
    fn type_name(&self) -> &'static str {
        match self {
            Self::Untyped(_) | Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Untyped(text) => text.trim().parse().ok(),
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl<O> Kind<O> {
    /// Sets the field of `owner` to what was given.
    ///
    /// # Errors
    ///
    /// A sentence without a subject, to be put behind the name of the key. The owner is then unchanged.
    pub(super) fn set(&self, owner: &mut O, given: &Given) -> Result<(), String> {
        match self {
            Self::Bool(at) => *at(owner) = boolean(given)?,
            Self::Duration { at, range, bare } => *at(owner) = duration(given, range, *bare)?,
            Self::OptionalDuration { at, range, bare } => {
                *at(owner) = optional(given, |given| duration(given, range, *bare))?;
            }
            Self::Count { at, range } => *at(owner) = count(given, range)?,
            Self::OptionalCount { at, range } => *at(owner) = optional(given, |given| count(given, range))?,
            Self::Status { at, range } => *at(owner) = count(given, range)?,
            Self::Size { at, range } => *at(owner) = size(given, range)?,
            Self::Text { form, set, .. } => match given {
                Given::Untyped(text) | Given::Text(text) => set(owner, text)?,
                other => return Err(format!("must be {form}, in quotes, not {}", other.type_name())),
            },
            Self::List { form, set, .. } => set(owner, &list(given, form)?)?,
        }
        Ok(())
    }

    /// Writes the value as the file would have it; `unset` if there is none.
    pub(super) fn show(&self, owner: &mut O) -> String {
        match self {
            Self::Bool(at) => at(owner).to_string(),
            Self::Duration { at, .. } => quote(&show_duration(*at(owner))),
            Self::OptionalDuration { at, .. } => {
                at(owner).map_or_else(|| "-1".to_owned(), |duration| quote(&show_duration(duration)))
            }
            Self::Count { at, .. } => at(owner).to_string(),
            Self::OptionalCount { at, .. } => at(owner).map_or_else(|| "-1".to_owned(), |count| count.to_string()),
            Self::Status { at, .. } => at(owner).to_string(),
            Self::Size { at, .. } => quote(&show_size(*at(owner) as u64)),
            Self::Text { show, .. } => show(owner).map_or_else(|| "unset".to_owned(), |text| quote(&text)),
            Self::List { show, .. } => {
                let items: Vec<_> = show(owner).iter().map(|item| quote(item)).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    /// Describes what may be written, for the reference.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bool(_) => "`true` or `false`".to_owned(),
            Self::Duration { range, .. } => format!("duration, {}", between_durations(range)),
            Self::OptionalDuration { range, .. } => format!("duration, {}, or -1 for none", between_durations(range)),
            Self::Count { range, .. } => format!("number, {} to {}", range.start(), range.end()),
            Self::OptionalCount { range, .. } => {
                format!("number, {} to {}, or -1 for no limit", range.start(), range.end())
            }
            Self::Status { range, .. } => format!("HTTP status, {} to {}", range.start(), range.end()),
            Self::Size { range, .. } => format!("size, {}", between_sizes(range)),
            Self::Text { form, .. } => (*form).to_owned(),
            Self::List { form, .. } => format!("list of {form}"),
        }
    }
}

fn boolean(given: &Given) -> Result<bool, String> {
    match given {
        Given::Bool(value) => Ok(*value),
        Given::Untyped(text) if text == "true" => Ok(true),
        Given::Untyped(text) if text == "false" => Ok(false),
        Given::Text(text) if text == "true" || text == "false" => Err(format!("must be {text} without quotes")),
        Given::Untyped(text) => Err(format!("must be true or false, not \"{text}\"")),
        other => Err(format!("must be true or false, not {}", other.type_name())),
    }
}

fn duration(given: &Given, range: &RangeInclusive<Duration>, bare: Bare) -> Result<Duration, String> {
    let text = match given {
        Given::Untyped(text) | Given::Text(text) => text.clone(),
        Given::Integer(number) => number.to_string(),
        other => return Err(format!("must be a duration such as \"30s\", not {}", other.type_name())),
    };
    if text.trim().starts_with('-') {
        return Err(format!("must be {}; it cannot be negative or without end", between_durations(range)));
    }
    let duration = parse_duration(&text, bare)?;
    if range.contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("must be {}, not {}", between_durations(range), show_duration(duration)))
    }
}

fn count<N>(given: &Given, range: &RangeInclusive<N>) -> Result<N, String>
where
    N: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let number = match (given.integer(), given) {
        (Some(number), _) => number,
        (None, Given::Text(text)) if text.parse::<i64>().is_ok() => {
            return Err(format!("must be {text} without quotes"));
        }
        (None, Given::Untyped(text)) => return Err(format!("must be a whole number, not \"{text}\"")),
        (None, other) => return Err(format!("must be a whole number, not {}", other.type_name())),
    };
    let bounds = || format!("between {} and {}", range.start(), range.end());
    match N::try_from(number) {
        Ok(count) if range.contains(&count) => Ok(count),
        _ if number < 0 => Err(format!("must be {}; it has no setting for \"no limit\"", bounds())),
        _ => Err(format!("must be {}, not {number}", bounds())),
    }
}

fn size(given: &Given, range: &RangeInclusive<usize>) -> Result<usize, String> {
    let text = match given {
        Given::Untyped(text) | Given::Text(text) => text.clone(),
        Given::Integer(number) => number.to_string(),
        other => return Err(format!("must be a size such as \"64KiB\", not {}", other.type_name())),
    };
    if text.trim().starts_with('-') {
        return Err(format!("must be {}; it has no setting for \"no limit\"", between_sizes(range)));
    }
    let bytes = parse_size(&text)?;
    match usize::try_from(bytes) {
        Ok(size) if range.contains(&size) => Ok(size),
        _ => Err(format!("must be {}, not {}", between_sizes(range), show_size(bytes))),
    }
}

/// `-1` is CometD's way to write "none"; anything else is read by `read`.
fn optional<X>(given: &Given, read: impl Fn(&Given) -> Result<X, String>) -> Result<Option<X>, String> {
    if given.integer() == Some(-1) {
        return Ok(None);
    }
    read(given).map(Some).map_err(|problem| format!("{problem}; -1 means none"))
}

fn list(given: &Given, form: &str) -> Result<Vec<String>, String> {
    match given {
        Given::List(items) => Ok(items.clone()),
        Given::Untyped(text) if text.trim().is_empty() => Ok(Vec::new()),
        // Written as in the file, or the short way that needs no quoting in a shell.
        Given::Untyped(text) if text.trim_start().starts_with('[') => {
            let table: toml::Table =
                format!("list = {text}").parse().map_err(|_| format!("must be a list of {form}"))?;
            table["list"].clone().try_into().map_err(|_| format!("must be a list of {form}"))
        }
        Given::Untyped(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        Given::Text(text) => Err(format!("must be a list: [\"{text}\"]")),
        other => Err(format!("must be a list of {form}, not {}", other.type_name())),
    }
}

fn quote(text: &str) -> String {
    format!("\"{text}\"")
}

fn between_durations(range: &RangeInclusive<Duration>) -> String {
    format!("{} to {}", show_duration(*range.start()), show_duration(*range.end()))
}

fn between_sizes(range: &RangeInclusive<usize>) -> String {
    format!("{} to {}", show_size(*range.start() as u64), show_size(*range.end() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Owner {
        flag: bool,
        time: Duration,
        grace: Option<Duration>,
        number: usize,
        browsers: Option<u32>,
        bytes: usize,
        names: Vec<String>,
    }

    const TIME: Kind<Owner> = Kind::Duration {
        at: |owner| &mut owner.time,
        range: Duration::from_secs(1)..=Duration::from_secs(60),
        bare: Bare::Milliseconds,
    };
    const GRACE: Kind<Owner> = Kind::OptionalDuration {
        at: |owner| &mut owner.grace,
        range: Duration::from_secs(1)..=Duration::from_secs(60),
        bare: Bare::Milliseconds,
    };
    const NUMBER: Kind<Owner> = Kind::Count { at: |owner| &mut owner.number, range: 1..=10 };
    const BROWSERS: Kind<Owner> = Kind::OptionalCount { at: |owner| &mut owner.browsers, range: 0..=10 };
    const BYTES: Kind<Owner> = Kind::Size { at: |owner| &mut owner.bytes, range: 1_024..=65_536 };
    const FLAG: Kind<Owner> = Kind::Bool(|owner| &mut owner.flag);
    const NAMES: Kind<Owner> = Kind::List {
        form: "names",
        set: |owner, names| {
            owner.names = names.to_vec();
            Ok(())
        },
        show: |owner| owner.names.clone(),
    };

    fn untyped(text: &str) -> Given {
        Given::Untyped(text.to_owned())
    }

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    fn problem(kind: &Kind<Owner>, given: &Given) -> String {
        kind.set(&mut Owner::default(), given).expect_err("refused")
    }

    #[test]
    fn each_kind_takes_both_the_typed_and_the_untyped_form() {
        let mut owner = Owner::default();
        for (kind, typed, loose, shown) in [
            (&TIME, text("30s"), untyped("30s"), "\"30s\""),
            (&TIME, Given::Integer(30_000), untyped("30000"), "\"30s\""),
            (&GRACE, text("5s"), untyped("5000"), "\"5s\""),
            (&GRACE, Given::Integer(-1), untyped("-1"), "-1"),
            (&NUMBER, Given::Integer(7), untyped("7"), "7"),
            (&BROWSERS, Given::Integer(-1), untyped("-1"), "-1"),
            (&BROWSERS, Given::Integer(0), untyped("0"), "0"),
            (&BYTES, text("2KiB"), untyped("2048"), "\"2KiB\""),
            (&FLAG, Given::Bool(true), untyped("true"), "true"),
            (&NAMES, Given::List(vec!["a".into(), "b".into()]), untyped("a, b"), "[\"a\", \"b\"]"),
            (&NAMES, Given::List(vec!["a".into(), "b".into()]), untyped("[\"a\", 'b']"), "[\"a\", \"b\"]"),
            (&NAMES, Given::List(Vec::new()), untyped(""), "[]"),
        ] {
            for given in [typed, loose] {
                kind.set(&mut owner, &given).expect(shown);
                assert_eq!(kind.show(&mut owner), shown);
            }
        }
    }

    #[test]
    fn a_value_outside_its_range_is_refused() {
        assert_eq!(problem(&TIME, &text("2m")), "must be 1s to 1m, not 2m");
        assert_eq!(problem(&TIME, &Given::Integer(-1)), "must be 1s to 1m; it cannot be negative or without end");
        assert_eq!(problem(&GRACE, &text("2m")), "must be 1s to 1m, not 2m; -1 means none");
        assert_eq!(problem(&NUMBER, &Given::Integer(11)), "must be between 1 and 10, not 11");
        assert_eq!(problem(&NUMBER, &untyped("-1")), "must be between 1 and 10; it has no setting for \"no limit\"");
        assert_eq!(problem(&BYTES, &text("1MiB")), "must be 1KiB to 64KiB, not 1MiB");
        assert_eq!(problem(&BYTES, &Given::Integer(-1)), "must be 1KiB to 64KiB; it has no setting for \"no limit\"");
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        assert_eq!(problem(&TIME, &Given::Bool(true)), "must be a duration such as \"30s\", not true or false");
        assert_eq!(problem(&NUMBER, &text("7")), "must be 7 without quotes");
        assert_eq!(problem(&NUMBER, &untyped("many")), "must be a whole number, not \"many\"");
        assert_eq!(problem(&NUMBER, &Given::List(Vec::new())), "must be a whole number, not a list");
        assert_eq!(problem(&FLAG, &text("true")), "must be true without quotes");
        assert_eq!(problem(&FLAG, &untyped("yes")), "must be true or false, not \"yes\"");
        assert_eq!(problem(&BYTES, &Given::Other("a table")), "must be a size such as \"64KiB\", not a table");
        assert_eq!(problem(&NAMES, &text("a")), "must be a list: [\"a\"]");
        assert_eq!(problem(&NAMES, &Given::Integer(1)), "must be a list of names, not a number");
    }
}
