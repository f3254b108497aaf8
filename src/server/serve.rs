//! The life of one HTTP connection, and which request goes where.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::ServerConfig;
use crate::node::Node;
use crate::transport::{Connections, Mount};
use crate::web::listener::Listener;
use crate::web::progress::{Monitored, Patience, Progress, Watched};
use crate::web::throttle::Throttle;
use crate::web::{Request, Response, Router, Scheme};

/// How many times within `idle_timeout` or `write_timeout` WebSockets are looked for that are silent or stuck.
const IDLE_CHECKS: u32 = 8;

/// Longest and shortest time between two such looks.
const IDLE_CHECK_RANGE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(10));

/// What all listeners of a server share.
pub(super) struct Listening {
    node: Arc<Node>,
    connections: Arc<Connections>,
    config: ServerConfig,
    /// Connections that still speak HTTP.
    http: AtomicUsize,
}

/// Where the requests of one listener go.
pub(super) struct Routes {
    /// Mounts by path.
    pub(super) mounts: Vec<(String, Arc<Mount>)>,
    /// Everything else.
    pub(super) router: Router,
}

impl Routes {
    async fn serve(&self, request: Request) -> Response {
        let mount = self.mounts.iter().find(|(path, _)| is_below(request.path(), path));
        match mount {
            Some((_, mount)) => Arc::clone(mount).serve(request).await,
            None => self.router.handle(request).await,
        }
    }
}

/// Whether a request's path is a mount's, or lies below it.
fn is_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Listening {
    pub(super) const fn new(node: Arc<Node>, connections: Arc<Connections>, config: ServerConfig) -> Self {
        Self { node, connections, config, http: AtomicUsize::new(0) }
    }

    /// How many connections are open, whatever they speak.
    fn count(&self) -> usize {
        self.http.load(Ordering::Relaxed) + self.connections.count()
    }
}

/// One HTTP connection among those that count.
struct Counted(Arc<Listening>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.http.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections until the server stops.
pub(super) fn spawn(listening: &Arc<Listening>, mut listener: Listener, routes: Routes) {
    let listening = Arc::clone(listening);
    let node = Arc::clone(&listening.node);
    let routes = Arc::new(routes);
    node.tasks().spawn("listener", async move {
        let mut stopping = listening.node.tasks().stopping();
        let turned_away = Throttle::new(Throttle::PERIOD);
        loop {
            let (stream, remote) = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopping.wait() => return,
            };
            let is_full = listening.count() >= listening.config.max_connections;
            if is_full {
                // Not for each: a flood must not fill the log as well.
                if let Some(unseen) = turned_away.pass(Instant::now()) {
                    tracing::warn!(unseen, "server.max_connections reached: new connections are closed");
                }
                continue;
            }
            listening.http.fetch_add(1, Ordering::Relaxed);
            let counted = Counted(Arc::clone(&listening));
            listening.node.tasks().spawn("http", serve(counted, stream, remote, Arc::clone(&routes)));
        }
    });
}

/// Serves one connection until it ends, is upgraded, makes no progress, or the server stops.
async fn serve(counted: Counted, stream: TcpStream, remote: SocketAddr, routes: Arc<Routes>) {
    let config = &counted.0.config;
    let progress = Progress::start(Patience { head: config.header_timeout, idle: config.idle_timeout });
    let mut http = http1::Builder::new();
    http.max_buf_size(config.max_header_bytes).max_headers(config.max_headers);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (routes, progress) = (Arc::clone(&routes), Arc::clone(&progress));
        async move {
            progress.begin_request();
            let response = routes.serve(Request::from_hyper(request, remote, Scheme::Http)).await;
            if response.body().is_stream() {
                progress.begin_stream()
            } else {
                progress.end_request()
            }
            Ok::<_, Infallible>(response)
        }
    });
    let stream = TokioIo::new(Monitored::new(stream, Arc::clone(&progress)));
    let mut connection = pin!(http.serve_connection(stream, service).with_upgrades());
    let mut stopping = counted.0.node.tasks().stopping();
    let watched = tokio::select! {
        watched = progress.watch(connection.as_mut()) => watched,
        () = stopping.wait() => {
            connection.as_mut().graceful_shutdown();
            progress.watch(connection.as_mut()).await
        }
    };
    match watched {
        Watched::Ended(Ok(())) => {}
        Watched::Ended(Err(error)) => tracing::debug!(peer = %remote, %error, "connection ended"),
        Watched::Stalled => tracing::debug!(peer = %remote, "connection closed: no request in time"),
    }
}

/// Closes silent and stuck WebSockets now and then, until the server stops.
pub(super) fn spawn_idle_check(listening: &Arc<Listening>, shortest_timeout: Duration) {
    let connections = Arc::clone(&listening.connections);
    let mut stopping = listening.node.tasks().stopping();
    let (shortest, longest) = IDLE_CHECK_RANGE;
    let period = (shortest_timeout / IDLE_CHECKS).clamp(shortest, longest);
    listening.node.tasks().spawn("idle check", async move {
        let mut ticks = tokio::time::interval(period);
        loop {
            tokio::select! {
                _ = ticks.tick() => connections.close_idle(),
                () = stopping.wait() => return,
            }
        }
    });
}
