//! `mirant replay`: plays conversations to a server and says what it answers otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use parking_lot::Mutex;

use super::own_server::{OFFERS, OwnServer};
use super::{WRONG_SETTINGS, complain, print};
use crate::client::clocks::rebased;
use crate::client::deviation::{ANOTHER_TIME, DEVIATIONS, Deviation, rewritten};
use crate::client::differences::Differences;
use crate::client::files::text_files;
use crate::client::player::{Player, Stage, impossible};
use crate::client::remote::{Operator, Remote};
use crate::client::replay::{Failure, replay_allowing};
use crate::client::transcript::Conversation;
use crate::client::upstream::ServerUrl;

/// How many files are played at once to servers of their own: most of their time is silence.
const JOBS: usize = 8;

/// Longest file that is read, in bytes; recordings end before.
const FILE_MAX: u64 = 64 * 1024 * 1024;

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// Files, and folders of files that end in .txt
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// The server to play to, as http://HOST:PORT/MOUNT; without it each file gets one of its own inside this process,
    /// with the settings and services that it names
    #[arg(long, value_name = "URL")]
    url: Option<ServerUrl>,
    /// The server has the reference server's control endpoints: `! publish` and the like are done through them
    #[arg(long, requires = "url")]
    control: bool,
    /// Admin listener of a Mirant at --url: `! publish` and `! disconnect` are done through it
    #[arg(long, value_name = "URL", requires = "url", conflicts_with = "control")]
    admin: Option<ServerUrl>,
    /// Token of the admin listener; the environment's MIRANT_ADMIN__TOKEN if not given
    #[arg(long, value_name = "TOKEN", requires = "admin")]
    admin_token: Option<String>,
    /// Setting of the servers in this process; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE", conflicts_with = "url")]
    set: Vec<String>,
    /// What the server at --url offers of what files need, like ack,timesync; everything if not given
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "url")]
    offers: Option<Vec<String>>,
    /// File with the names of the deviations that are allowed, each as `name: reason`; all that are known if not given
    #[arg(long, value_name = "FILE")]
    deviations: Option<PathBuf>,
    /// File with single lines in which recordings may differ, in the form of fixtures/differences.txt
    #[arg(long, value_name = "FILE")]
    differences: Option<PathBuf>,
    /// How many files are played at once; 1 with --url, where they would meet one another
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
}

/// What came of one file.
enum Outcome {
    /// As written, with these deviations.
    Same(BTreeSet<&'static str>),
    Different(Failure),
    /// Not played, for this reason.
    LeftOut(String),
}

/// Plays all files. Exit status 1 if any differs, or none was played.
pub(super) fn run(arguments: ReplayArgs) -> ExitCode {
    let prepared = deviations(arguments.deviations.as_deref()).and_then(|deviations| {
        let differences = differences(arguments.differences.as_deref())?;
        let files = files(&arguments.paths)?;
        Ok((deviations, differences, files))
    });
    let (deviations, differences, files) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            complain(&problem);
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    let jobs = arguments.jobs.unwrap_or(if arguments.url.is_some() { 1 } else { JOBS }).clamp(1, 64);
    let playing = Playing { arguments, deviations, differences };
    let tally = Mutex::new(Tally::default());
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..jobs.min(files.len()) {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let outcome = playing.play(path);
                    tally.lock().add(path, outcome, begun.elapsed(), files.len());
                }
            });
        }
    });
    let tally = tally.into_inner();
    print(&tally.summary(started.elapsed()));
    if tally.different == 0 && tally.same > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What all files are played with.
struct Playing {
    arguments: ReplayArgs,
    deviations: Vec<Deviation>,
    differences: Differences,
}

impl Playing {
    /// Reads a file as the server is expected to have it.
    fn read(&self, path: &Path) -> Result<Conversation, String> {
        let text = read(path)?;
        let ours = self.differences.applied(&path.to_string_lossy(), &text)?;
        Conversation::parse(ours.as_ref().unwrap_or(&text))
    }

