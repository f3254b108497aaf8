//! Puts the settings of all sources together: defaults, then the file, then the environment, then flags.

use std::collections::BTreeMap;
use std::path::Path;

use super::Config;
use super::check;
use super::error::{ConfigError, ConfigErrors, Origin};
use super::file::{self, Contents, Entry};
use super::kind::Given;
use super::names::{self, Target};
use super::sections::Mount;

/// Start of the names of environment variables that are settings.
const VARIABLE_PREFIX: &str = "MIRANT_";
/// The variable that Rust programs share; it means `log.level`.
const LOG_VARIABLE: &str = "RUST_LOG";

/// The settings that were written somewhere, by name; a later source replaces what an earlier one wrote.
#[derive(Default)]
struct Merge {
    settings: BTreeMap<String, (Target, Given, Origin)>,
    mount_count: usize,
    errors: Vec<ConfigError>,
}

/// See [`Config::load`].
pub(super) fn load(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigErrors> {
    let mut merge = Merge::default();
    if let Some(path) = path {
        merge.file(path);
    }
    merge.environment(environment);
    for set in sets {
        merge.flag(set);
    }
    merge.finish()
}

impl Merge {
    fn file(&mut self, path: &Path) {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.contents(file::read(&file, &text)),
            Err(source) => self.errors.push(ConfigError::Unreadable { file, source }),
        }
    }

    fn contents(&mut self, contents: Contents) {
        self.mount_count = contents.mount_count;
        self.errors.extend(contents.errors);
        for entry in contents.entries {
            self.add(entry);
        }
        self.errors.sort_by_key(ConfigError::line);
    }

    /// Takes the variables that are settings, in the order of their names, so that errors have a fixed order.
    ///
    /// A variable without a double underscore is none of ours: a container platform sets `MIRANT_PORT` and the like for
    /// a service that is called `mirant`.
    fn environment(&mut self, environment: impl Iterator<Item = (String, String)>) {
        let mut log = None;
        let mut ours = BTreeMap::new();
        for (name, value) in environment {
            if name == LOG_VARIABLE && !value.is_empty() {
                log = Some(value);
            } else if name.strip_prefix(VARIABLE_PREFIX).is_some_and(|rest| rest.contains("__")) {
                ours.insert(name, value);
            }
        }
        if let Some(value) = log {
            self.untyped("log.level".to_owned(), value, Origin::Variable(LOG_VARIABLE.to_owned()));
        }
        for (name, value) in ours {
            let key = name[VARIABLE_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            self.untyped(key, value, Origin::Variable(name));
        }
    }

    fn flag(&mut self, set: &str) {
        // What stands there is not repeated: without "=" it might be anything, a secret too.
        let Some((key, value)) = set.split_once('=') else {
            let problem = "must be of the form section.key=value".to_owned();
            return self.errors.push(ConfigError::Syntax { origin: Origin::Flag, problem });
        };
        self.untyped(key.trim().to_owned(), value.to_owned(), Origin::Flag);
    }

    fn untyped(&mut self, name: String, value: String, origin: Origin) {
        if let Some(target) = names::find(&name) {
            self.add(Entry { name, target, given: Given::Untyped(value), origin });
        } else {
            let nearest = names::nearest(&name);
            self.errors.push(ConfigError::UnknownKey { origin, key: name, nearest });
        }
    }

    /// Notes a setting after trying it, so that a bad value is reported even where a later source replaces it.
    fn add(&mut self, Entry { name, target, given, origin }: Entry) {
        let mut trial = Config { mounts: vec![Mount::default(); names::MOUNTS_MAX], ..Config::default() };
        match target.set(&mut trial, &given) {
            Ok(()) => drop(self.settings.insert(name, (target, given, origin))),
            Err(problem) => self.errors.push(ConfigError::BadValue { origin, key: name, problem }),
        }
    }

    fn finish(mut self) -> Result<Config, ConfigErrors> {
        let mut config = Config::default();
        if self.mount_count > 0 {
            config.mounts = vec![Mount::default(); self.mount_count];
        }
        let mut settings: Vec<_> = self.settings.iter().collect();
        settings.sort_by_key(|(_, (target, ..))| target.rank());
        for (name, (target, given, origin)) in settings {
            if let Err(problem) = target.set(&mut config, given) {
                let (origin, key) = (origin.clone(), name.clone());
                self.errors.push(ConfigError::BadValue { origin, key, problem });
            }
        }
        if self.errors.is_empty() {
            let origins = self.settings.into_iter().map(|(name, (_, _, origin))| (name, origin)).collect();
            self.errors = check::together(&config, &origins);
        }
        if self.errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(self.errors)) }
    }
}
