//! [`Pattern`]: JSON as conversations write it, with `$name` for a value bound on first sight and `…` for what does not
//! matter.
//!
//! Tokens are kept as written, so that what a client sent can be sent again with its own escapes, number forms and
//! order of keys. `docs/fixtures.md` describes the notation.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Number, Value};

/// One JSON value of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A string, as written, with its quotes.
    Text(String),
    /// An array; every element is compared, in order.
    Array(Vec<Self>),
    /// An object; the order of keys does not matter.
    Object(Fields),
    /// `$name`: any string or number where it stands first, the same one from then on.
    Name(String),
    /// `…` where a value could stand: any value.
    Any,
}

/// The members of an object, in the order written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// Key token (with its quotes) and value.
    pub members: Vec<(String, Pattern)>,
    /// Whether the object ended in `…`, so that more members are allowed.
    pub open: bool,
}

/// What the names of one conversation stand for.
pub type Bindings = BTreeMap<String, Value>;

/// Where and how a value differs from its pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path into the value, like `[0].advice.timeout`; empty for the value itself.
    pub path: String,
    /// What the pattern asks for.
    pub expected: String,
    /// What was there.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the value" } else { &self.path };
        write!(formatter, "{place}: expected {}, got {}", self.expected, self.got)
    }
}

impl Pattern {
    /// Parses a whole text.
    ///
    /// # Errors
    ///
    /// What is wrong and the byte where it was noticed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (pattern, rest) = Self::parse_prefix(text)?;
        if rest.trim().is_empty() {
            return Ok(pattern);
        }
        Err(format!("column {}: unexpected text after the value", text.len() - rest.len() + 1))
    }

    /// Parses the value at the start of a text and returns it with what follows.
    ///
    /// # Errors
    ///
    /// What is wrong and the byte where it was noticed.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), String> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let pattern = parser.value()?;
        Ok((pattern, &text[parser.at..]))
    }

    /// Returns the value of a member of an object.
    pub fn member(&self, key: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.members.iter().find(|(name, _)| unquoted(name) == key).map(|(_, value)| value)
    }

    /// Returns the value of a member of an object, for changing it.
    pub fn member_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Object(fields) = self else { return None };
        fields.members.iter_mut().find(|(name, _)| unquoted(name) == key).map(|(_, value)| value)
    }

    /// Returns the content of a string.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Text(token) => Some(unquoted(token)),
            _ => None,
        }
    }

    /// Returns the value of a whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(token) => token.parse().ok(),
            _ => None,
        }
    }

    /// Whether this is a string with this content.
    pub fn is_text(&self, content: &str) -> bool {
        self.as_text().is_some_and(|text| text == content)
    }

    /// Returns the messages of a batch: the elements of an array, or the value itself.
    pub fn messages(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            other => std::slice::from_ref(other),
        }
    }

    /// Returns the messages of a batch, for changing them.
    pub fn messages_mut(&mut self) -> &mut [Self] {
        match self {
            Self::Array(elements) => elements,
            other => std::slice::from_mut(other),
        }
    }

    /// Calls `visit` for this value and all values inside it, outermost first.
    pub fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        match self {
            Self::Array(elements) => elements.iter().for_each(|element| element.walk(visit)),
            Self::Object(fields) => fields.members.iter().for_each(|(_, value)| value.walk(visit)),
            _ => {}
        }
    }

    /// Whether `…` stands anywhere in it, so that it cannot be sent.
    pub fn is_partial(&self) -> bool {
        let mut partial = false;
        self.walk(&mut |pattern| partial |= matches!(pattern, Self::Any | Self::Object(Fields { open: true, .. })));
        partial
    }

    /// Returns the JSON text with every name replaced by what it stands for.
    ///
    /// # Errors
    ///
    /// The first name that stands for nothing yet, or `…`.
    pub fn resolve(&self, bindings: &Bindings) -> Result<String, String> {
        if self.is_partial() {
            return Err("…".to_owned());
        }
        let mut missing = None;
        self.walk(&mut |pattern| {
            if let Self::Name(name) = pattern
                && !bindings.contains_key(name)
            {
                missing.get_or_insert_with(|| format!("${name}"));
            }
        });
        match missing {
            Some(name) => Err(name),
            None => Ok(Printed { pattern: self, bindings: Some(bindings) }.to_string()),
        }
    }

    /// Compares a value with this pattern and binds the names that appear for the first time.
    ///
    /// Two names never stand for the same string. On a difference `bindings` are unchanged.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn compare(&self, got: &Value, bindings: &mut Bindings) -> Result<(), Difference> {
        let mut trial = bindings.clone();
        self.compare_at(got, &mut trial, &mut String::new())?;
        *bindings = trial;
        Ok(())
    }

    fn compare_at(&self, got: &Value, bindings: &mut Bindings, path: &mut String) -> Result<(), Difference> {
        let same = match (self, got) {
            (Self::Any, _) | (Self::Null, Value::Null) => true,
            (Self::Bool(expected), Value::Bool(got)) => expected == got,
            (Self::Number(token), Value::Number(got)) => same_number(token, got),
            (Self::Text(token), Value::String(got)) => unquoted(token) == *got,
            (Self::Name(name), Value::String(_) | Value::Number(_)) => bind(name, got, bindings),
            (Self::Array(expected), Value::Array(got)) => return compare_arrays(expected, got, bindings, path),
            (Self::Object(expected), Value::Object(got)) => return compare_objects(expected, got, bindings, path),
            _ => false,
        };
        if same {
            return Ok(());
        }
        let expected = match self {
            Self::Name(name) => {
                bindings.get(name).map_or_else(|| self.to_string(), |value| format!("{self} = {value}"))
            }
            _ => self.to_string(),
        };
        Err(Difference { path: path.clone(), expected, got: got.to_string() })
    }
}

