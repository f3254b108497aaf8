//! [`Server`]: this server in the test's own process, on a free port, and what a program that embeds it would do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirant::bayeux::{ChannelListener, ChannelName, ChannelOptions, Engine, Listener, SessionId};
use mirant::config::Config;
use mirant::node::{Node, OutletRef};
use serde_json::Value;
use serde_json::value::to_raw_value;
use tokio::runtime::Runtime;

use super::application::{self, Greeting, Opinion, Script, VetoOfMeta};
pub(crate) use super::application::{Denial, Question, Verdict};
use super::http::PATIENCE;

/// A running server. Dropping it ends it at once.
pub(crate) struct Server {
    runtime: Option<Runtime>,
    running: Option<mirant::server::Server>,
    node: Arc<Node>,
    address: SocketAddr,
    script: Arc<Script>,
}

impl Server {
    /// Starts a server with these settings, written as on the command line, CometD's default policy, and the services
    /// of [`application::add_services`].
    #[track_caller]
    pub(crate) fn start(settings: &[&str]) -> Self {
        let always = ["server.listen=127.0.0.1:0", "admin.listen=off"];
        let sets: Vec<String> = always.iter().chain(settings).map(|&setting| setting.to_owned()).collect();
        let config = Config::load(None, std::iter::empty(), &sets).unwrap_or_else(|errors| panic!("{errors}"));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        let script = Arc::new(Script::default());
        let builder = mirant::server::Builder::new(config).policy(script.clone()).node_setup(application::add_services);
        let running = runtime.block_on(builder.start()).expect("the server starts");
        let (node, address) = (Arc::clone(running.node()), running.address());
        Self { runtime: Some(runtime), running: Some(running), node, address, script }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes from the server itself.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    pub(crate) fn publish(&self, channel: &str, data: Value) {
        let data = to_raw_value(&data).expect("JSON");
        self.block_on(self.node.publish(&name(channel), &data)).expect("published");
    }

    /// Sends a message to one session.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    pub(crate) fn deliver(&self, client_id: &str, channel: &str, data: Value) {
        let data = to_raw_value(&data).expect("JSON");
        assert!(self.block_on(self.node.deliver(id(client_id), &name(channel), &data)), "the session is there");
    }

    /// Ends a session.
    #[track_caller]
    pub(crate) fn disconnect(&self, client_id: &str) {
        assert!(self.block_on(self.node.disconnect(id(client_id))), "the session is there");
    }

    /// Gives a session a hold time of its own.
    #[track_caller]
    pub(crate) fn session_timeout(&self, client_id: &str, timeout: Duration) {
        assert!(self.engine().set_session_times(id(client_id), Some(timeout), None), "the session is there");
    }

    /// Whether a session is there.
    pub(crate) fn has_session(&self, client_id: &str) -> bool {
        self.engine().session(id(client_id)).is_some()
    }

    /// Waits until a session is gone.
    #[track_caller]
    pub(crate) fn await_end_of(&self, client_id: &str) {
        self.wait_for("the end of a session", || !self.has_session(client_id));
    }

    /// Waits until a connect of a session is held.
    #[track_caller]
    pub(crate) fn await_held(&self, client_id: &str) {
        self.wait_for("a held connect", || self.holds(client_id));
    }

    /// Waits until no connect of a session is held.
    #[track_caller]
    pub(crate) fn await_not_held(&self, client_id: &str) {
        self.wait_for("the end of a hold", || !self.holds(client_id));
    }

    /// Waits until so many event streams are open.
    #[track_caller]
    pub(crate) fn await_streams(&self, count: usize) {
        let running = self.running.as_ref().expect("it runs");
        self.wait_for("event streams to open or end", || running.connections().stream_count() == count);
    }

    /// Waits until a channel has been swept.
    #[track_caller]
    pub(crate) fn await_swept(&self, channel: &str) {
        self.wait_for("a sweep", || !self.engine().channel_exists(channel));
    }

    /// Makes a channel lazy, and keeps it while it is idle.
    pub(crate) fn lazy(&self, channel: &str, timeout: Duration) {
        self.set_options(channel, |options| {
            options.lazy = true;
            options.lazy_timeout = Some(timeout);
        });
    }

    /// Says whether publishers hear themselves on a channel, and keeps it while it is idle.
    pub(crate) fn echo_to_publisher(&self, channel: &str, echo: bool) {
        self.set_options(channel, |options| options.broadcast_to_publisher = echo);
    }

    /// Adds an authorizer.
    pub(crate) fn authorize(&self, channel: &str, verdict: Verdict) {
        self.engine().add_authorizer(&name(channel), &(Arc::new(Opinion(verdict)) as _));
    }

    /// Lets the policy deny every such operation from now on.
    pub(crate) fn deny(&self, question: Question, denial: Denial) {
        self.script.deny(question, denial);
    }

    /// Drops every message to a channel: by an extension below `/meta/`, by a listener elsewhere.
    pub(crate) fn veto(&self, channel: &str) {
        if channel.starts_with("/meta/") {
            self.engine().add_extension(Arc::new(VetoOfMeta(channel.to_owned())));
        } else {
            let listener: Arc<dyn ChannelListener<OutletRef>> = Arc::new(application::veto);
            self.engine().add_channel_listener(&name(channel), &listener);
        }
    }

    /// Sends each new session these messages, during its handshake.
    pub(crate) fn greet(&self, channel: &str, data: Value) {
        let Value::Array(data) = data else { panic!("a list of data") };
        let greeting: Arc<dyn Listener<OutletRef>> = Arc::new(Greeting { channel: channel.to_owned(), data });
        self.engine().add_listener(greeting);
    }

    /// Stops it in an orderly way and waits for the end.
    pub(crate) fn stop(mut self) {
        let running = self.running.take().expect("it runs");
        self.block_on(running.stop());
    }

    fn engine(&self) -> &Engine<OutletRef> {
        self.node.engine()
    }

    fn holds(&self, client_id: &str) -> bool {
        self.engine().session(id(client_id)).is_some_and(|session| session.is_held)
    }

    fn set_options(&self, channel: &str, change: impl Fn(&mut ChannelOptions)) {
        self.engine().set_channel_options(&name(channel), |options| {
            options.persistent = true;
            change(options);
        });
    }

    #[track_caller]
    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.as_ref().expect("it runs").block_on(future)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[track_caller]
fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).expect("a channel name")
}

#[track_caller]
fn id(client_id: &str) -> SessionId {
    SessionId::parse(client_id).expect("a clientId")
}
