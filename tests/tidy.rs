//! The repository's own rules, as tests.
//!
//! Each check reads the files of the repository and lists every place that breaks the rule as `file:line: what to do`.
//! A check whose subject is not there has nothing to scan and passes. Only the standard library is used, so that these
//! rules hold in both builds. Start reading at [`LAYERS`].

#[path = "tidy/notes.rs"]
mod notes;
#[path = "tidy/recordings.rs"]
mod recordings;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::iter;
use std::path::Path;

use source::{Finding, check, code_of, code_without_tests, markdown, paths, read, root, rust, texts};

/// The folders of `src`, and the folders that each may import.
///
/// Left may import right: `cli`, `server`, {`transport`, `policy`, `admin`}, {`web`, `node`}, `bayeux`. `config` is
/// made of the settings of the parts; `pages` are files served through `web`.
const LAYERS: &[(&str, &[&str])] = &[
    ("bayeux", &[]),
    ("node", &["bayeux"]),
    ("web", &["bayeux"]),
    ("transport", &["web", "node", "bayeux"]),
    ("policy", &["web", "node", "bayeux"]),
    ("admin", &["web", "node", "bayeux"]),
    ("pages", &["web"]),
    ("config", &["transport", "policy", "admin", "web", "node", "bayeux"]),
    ("server", &["config", "pages", "transport", "policy", "admin", "web", "node", "bayeux"]),
    ("client", &["bayeux"]),
    ("cli", &["client", "server", "config", "pages", "transport", "policy", "admin", "web", "node", "bayeux"]),
];

/// Paths of other crates and of std that only some layers may name, outside their unit tests.
const RESERVED: &[(&str, &[&str])] = &[
    ("flate2", &["web"]),
    ("hyper", &["web", "server"]),
    ("hyper_util", &["web", "server"]),
    ("tokio_tungstenite", &["web", "transport", "cli"]),
    ("anyhow", &["cli"]),
    ("clap", &["cli"]),
    ("toml", &["config"]),
    ("tracing_subscriber", &["config", "server", "cli"]),
];

/// What the engine must not name: everything that touches the world or reads a clock. Addresses as plain values are in
/// `core::net`.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "hyper_util",
    "http",
    "tokio_tungstenite",
    "tungstenite",
    "socket2",
    "rustix",
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "std::time::Instant::now",
    "Instant::now",
    "std::time::SystemTime",
    "SystemTime",
];

/// The one file that starts tasks.
const TASKS_FILE: &str = "src/node/tasks.rs";

/// Most lines of a Rust file; a reader should be able to hold a file in mind.
const FILE_LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "type", "types", "manager", "managers"];

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Turns `super::super::x` into `crate::x` where it leaves the layer.
fn absolute(path: &str, file: &str, in_inline_module: bool) -> Option<String> {
    if path.starts_with("crate::") {
        return Some(path.to_owned());
    }
    let ups = path.split("::").take_while(|&segment| segment == "super").count();
    let folders = file.strip_prefix("src/")?.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let rest: Vec<&str> = path.split("::").skip(ups).collect();
    (ups > 0 && ups >= folders + usize::from(in_inline_module)).then(|| format!("crate::{}", rest.join("::")))
}

#[test]
fn layers_import_only_what_stands_to_their_right() {
    let mut findings = Vec::new();
    for text in rust("src") {
        let Some(layer) = text.layer() else { continue };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            findings.push(text.finding(1, format!("`{layer}` is no known layer: add it to LAYERS in tests/tidy.rs")));
            continue;
        };
        let tests_from = code_without_tests(&text).lines().count();
        for (line, path) in paths(&code_of(&text.text)) {
            let Some(path) = absolute(&path, &text.path, line > tests_from) else { continue };
            let target = path.split("::").nth(1).unwrap_or_default();
            let is_layer = LAYERS.iter().any(|(name, _)| *name == target);
            if is_layer && target != layer && !allowed.contains(&target) {
                let advice = format!("`{layer}` must not import `{target}`: move what is shared to a layer below both");
                findings.push(text.finding(line, advice));
            }
        }
    }
    check(&findings);
}

#[test]
fn outside_crates_stay_in_their_layers() {
    let mut findings = Vec::new();
    for text in rust("src") {
        let Some(layer) = text.layer() else { continue };
        for (line, path) in paths(&code_without_tests(&text)) {
            for (name, layers) in RESERVED {
                if is_below(&path, name) && !layers.contains(&layer) {
                    let advice = format!("`{name}` belongs to {}: reach it through them", layers.join(", "));
                    findings.push(text.finding(line, advice));
                }
            }
        }
    }
    check(&findings);
}

#[test]
fn the_engine_touches_nothing_of_the_world() {
    let mut findings = Vec::new();
    for text in rust("src/bayeux") {
        for (line, path) in paths(&code_without_tests(&text)) {
            if let Some(name) = IMPURE.iter().find(|name| is_below(&path, name)) {
                let advice = format!(
                    "the engine must not name `{name}`: take what it needs as a value (addresses are in `core::net`)"
                );
                findings.push(text.finding(line, advice));
            }
        }
    }
    check(&findings);
}

#[test]
fn tasks_start_in_one_file() {
    let starts =
        ["tokio::spawn", "tokio::task::spawn", "task::spawn", "tokio::task::spawn_local", "tokio::task::JoinSet"];
    let mut findings = Vec::new();
    for text in rust("src").iter().filter(|text| text.path != TASKS_FILE) {
        for (line, path) in paths(&code_without_tests(text)) {
            if starts.contains(&path.as_str()) {
                findings
                    .push(text.finding(line, format!("start tasks through {TASKS_FILE}, which names and stops them")));
            }
        }
    }
    check(&findings);
}

