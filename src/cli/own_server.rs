//! [`OwnServer`]: a server inside this process, with the settings and services that a conversation asks for.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::runtime::{self, Runtime};

use crate::bayeux::SessionId;
use crate::client::controls::{self, Left};
use crate::client::player::Stage;
use crate::client::program;
use crate::client::services::{self, channel};
use crate::client::transcript::{Directive, Head};
use crate::client::upstream::ServerUrl;
use crate::config::Config;
use crate::node::{Node, OutletRef, Policy};
use crate::policy::{DefaultSecurityPolicy, Denying, Open};
use crate::server::{Builder, Server};

/// What this server offers of what conversations may need.
pub(super) const OFFERS: &[&str] =
    &["ack", "timesync", "timestamp", "binary", "activity", "callback-polling", "empty-batch", "control", "server"];

/// Those of them that are extensions of the protocol. Each is on for the conversations that need it only: most servers
/// offer none, or answer otherwise where one is on.
const EXTENSIONS: [&str; 5] = ["ack", "timesync", "timestamp", "binary", "activity"];

/// A running server. Dropping it ends it without notice.
pub(super) struct OwnServer {
    head: Head,
    sets: Vec<String>,
    running: Option<(Runtime, Server)>,
}

impl OwnServer {
    /// Starts a server for a conversation; `sets` are further settings, as on the command line.
    ///
    /// # Errors
    ///
    /// A setting or a service is unknown, or the server does not start.
    pub(super) fn start(head: &Head, sets: &[String]) -> Result<Self, String> {
        let mut server = Self { head: head.clone(), sets: sets.to_vec(), running: None };
        server.restart()?;
        Ok(server)
    }

    fn config(&self) -> Result<Config, String> {
        let mut sets = vec!["server.listen=127.0.0.1:0".to_owned(), "admin.listen=off".to_owned()];
        for (option, value) in self.head.settings.iter().filter(|(option, _)| *option != "policy") {
            let section = if option == "allowed_origins" { "server" } else { "bayeux" };
            sets.push(format!("{section}.{option}={value}"));
        }
        let needs = |need: &str| self.head.needs.iter().any(|other| other == need);
        let extensions: Vec<&str> = EXTENSIONS.into_iter().filter(|extension| needs(extension)).collect();
        sets.push(format!("bayeux.extensions={}", extensions.join(",")));
        if needs("callback-polling") && !self.head.settings.contains_key("allowed_origins") {
            // The recorded servers let scripts of any page in.
            sets.push("server.allowed_origins=*".to_owned());
        }
        sets.extend(self.sets.iter().cloned());
        Config::load(None, std::iter::empty(), &sets).map_err(|errors| errors.to_string())
    }

    fn node(&self) -> Result<(&Runtime, &Arc<Node>), String> {
        self.running
            .as_ref()
            .map(|(runtime, server)| (runtime, server.node()))
            .ok_or_else(|| "it has stopped".to_owned())
    }

    fn end(&mut self) {
        if let Some((runtime, server)) = self.running.take() {
            drop(server);
            runtime.shutdown_background();
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stage for OwnServer {
    fn url(&self) -> ServerUrl {
        let port = self.running.as_ref().map_or(0, |(_, server)| server.address().port());
        ServerUrl { host: "127.0.0.1".to_owned(), port, path: String::new() }
    }

    fn can(&self, directive: &Directive) -> bool {
        match directive {
            Directive::Control(target, _) => controls::is_known(target),
            _ => true,
        }
    }

    fn publish(&mut self, name: &str, data: &str) -> Result<(), String> {
        let (runtime, node) = self.node()?;
        let data = raw(data)?;
        runtime.block_on(node.publish(&channel(name)?, &data)).map(|_| ()).map_err(|error| error.to_string())
    }

    fn disconnect(&mut self, client_id: &str) -> Result<(), String> {
        let (runtime, node) = self.node()?;
        let is_known = runtime.block_on(node.disconnect(session(client_id)?));
        is_known.then_some(()).ok_or_else(|| "there is no such session to disconnect".to_owned())
    }

    fn restart(&mut self) -> Result<(), String> {
        self.end();
        let config = self.config()?;
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let wanted = self.head.services.clone();
        services::check(&wanted)?;
        let is_open = self.head.settings.get("policy").is_some_and(|policy| policy == "open");
        let policy: Arc<dyn Policy> = if is_open { Arc::new(Open) } else { Arc::new(DefaultSecurityPolicy) };
        let builder =
            Builder::new(config).policy(Arc::new(Denying::new(program::denial, policy))).node_setup(move |node| {
                // They have been checked.
                let _ = services::add::<OutletRef>(node.engine(), &wanted);
            });
        let server = runtime.block_on(builder.start()).map_err(|error| error.to_string())?;
        self.running = Some((runtime, server));
        Ok(())
    }

    fn control(&mut self, target: &str, body: &str) -> Result<(), String> {
        let (runtime, node) = self.node()?;
        let Left::Delivery(id, name) = controls::apply(node.engine(), target)? else { return Ok(()) };
        let is_there = runtime.block_on(node.deliver(id, &name, &raw(body)?));
        is_there.then_some(()).ok_or_else(|| format!("{target}: the session is gone"))
    }
}

fn session(id: &str) -> Result<SessionId, String> {
    SessionId::parse(id).ok_or_else(|| format!("`{id}` is no id of a session"))
}

fn raw(json: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(json.to_owned()).map_err(|error| error.to_string())
}
