//! [`Suite`]: all scripts, in groups that share a pair of servers, played, compared and judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;

use parking_lot::Mutex;

use super::Options;
use super::difference::{Compared, difference};
use super::player::{Play, play};
use super::rendering::{render, unordered_acks, without_time};
use super::script::{Script, ServerArguments};
use super::servers::{Kind, Server};

/// Groups that are played at the same time; each has two servers.
const GROUPS_AT_ONCE: usize = 3;
/// Scripts of a group that are played at the same time: they mostly wait, but what a server has to do must not take so
/// long that it looks like a timer.
const SCRIPTS_AT_ONCE: usize = 6;
/// How often a script is played if nothing but times differ: the machine may have been busy with something else.
const PLAYS: usize = 4;
/// How often a script is played again whose lines differ: what differs for a reason differs each time, and threads of
/// the released server sometimes overtake one another.
const CONFIRMATIONS: usize = 2;
/// Scripts of one run that may differ and then not again; each is shown.
const UNSTEADY_MAX: usize = 3;

/// The scripts.
pub(crate) struct Suite {
    scripts: Vec<Script>,
    /// Rows of the deviations in the notes.
    deviations: BTreeSet<String>,
}

/// What came of them.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Scripts without a difference that is not listed.
    pub(crate) passed: usize,
    /// The others.
    pub(crate) failed: usize,
    /// Scripts that differed and then not again.
    pub(crate) unsteady: usize,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts")
}

impl Suite {
    /// Reads the scripts whose path contains one of `wanted`, or all.
    ///
    /// # Errors
    ///
    /// Names what cannot be read.
    pub(crate) fn load(wanted: &[String]) -> Result<Self, String> {
        let notes = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("bayeux-spec-notes.md"));
        let notes = notes.map_err(|error| format!("the notes: {error}"))?;
        let rows = notes.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
        let deviations = rows.filter(|name| name.starts_with('D')).map(str::to_owned).collect();
        let mut suite = Self { scripts: Vec::new(), deviations };
        let mut paths = Vec::new();
        collect(&folder(), &mut paths).map_err(|error| format!("fixtures/scripts: {error}"))?;
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(folder()).unwrap_or(&path).to_string_lossy().into_owned();
            if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
                let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
                let script = Script::parse(&name, &text)?;
                suite.check_reasons(&script)?;
                suite.scripts.push(script);
            }
        }
        Ok(suite)
    }

    /// A listed difference names its reason: a row of the deviations, CometD's own behaviour, or a client.
    fn check_reasons(&self, script: &Script) -> Result<(), String> {
        let is_known = |name: &str| self.deviations.contains(name) || name == "CometD" || name.starts_with("client:");
        match script.differs.iter().find(|(name, _)| !is_known(name)) {
            None => Ok(()),
            Some((name, _)) => Err(format!(
                "{}: `{name}` is no reason: a row of the deviations, `CometD`, or `client:NAME`",
                script.name
            )),
        }
    }

    /// Plays everything on both servers.
    pub(crate) fn run(&self, against: &Kind, options: &Options) -> Outcome {
        let mut groups: BTreeMap<&ServerArguments, Vec<&Script>> = BTreeMap::new();
        for script in &self.scripts {
            groups.entry(&script.server).or_default().push(script);
        }
        // The longest first, so that no long one is left for the end.
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, scripts)| scripts.len());
        let groups = Mutex::new(groups);
        let outcome = Mutex::new(Outcome::default());
        thread::scope(|scope| {
            for _ in 0..GROUPS_AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let Some((arguments, scripts)) = groups.lock().pop() else { return };
                        let pair = Pair { against, options, outcome: &outcome };
                        pair.play_group(arguments, &scripts);
                    }
                });
            }
        });
        outcome.into_inner()
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
    Ok(())
}

/// What a play showed.
enum Verdict {
    /// No difference that is not listed.
    Same,
    /// Only times differ.
    Late(Finding),
    /// Something else.
    Different(Finding),
}

/// A difference that is not listed.
#[derive(Default)]
struct Finding {
    /// For people.
    text: String,
    /// The lines that differ.
    stated: Vec<String>,
}

/// Two kinds of server to be compared.
struct Pair<'a> {
    against: &'a Kind,
    options: &'a Options,
    outcome: &'a Mutex<Outcome>,
}

