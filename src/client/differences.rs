//! [`Differences`]: what our server does otherwise in single lines of single recordings, with the reason.
//!
//! A deviation that many recordings need is a rewriting in `deviation.rs`. Recordings that ask for one odd thing after
//! another need many that nothing else needs; those are listed as text, in `fixtures/differences.txt`:
//!
//! ```text
//! [cometd-8.0.10/case-005-empty-requests.txt]
//! D2: an empty batch is answered with an empty batch
//! - < A.3 500
//! + < A.3 []
//! ```
//!
//! Each `-` is a line of the recording without its time; the `+` lines below it stand in its place, at its time unless
//! they begin with another one. Header lines of an answer are written below it as in a recording.

use std::collections::BTreeMap;

/// The differences, by recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences(BTreeMap<String, Listed>);

/// Those of one recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listed {
    reasons: Vec<(String, String)>,
    changes: Vec<Change>,
}

/// One line and what stands in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Change {
    recorded: String,
    ours: Vec<String>,
}

impl Differences {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// The first line that is not understood, with its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all: BTreeMap<String, Listed> = BTreeMap::new();
        let mut file = None;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        for (index, line) in lines {
            let wrong = |what: &str| format!("line {}: {what}", index + 1);
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                if all.insert(name.to_owned(), Listed::default()).is_some() {
                    return Err(wrong("this recording stands above already"));
                }
                file = Some(name.to_owned());
                continue;
            }
            let listed = file.as_ref().and_then(|file| all.get_mut(file));
            let listed = listed.ok_or_else(|| wrong("the name of a recording is expected, in brackets"))?;
            if let Some(recorded) = line.strip_prefix("- ") {
                listed.changes.push(Change { recorded: recorded.trim().to_owned(), ours: Vec::new() });
            } else if let Some(ours) = line.strip_prefix("+ ") {
                let change = listed.changes.last_mut().ok_or_else(|| wrong("a `-` line is expected first"))?;
                change.ours.push(ours.trim().to_owned());
            } else {
                let (name, reason) = line.split_once(": ").ok_or_else(|| wrong("`NAME: reason` is expected"))?;
                listed.reasons.push((name.to_owned(), reason.to_owned()));
            }
        }
        match all.iter().find(|(_, listed)| listed.reasons.is_empty() || listed.changes.is_empty()) {
            Some((file, _)) => Err(format!("{file}: what differs, and why?")),
            None => Ok(Self(all)),
        }
    }

    /// Returns the recordings that are named, as paths below the folder of conversations.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the names of the reasons for a recording, which are rows of the notes' deviations.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(file, listed)| listed.reasons.iter().map(|(name, _)| (file.as_str(), name.as_str())))
    }

    /// Returns the text of a recording as our server has it; `None` if nothing is listed for the file with this path.
    ///
    /// # Errors
    ///
    /// A line that is listed is not in the recording.
    pub fn applied(&self, path: &str, text: &str) -> Result<Option<String>, String> {
        let Some((_, listed)) = self.0.iter().find(|(file, _)| path.ends_with(file.as_str())) else { return Ok(None) };
        let mut lines = text.lines();
        let mut rewritten = String::new();
        let mut put = |line: &str| {
            rewritten.push_str(line);
            rewritten.push('\n');
        };
        for change in &listed.changes {
            loop {
                let line =
                    lines.next().ok_or_else(|| format!("it has no line `{}` there any more", change.recorded))?;
                let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
                if !time.starts_with('@') || rest.trim() != change.recorded {
                    put(line);
                    continue;
                }
                for ours in &change.ours {
                    let has_place = ours.starts_with(['@', '|']);
                    put(&if has_place { ours.clone() } else { format!("{time} {ours}") });
                }
                break;
            }
        }
        lines.for_each(put);
        Ok(Some(rewritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = "# origin: recorded\n\n@5      > A.1 POST / []\n@6      < A.1 500\n@9      < A.2 500\n";

    #[test]
    fn listed_lines_are_replaced_in_their_order() {
        let list = "# why\n\n[x/a.txt]\nD2: good\n- < A.1 500\n+ < A.1 []\n+ | X: y\n- < A.2 500\n+ @12 < A.2 400\n";
        let differences = Differences::parse(list).unwrap();
        let ours = differences.applied("some/x/a.txt", RECORDED).unwrap().unwrap();
        assert_eq!(ours, "# origin: recorded\n\n@5      > A.1 POST / []\n@6 < A.1 []\n| X: y\n@12 < A.2 400\n");
        assert_eq!(differences.applied("some/x/b.txt", RECORDED), Ok(None));
        assert_eq!(differences.reasons().collect::<Vec<_>>(), [("x/a.txt", "D2")]);
    }

    #[test]
    fn a_listed_line_that_is_not_there_is_an_error() {
        let gone = Differences::parse("[a.txt]\nD2: good\n- < A.2 500\n- < A.1 500\n").unwrap();
        assert!(gone.applied("a.txt", RECORDED).unwrap_err().contains("< A.1 500"));
        for wrong in ["- x\n", "[a]\n+ x\n", "[a]\nD1: x\n", "[a]\n- x\n", "[a]\nwhat\n", "[a]\nD1: x\n- x\n[a]\n"] {
            assert!(Differences::parse(wrong).is_err(), "{wrong}");
        }
    }
}