    fn play(&self, path: &Path) -> Outcome {
        let conversation = match self.read(path) {
            Ok(conversation) => conversation,
            Err(problem) => return Outcome::Different(Failure::about(None, problem)),
        };
        if conversation.lines.is_empty() {
            return Outcome::LeftOut("nothing happens in it".to_owned());
        }
        let offers: Option<Vec<&str>> = match (&self.arguments.offers, &self.arguments.url) {
            (Some(offers), _) => Some(offers.iter().map(String::as_str).collect()),
            (None, Some(_)) => None,
            (None, None) => Some(OFFERS.to_vec()),
        };
        let lacks = |need: &&String| offers.as_ref().is_some_and(|offers| !offers.contains(&need.as_str()));
        let lacking: Vec<&str> = conversation.head.needs.iter().filter(lacks).map(String::as_str).collect();
        if !lacking.is_empty() {
            return Outcome::LeftOut(format!("it needs {}", lacking.join(" ")));
        }
        let Some(url) = &self.arguments.url else {
            return match OwnServer::start(&conversation.head, &self.arguments.set) {
                Ok(server) => self.play_to(&conversation, server),
                Err(problem) => Outcome::Different(Failure::about(None, format!("no server: {problem}"))),
            };
        };
        let operator = match (&self.arguments.admin, self.arguments.control) {
            (Some(admin), _) => {
                let token = self.arguments.admin_token.clone();
                Operator::Admin(admin.clone(), token.or_else(|| std::env::var("MIRANT_ADMIN__TOKEN").ok()))
            }
            (None, true) => Operator::Control(ServerUrl { path: String::new(), ..url.clone() }),
            (None, false) => Operator::Nobody,
        };
        self.play_to(&conversation, Remote { url: url.clone(), operator })
    }

    fn play_to(&self, conversation: &Conversation, stage: impl Stage) -> Outcome {
        if let Some(directive) = impossible(conversation, &stage) {
            let verb = directive.to_string();
            let verb = verb.split(' ').next().unwrap_or_default();
            return Outcome::LeftOut(format!("nobody can do `! {verb}` there; --control or --admin may help"));
        }
        // Deviations are what our server does otherwise than recorded ones; what was written for it is met exactly.
        let mut deviations = if conversation.head.is_recorded() { self.deviations.clone() } else { Vec::new() };
        if !deviations.iter().any(|deviation| deviation.name == ANOTHER_TIME.name) {
            deviations.push(ANOTHER_TIME);
        }
        let (conversation, names) = rewritten(conversation.clone(), &deviations);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let conversation = rebased(conversation, i64::try_from(now).unwrap_or(0));
        match replay_allowing(&conversation, &mut Player::new(&conversation, stage), &deviations) {
            Ok(mut used) => {
                used.extend(names);
                Outcome::Same(used)
            }
            Err(failure) => Outcome::Different(failure),
        }
    }
}

/// What came of all files.
#[derive(Default)]
struct Tally {
    same: usize,
    different: usize,
    left_out: usize,
    deviations: BTreeMap<&'static str, usize>,
}

impl Tally {
    /// Counts a file and prints what came of it.
    fn add(&mut self, path: &Path, outcome: Outcome, took: Duration, count: usize) {
        let path = path.display();
        let text = match outcome {
            Outcome::Same(used) => {
                self.same += 1;
                for name in used {
                    *self.deviations.entry(name).or_default() += 1;
                }
                format!("{path} ({:.1} s)", took.as_secs_f64())
            }
            Outcome::Different(failure) => {
                self.different += 1;
                format!("{path}:{failure}")
            }
            Outcome::LeftOut(reason) => {
                self.left_out += 1;
                format!("{path} is left out: {reason}")
            }
        };
        let done = self.same + self.different + self.left_out;
        print(&format!("[{done}/{count}] {text}\n"));
    }

    fn summary(&self, took: Duration) -> String {
        let Self { same, different, left_out, deviations } = self;
        let mut text = format!("{same} as written, {different} different, {left_out} left out");
        // Writing to a `String` cannot fail.
        let _ = write!(text, " ({:.1} s)", took.as_secs_f64());
        if !deviations.is_empty() {
            let used: Vec<_> = deviations.iter().map(|(name, files)| format!("{name} in {files}")).collect();
            let _ = write!(text, "\ndeviations: {}", used.join(", "));
        }
        text.push('\n');
        text
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(text_files(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?);
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() { Err("there are no files in the folders named".to_owned()) } else { Ok(files) }
}

fn read(path: &Path) -> Result<String, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_MAX {
        return Err(format!("it has more than {FILE_MAX} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Reads the list of lines that may differ.
fn differences(file: Option<&Path>) -> Result<Differences, String> {
    let Some(file) = file else { return Ok(Differences::default()) };
    read(file).and_then(|text| Differences::parse(&text)).map_err(|error| format!("{}: {error}", file.display()))
}

/// Reads the names of the deviations that are allowed.
fn deviations(file: Option<&Path>) -> Result<Vec<Deviation>, String> {
    let Some(file) = file else { return Ok(DEVIATIONS.to_vec()) };
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let named = |line: &str| {
        let name = line.split(':').next().unwrap_or_default().trim();
        let known = DEVIATIONS.into_iter().find(|deviation| deviation.name == name);
        known.ok_or_else(|| format!("{}: no deviation is called `{name}`", file.display()))
    };
    lines.map(named).collect()
}