fn compare_arrays(
    expected: &[Pattern],
    got: &[Value],
    bindings: &mut Bindings,
    path: &mut String,
) -> Result<(), Difference> {
    let depth = path.len();
    for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
        path.push_str(&format!("[{index}]"));
        expected.compare_at(got, bindings, path)?;
        path.truncate(depth);
    }
    if expected.len() == got.len() {
        return Ok(());
    }
    let elements = |count: usize| format!("{count} element{}", if count == 1 { "" } else { "s" });
    Err(Difference { path: path.clone(), expected: elements(expected.len()), got: elements(got.len()) })
}

fn compare_objects(
    expected: &Fields,
    got: &serde_json::Map<String, Value>,
    bindings: &mut Bindings,
    path: &mut String,
) -> Result<(), Difference> {
    let depth = path.len();
    for (key, pattern) in &expected.members {
        let key = unquoted(key);
        path.push('.');
        path.push_str(&key);
        let Some(value) = got.get(&key) else {
            return Err(Difference { path: path.clone(), expected: pattern.to_string(), got: "nothing".to_owned() });
        };
        pattern.compare_at(value, bindings, path)?;
        path.truncate(depth);
    }
    let surplus = got.iter().find(|(key, _)| !expected.members.iter().any(|(name, _)| unquoted(name) == **key));
    match surplus {
        Some((key, value)) if !expected.open => {
            Err(Difference { path: format!("{path}.{key}"), expected: "nothing".to_owned(), got: value.to_string() })
        }
        _ => Ok(()),
    }
}

fn bind(name: &str, got: &Value, bindings: &mut Bindings) -> bool {
    if let Some(known) = bindings.get(name) {
        return known == got;
    }
    if got.is_string() && bindings.values().any(|taken| taken == got) {
        return false;
    }
    bindings.insert(name.to_owned(), got.clone());
    true
}

/// Compares by value: `1`, `1.0` and `1e0` are the same number.
fn same_number(token: &str, got: &Number) -> bool {
    let Ok(expected) = serde_json::from_str::<Number>(token) else { return false };
    expected == *got || (expected.as_f64() == got.as_f64() && (expected.is_f64() || got.is_f64()))
}

fn unquoted(token: &str) -> String {
    serde_json::from_str(token).expect("string tokens are checked when they are parsed")
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printed { pattern: self, bindings: None }.fmt(formatter)
    }
}

