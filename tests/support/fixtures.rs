//! [`Suite`]: the conversations of a folder, replayed one after another, with every failure in one report.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::deviation::as_our_server_has_it;
use super::differences::Differences;
use super::files::text_files;
use super::replay::{Failure, replay};
use super::subject::Subject;
use super::transcript::{Conversation, Millis};

/// How many conversations are played at once: most of their time is silence, but each begins with a server that starts.
const TOGETHER_MAX: usize = 64;

/// Returns the folder of the conversations.
pub(crate) fn conversations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/conversations")
}

/// Returns what is listed as different in single lines of recordings.
pub(crate) fn differences() -> Differences {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/differences.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    Differences::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The conversations of a folder and of those below it, by path from there.
pub(crate) struct Suite {
    conversations: Vec<(String, Conversation)>,
    report: Report,
}

/// What came of a suite.
#[derive(Default)]
pub(crate) struct Report {
    /// Files that were replayed.
    pub(crate) replayed: Vec<String>,
    /// Files that were left out, with what the subject lacks.
    pub(crate) left_out: Vec<(String, Vec<String>)>,
    /// What failed: at most one failure per file, since what follows the first says little.
    pub(crate) failures: Vec<(String, Failure)>,
    /// Names of the deviations that were needed, with the files that needed them.
    pub(crate) deviations: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Suite {
    /// Reads all files of a folder. One that cannot be read is a failure of the report.
    ///
    /// With `REPLAY` in the environment only paths that contain its value are taken.
    pub(crate) fn load(folder: &Path) -> Self {
        let mut suite = Self { conversations: Vec::new(), report: Report::default() };
        let wanted = std::env::var("REPLAY").unwrap_or_default();
        let files = text_files(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
        for path in files {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if !name.contains(&wanted) {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(|error| error.to_string());
            match text.and_then(|text| Conversation::parse(&text)) {
                Ok(conversation) => suite.conversations.push((name, conversation)),
                Err(error) => suite.report.failures.push((name, Failure::about(None, error))),
            }
        }
        suite
    }

    /// Keeps the conversations that were recorded.
    pub(crate) fn recorded(mut self) -> Self {
        self.conversations.retain(|(_, conversation)| conversation.head.is_recorded());
        self
    }

    /// Leaves out the conversations that need something that is not offered.
    pub(crate) fn offering(mut self, offers: &[&str]) -> Self {
        let lacks = |conversation: &Conversation| -> Vec<String> {
            let needs = conversation.head.needs.iter();
            needs.filter(|need| !offers.contains(&need.as_str())).cloned().collect()
        };
        let (ready, left_out) = self.conversations.into_iter().partition(|(_, file)| lacks(file).is_empty());
        self.conversations = ready;
        let left_out: Vec<(String, Conversation)> = left_out;
        self.report.left_out.extend(left_out.into_iter().map(|(name, file)| (name, lacks(&file))));
        self
    }

    /// Rewrites the conversations in which our server makes the client go on otherwise.
    pub(crate) fn rewritten_for_our_server(mut self) -> Self {
        let listed = differences();
        for (name, conversation) in &mut self.conversations {
            match listed.applied(name, &conversation.to_string()) {
                Ok(None) => {}
                Ok(Some(text)) => match Conversation::parse(&text) {
                    Ok(ours) => *conversation = ours,
                    Err(error) => self.report.failures.push((name.clone(), Failure::about(None, error))),
                },
                Err(error) => self.report.failures.push((name.clone(), Failure::about(None, error))),
            }
            let (rewritten, deviations) = as_our_server_has_it(std::mem::take(conversation));
            *conversation = rewritten;
            for deviation in deviations {
                self.report.deviations.entry(deviation).or_default().insert(name.clone());
            }
        }
        self
    }

    /// Leaves out the conversations that last longer than this.
    pub(crate) fn not_longer_than(mut self, longest: Millis) -> Self {
        let (short, long) = self.conversations.into_iter().partition(|(_, file)| length(file) <= longest);
        self.conversations = short;
        let long: Vec<(String, Conversation)> = long;
        self.report.left_out.extend(long.into_iter().map(|(name, _)| (name, vec!["more time".to_owned()])));
        self
    }

    /// Returns the conversations, for a caller that replays them in its own way.
    pub(crate) fn conversations(&self) -> &[(String, Conversation)] {
        &self.conversations
    }

    /// Replays every conversation against a subject of its own.
    pub(crate) fn replay<S: Subject>(self, mut subject_for: impl FnMut(&Conversation) -> S) -> Report {
        let mut report = self.report;
        for (name, conversation) in self.conversations {
            let outcome = replay(&conversation, &mut subject_for(&conversation));
            report.add(name, outcome);
        }
        report
    }

    /// Replays every conversation against a subject of its own, many at once and the longest first.
    pub(crate) fn replay_together<S: Subject>(self, subject_for: impl Fn(&Conversation) -> S + Sync) -> Report {
        let Self { mut conversations, mut report } = self;
        conversations.sort_by_key(|(_, conversation)| std::cmp::Reverse(length(conversation)));
        let next = AtomicUsize::new(0);
        let run = || {
            let take = || conversations.get(next.fetch_add(1, Ordering::Relaxed));
            let play = |(name, conversation): &(String, Conversation)| {
                let run = || replay(conversation, &mut subject_for(conversation));
                let outcome = catch_unwind(AssertUnwindSafe(run));
                (name.clone(), outcome.unwrap_or_else(|_| Err(Failure::about(None, "the replay panicked"))))
            };
            std::iter::from_fn(take).map(play).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..TOGETHER_MAX).map(|_| scope.spawn(run)).collect();
            for outcomes in runs.into_iter().map(|run| run.join().expect("panics are caught")) {
                outcomes.into_iter().for_each(|(name, outcome)| report.add(name, outcome));
            }
        });
        report
    }
}

/// How long a conversation lasts.
fn length(conversation: &Conversation) -> Millis {
    match (conversation.lines.first(), conversation.lines.last()) {
        (Some(first), Some(last)) => last.at - first.at,
        _ => 0,
    }
}

impl Report {
    /// Adds what came of one conversation.
    pub(crate) fn add(&mut self, name: String, outcome: Result<BTreeSet<&'static str>, Failure>) {
        self.replayed.push(name.clone());
        match outcome {
            Ok(used) => {
                for deviation in used {
                    self.deviations.entry(deviation).or_default().insert(name.clone());
                }
            }
            Err(failure) => self.failures.push((name, failure)),
        }
    }

    /// Prints what was left out and which deviations were needed.
    ///
    /// # Panics
    ///
    /// Panics with every failure, and if nothing was replayed.
    pub(crate) fn check(&self) {
        println!("{} conversations replayed, {} left out", self.replayed.len(), self.left_out.len());
        for (name, lacks) in &self.left_out {
            println!("  left out: {name} needs {}", lacks.join(" "));
        }
        for (deviation, files) in &self.deviations {
            println!("  deviation {deviation} in {} files", files.len());
        }
        let mut text = String::new();
        for (name, failure) in &self.failures {
            let _ = writeln!(text, "{name}:{failure}\n");
        }
        assert!(text.is_empty(), "{} of {} files fail\n\n{text}", self.failures.len(), self.replayed.len());
        assert!(!self.replayed.is_empty(), "no conversation was replayed");
    }
}
