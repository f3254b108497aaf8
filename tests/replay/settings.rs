//! [`config`]: the settings of a server that a conversation asks for.

use mirant::config::Config;

use super::support::transcript::Head;

/// Those of the needs of conversations that are extensions of the protocol. Each is on where it is needed and nowhere
/// else: most recorded servers had none, or answer otherwise where one is on.
const EXTENSIONS: [&str; 5] = ["ack", "timesync", "timestamp", "binary", "activity"];

/// Returns the settings, for listeners that are nobody else's.
pub(crate) fn config(head: &Head) -> Config {
    let mut sets = vec!["server.listen=127.0.0.1:0".to_owned(), "admin.listen=off".to_owned()];
    for (option, value) in head.settings.iter().filter(|(option, _)| *option != "policy") {
        let section = if option == "allowed_origins" { "server" } else { "bayeux" };
        sets.push(format!("{section}.{option}={value}"));
    }
    let needs = |need: &str| head.needs.iter().any(|other| other == need);
    let extensions: Vec<&str> = EXTENSIONS.into_iter().filter(|extension| needs(extension)).collect();
    sets.push(format!("bayeux.extensions={}", extensions.join(",")));
    if needs("callback-polling") && !head.settings.contains_key("allowed_origins") {
        // The recorded server let scripts of any page in.
        sets.push("server.allowed_origins=*".to_owned());
    }
    Config::load(None, std::iter::empty(), &sets).unwrap_or_else(|errors| panic!("{errors}"))
}
