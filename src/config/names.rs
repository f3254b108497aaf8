//! Names of settings with their sections, `bayeux.websocket.timeout`: which setting they mean, and which known name an
//! unknown one resembles.

use super::Config;
use super::kind::Given;
use super::sections::Mount;
use super::table::{Place, Row, SECTIONS, TABLE, Transports};

/// The section of a transport within `[bayeux]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Override {
    /// `[bayeux.websocket]`.
    WebSocket,
    /// `[bayeux.long_polling]`, which counts for `callback-polling` too.
    LongPolling,
    /// `[bayeux.callback_polling]`.
    CallbackPolling,
}

impl Override {
    pub(super) const ALL: [Self; 3] = [Self::WebSocket, Self::LongPolling, Self::CallbackPolling];

    pub(super) fn section(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPolling => "long_polling",
            Self::CallbackPolling => "callback_polling",
        }
    }

    /// Whether what is set here counts for `other` as well; CometD's names have it so.
    fn reaches(self, other: Self) -> bool {
        self == other || (self == Self::LongPolling && other == Self::CallbackPolling)
    }
}

impl Transports {
    pub(super) fn include(self, transport: Override) -> bool {
        match self {
            Self::All => true,
            Self::WebSocket => transport == Override::WebSocket,
            Self::Polling => transport != Override::WebSocket,
            Self::LongPolling => transport == Override::LongPolling,
            Self::CallbackPolling => transport == Override::CallbackPolling,
        }
    }
}

/// Most mounts; each costs one comparison per request.
pub(super) const MOUNTS_MAX: usize = 64;

/// What a name means: a row of the table, and for which transport or mount.
#[derive(Clone, Copy)]
pub(super) struct Target {
    row: &'static Row,
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All that the row fills.
    Whole,
    /// One transport only.
    Transport(Override),
    /// The mount of this number.
    Mount(usize),
}

impl Target {
    /// Sets what the name means.
    ///
    /// # Errors
    ///
    /// A sentence without a subject, to be put behind the name of the key.
    pub(super) fn set(&self, config: &mut Config, given: &Given) -> Result<(), String> {
        match &self.row.place {
            Place::Once(kind) => kind.set(config, given),
            Place::Mount(kind) => match self.part {
                Part::Mount(index) => kind.set(mount(&mut config.mounts, index)?, given),
                Part::Whole | Part::Transport(_) => unreachable!("the name of a mount's setting has a number"),
            },
            Place::Engine(transports, kind) => self.each(*transports, |transport| {
                let options = match transport {
                    Override::WebSocket => &mut config.engine.websocket,
                    Override::LongPolling => &mut config.engine.long_polling,
                    Override::CallbackPolling => &mut config.engine.callback_polling,
                };
                kind.set(options, given)
            }),
            Place::Http(transports, kind) => self.each(*transports, |transport| {
                let options = match transport {
                    Override::WebSocket => &mut config.http.websocket,
                    Override::LongPolling => &mut config.http.long_polling,
                    Override::CallbackPolling => &mut config.http.callback_polling,
                };
                kind.set(options, given)
            }),
        }
    }

    /// Order in which settings are applied: what is meant for all transports before what is meant for some, that before
    /// what is meant for one, and mounts by number.
    pub(super) fn rank(&self) -> (u8, usize) {
        match self.part {
            Part::Whole => (0, 0),
            Part::Transport(Override::CallbackPolling) => (2, 0),
            Part::Transport(_) => (1, 0),
            Part::Mount(index) => (1, index),
        }
    }

    fn each(&self, transports: Transports, mut set: impl FnMut(Override) -> Result<(), String>) -> Result<(), String> {
        Override::ALL
            .into_iter()
            .filter(|transport| transports.include(*transport))
            .filter(|transport| match self.part {
                Part::Transport(named) => named.reaches(*transport),
                Part::Whole | Part::Mount(_) => true,
            })
            .try_for_each(&mut set)
    }
}

/// Returns the mount of this number, which may be the first that does not exist yet.
fn mount(mounts: &mut Vec<Mount>, index: usize) -> Result<&mut Mount, String> {
    if index == mounts.len() && index < MOUNTS_MAX {
        mounts.push(Mount::default());
    }
    let count = mounts.len();
    mounts.get_mut(index).ok_or_else(|| format!("means a mount that does not follow the last one, {}", count - 1))
}

/// Returns what a name means, if it is known.
pub(super) fn find(name: &str) -> Option<Target> {
    let parts: Vec<&str> = name.split('.').collect();
    let (section, part, name) = match parts[..] {
        ["mount", number, name] => ("mount", Part::Mount(number.parse().ok()?), name),
        ["mount", _] => return None,
        [section, name] => (section, Part::Whole, name),
        ["bayeux", transport, name] => {
            let transport = Override::ALL.into_iter().find(|known| known.section() == transport)?;
            ("bayeux", Part::Transport(transport), name)
        }
        _ => return None,
    };
    let row = TABLE.iter().find(|row| row.section == section && row.name == name)?;
    let fits = match (&row.place, part) {
        (Place::Engine(transports, _) | Place::Http(transports, _), Part::Transport(one)) => transports.include(one),
        (Place::Once(_), Part::Transport(_)) => false,
        _ => true,
    };
    fits.then_some(Target { row, part })
}

