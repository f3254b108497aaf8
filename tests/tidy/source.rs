//! Reading the repository: its files, Rust code without comments and strings, the paths that code names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, iter};

/// One place that breaks a rule.
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) advice: String,
}

/// Fails with the list of all findings.
pub(crate) fn check(findings: &[Finding]) {
    let mut list = String::new();
    for Finding { path, line, advice } in findings {
        let _ = writeln!(list, "{path}:{line}: {advice}");
    }
    assert!(findings.is_empty(), "\n{list}");
}

/// One text file, with its path from the root of the repository.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Text {
    pub(crate) fn finding(&self, line: usize, advice: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, advice: advice.into() }
    }

    /// Numbered lines, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        iter::zip(1.., self.text.lines())
    }

    /// The folder below `src`, for files that lie in one.
    pub(crate) fn layer(&self) -> Option<&str> {
        let (layer, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(layer)
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads every text file below a folder of the repository, sorted by path; an absent folder has none.
pub(crate) fn texts(folder: &str) -> Vec<Text> {
    let ignored = ignored_names();
    let mut found = Vec::new();
    collect(&root().join(folder), &ignored, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

pub(crate) fn rust(folder: &str) -> Vec<Text> {
    texts(folder).into_iter().filter(|text| has_extension(&text.path, "rs")).collect()
}

pub(crate) fn markdown() -> Vec<Text> {
    texts("").into_iter().filter(|text| has_extension(&text.path, "md")).collect()
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

pub(crate) fn read(path: &str) -> Option<Text> {
    let text = fs::read_to_string(root().join(path)).ok()?;
    Some(Text { path: path.to_owned(), text })
}

/// Names that `.gitignore` excludes; the file holds plain folder names only.
fn ignored_names() -> BTreeSet<String> {
    let listed = read(".gitignore").map(|file| file.text).unwrap_or_default();
    listed.lines().map(|line| line.trim_matches('/').to_owned()).chain([".git".to_owned()]).collect()
}

fn collect(folder: &Path, ignored: &BTreeSet<String>, found: &mut Vec<Text>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if ignored.contains(&*entry.file_name().to_string_lossy()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, ignored, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let relative = path.strip_prefix(root()).expect("the walk stays below the root");
            found.push(Text { path: relative.to_string_lossy().into_owned(), text });
        }
    }
}

/// Rust source with comments, strings and character literals replaced by blanks; lines keep their numbers.
pub(crate) fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = opaque_end(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment, string or character literal that starts here ends; `at` itself if none starts here.
fn opaque_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or(' ');
    let inside_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if next(1) == '/' => (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len()),
        '/' if next(1) == '*' => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' if !inside_word && (next(1) == '"' || (next(1) == '#' && matches!(next(2), '"' | '#'))) => {
            raw_string_end(chars, at + 1)
        }
        'b' if !inside_word && next(1) == '"' => string_end(chars, at + 2),
        'b' if !inside_word && next(1) == 'r' && matches!(next(2), '"' | '#') => raw_string_end(chars, at + 2),
        '\'' if next(1) == '\\' => (at + 3..chars.len()).find(|&i| chars[i] == '\'').map_or(chars.len(), |end| end + 1),
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start..].iter().take_while(|&&c| c == '#').count();
    let closes = |at: usize| chars[at] == '"' && chars[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    (start + hashes + 1..chars.len()).find(|&at| closes(at)).map_or(chars.len(), |at| at + 1 + hashes)
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The part of a source file before its unit tests, as [`code_of`] shows it; nothing for a file of tests.
pub(crate) fn code_without_tests(text: &Text) -> String {
    if text.path.ends_with("/tests.rs") || text.path.contains("/tests/") {
        return String::new();
    }
    let code = code_of(&text.text);
    match code.find("#[cfg(test)]\nmod ") {
        Some(start) if code[start + 13..].lines().next().is_some_and(|line| line.trim_end().ends_with('{')) => {
            code[..start].to_owned()
        }
        _ => code,
    }
}

/// Every path in the code with at least two segments, use trees taken apart, with its line.
pub(crate) fn paths(code: &str) -> Vec<(usize, String)> {
    let mut reader = PathReader { chars: code.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while let Some(c) = reader.peek() {
        if c.is_alphabetic() || c == '_' { reader.tree("") } else { reader.advance() }
    }
    reader.found
}

struct PathReader {
    chars: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<(usize, String)>,
}

impl PathReader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn advance(&mut self) {
        if self.peek() == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.advance();
        }
    }

    fn starts_with(&self, text: &str) -> bool {
        self.chars[self.at..].iter().copied().take(text.len()).eq(text.chars())
    }

    /// Reads `a::b::{c, d::e}` and notes `a::b::c` and `a::b::d::e`.
    fn tree(&mut self, prefix: &str) {
        let line = self.line;
        let mut path = prefix.to_owned();
        loop {
            let start = self.at;
            while self.peek().is_some_and(is_word) {
                self.advance();
            }
            if !path.is_empty() {
                path.push_str("::");
            }
            path.extend(&self.chars[start..self.at]);
            if !self.starts_with("::") {
                break;
            }
            self.at += 2;
            self.skip_blanks();
            match self.peek() {
                Some('{') => return self.group(&path),
                Some(c) if is_word(c) => {}
                _ => break,
            }
        }
        if path.contains("::") {
            self.found.push((line, path));
        }
    }

    fn group(&mut self, prefix: &str) {
        self.advance();
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return,
                Some('}') => return self.advance(),
                Some(c) if is_word(c) => {
                    self.tree(prefix);
                    // What may stand before the comma is a new name: `as Other`.
                    while self.peek().is_some_and(|c| c != ',' && c != '}') {
                        self.advance();
                    }
                }
                Some(_) => self.advance(),
            }
        }
    }
}

#[test]
fn code_is_read() {
    let code =
        code_of("use a::{b, c::d as e}; // x::y\nlet s = \"p::q\"; let r = r#\"t\"::u\"#; let c = '\"'; f::<'a>();");
    let found: Vec<String> = paths(&code).into_iter().map(|(_, path)| path).collect();
    assert_eq!(found, ["a::b", "a::c::d"]);
}
