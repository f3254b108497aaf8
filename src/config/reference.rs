//! Writes `docs/configuration.md` from the table of settings.

use std::fmt::Write;

use super::Config;
use super::names::Override;
use super::sections::{HttpConfig, Mount};
use super::table::{Place, Row, SECTIONS, TABLE, Transports};
use crate::bayeux::config::EngineConfig;

/// What stands before the sections.
const INTRODUCTION: &str = "\
# Configuration

Mirant runs without any settings: the defaults below are meant for a first look on one's own machine and are safe to keep.
Settings come from four places; a later one replaces what an earlier one says about the same key.

1. The defaults.
2. One TOML file: the one that `--config FILE` names, else `mirant.toml` in the working directory if there is one.
3. Environment variables: `MIRANT_`, then section and key in capitals with two underscores between them, as in
   `MIRANT_SERVER__LISTEN` or `MIRANT_BAYEUX__WEBSOCKET__TIMEOUT`. Variables without two underscores are not looked at.
4. Flags: `--set section.key=value`, as often as needed; `--listen ADDR` is short for `--set server.listen=ADDR`, and
   `--log LEVEL` for `--set log.level=LEVEL`.

`mirant check` reads the settings as `mirant serve` would, says everything that is wrong with them, and starts nothing.
An unknown key is an error, and so is a value outside its range. Exit status 2 means that settings are wrong.

## Values

* **Durations** are a whole number with a unit: `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`. Where CometD has the option, a number
  without a unit is taken in CometD's own, milliseconds: `timeout = 30000`.
* **Sizes** are a whole number with a unit, `\"512B\"`, `\"64KiB\"`, `\"2MiB\"`, `\"1GiB\"`, or a plain number of bytes.
* **`-1`** means \"none\" or \"no limit\" where the table says so. Everything else is always limited.
* **Lists** are `[\"a\", \"b\"]` in the file and in a variable or flag too, or shorter `a,b`, where texts stand without quotes.
* **Transport options**: a key of `[bayeux]` holds for every transport that has the option. The same key in
  `[bayeux.websocket]`, `[bayeux.long_polling]` or `[bayeux.callback_polling]` holds for that transport and wins, wherever
  either of them was written. As with CometD, what is set for `long_polling` counts for `callback_polling` too, unless
  that has its own.
";

/// A file to start from; a test reads it.
const SAMPLE: &str = "\
[server]
listen = \"0.0.0.0:8080\"
allowed_origins = [\"https://app.example.com\"]

[admin]
listen = \"127.0.0.1:8081\"

[[mount]]
path = \"/cometd\"

[bayeux]
timeout = \"30s\"
max_interval = \"10s\"
max_queue = 10000

[bayeux.long_polling]
timeout = \"20s\"
max_message_size = \"256KiB\"
";

/// Returns the reference of all settings in Markdown: the contents of `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = format!("{INTRODUCTION}\n## Sample\n\n```toml\n{SAMPLE}```\n");
    for (section, about) in SECTIONS {
        let rows: Vec<_> = TABLE.iter().filter(|row| row.section == *section).collect();
        let heading = if *section == "mount" { "[[mount]]".to_owned() } else { format!("[{section}]") };
        // Writing to a `String` cannot fail; the results are ignored throughout.
        let _ = write!(page, "\n## `{heading}`\n\n{about}\n");
        if *section == "bayeux" {
            for (title, transports) in [
                ("For all transports together", None),
                ("For each transport", Some(Transports::All)),
                ("For long-polling and callback-polling", Some(Transports::Polling)),
                ("For long-polling, and the same for callback-polling", Some(Transports::LongPolling)),
                ("For callback-polling", Some(Transports::CallbackPolling)),
                ("For websocket", Some(Transports::WebSocket)),
            ] {
                let _ = write!(page, "\n### {title}\n");
                write_rows(&mut page, rows.iter().copied().filter(|row| row.place.transports() == transports));
            }
        } else {
            write_rows(&mut page, rows.into_iter());
        }
    }
    page
}

impl Place {
    fn transports(&self) -> Option<Transports> {
        match self {
            Self::Engine(transports, _) | Self::Http(transports, _) => Some(*transports),
            Self::Once(_) | Self::Mount(_) => None,
        }
    }
}

fn write_rows<'a>(page: &mut String, rows: impl Iterator<Item = &'a Row>) {
    page.push_str("\n| key | default | value | what it does |\n|---|---|---|---|\n");
    for row in rows {
        let (default, form) = (default(&row.place), form(&row.place));
        let _ = writeln!(page, "| `{}` | {default} | {form} | {} |", row.name, row.doc);
    }
}

fn form(place: &Place) -> String {
    match place {
        Place::Once(kind) => kind.describe(),
        Place::Mount(kind) => kind.describe(),
        Place::Engine(_, kind) => kind.describe(),
        Place::Http(_, kind) => kind.describe(),
    }
}

/// Writes the default, or one for each transport where they differ.
fn default(place: &Place) -> String {
    let mut config = Config::default();
    let (transports, shown) = match place {
        Place::Once(kind) => return code(&kind.show(&mut config)),
        Place::Mount(kind) => return code(&kind.show(&mut Mount::default())),
        Place::Engine(transports, kind) => {
            let EngineConfig { websocket, long_polling, callback_polling, .. } = &mut config.engine;
            (transports, [websocket, long_polling, callback_polling].map(|options| kind.show(options)))
        }
        Place::Http(transports, kind) => {
            let HttpConfig { websocket, long_polling, callback_polling, .. } = &mut config.http;
            (transports, [websocket, long_polling, callback_polling].map(|options| kind.show(options)))
        }
    };
    let having = Override::ALL.into_iter().zip(&shown).filter(|(transport, _)| transports.include(*transport));
    let having: Vec<_> = having.map(|(transport, value)| (transport.section(), value)).collect();
    match having[..] {
        [(_, first), ref others @ ..] if others.iter().all(|(_, other)| *other == first) => code(first),
        _ => having.iter().map(|(section, value)| format!("{section} {}", code(value))).collect::<Vec<_>>().join(", "),
    }
}

fn code(value: &str) -> String {
    if value == "unset" { value.to_owned() } else { format!("`{value}`") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    #[test]
    fn the_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let expected = reference();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &expected).expect("the page can be written");
        }
        let actual = std::fs::read_to_string(path).unwrap_or_default();
        assert!(actual == expected, "{path} is not current: run this test with UPDATE_EXPECT=1");
    }

    #[test]
    fn the_page_names_every_setting() {
        let page = reference();
        for row in TABLE {
            assert!(page.contains(&format!("\n| `{}` |", row.name)), "{}", row.name);
        }
    }

    #[test]
    fn the_sample_is_right() {
        let contents = file::read("sample", SAMPLE);
        assert!(contents.errors.is_empty(), "{:?}", contents.errors);
        assert!(contents.entries.len() > 5);
    }
}
