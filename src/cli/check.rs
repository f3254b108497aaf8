//! `mirant check`: says what is wrong with the settings, or sums them up.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::settings::{Loaded, SettingsArgs};
use super::{WRONG_SETTINGS, complain, print};
use crate::config::reference;

#[derive(Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Prints the reference of all settings instead
    #[arg(long)]
    reference: bool,
}

/// Checks the settings; `before` are the flags before the command.
pub(super) fn run(before: SettingsArgs, arguments: CheckArgs) -> ExitCode {
    if arguments.reference {
        print(&reference());
        return ExitCode::SUCCESS;
    }
    match before.and(arguments.settings).load() {
        Ok(loaded) => {
            print(&summary(&loaded));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            complain(&errors.to_string());
            ExitCode::from(WRONG_SETTINGS)
        }
    }
}

fn summary(Loaded { config, file }: &Loaded) -> String {
    let file = file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let token = if config.admin.token.is_some() { "with a token" } else { "no token" };
    let admin = config.admin.listen.map_or_else(|| "off".to_owned(), |address| format!("{address} ({token})"));
    let mounts: Vec<_> = config.mounts.iter().map(|mount| mount.path.as_str()).collect();
    let mut text = String::from("ok\n");
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "file    {file}");
    let _ = writeln!(text, "listen  {}", config.server.listen);
    let _ = writeln!(text, "mounts  {}", mounts.join(" "));
    let _ = writeln!(text, "admin   {admin}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    #[test]
    fn the_summary_names_what_matters_and_no_secret() {
        let mut config = Config::default();
        let text = summary(&Loaded { config: config.clone(), file: None });
        assert_eq!(
            text,
            "ok\nfile    none\nlisten  127.0.0.1:8080\nmounts  /cometd\nadmin   127.0.0.1:8081 (no token)\n"
        );
        config.admin.token = Some(Secret::new("hunter2".to_owned()));
        let text = summary(&Loaded { config, file: Some("a.toml".into()) });
        assert!(
            text.contains("file    a.toml\n") && text.contains("(with a token)") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