/// A pattern on its way to text, with its names kept or replaced.
struct Printed<'a> {
    pattern: &'a Pattern,
    bindings: Option<&'a Bindings>,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |pattern| Printed { pattern, bindings: self.bindings };
        match self.pattern {
            Pattern::Null => formatter.write_str("null"),
            Pattern::Bool(value) => write!(formatter, "{value}"),
            Pattern::Number(token) | Pattern::Text(token) => formatter.write_str(token),
            Pattern::Name(name) => match self.bindings.and_then(|bindings| bindings.get(name)) {
                Some(value) => write!(formatter, "{value}"),
                None => write!(formatter, "${name}"),
            },
            Pattern::Any => formatter.write_str("…"),
            Pattern::Array(elements) => {
                formatter.write_str("[")?;
                for (index, element) in elements.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(formatter, "{comma}{}", inner(element))?;
                }
                formatter.write_str("]")
            }
            Pattern::Object(fields) => {
                formatter.write_str("{")?;
                for (index, (key, value)) in fields.members.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(formatter, "{comma}{key}:{}", inner(value))?;
                }
                let rest = if fields.members.is_empty() { "…" } else { ",…" };
                formatter.write_str(if fields.open { rest } else { "" })?;
                formatter.write_str("}")
            }
        }
    }
}

/// How deep values may lie in one another; serde_json allows as much.
const DEPTH_MAX: usize = 127;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Pattern, String> {
        self.blanks();
        match self.peek() {
            Some('{' | '[') if self.depth == DEPTH_MAX => self.fail("too deep"),
            Some('{') => self.inside(Self::object),
            Some('[') => self.inside(Self::array),
            Some('"') => self.string().map(Pattern::Text),
            Some('$') => self.name(),
            Some('…') => {
                self.at += '…'.len_utf8();
                Ok(Pattern::Any)
            }
            Some(_) => self.word(),
            None => self.fail("a value is missing"),
        }
    }

    fn inside(&mut self, parse: fn(&mut Self) -> Result<Pattern, String>) -> Result<Pattern, String> {
        self.depth += 1;
        let pattern = parse(self);
        self.depth -= 1;
        pattern
    }

    fn object(&mut self) -> Result<Pattern, String> {
        self.at += 1;
        let mut fields = Fields::default();
        if self.eat('}') {
            return Ok(Pattern::Object(fields));
        }
        loop {
            if self.eat('…') {
                fields.open = true;
                return if self.eat('}') { Ok(Pattern::Object(fields)) } else { self.fail("`…` must end an object") };
            }
            self.blanks();
            let key = self.string()?;
            if !self.eat(':') {
                return self.fail("`:` expected");
            }
            fields.members.push((key, self.value()?));
            if self.eat('}') {
                return Ok(Pattern::Object(fields));
            }
            if !self.eat(',') {
                return self.fail("`,` or `}` expected");
            }
        }
    }

    fn array(&mut self) -> Result<Pattern, String> {
        self.at += 1;
        let mut elements = Vec::new();
        if self.eat(']') {
            return Ok(Pattern::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            if self.eat(']') {
                return Ok(Pattern::Array(elements));
            }
            if !self.eat(',') {
                return self.fail("`,` or `]` expected");
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let rest = &self.text[self.at..];
        if !rest.starts_with('"') {
            return self.fail("a string is expected");
        }
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, character)| {
            let found = *character == '"' && !escaped;
            escaped = *character == '\\' && !escaped;
            found
        });
        let Some((end, _)) = end else { return self.fail("the string does not end") };
        let token = &rest[..=end];
        if let Err(error) = serde_json::from_str::<String>(token) {
            return self.fail(&format!("not a JSON string ({error})"));
        }
        self.at += token.len();
        Ok(token.to_owned())
    }

    fn name(&mut self) -> Result<Pattern, String> {
        let rest = &self.text[self.at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end == 0 {
            return self.fail("a name must follow `$`");
        }
        self.at += 1 + end;
        Ok(Pattern::Name(rest[..end].to_owned()))
    }

    /// Parses `null`, `true`, `false` or a number.
    fn word(&mut self) -> Result<Pattern, String> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        let pattern = match word {
            "null" => Pattern::Null,
            "true" => Pattern::Bool(true),
            "false" => Pattern::Bool(false),
            _ if serde_json::from_str::<Number>(word).is_ok() => Pattern::Number(word.to_owned()),
            _ => return self.fail("not a JSON value"),
        };
        self.at += end;
        Ok(pattern)
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.blanks();
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn fail<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("column {}: {what}", self.at + 1))
    }
}
