//! The same scripts against the released CometD server and against ours: what comes back must be the same, or the
//! script lists in which lines it differs and why. `docs/differential.md` tells how to write one.
//!
//! This program has no test harness around it, since its tests need a server from elsewhere: without `--against` it
//! says that nothing ran. `tests/run differential` brings what it needs and runs it:
//!
//! ```text
//! cargo test --test differential -- --against 8.0.10 [--with mirant|9.0.0] [--log] [--update] [part/of/a/path ...]
//! ```

mod connection;
mod difference;
mod player;
mod rendering;
mod script;
mod servers;
mod shorthand;
mod suite;
mod wire;

use std::process::ExitCode;
use std::time::Instant;

use servers::Kind;
use suite::Suite;

fn main() -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    let Some(against) = &options.against else {
        println!("differential: nothing ran, since no server to compare with was named; tests/run differential does");
        return ExitCode::SUCCESS;
    };
    let began = Instant::now();
    let suite = match Suite::load(&options.wanted) {
        Ok(suite) => suite,
        Err(error) => {
            println!("{error}\n0 passed, 1 failed, 0 skipped");
            return ExitCode::FAILURE;
        }
    };
    let outcome = suite.run(against, &options);
    println!("{} and {}, {:.0} s", against.name(), options.with.name(), began.elapsed().as_secs_f32());
    if outcome.unsteady > 0 {
        println!("{} of them differed in one of three plays", outcome.unsteady);
    }
    println!("{} passed, {} failed, 0 skipped", outcome.passed, outcome.failed);
    if outcome.failed == 0 && outcome.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The command line.
pub(crate) struct Options {
    against: Option<Kind>,
    with: Kind,
    shows_logs: bool,
    updates: bool,
    wanted: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options =
            Self { against: None, with: Kind::Mirant, shows_logs: false, updates: false, wanted: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--against" => options.against = arguments.next().map(|name| Kind::parse(&name)),
                "--with" => options.with = arguments.next().map_or(Kind::Mirant, |name| Kind::parse(&name)),
                "--log" => options.shows_logs = true,
                "--update" => options.updates = true,
                other => options.wanted.push(other.to_owned()),
            }
        }
        options
    }
}
