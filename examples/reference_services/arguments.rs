//! The command line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Extensions that are on unless the command line says otherwise.
const EXTENSIONS: [&str; 4] = ["ack", "timesync", "timestamp", "binary"];

/// Who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone everything, on meta channels too.
    Open,
    /// As CometD's default policy says.
    Default,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    /// Host to listen on, as it was written.
    pub(crate) host: String,
    /// Port to listen on; 0 takes a free one.
    pub(crate) port: u16,
    /// The policy.
    pub(crate) policy: Access,
    /// Names of the extensions.
    pub(crate) extensions: BTreeSet<String>,
    /// How long a client may do nothing but connect; `None` is for ever.
    pub(crate) activity: Option<Duration>,
    /// Whether there also is what the scripts of this repository ask for, and the Java program does not have.
    pub(crate) scripted: bool,
    /// How much is logged.
    pub(crate) log: String,
    /// Options by CometD's names, with their prefixes.
    pub(crate) options: BTreeMap<String, String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8081,
            policy: Access::Open,
            extensions: EXTENSIONS.map(str::to_owned).into(),
            activity: None,
            scripted: false,
            log: "off".to_owned(),
            options: BTreeMap::new(),
        }
    }
}

impl Arguments {
    /// Reads pairs of a flag and its value; later ones win.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            parsed.set(&flag, value)?;
        }
        Ok(parsed)
    }

    fn set(&mut self, flag: &str, value: String) -> Result<(), String> {
        match flag {
            "--host" => self.host = value,
            "--port" => self.port = value.parse().map_err(|_| format!("--port takes a port, not {value}"))?,
            "--policy" => {
                self.policy = match value.as_str() {
                    "open" => Access::Open,
                    "default" => Access::Default,
                    _ => return Err("--policy is open or default".to_owned()),
                }
            }
            "--ext" => self.extensions = names(&value)?,
            "--without" => names(&value)?.iter().for_each(|name| _ = self.extensions.remove(name)),
            "--activity" => {
                let limit: i64 = value.parse().map_err(|_| format!("--activity takes milliseconds, not {value}"))?;
                self.activity = u64::try_from(limit).ok().filter(|limit| *limit > 0).map(Duration::from_millis);
            }
            "--scripted" => {
                self.scripted = match value.as_str() {
                    "on" => true,
                    "off" => false,
                    _ => return Err("--scripted is on or off".to_owned()),
                }
            }
            "--log" => self.log = value,
            "--set" => match value.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    self.options.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err("--set takes name=value".to_owned()),
            },
            _ => return Err(format!("unknown option {flag}")),
        }
        Ok(())
    }
}

/// Reads a list of extensions.
fn names(list: &str) -> Result<BTreeSet<String>, String> {
    let names = list.split(',').filter(|name| !name.is_empty());
    names
        .map(|name| if EXTENSIONS.contains(&name) { Ok(name.to_owned()) } else { Err(format!("no extension {name}")) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn extensions_are_listed_or_taken_away() {
        let names = |line| parse(line).unwrap().extensions.into_iter().collect::<Vec<_>>();
        assert_eq!(names("--port 0"), ["ack", "binary", "timestamp", "timesync"]);
        assert_eq!(names("--ext ack,timesync --without ack"), ["timesync"]);
        assert_eq!(names("--ext ,"), [""; 0]);
        assert_eq!(parse("--ext acks").unwrap_err(), "no extension acks");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, problem) in [
            ("--port", "--port needs a value"),
            ("--port x", "--port takes a port, not x"),
            ("--policy shut", "--policy is open or default"),
            ("--scripted yes", "--scripted is on or off"),
            ("--set timeout", "--set takes name=value"),
            ("--set =1", "--set takes name=value"),
            ("--speed 1", "unknown option --speed"),
        ] {
            assert_eq!(parse(line).unwrap_err(), problem);
        }
        let arguments = parse("--set timeout=1 --set timeout=a=b --activity -1 --log debug").unwrap();
        assert_eq!(arguments.options["timeout"], "a=b");
        assert_eq!((arguments.activity, arguments.log.as_str()), (None, "debug"));
    }
}
