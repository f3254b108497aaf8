//! The protocol notes and the list of cases against the tests that prove them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::source::{Finding, Text, check, code_of, code_without_tests, is_word, read, root, rust, texts};

/// The cases of `docs/cases.md` that a test must name.
const CASES: &[RangeInclusive<u16>] = &[1..=195, 197..=199];

/// One rule of `bayeux-spec-notes.md`.
struct Rule {
    line: usize,
    /// What the last column names: `case_58`, a file, the name of a test; empty if tests cite the rule.
    tests: Vec<String>,
}

/// The rules by id, and what is wrong with the table itself.
fn rules(notes: &Text) -> (BTreeMap<String, Rule>, Vec<Finding>) {
    let mut rules = BTreeMap::new();
    let mut findings = Vec::new();
    for (line, row) in notes.lines() {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if !row.starts_with("| ") || !is_rule_id(cells[0]) {
            continue;
        }
        if cells.len() != 4 || cells.iter().any(|cell| cell.is_empty()) {
            findings.push(notes.finding(line, "a rule has four columns: id, rule, source, test"));
        }
        let tests = cells[cells.len() - 1].split(',').map(|test| test.trim().trim_matches('`').to_owned());
        let rule = Rule { line, tests: tests.filter(|test| test != "cited").collect() };
        if rules.insert(cells[0].to_owned(), rule).is_some() {
            findings.push(notes.finding(line, format!("{} is there twice", cells[0])));
        }
    }
    (rules, findings)
}

fn is_rule_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(area, number)| {
        area.len() == 2
            && area.bytes().all(|byte| byte.is_ascii_uppercase())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Rule ids that a line cites: `[CN-7]` anywhere, `# rules: CN-7 HS-1` in a transcript.
fn cited_rules(line: &str) -> Vec<&str> {
    let listed = line.strip_prefix("# rules:").unwrap_or_default().split([' ', ',']).filter(|word| is_rule_id(word));
    let bracketed = line.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0));
    bracketed.filter(|word| is_rule_id(word)).chain(listed).collect()
}

/// Case numbers that a test name stands for: `case_58_…`, `cases_13_14_…`, `cases_84_to_88_…`.
fn cases_of_name(name: &str) -> Vec<u16> {
    if let Some(rest) = name.strip_prefix("case_") {
        return rest.split('_').next().and_then(|number| number.parse().ok()).into_iter().collect();
    }
    let Some(rest) = name.strip_prefix("cases_") else { return Vec::new() };
    let mut numbers: Vec<u16> = Vec::new();
    let mut in_range = false;
    for part in rest.split('_') {
        match part.parse::<u16>() {
            Ok(number) if in_range => {
                let first = numbers.last().map_or(number, |last| last + 1);
                numbers.extend(first..=number);
                in_range = false;
            }
            Ok(number) => numbers.push(number),
            Err(_) if part == "to" => in_range = true,
            Err(_) if part == "and" => {}
            Err(_) => break,
        }
    }
    numbers
}

