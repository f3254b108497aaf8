use std::fs;
use std::iter::empty;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::bayeux::Transport;
use crate::bayeux::config::QueueOverflow;

/// A file of its own for one test; removed when dropped.
struct Written(PathBuf);

impl Written {
    fn new(text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mirant-config-{}-{number}.toml", std::process::id()));
        fs::write(&path, text).expect("the temporary folder can be written");
        Self(path)
    }

    /// Loads the file and returns what is wrong, with the path shortened to `file`.
    fn problems(&self) -> Vec<String> {
        let errors = Config::load(Some(&self.0), empty(), &[]).expect_err("the file is wrong");
        let path = self.0.display().to_string();
        errors.iter().map(|error| error.to_string().replace(&path, "file")).collect()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn from_file(text: &str) -> Config {
    Config::load(Some(&Written::new(text).0), empty(), &[]).expect("the file is right")
}

fn problems(text: &str) -> Vec<String> {
    Written::new(text).problems()
}

fn variables(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

fn sets(items: &[&str]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn wrong_sets(items: &[&str]) -> Vec<String> {
    let errors = Config::load(None, empty(), &sets(items)).expect_err("the flags are wrong");
    errors.iter().map(ToString::to_string).collect()
}

fn wrong_variables(pairs: &[(&str, &str)]) -> Vec<String> {
    let errors = Config::load(None, variables(pairs), &[]).expect_err("the variables are wrong");
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn without_sources_the_defaults_hold() {
    assert_eq!(Config::load(None, empty(), &[]).expect("no sources"), Config::default());
    assert_eq!(from_file(""), Config::default());
}

#[test]
fn every_default_can_be_written_and_changes_nothing() {
    use super::kind::Given;
    use super::table::{Place, TABLE};
    for row in TABLE {
        let mut config = Config::default();
        let shown = match &row.place {
            Place::Once(kind) => kind.show(&mut config),
            Place::Mount(kind) => kind.show(&mut config.mounts[0]),
            Place::Engine(_, kind) => kind.show(&mut config.engine.long_polling),
            Place::Http(_, kind) => kind.show(&mut config.http.long_polling),
        };
        if shown == "unset" {
            continue;
        }
        let text = shown.trim_matches(['[', ']']).replace('"', "");
        let name = if row.section == "mount" {
            format!("mount.0.{}", row.name)
        } else {
            format!("{}.{}", row.section, row.name)
        };
        names::find(&name).expect("known").set(&mut config, &Given::Untyped(text)).expect(&name);
        if row.name == "max_batch_bytes" {
            config.engine.websocket.max_batch_bytes = Config::default().engine.websocket.max_batch_bytes;
        }
        assert_eq!(config, Config::default(), "{name}");
    }
}

#[test]
fn a_file_sets_every_kind_of_value() {
    let config = from_file(
        r#"
        [server]
        listen = "0.0.0.0:9000"
        allowed_origins = ["https://a.example", "null"]
        max_header_bytes = 16384
        [admin]
        listen = "off"
        [log]
        level = "warn"
        [[mount]]
        path = "/bayeux"
        [[mount]]
        path = "/push"
        [bayeux]
        allowed_transports = ["long-polling"]
        broadcast_to_publisher = false
        max_processing = "1m"
        max_sessions_per_browser = -1
        queue_overflow = "drop-oldest"
        max_queue_bytes = "1MiB"
        browser_cookie_max_age = 3600
        "#,
    );
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.server.allowed_origins, ["https://a.example", "null"]);
    assert_eq!(config.server.max_header_bytes, 16_384);
    assert_eq!(config.admin.listen, None);
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.mounts.iter().map(|mount| mount.path.as_str()).collect::<Vec<_>>(), ["/bayeux", "/push"]);
    assert_eq!(config.engine.allowed_transports, [Transport::LongPolling]);
    assert!(!config.engine.broadcast_to_publisher);
    for options in [&config.engine.websocket, &config.engine.long_polling] {
        assert_eq!(options.max_processing, Some(Duration::from_secs(60)));
        assert_eq!(options.queue_overflow, QueueOverflow::DropOldest);
        assert_eq!(options.max_queue_bytes, 1 << 20);
    }
    assert_eq!(config.engine.long_polling.max_sessions_per_browser, None);
    assert_eq!(config.engine.websocket.max_sessions_per_browser, Some(3), "websocket does not have the option");
    assert_eq!(config.http.long_polling.browser_cookie.max_age, Some(Duration::from_secs(3_600)));
}

#[test]
fn the_section_of_a_transport_wins_wherever_it_is_written() {
    let file = Written::new("[bayeux.websocket]\ntimeout = \"10s\"\n[bayeux]\ntimeout = \"20s\"\n");
    let config = Config::load(Some(&file.0), empty(), &[]).expect("right");
    assert_eq!(config.engine.websocket.timeout, Duration::from_secs(10));
    assert_eq!(config.engine.long_polling.timeout, Duration::from_secs(20));
    let config = Config::load(Some(&file.0), empty(), &sets(&["bayeux.timeout=25s"])).expect("right");
    assert_eq!(config.engine.websocket.timeout, Duration::from_secs(10));
    assert_eq!(config.engine.long_polling.timeout, Duration::from_secs(25));
}

#[test]
fn variables_win_over_the_file_and_flags_over_variables() {
    let file = Written::new("[bayeux]\ntimeout = 10000\ninterval = 1000\nmax_interval = 5000\n");
    let environment = [("MIRANT_BAYEUX__TIMEOUT", "20s"), ("MIRANT_BAYEUX__INTERVAL", "2000")];
    let flags = sets(&["bayeux.timeout=25s", "bayeux.timeout=30s"]);
    let config = Config::load(Some(&file.0), variables(&environment), &flags).expect("right");
    assert_eq!(config.engine.websocket.timeout, Duration::from_secs(30), "the last flag");
    assert_eq!(config.engine.websocket.interval, Duration::from_secs(2), "the variable");
    assert_eq!(config.engine.websocket.max_interval, Duration::from_secs(5), "the file");
}

#[test]
fn variables_reach_nested_sections_and_mounts() {
    let environment = [
        ("MIRANT_BAYEUX__WEBSOCKET__TIMEOUT", "5s"),
        ("MIRANT_BAYEUX__LONG_POLLING__MAX_MESSAGE_SIZE", "1KiB"),
        ("MIRANT_SERVER__ALLOWED_ORIGINS", "https://a.example, https://b.example"),
        ("MIRANT_MOUNT__1__PATH", "/push"),
        ("MIRANT_MOUNT__0__PATH", "/bayeux"),
        ("MIRANT_PORT", "tcp://10.0.0.1:80"),
        ("HOME", "/root"),
    ];
    let config = Config::load(None, variables(&environment), &[]).expect("right");
    assert_eq!(config.engine.websocket.timeout, Duration::from_secs(5));
    assert_eq!(config.engine.long_polling.timeout, Duration::from_secs(30));
    assert_eq!(config.http.long_polling.max_message_size, 1_024);
    assert_eq!(config.server.allowed_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.mounts.iter().map(|mount| mount.path.as_str()).collect::<Vec<_>>(), ["/bayeux", "/push"]);
}

#[test]
fn flags_change_the_mounts_of_a_file() {
    let file = Written::new("[[mount]]\npath = \"/a\"\n[[mount]]\npath = \"/b\"\n");
    let config = Config::load(Some(&file.0), empty(), &sets(&["mount.1.path=/c"])).expect("right");
    assert_eq!(config.mounts.iter().map(|mount| mount.path.as_str()).collect::<Vec<_>>(), ["/a", "/c"]);
    assert_eq!(
        wrong_sets(&["mount.5.path=/c"]),
        ["--set: mount.5.path means a mount that does not follow the last one, 0"]
    );
    assert_eq!(wrong_sets(&["mount.64.path=/c"]).len(), 1);
}

#[test]
fn the_common_log_variable_yields_to_our_own() {
    let level = |pairs: &[(&str, &str)]| Config::load(None, variables(pairs), &[]).expect("right").log.level;
    assert_eq!(level(&[("RUST_LOG", "debug")]), "debug");
    assert_eq!(level(&[("RUST_LOG", "")]), "info");
    assert_eq!(level(&[("MIRANT_LOG__LEVEL", "warn"), ("RUST_LOG", "debug")]), "warn");
    assert!(wrong_variables(&[("RUST_LOG", "loud")])[0].starts_with("RUST_LOG: log.level must be a level"));
}

#[test]
fn all_problems_of_a_file_are_reported_in_the_order_of_its_lines() {
    let text = r#"timeout = "30s"
[bayeux]
timout = "30s"
max_queue = -1
maxInterval = 10
duplicate_meta_connect_http_response_code = 200

[server]
listen = "localhost"
max_connections = "many"

[sever]
listen = "x"

[bayeux.websocket]
max_message_size = "64MB"
[[mount]]
path = "/cometd"
identity = "x"
"#;
    assert_eq!(
        problems(text),
        [
            "file:1: unknown key \"timeout\"; did you mean \"bayeux.timeout\"?",
            "file:3: unknown key \"bayeux.timout\"; did you mean \"bayeux.timeout\"?",
            "file:4: bayeux.max_queue must be between 1 and 10000000; it has no setting for \"no limit\"",
            "file:5: unknown key \"bayeux.maxInterval\"; did you mean \"bayeux.max_interval\"?",
            "file:6: bayeux.duplicate_meta_connect_http_response_code must be between 400 and 599, not 200",
            "file:9: server.listen must be an address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", not \
             \"localhost\"",
            "file:10: server.max_connections must be a whole number, not text",
            "file:12: unknown key \"sever\"; did you mean \"server\"?",
            "file:16: bayeux.websocket.max_message_size has no unit \"MB\" for a size; write B, KiB, MiB or GiB",
            "file:19: unknown key \"mount.0.identity\"",
        ]
    );
}

#[test]
fn a_file_that_is_not_toml_is_reported_with_its_line() {
    let found = problems("[server]\nlisten = \"0.0.0.0:1\n[admin]\ntoken = = \n");
    assert!(found[0].starts_with("file:2: is not TOML: "), "{found:?}");
    let found = problems("[server]\nlisten = \"0.0.0.0:1\"\n\n[server]\n");
    assert!(found[0].starts_with("file:4: is not TOML: "), "{found:?}");
}

#[test]
fn an_unreadable_file_is_named() {
    let missing = PathBuf::from("/nonexistent/mirant.toml");
    let errors = Config::load(Some(&missing), empty(), &[]).expect_err("missing");
    assert!(errors.to_string().starts_with("cannot read /nonexistent/mirant.toml: "), "{errors}");
}

#[test]
fn sections_and_values_are_not_confused() {
    assert_eq!(problems("server = 3\n"), ["file:1: server is a section: write [server]"]);
    assert_eq!(
        problems("[mount]\npath = \"/x\"\n"),
        ["file:1: mount is a list of blocks: write [[mount]] with two brackets"]
    );
    assert_eq!(problems("mount = []\n"), ["file:1: mount must have 1 to 64 blocks"]);
    assert_eq!(
        problems("[bayeux.timeout]\nx = 1\n"),
        ["file:1: bayeux.timeout must be a duration such as \"30s\", not a table"]
    );
    assert_eq!(
        problems("[server]\nallowed_origins = [1]\n"),
        [
            "file:2: server.allowed_origins must be a list of origins such as `https://example.com`, `null`, or `*` for all, \
         not a list with something else than texts in quotes"
        ]
    );
}

#[test]
fn flags_and_variables_name_themselves() {
    assert_eq!(
        wrong_sets(&["bayeux.timeout=soon"]),
        ["--set: bayeux.timeout must be a duration such as \"30s\", \"500ms\", \"5m\" or \"1h\", not \"soon\""]
    );
    assert_eq!(
        wrong_sets(&["bayeux.timout=3s"]),
        ["--set: unknown key \"bayeux.timout\"; did you mean \"bayeux.timeout\"?"]
    );
    assert_eq!(wrong_sets(&["hunter2"]), ["--set: must be of the form section.key=value"]);
    assert_eq!(
        wrong_variables(&[("MIRANT_SERVER__HEADER_TIMEOUT", "10")]),
        ["MIRANT_SERVER__HEADER_TIMEOUT: server.header_timeout needs a unit: \"10s\" or \"10ms\""]
    );
    assert_eq!(
        wrong_variables(&[("MIRANT_SERVER__LISTN", "x")]),
        ["MIRANT_SERVER__LISTN: unknown key \"server.listn\"; did you mean \"server.listen\"?"]
    );
}

#[test]
fn a_bad_value_is_reported_even_if_a_flag_replaces_it() {
    let file = Written::new("[bayeux]\ntimeout = \"soon\"\n");
    assert!(Config::load(Some(&file.0), empty(), &sets(&["bayeux.timeout=30s"])).is_err());
}

#[test]
fn an_admin_listener_within_reach_needs_a_token() {
    let open = "[admin]\nlisten = \"0.0.0.0:8081\"\n";
    assert_eq!(
        problems(open),
        [
            "file:2: admin.listen is 0.0.0.0:8081, which other machines may reach: set admin.token, or listen on 127.0.0.1"
        ]
    );
    let config = from_file(&format!("{open}token = \"demo\"\n"));
    assert_eq!(config.admin.token.map(|token| token.expose().to_owned()).as_deref(), Some("demo"));
    assert!(from_file("[admin]\nlisten = \"[::1]:8081\"\n").admin.token.is_none());
    assert!(from_file("[admin]\nlisten = \"\"\n").admin.listen.is_none());
}

#[test]
fn errors_never_repeat_a_token() {
    let found = [
        problems("[admin]\ntoken = \"hunter2 hunter2\"\n"),
        problems("[admin]\ntoken = [\"hunter2\"]\n"),
        problems("[admin]\ntoken = \"hunter2\n"),
        wrong_sets(&["admin.token=hunter2 x"]),
        wrong_sets(&["admin.tokn=hunter2"]),
        wrong_variables(&[("MIRANT_ADMIN__TOKEN", "hunter2 x")]),
    ];
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    assert_eq!(
        wrong_variables(&[("MIRANT_ADMIN__TOKEN", "")]),
        ["MIRANT_ADMIN__TOKEN: admin.token must not be empty; leave it out to have no token"]
    );
}

#[test]
fn listeners_cannot_share_an_address() {
    assert_eq!(
        wrong_sets(&["server.listen=127.0.0.1:8081"]),
        ["--set: server.listen needs an address of its own: 127.0.0.1:8081 is taken twice"]
    );
    let free = sets(&["server.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"]);
    assert!(Config::load(None, empty(), &free).is_ok());
}

#[test]
fn mounts_are_told_apart() {
    assert_eq!(
        problems("[[mount]]\npath = \"/a\"\n[[mount]]\npath = \"/a\"\n"),
        ["file:4: mount.1.path is used twice: \"/a\""]
    );
    assert_eq!(problems("[[mount]]\n[[mount]]\npath = \"/cometd/b\"\n").len(), 1);
    assert_eq!(from_file("[[mount]]\npath = \"/a\"\n[[mount]]\npath = \"/ab\"\n").mounts.len(), 2);
}

#[test]
fn a_websocket_may_not_be_cut_while_its_connect_is_held() {
    let found = wrong_sets(&["bayeux.timeout=10m"]);
    assert!(found[0].starts_with("--set: bayeux.timeout does not fit: "), "{found:?}");
    let both = sets(&["bayeux.timeout=10m", "bayeux.websocket.idle_timeout=11m"]);
    assert!(Config::load(None, empty(), &both).is_ok());
    assert!(Config::load(None, empty(), &sets(&["bayeux.long_polling.timeout=10m"])).is_ok());
    // How long a client asks to be held is its own affair: it is cut as on the released server.
    assert!(Config::load(None, empty(), &sets(&["bayeux.timeout=1s", "bayeux.websocket.idle_timeout=2s"])).is_ok());
}

#[test]
fn a_cookie_that_browsers_refuse_is_refused() {
    for set in ["bayeux.browser_cookie_same_site=None", "bayeux.long_polling.browser_cookie_partitioned=true"] {
        assert_eq!(wrong_sets(&[set]).len(), 1, "{set}");
        assert!(Config::load(None, empty(), &sets(&[set, "bayeux.browser_cookie_secure=true"])).is_ok(), "{set}");
    }
}
