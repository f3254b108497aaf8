//! [`Hosted`]: a whole server in this process, on one thread of its own, so that a test can tell when it has done all
//! that it can do without further input.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mirant::bayeux::{Extension, Flow, Message, SessionView};
use mirant::node::{Node, OutletRef, Policy};
use mirant::policy::{DefaultSecurityPolicy, Denying, Open};
use mirant::server::{Builder, Server};
use tokio::runtime::{self, Handle};
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::settings::config;
use super::support::program;
use super::support::services;
use super::support::transcript::Head;

/// How long the server may take for anything that is not held.
const PATIENCE: Duration = Duration::from_secs(10);

/// Turns of the server's thread within which it gets from a readable socket to its last write: accepting a connection,
/// reading a request, upgrading, and starting to read frames take one each.
const TURNS: usize = 16;

/// A running server. Dropping it ends it without notice.
pub(crate) struct Hosted {
    address: SocketAddr,
    server: Arc<Server>,
    handle: Handle,
    seen: Arc<Seen>,
    end: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// Counts the messages that the server has begun to handle.
#[derive(Default)]
struct Seen(AtomicUsize);

impl Extension for Seen {
    fn incoming(&self, _: Option<&SessionView>, _: &mut Message<'_>) -> Flow {
        self.0.fetch_add(1, Ordering::Relaxed);
        Flow::Continue
    }
}

impl Hosted {
    /// Starts a server with the settings and services that a conversation asks for.
    pub(crate) fn start(head: &Head) -> Self {
        let (seen, end) = (Arc::new(Seen::default()), Arc::new(Notify::new()));
        let builder = builder(head, Arc::clone(&seen));
        let ending = Arc::clone(&end);
        let (send, receive) = sync_channel(1);
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let server = Arc::new(builder.start().await.expect("the server starts"));
                send.send((server, Handle::current())).expect("the test waits");
                ending.notified().await;
            });
        });
        let (server, handle) = receive.recv_timeout(PATIENCE).expect("the server starts in time");
        Self { address: server.address(), server, handle, seen, end, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        self.server.node()
    }

    /// How many messages it has begun to handle.
    pub(crate) fn seen(&self) -> usize {
        self.seen.0.load(Ordering::Relaxed)
    }

    /// How many tasks it has: every connection is at least one.
    pub(crate) fn tasks(&self) -> usize {
        self.node().tasks().count()
    }

    /// How many WebSockets are open.
    pub(crate) fn web_sockets(&self) -> usize {
        self.server.connections().count()
    }

    /// Runs something on the server's thread and waits for its end.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (send, receive) = sync_channel(1);
        self.handle.spawn(async move {
            // The test has given up if it does not listen any more.
            let _ = send.send(work.await);
        });
        receive.recv_timeout(PATIENCE).expect("the server's thread answers")
    }

    /// Waits until the server has read what has arrived and has written its answers.
    ///
    /// On a runtime of one thread, whoever yields is polled again after every other task that was ready, and after sockets
    /// were asked for news.
    pub(crate) fn settle(&self) {
        self.run(async {
            for _ in 0..TURNS {
                yield_now().await;
            }
        });
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.end.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been told already.
            let _ = thread.join();
        }
    }
}

fn builder(head: &Head, seen: Arc<Seen>) -> Builder {
    let is_open = head.settings.get("policy").is_some_and(|policy| policy == "open");
    let policy: Arc<dyn Policy> = if is_open { Arc::new(Open) } else { Arc::new(DefaultSecurityPolicy) };
    let wanted = head.services.clone();
    Builder::new(config(head)).policy(Arc::new(Denying::new(program::denial, policy))).node_setup(move |node| {
        node.engine().add_extension(seen);
        services::add::<OutletRef>(node.engine(), &wanted).expect("the services are known");
    })
}
