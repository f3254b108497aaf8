//! The recordings against the list of cases, and the lines that may differ against the notes.

use std::collections::{BTreeMap, BTreeSet};

use crate::notes::cases_of_head;
use crate::source::{check, read, root, texts};

/// All cases that there are.
const CASES: std::ops::RangeInclusive<u16> = 1..=200;

/// Rows of the table in `docs/fixtures.md` that says which cases no recording names, and why or where they are: `| 83 |
/// … |`, `| 197, 199 | … |`.
fn unnamed_cases() -> BTreeMap<u16, (usize, String)> {
    let page = read("docs/fixtures.md").expect("docs/fixtures.md is there");
    let mut unnamed = BTreeMap::new();
    let section = page.lines().skip_while(|(_, line)| *line != "### Cases");
    for (number, line) in section.skip(1).take_while(|(_, line)| !line.starts_with('#')) {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (Some(cases), Some(what)) = (cells.next(), cells.next()) else { continue };
        for case in cases.split(", ").filter_map(|case| case.parse().ok()) {
            unnamed.insert(case, (number, what.to_owned()));
        }
    }
    unnamed
}

/// Every case is shown by a recording of a released server, or it is said why not.
#[test]
fn every_case_is_recorded() {
    let page = read("docs/fixtures.md").expect("docs/fixtures.md is there");
    let mut recorded = BTreeSet::new();
    for file in texts("fixtures/conversations") {
        let head: Vec<&str> = file.text.lines().take_while(|line| line.starts_with('#')).collect();
        if head.first().is_some_and(|line| line.starts_with("# origin: recorded")) {
            recorded.extend(head.into_iter().flat_map(cases_of_head));
        }
    }
    let unnamed = unnamed_cases();
    let mut findings = Vec::new();
    for case in CASES {
        match (recorded.contains(&case), unnamed.get(&case)) {
            (true, None) => {}
            (true, Some((line, _))) => findings.push(page.finding(*line, format!("case {case} is recorded by now"))),
            (false, None) => {
                findings.push(page.finding(1, format!("case {case}: no recording, and no row in `Cases`")))
            }
            (false, Some((line, what))) => {
                let files = what.split('`').filter(|word| word.ends_with(".txt"));
                for file in files.filter(|file| !root().join("fixtures/conversations").join(file).exists()) {
                    findings.push(page.finding(*line, format!("there is no {file}")));
                }
            }
        }
    }
    check(&findings);
}

/// What differs in single lines of recordings differs for a reason of the notes.
#[test]
fn every_listed_difference_names_a_row_of_the_notes() {
    let notes = read("bayeux-spec-notes.md").expect("bayeux-spec-notes.md is there");
    let list = read("fixtures/differences.txt").expect("fixtures/differences.txt is there");
    let rows: BTreeSet<&str> = notes.lines().filter_map(|(_, row)| row.strip_prefix("| ")?.split(' ').next()).collect();
    let mut findings = Vec::new();
    for (number, line) in list.lines().filter(|(_, line)| !line.starts_with(['#', '[', '-', '+']) && !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        if name != "CometD" && !rows.contains(name) {
            findings.push(list.finding(number, format!("bayeux-spec-notes.md has no deviation {name}")));
        }
    }
    for (number, line) in list.lines().filter(|(_, line)| line.starts_with('[')) {
        let file = line.trim_matches(['[', ']']);
        if !root().join("fixtures/conversations").join(file).exists() {
            findings.push(list.finding(number, format!("there is no {file}")));
        }
    }
    check(&findings);
}
