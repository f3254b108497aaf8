//! [`ConfigError`]: one thing that is wrong with the settings, and where it was written.

use std::fmt;
use std::io;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nowhere: the value is the default.
    Default,
    /// In a file.
    File {
        /// Path of the file as it was given.
        file: String,
        /// Line, from 1.
        line: usize,
    },
    /// In the environment variable of this name.
    Variable(String),
    /// In a `--set` flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default settings"),
            Self::File { file, line } => write!(formatter, "{file}:{line}"),
            Self::Variable(name) => formatter.write_str(name),
            Self::Flag => formatter.write_str("--set"),
        }
    }
}

/// One thing that is wrong with the settings. Its text never contains the value of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// Path of the file as it was given.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, or a `--set` is not of the form `key=value`.
    #[error("{origin}: {problem}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong, without a snippet: the line might hold a secret.
        problem: String,
    },
    /// No setting has this name.
    #[error("{origin}: unknown key \"{key}\"{}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The name as written, with its sections.
        key: String,
        /// The known name that looks most like it, if any does.
        nearest: Option<String>,
    },
    /// The setting exists, but not with this value, or not together with another.
    #[error("{origin}: {key} {problem}")]
    BadValue {
        /// Where.
        origin: Origin,
        /// The setting.
        key: String,
        /// What is wrong, and what may be written instead; a sentence whose subject is the key.
        problem: String,
    },
}

impl ConfigError {
    /// The line of the file that is wrong, for sorting; 0 for what is wrong with the whole, or outside a file.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Unreadable { .. } => 0,
            Self::Syntax { origin, .. } | Self::UnknownKey { origin, .. } | Self::BadValue { origin, .. } => {
                match origin {
                    Origin::File { line, .. } => *line,
                    _ => 0,
                }
            }
        }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
}

/// Everything that is wrong with the settings, in the order of the file; displayed one per line.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Collects errors; there is at least one.
    pub(super) fn new(errors: Vec<ConfigError>) -> Self {
        debug_assert!(!errors.is_empty(), "a failure to load has a reason");
        Self(errors)
    }

    /// Iterates over what is wrong.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
