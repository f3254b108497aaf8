//! Flags that lead to settings, and reading the settings from where they lead.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Config, ConfigErrors, LogConfig};

/// The file that is read if no other is named and it exists.
const DEFAULT_FILE: &str = "mirant.toml";

/// Where settings come from, apart from defaults and environment.
#[derive(Args, Default)]
pub(super) struct SettingsArgs {
    /// File with settings; without it `mirant.toml` is read if there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the public listener, as `--set server.listen=ADDR`
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Changes one setting; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// How much is logged, as `--set log.level=LEVEL`
    #[arg(long, value_name = "LEVEL", value_parser = LogConfig::parse)]
    log: Option<LogConfig>,
}

/// Settings that were read, and from which file if from any.
pub(super) struct Loaded {
    /// The settings.
    pub(super) config: Config,
    /// The file they were read from.
    pub(super) file: Option<PathBuf>,
}

impl SettingsArgs {
    /// Adds the flags behind the command to those before it, over which they win.
    pub(super) fn and(mut self, more: Self) -> Self {
        self.set.extend(more.set);
        Self {
            config: more.config.or(self.config),
            listen: more.listen.or(self.listen),
            set: self.set,
            log: more.log.or(self.log),
        }
    }

    /// Whether none was given.
    pub(super) fn is_empty(&self) -> bool {
        self.config.is_none() && self.sets().is_empty()
    }

    /// Returns all flags in the form of `--set`; those that stand for one setting win over it.
    pub(super) fn sets(&self) -> Vec<String> {
        let mut sets = self.set.clone();
        sets.extend(self.listen.map(|address| format!("server.listen={address}")));
        sets.extend(self.log.as_ref().map(|log| format!("log.level={}", log.level)));
        sets
    }

    /// Reads the settings from file, environment and flags.
    ///
    /// # Errors
    ///
    /// Those of [`Config::load`].
    pub(super) fn load(&self) -> Result<Loaded, ConfigErrors> {
        let file = self.config.clone().or_else(|| {
            let default = Path::new(DEFAULT_FILE);
            default.exists().then(|| default.to_owned())
        });
        let config = Config::load(file.as_deref(), environment(), &self.sets())?;
        Ok(Loaded { config, file })
    }
}

/// Returns the environment of the process as text. Bytes that are not text are replaced, so that a setting which holds
/// them is refused instead of overlooked.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |value: OsString| value.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}