impl Pair<'_> {
    fn play_group(&self, arguments: &ServerArguments, scripts: &[&Script]) {
        let servers = thread::scope(|scope| {
            let there = scope.spawn(|| Server::start(self.against, arguments));
            let here = Server::start(&self.options.with, arguments);
            (there.join().unwrap_or_else(|_| Err("a panic".to_owned())), here)
        });
        let (there, here) = match servers {
            (Ok(there), Ok(here)) => (there, here),
            (Err(error), _) | (_, Err(error)) => {
                println!("FAILED: {error}");
                self.outcome.lock().failed += scripts.len();
                return;
            }
        };
        let addresses = (there.address, here.address);
        let waiting = Mutex::new(scripts.iter().enumerate().filter(|(_, script)| !script.is_alone));
        thread::scope(|scope| {
            for _ in 0..SCRIPTS_AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let Some((index, script)) = waiting.lock().next() else { return };
                        self.judge(script, addresses, index);
                    }
                });
            }
        });
        for (index, script) in scripts.iter().enumerate().filter(|(_, script)| script.is_alone) {
            self.judge(script, addresses, index);
        }
    }

    fn judge(&self, script: &Script, addresses: (SocketAddr, SocketAddr), index: usize) {
        let mut verdict = Verdict::Late(Finding::default());
        for time in 0..PLAYS {
            if matches!(verdict, Verdict::Late(_)) {
                verdict = self.play_once(script, addresses, &format!("s{index}n{time}"));
            }
        }
        if let Verdict::Different(finding) = &verdict
            && self.is_unsteady(script, addresses, index, finding)
        {
            verdict = Verdict::Same;
        }
        let mut outcome = self.outcome.lock();
        match verdict {
            Verdict::Same => outcome.passed += 1,
            Verdict::Late(finding) | Verdict::Different(finding) => {
                outcome.failed += 1;
                println!("FAILED: {}\n{}", script.name, finding.text);
                if self.options.updates
                    && !finding.stated.is_empty()
                    && let Err(error) = update(script, &finding.stated)
                {
                    println!("{}: {error}", script.name);
                }
            }
        }
    }

    /// Whether what was found is not found again, in a run in which that happens rarely.
    fn is_unsteady(
        &self,
        script: &Script,
        addresses: (SocketAddr, SocketAddr),
        index: usize,
        finding: &Finding,
    ) -> bool {
        // A play that came to no end, or an order that our server may never break, has no lines that differ.
        if finding.stated.is_empty() || self.options.updates {
            return false;
        }
        let again = |time| self.play_once(script, addresses, &format!("s{index}c{time}"));
        if !(0..CONFIRMATIONS).all(|time| matches!(again(time), Verdict::Same)) {
            return false;
        }
        let mut outcome = self.outcome.lock();
        outcome.unsteady += 1;
        println!("UNSTEADY: {} differed once in {} plays\n{}", script.name, CONFIRMATIONS + 1, finding.text);
        outcome.unsteady <= UNSTEADY_MAX
    }

    fn play_once(&self, script: &Script, (there, here): (SocketAddr, SocketAddr), token: &str) -> Verdict {
        let plays = thread::scope(|scope| {
            let there = scope.spawn(|| play(script, there, token));
            let here = play(script, here, token);
            (there.join().unwrap_or_else(|_| Err("a panic".to_owned())), here)
        });
        let (there, here) = match plays {
            (Err(text), _) | (_, Err(text)) => return Verdict::Different(Finding { text, ..Finding::default() }),
            (Ok(there), Ok(here)) => (there, here),
        };
        let mut verdict = self.compare(script, &there, &here);
        if let (true, Verdict::Different(finding) | Verdict::Late(finding)) = (self.options.shows_logs, &mut verdict) {
            let text = &mut finding.text;
            let (against, with) = (self.against.name(), self.options.with.name());
            text.push_str(&format!("\n  {against}:\n{}", there.log.join("\n")));
            text.push_str(&format!("\n  {with}:\n{}", here.log.join("\n")));
        }
        verdict
    }

    fn compare(&self, script: &Script, there: &Play, here: &Play) -> Verdict {
        if let Some(complaint) = unordered_acks(here) {
            return Verdict::Different(Finding { text: complaint, ..Finding::default() });
        }
        let by_frames = script.compares_frames;
        let compared = difference(&render(there, by_frames), &render(here, by_frames));
        let stated: Vec<String> = compared.iter().filter_map(Compared::stated).collect();
        // Released servers differ from one another in nothing that is listed.
        let expected: &[String] = if self.options.with == Kind::Mirant { &script.difference } else { &[] };
        let is_explained = script.differs.is_empty() == script.difference.is_empty();
        if stated == expected && is_explained {
            return Verdict::Same;
        }
        let mut text: Vec<String> = compared.iter().map(Compared::shown).collect();
        if stated != expected && !expected.is_empty() {
            text.push("the script lists:".to_owned());
            text.extend(expected.iter().cloned());
        }
        if !is_explained {
            text.push("`# differs: NAME reason` goes with the lines that differ, `- …` and `+ …`".to_owned());
        }
        let is_late = differs_in_time_only(&stated, expected);
        let finding = Finding { text: text.join("\n"), stated };
        if is_late { Verdict::Late(finding) } else { Verdict::Different(finding) }
    }
}

/// Whether what differs is as listed, or nothing, but for the times.
fn differs_in_time_only(stated: &[String], expected: &[String]) -> bool {
    let lines = |mark: &str| -> Vec<String> {
        let marked = stated.iter().filter_map(|line| line.strip_prefix(mark));
        marked.map(|line| without_time(line).to_owned()).collect()
    };
    let timeless: Vec<&str> = stated.iter().map(|line| without_time(line)).collect();
    lines("- ") == lines("+ ") || timeless == expected.iter().map(|line| without_time(line)).collect::<Vec<_>>()
}

/// Writes the lines that differ into the script, in the place of those that it lists.
fn update(script: &Script, stated: &[String]) -> std::io::Result<()> {
    let path = folder().join(&script.name);
    let text = fs::read_to_string(&path)?;
    let is_stated = |line: &&str| line.starts_with("- ") || line.starts_with("+ ");
    let kept: Vec<&str> = text.lines().filter(|line| !is_stated(line)).collect();
    let mut new = kept.join("\n").trim_end().to_owned();
    if !stated.is_empty() {
        new.push_str("\n\n");
        new.push_str(&stated.join("\n"));
    }
    new.push('\n');
    fs::write(path, new)
}