#[test]
fn queues_are_bounded() {
    let mut findings = Vec::new();
    for text in rust("src") {
        for (line, path) in paths(&code_without_tests(&text)) {
            if path.ends_with("::unbounded_channel") || path == "std::sync::mpsc::channel" {
                findings.push(text.finding(line, "use a queue with a limit and say what happens when it is full"));
            }
        }
    }
    check(&findings);
}

#[test]
fn files_stay_short() {
    let mut findings = Vec::new();
    for text in ["src", "tests", "benches", "examples"].into_iter().flat_map(rust) {
        let count = text.text.lines().count();
        if count > FILE_LINES_MAX {
            let advice = format!("{count} lines, at most {FILE_LINES_MAX}: split it by concept");
            findings.push(text.finding(count, advice));
        }
    }
    check(&findings);
}

#[test]
fn every_folder_explains_itself() {
    let sources = rust("src");
    let mut findings = Vec::new();
    for text in sources.iter().filter(|text| text.path.ends_with("/mod.rs")) {
        let head: Vec<&str> = text.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        if !head.join(" ").contains("Must not know") {
            let advice =
                "begin with a `//!` comment: what it does, its central type, **Must not know**, where to start";
            findings.push(text.finding(1, advice));
        }
    }
    let folders: BTreeSet<&str> = sources.iter().filter_map(|text| Some(text.path.rsplit_once('/')?.0)).collect();
    for folder in folders.into_iter().filter(|&folder| folder != "src") {
        if !sources.iter().any(|text| text.path == format!("{folder}/mod.rs")) {
            let path = format!("{folder}/mod.rs");
            findings.push(Finding { path, line: 1, advice: "every folder has a mod.rs that explains it".to_owned() });
        }
    }
    check(&findings);
}

#[test]
fn file_names_say_what_is_inside() {
    let mut findings = Vec::new();
    for text in ["src", "tests", "benches", "examples"].into_iter().flat_map(rust) {
        let named = text.path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = named {
            findings.push(text.finding(1, format!("`{name}` says nothing: name the file after its concept")));
        }
    }
    check(&findings);
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["todo!", "unimplemented!", "#[ignore", "dbg!"];
    let mut findings = Vec::new();
    for text in ["src", "tests", "benches", "examples"].into_iter().flat_map(rust) {
        for (number, line) in iter::zip(1.., code_of(&text.text).lines()) {
            for mark in marks.iter().filter(|&mark| line.contains(mark)) {
                findings.push(text.finding(number, format!("`{mark}`: finish it or take it out")));
            }
        }
    }
    check(&findings);
}

#[test]
fn the_repository_stands_alone() {
    // Written in two halves, so that this file does not find itself.
    let words = [
        concat!("/wo", "rk/"),
        concat!("../sha", "red"),
        concat!("bayeux", ".md"),
        concat!("design", ".md"),
        concat!("clients", ".md"),
        concat!("genesys", ".md"),
        concat!("style", ".md"),
    ];
    let mut findings = Vec::new();
    for text in texts("") {
        for (number, line) in text.lines() {
            for word in words.iter().filter(|&word| line.contains(word)) {
                findings.push(text.finding(number, format!("`{word}` is not part of the repository: say it here")));
            }
        }
    }
    check(&findings);
}

#[test]
fn dependencies_are_explained() {
    let Some(manifest) = read("Cargo.toml") else { return };
    let guide = read("docs/contributing.md").map(|guide| guide.text).unwrap_or_default();
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    for (number, line) in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if in_dependencies
            && let Some((name, _)) = line.split_once(" =")
            && !guide.contains(&format!("`{name}`"))
        {
            findings.push(manifest.finding(number, format!("say in docs/contributing.md why `{name}` is here")));
        }
    }
    check(&findings);
}

#[test]
fn documents_name_what_exists() {
    let mut findings = Vec::new();
    for text in markdown() {
        let folder = Path::new(&text.path).parent().expect("a file has a folder").to_owned();
        for (number, line) in text.lines() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                let outside = link.is_empty() || link.contains("://") || link.starts_with("mailto:");
                if !outside && !root().join(&folder).join(link).exists() {
                    findings.push(text.finding(number, format!("the link `{link}` leads nowhere")));
                }
            }
            let first = line.trim_start_matches("$ ").split_whitespace().next().unwrap_or_default();
            if first.starts_with("tests/") && text.path == "README.md" && !root().join(first).exists() {
                findings.push(text.finding(number, format!("the command `{first}` does not exist")));
            }
            if let Some(name) = line.split("--example ").nth(1).and_then(|rest| rest.split([' ', '`']).next())
                && !["", "/main"].iter().any(|end| root().join(format!("examples/{name}{end}.rs")).exists())
            {
                findings.push(text.finding(number, format!("the example `{name}` does not exist")));
            }
        }
    }
    let readme = read("README.md").expect("README.md is there");
    for command in ["cargo run --release", "tests/run"] {
        if !readme.lines().any(|(_, line)| line.trim() == command) {
            findings.push(readme.finding(1, format!("give the command `{command}` on a line of its own")));
        }
    }
    check(&findings);
}

#[test]
fn a_path_that_leaves_its_layer_is_noticed() {
    assert_eq!(absolute("super::super::web::X", "src/node/tasks.rs", false).as_deref(), Some("crate::web::X"));
    assert_eq!(absolute("super::X", "src/node/tasks.rs", false), None);
    assert_eq!(absolute("super::super::X", "src/node/tasks.rs", true), None);
}
