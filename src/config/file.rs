//! Reads a TOML file into settings as they were written, each with its line.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::{ConfigError, Origin};
use super::kind::Given;
use super::names::{self, Target};

/// One setting as it was written.
pub(super) struct Entry {
    /// Name with its sections.
    pub(super) name: String,
    /// What the name means.
    pub(super) target: Target,
    /// What was written.
    pub(super) given: Given,
    /// Where.
    pub(super) origin: Origin,
}

/// What a file says.
#[derive(Default)]
pub(super) struct Contents {
    /// Settings whose names are known, in no particular order.
    pub(super) entries: Vec<Entry>,
    /// How many `[[mount]]` blocks there are.
    pub(super) mount_count: usize,
    /// What is wrong with the file as such.
    pub(super) errors: Vec<ConfigError>,
}

/// Reads the text of a file. `file` names it in errors.
pub(super) fn read(file: &str, text: &str) -> Contents {
    // Files written on Windows may start with a byte order mark, which TOML does not know.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { file, text, contents: Contents::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let origin = reader.origin(error.span().map_or(0, |span| span.start));
        let problem = format!("is not TOML: {}", error.message());
        reader.contents.errors.push(ConfigError::Syntax { origin, problem });
    }
    // After a syntax error what follows may have been read into the wrong section.
    if reader.contents.errors.is_empty() {
        reader.section("", root.get_ref());
    }
    reader.contents
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    contents: Contents,
}

impl Reader<'_> {
    fn section(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let dot = if prefix.is_empty() { "" } else { "." };
            let name = format!("{prefix}{dot}{}", key.get_ref());
            let origin = self.origin(key.span().start);
            if name == "mount" {
                self.mounts(value, origin);
            } else if names::is_section(&name) {
                match value.get_ref().as_table() {
                    Some(inner) => self.section(&name, inner),
                    None => self.refuse(origin, &name, format!("is a section: write [{name}]")),
                }
            } else if let Some(target) = names::find(&name) {
                self.contents.entries.push(Entry { name, target, given: given(value.get_ref()), origin });
            } else {
                let nearest = names::nearest(&name);
                self.contents.errors.push(ConfigError::UnknownKey { origin, key: name, nearest });
            }
        }
    }

    fn mounts(&mut self, value: &Spanned<DeValue<'_>>, origin: Origin) {
        let blocks = value.get_ref().as_array().filter(|blocks| blocks.iter().all(|block| block.get_ref().is_table()));
        let Some(blocks) = blocks else {
            return self.refuse(origin, "mount", "is a list of blocks: write [[mount]] with two brackets".to_owned());
        };
        if blocks.is_empty() || blocks.len() > names::MOUNTS_MAX {
            let problem = format!("must have 1 to {} blocks", names::MOUNTS_MAX);
            return self.refuse(origin, "mount", problem);
        }
        self.contents.mount_count = blocks.len();
        for (index, block) in blocks.iter().enumerate() {
            if let Some(table) = block.get_ref().as_table() {
                self.section(&format!("mount.{index}"), table);
            }
        }
    }

    fn refuse(&mut self, origin: Origin, key: &str, problem: String) {
        self.contents.errors.push(ConfigError::BadValue { origin, key: key.to_owned(), problem });
    }

    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Origin::File { file: self.file.to_owned(), line }
    }
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.clone().into_owned()),
        DeValue::Integer(number) => integer(number).map_or(Given::Other("a number of this size"), Given::Integer),
        DeValue::Boolean(value) => Given::Bool(*value),
        DeValue::Float(_) => Given::Other("a number with a fraction"),
        DeValue::Datetime(_) => Given::Other("a date or time"),
        DeValue::Table(_) => Given::Other("a table"),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            Option::map_or(texts, Given::Other("a list with something else than texts in quotes"), Given::List)
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