/// Whether the name is that of a section.
pub(super) fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(section, _)| *section == name)
        || name.strip_prefix("bayeux.").is_some_and(|rest| Override::ALL.iter().any(|known| known.section() == rest))
}

/// Returns the known name that an unknown one resembles most, if one is near enough.
///
/// The same last word in another section is taken first, because a name at the wrong place is likelier than a name that
/// is misspelt into another one; CometD's spelling (`maxInterval`) is understood.
pub(super) fn nearest(unknown: &str) -> Option<String> {
    let folded = fold(unknown);
    let last_word = |name: &str| name.rsplit('.').next().map_or_else(String::new, str::to_owned);
    let last = last_word(&folded);
    let distance = |known: &String| strsim::osa_distance(&folded, known);
    let known = known_names(&folded);
    if let Some(same) = known.iter().filter(|name| last_word(name) == last).min_by_key(|name| distance(name)) {
        return Some(same.clone());
    }
    let most = 1 + last.len() / 4;
    known.into_iter().map(|name| (distance(&name), name)).filter(|(far, _)| *far <= most).min().map(|(_, name)| name)
}

/// Lists every known name and section; mounts carry the number that `unknown` has.
fn known_names(unknown: &str) -> Vec<String> {
    let number = unknown.strip_prefix("mount.").and_then(|rest| rest.split('.').next()).unwrap_or("0");
    let number = if number.parse::<usize>().is_ok() { number } else { "0" };
    let mut names: Vec<String> = SECTIONS.iter().map(|(section, _)| (*section).to_owned()).collect();
    names.extend(Override::ALL.map(|transport| format!("bayeux.{}", transport.section())));
    for Row { section, name, place, .. } in TABLE {
        match place {
            Place::Mount(_) => names.push(format!("{section}.{number}.{name}")),
            Place::Once(_) => names.push(format!("{section}.{name}")),
            Place::Engine(transports, _) | Place::Http(transports, _) => {
                names.push(format!("{section}.{name}"));
                let having = Override::ALL.into_iter().filter(|transport| transports.include(*transport));
                names.extend(having.map(|transport| format!("{section}.{}.{name}", transport.section())));
            }
        }
    }
    names
}

/// Turns `maxInterval` and `max-interval` into `max_interval`.
fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for symbol in name.chars() {
        if symbol.is_ascii_uppercase() && after_lower {
            folded.push('_');
        }
        after_lower = symbol.is_ascii_lowercase() || symbol.is_ascii_digit();
        folded.push(if symbol == '-' { '_' } else { symbol.to_ascii_lowercase() });
    }
    folded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_found_and_no_name_is_there_twice() {
        let names = known_names("");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            assert!(find(&name).is_some() != is_section(&name), "{name}");
        }
    }

    #[test]
    fn every_row_stands_in_a_section_and_is_described() {
        for row in TABLE {
            assert!(is_section(row.section), "{}", row.name);
            assert!(row.doc.ends_with('.') && !row.doc.contains('|'), "{}", row.name);
        }
    }

    #[test]
    fn an_option_is_unknown_to_a_transport_that_does_not_have_it() {
        assert!(find("bayeux.websocket.messages_per_frame").is_some());
        assert!(find("bayeux.long_polling.messages_per_frame").is_none());
        assert!(find("bayeux.websocket.broadcast_to_publisher").is_none());
        assert!(find("mount.path").is_none());
        assert!(find("bayeux").is_none());
        assert!(find("bayeux.websocket.timeout.x").is_none());
    }

    #[test]
    fn unknown_names_lead_to_known_ones() {
        for (unknown, known) in [
            ("bayeux.timout", "bayeux.timeout"),
            ("bayeux.maxInterval", "bayeux.max_interval"),
            ("bayeux.max-interval", "bayeux.max_interval"),
            ("bayeux.websocket.timeot", "bayeux.websocket.timeout"),
            ("bayeux.long-polling", "bayeux.long_polling"),
            ("bayeux.long-polling.timeout", "bayeux.long_polling.timeout"),
            ("timeout", "bayeux.timeout"),
            ("server.allow_origins", "server.allowed_origins"),
            ("sever", "server"),
            ("mounts", "mount"),
            ("mount.2.pth", "mount.2.path"),
            ("mount.path", "mount.0.path"),
        ] {
            assert_eq!(nearest(unknown).as_deref(), Some(known), "{unknown}");
        }
        for unknown in ["bayeux.colour", "weather", "mount.0.identity"] {
            assert_eq!(nearest(unknown), None, "{unknown}");
        }
    }
}
