//! The command line of the binary: what may be typed, and one file per command.
//!
//! [`main`] is the whole of it. Settings come from the flags of `settings.rs`, which every command that needs settings
//! takes, and are read by [`Config::load`](crate::config::Config::load).
//!
//! **Must not know** how anything is served, nor what travels on connections: a command builds a server from its settings,
//! or a part of `client` from its flags, and waits for it.
//!
//! Exit status: 0 for success, 1 for a failure of the world, 2 for wrong flags or settings.

mod check;
mod own_server;
mod record;
mod replay;
mod serve;
mod settings;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::settings::SettingsArgs;

/// Exit status of a program that was called with wrong flags or settings; clap uses the same.
const WRONG_SETTINGS: u8 = 2;

#[derive(Parser)]
#[command(name = "mirant", version, about = "A CometD/Bayeux push server")]
struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server; the default.
    Serve(SettingsArgs),
    /// Says what is wrong with the settings, and starts nothing.
    Check(check::CheckArgs),
    /// Stands in front of any Bayeux server and writes down what clients and server say to one another.
    Record(record::RecordArgs),
    /// Plays the client's part of recorded conversations to a server and prints what it answers otherwise.
    Replay(replay::ReplayArgs),
}

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { settings, command } = Cli::parse();
    if matches!(command, Some(Command::Record(_) | Command::Replay(_))) && !settings.is_empty() {
        complain("flags for settings stand before `serve` and `check` only");
        return ExitCode::from(WRONG_SETTINGS);
    }
    match command.unwrap_or_else(|| Command::Serve(SettingsArgs::default())) {
        Command::Serve(more) => serve::run(&settings.and(more)),
        Command::Check(arguments) => check::run(settings, arguments),
        Command::Record(arguments) => record::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
    }
}

/// Writes to standard output. That nobody reads it any more is no reason to stop.
fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Writes what went wrong to standard error, under the name of the program.
fn complain(problem: &str) {
    let mut output = io::stderr().lock();
    for line in problem.lines() {
        let _ = writeln!(output, "mirant: {line}");
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        let cli = Cli::try_parse_from(["mirant", "--set", "a.b=1", "serve", "--set", "c.d=2"]).expect("right");
        let Some(Command::Serve(more)) = cli.command else { panic!("serve was named") };
        assert_eq!(cli.settings.and(more).sets(), ["a.b=1", "c.d=2"]);
        let cli = Cli::try_parse_from(["mirant", "--listen", "127.0.0.1:0"]).expect("right");
        assert!(cli.command.is_none());
        assert_eq!(cli.settings.sets(), ["server.listen=127.0.0.1:0"]);
    }

    #[test]
    fn wrong_flags_are_refused_by_their_names() {
        for (flag, value) in [("--listen", "localhost"), ("--log", "loud")] {
            let error = Cli::try_parse_from(["mirant", flag, value]).err().expect("refused");
            assert_eq!(error.exit_code(), i32::from(WRONG_SETTINGS));
            assert!(error.to_string().contains(flag), "{error}");
        }
    }
}
