//! Settings: what may be set, where it is written, and what is wrong with it.
//!
//! The central type is [`Config`], which is checked: whoever has one made by [`Config::load`] need not look at ranges
//! again. It is filled from one table of keys (`table.rs`), which also gives the reference page, so that what is read,
//! what is refused and what is documented cannot differ.
//!
//! **Must not know** how anything is served: it holds plain data, opens nothing but the one file, and reads neither
//! environment nor arguments itself. Only `server` and `cli` read it.
//!
//! Start reading at `table.rs`; `load.rs` shows how the sources are put together.

mod check;
mod error;
mod file;
mod kind;
mod load;
mod names;
mod reference;
mod sections;
mod table;
mod texts;
mod units;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use self::error::{ConfigError, ConfigErrors, Origin};
pub use self::reference::reference;
pub use self::sections::{
    AdminConfig, BrowserCookie, Callback, EventSourceConfig, HttpConfig, LogConfig, Mount, SameSite, Secret,
    ServerConfig, TransportHttpConfig,
};
use crate::bayeux::config::EngineConfig;

/// All settings of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The engine's times and limits.
    pub engine: EngineConfig,
    /// Options of the transports that concern HTTP and WebSocket only.
    pub http: HttpConfig,
    /// The public listener.
    pub server: ServerConfig,
    /// The admin listener.
    pub admin: AdminConfig,
    /// The Bayeux end points: at least one, none under another.
    pub mounts: Vec<Mount>,
    /// The log.
    pub log: LogConfig,
}

impl Config {
    /// Reads the settings: defaults, then `file`, then `environment`, then `sets`.
    ///
    /// Of `environment` the variables `MIRANT_SECTION__KEY` and `RUST_LOG` are looked at; pass [`std::iter::empty`] for
    /// none. Each of `sets` is `section.key=value`. Nothing is read that is not passed: no file by a default name, and
    /// no environment of the process.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in all the sources, first the file in the order of its lines. Rules that concern several
    /// settings at once are checked only when each is right by itself.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, ConfigErrors> {
        load::load(file, environment, sets)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: EngineConfig::default(),
            http: HttpConfig::default(),
            server: ServerConfig::default(),
            admin: AdminConfig::default(),
            mounts: vec![Mount::default()],
            log: LogConfig::default(),
        }
    }
}

impl LogConfig {
    /// Reads a level or filter, as the key `log.level` would.
    ///
    /// # Errors
    ///
    /// A sentence whose subject is the level.
    pub fn parse(text: &str) -> Result<Self, String> {
        texts::level(text).map(|level| Self { level })
    }
}
