//! The server: builds a node from its settings, listens, routes requests, and stops.
//!
//! The central types are [`Builder`], to which a program adds its own policy, services and routes, and [`Server`], one
//! that runs.
//!
//! **Must not know** any rule of the protocol: it wires parts together, and an `if` on a message belongs elsewhere.
//!
//! Start reading at [`Builder::start`]; `serve.rs` is the life of one HTTP connection, `options.rs` turns settings into
//! the options of the parts.

mod options;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admin;
use crate::bayeux::{MountId, Naming, PlainNames};
use crate::config::Config;
use crate::node::{Health, Node, Policy};
use crate::pages;
use crate::policy::DefaultSecurityPolicy;
use crate::transport::{Connections, Mount};
use crate::web::Router;
use crate::web::listener::{ListenError, Listener};

use serve::{Listening, Routes};

/// How often a server that stops looks for connects and connections that have come since.
const STOP_ROUND: Duration = Duration::from_millis(100);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {}", .0.address)]
    Listen(#[source] ListenError),
    /// A setting that only the part it concerns can judge is wrong.
    #[error("{0}")]
    Setting(String),
}

/// A server that is being put together.
pub struct Builder {
    config: Config,
    policy: Arc<dyn Policy>,
    naming: Arc<dyn Naming>,
    routes: Router,
    node_routes: Vec<MakeRoutes>,
    page: Page,
    setups: Vec<Setup>,
}

type Setup = Box<dyn FnOnce(&Arc<Node>) + Send>;

type MakeRoutes = Box<dyn FnOnce(&Arc<Node>) -> Router + Send>;

/// Whether the embedded page is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Served,
    LeftOut,
}

impl Builder {
    /// Begins with these settings, CometD's default policy and plain channel names.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            policy: Arc::new(DefaultSecurityPolicy),
            naming: Arc::new(PlainNames),
            routes: Router::new(),
            node_routes: Vec::new(),
            page: Page::Served,
            setups: Vec::new(),
        }
    }

    /// Asks this policy instead of CometD's.
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// Maps channel names as this says.
    #[must_use]
    pub fn naming(mut self, naming: Arc<dyn Naming>) -> Self {
        self.naming = naming;
        self
    }

    /// Serves these routes too, before the embedded page; a mount wins over both.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Serves routes whose handlers need the node, behind those of [`routes`](Self::routes); made before anything is
    /// served, after the setups.
    #[must_use]
    pub fn routes_with(mut self, make: impl FnOnce(&Arc<Node>) -> Router + Send + 'static) -> Self {
        self.node_routes.push(Box::new(make));
        self
    }

    /// Leaves the embedded page out: of the public listener only the mounts and the given routes are served.
    #[must_use]
    pub fn without_page(mut self) -> Self {
        self.page = Page::LeftOut;
        self
    }

    /// Runs `setup` with the node before anything is served: the place for services, listeners and extensions.
    #[must_use]
    pub fn node_setup(mut self, setup: impl FnOnce(&Arc<Node>) + Send + 'static) -> Self {
        self.setups.push(Box::new(setup));
        self
    }

    /// Listens and serves.
    ///
    /// # Errors
    ///
    /// [`StartError`], with nothing left running.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[expect(clippy::unused_async, reason = "starting will wait for stores and keys; callers should not change then")]
    pub async fn start(self) -> Result<Server, StartError> {
        let Self { config, policy, naming, mut routes, node_routes, page, setups } = self;
        let transports = options::transports(&config)?;
        let public = Listener::bind(config.server.listen).map_err(StartError::Listen)?;
        let admin = config.admin.listen.map(Listener::bind).transpose().map_err(StartError::Listen)?;
        let node = Node::start_with(config.engine.clone(), policy, naming);
        for setup in setups {
            setup(&node);
        }
        for make in node_routes {
            routes = routes.merge(make(&node));
        }
        let connections = Arc::new(Connections::default());
        let mount = |(place, path): (usize, &str)| {
            let id = MountId(u16::try_from(place).expect("settings allow at most 64 mounts"));
            let mount = Mount::new(Arc::clone(&node), id, transports.clone(), Arc::clone(&connections));
            (path.to_owned(), Arc::new(mount))
        };
        let paths: Vec<String> = config.mounts.iter().map(|mount| mount.path.clone()).collect();
        let mounts = paths.iter().map(String::as_str).enumerate().map(mount).collect();
        if page == Page::Served {
            routes = routes.merge(pages::routes(&paths));
        }
        let listening = Arc::new(Listening::new(Arc::clone(&node), Arc::clone(&connections), config.server.clone()));
        let (address, admin_address) = (public.address(), admin.as_ref().map(Listener::address));
        serve::spawn(&listening, public, Routes { mounts, router: routes });
        if let Some(listener) = admin {
            let token = config
                .admin
                .token
                .clone()
                .map(|secret| -> admin::TokenCheck { Arc::new(move |sent| secret.matches(sent)) });
            let router = admin::routes(&node, &paths, token);
            serve::spawn(&listening, listener, Routes { mounts: Vec::new(), router });
        }
        let http = &config.http.websocket;
        serve::spawn_idle_check(&listening, http.idle_timeout.min(http.write_timeout));
        node.set_health(Health::Ready);
        Ok(Server { node, connections, address, admin_address, shutdown_timeout: config.server.shutdown_timeout })
    }
}

/// A server that runs.
pub struct Server {
    node: Arc<Node>,
    connections: Arc<Connections>,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    shutdown_timeout: Duration,
}

impl Server {
    /// Where clients connect to; the port is the real one, also if the settings say 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin listener is, if there is one.
    #[must_use]
    pub const fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The open WebSockets.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Stops: takes nothing new, answers held connects with what is queued, closes WebSockets with 1001, and waits for
    /// connections to end, at most `shutdown_timeout`.
    ///
    /// # Cancel safety
    ///
    /// What has been told to stop stops, but is not waited for.
    pub async fn stop(&self) {
        self.node.set_health(Health::Stopping);
        self.node.tasks().stop();
        let deadline = Instant::now() + self.shutdown_timeout;
        loop {
            // Again and again: a connect or an upgrade that was on its way is held or open only now.
            self.node.release_held().await;
            self.connections.close_all();
            let left = deadline.saturating_duration_since(Instant::now());
            // The clock goes on until the node is dropped: closing connections may still have deadlines.
            if self.node.tasks().wait(1, left.min(STOP_ROUND)).await {
                return;
            }
            if left.is_zero() {
                tracing::warn!(tasks = self.node.tasks().count(), "stopped before every connection had ended");
                return;
            }
        }
    }
}