/// Case numbers that a transcript shows: `# cases: 171 172`.
pub(crate) fn cases_of_head(line: &str) -> Vec<u16> {
    let listed = line.strip_prefix("# cases:").unwrap_or_default();
    listed.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// What the tests and transcripts prove, as far as names tell.
#[derive(Default)]
struct Evidence {
    rules: BTreeSet<String>,
    cases: BTreeSet<u16>,
    names: BTreeSet<String>,
}

impl Evidence {
    fn gather() -> Self {
        let mut evidence = Self::default();
        for text in texts("tests").into_iter().filter(|text| !text.path.starts_with("tests/tidy")) {
            evidence.rules.extend(text.lines().flat_map(|(_, line)| cited_rules(line)).map(str::to_owned));
            evidence.add_names(&code_of(&text.text));
        }
        for text in rust("src") {
            let tests_from = code_without_tests(&text).lines().count();
            let tests = text.lines().filter(|(number, _)| *number > tests_from);
            evidence.rules.extend(tests.flat_map(|(_, line)| cited_rules(line)).map(str::to_owned));
        }
        for text in texts("fixtures") {
            for line in text.text.lines().take_while(|line| line.starts_with('#')) {
                evidence.rules.extend(cited_rules(line).into_iter().map(str::to_owned));
                evidence.cases.extend(cases_of_head(line));
            }
        }
        evidence
    }

    fn add_names(&mut self, code: &str) {
        for name in code.split(|c: char| !is_word(c)) {
            self.cases.extend(cases_of_name(name));
        }
        for rest in code.split("fn ").skip(1) {
            self.names.insert(rest.chars().take_while(|&c| is_word(c)).collect());
        }
    }

    fn has(&self, test: &str) -> bool {
        match cases_of_name(test).as_slice() {
            [] => self.names.contains(test) || (test.contains('/') && root().join(test).exists()),
            cases => cases.iter().all(|case| self.cases.contains(case)),
        }
    }
}

#[test]
fn every_cited_rule_exists() {
    let notes = read("bayeux-spec-notes.md").expect("bayeux-spec-notes.md is there");
    let (rules, mut findings) = rules(&notes);
    for text in texts("").into_iter().filter(|text| !text.path.starts_with("tests/tidy")) {
        let transcript = text.path.starts_with("fixtures/");
        for (number, line) in text.lines().filter(|(_, line)| !transcript || line.starts_with('#')) {
            for id in cited_rules(line).into_iter().filter(|&id| !rules.contains_key(id)) {
                findings.push(text.finding(number, format!("bayeux-spec-notes.md has no rule {id}")));
            }
        }
    }
    check(&findings);
}

#[test]
fn every_rule_is_tested() {
    let notes = read("bayeux-spec-notes.md").expect("bayeux-spec-notes.md is there");
    let evidence = Evidence::gather();
    if evidence.cases.is_empty() {
        return;
    }
    let mut findings = Vec::new();
    for (id, rule) in rules(&notes).0 {
        for test in rule.tests.iter().filter(|test| !evidence.has(test)) {
            findings.push(notes.finding(rule.line, format!("{id} names `{test}`, which does not exist")));
        }
        if rule.tests.is_empty() && !evidence.rules.contains(&id) {
            let advice = format!("no test cites {id}: write [{id}] above one, or {id} in a transcript's `# rules:`");
            findings.push(notes.finding(rule.line, advice));
        }
    }
    check(&findings);
}

#[test]
fn every_case_is_tested() {
    let table = read("docs/cases.md").expect("docs/cases.md is there");
    let number_of = |row: &str| row.strip_prefix("| ")?.split(' ').next()?.parse::<u16>().ok();
    let rows: BTreeMap<u16, (usize, bool)> =
        table.lines().filter_map(|(line, row)| Some((number_of(row)?, (line, row.contains("replaced by"))))).collect();
    let evidence = Evidence::gather();
    let mut findings = Vec::new();
    for case in CASES.iter().cloned().flatten() {
        match rows.get(&case) {
            None => findings.push(table.finding(1, format!("case {case} has no row"))),
            Some((_, true)) => {}
            Some(_) if evidence.cases.is_empty() || evidence.cases.contains(&case) => {}
            Some((line, false)) => {
                findings.push(table.finding(
                    *line,
                    format!("no test is named `case_{case}_…`, no conversation has `# cases: {case}`"),
                ));
            }
        }
    }
    check(&findings);
}

#[test]
fn names_and_citations_are_read() {
    assert_eq!(cases_of_name("case_52_500_ms"), [52]);
    assert_eq!(cases_of_name("cases_13_14_ids"), [13, 14]);
    assert_eq!(cases_of_name("cases_84_to_86_and_90"), [84, 85, 86, 90]);
    assert_eq!(cases_of_head("# cases: 171 9"), [171, 9]);
    assert_eq!(cited_rules("# rules: HS-1, CN-22"), ["HS-1", "CN-22"]);
    assert_eq!(cited_rules("/// A reply comes last ([EN-13])."), ["EN-13"]);
}
