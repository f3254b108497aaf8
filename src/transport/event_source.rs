//! `eventsource`: one response that goes on for as long as its session, for what Faye's clients subscribe to. Everything
//! that a client says comes by `long-polling`.
//!
//! This is the outlet of kind *wake*: whoever has something for the session wakes the task of the response's connection,
//! which takes from the session's queue when the socket has room. Nothing else is queued here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use crate::bayeux::{Batch, NoStream, Release, SessionId, Took, Transport};
use crate::node::{Flushed, Node, Outlet, OutletRef, Session};
use crate::web::response::{Body, Source};
use crate::web::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, response};

use super::Mount;
use super::connections::Connections;
use super::encode;

/// A comment that says nothing and keeps proxies from closing the connection.
const KEEP_ALIVE: &[u8] = b":\r\n\r\n";

/// Options of `eventsource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// How long a client waits before it opens a stream that broke again.
    pub retry: Duration,
    /// Longest time without a byte.
    pub keep_alive: Duration,
}

/// An event stream as publishers see it; its lock is the writer lock of this outlet.
#[derive(Default)]
pub(super) struct EventStream {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    is_over: bool,
}

/// Whether a request asks for a stream of events.
pub(super) fn is_requested(request: &Request) -> bool {
    let accepted = request.header(header::ACCEPT).unwrap_or_default().split(',');
    let mut types = accepted.map(|item| item.split(';').next().unwrap_or_default().trim());
    request.method() == Method::GET && types.any(|name| name.eq_ignore_ascii_case("text/event-stream"))
}

/// Answers a GET of `<mount>/<clientId>` with a stream of what the session is sent ([FY-2]).
pub(super) async fn open(mount: &Mount, request: Request) -> Response {
    let id = request.path().rsplit('/').next().and_then(SessionId::parse);
    let peer = mount.peer(&request, Transport::EventSource);
    drop(request);
    let stream = Arc::new(EventStream::default());
    let outlet = OutletRef::new(Arc::clone(&stream) as _);
    let (node, mut pending) = (Arc::clone(&mount.node), mount.node.pending());
    let opened = match id {
        Some(id) => node.open_stream(&peer, id, outlet.clone(), &mut pending),
        None => Err(NoStream::Unknown),
    };
    let session = match opened {
        Ok(session) => session,
        Err(none) => return refuse(none),
    };
    let StreamOptions { retry, keep_alive } = mount.options.stream;
    let connections = Arc::clone(&mount.connections);
    let key = connections.add_stream(&stream);
    // Made before the flush: dropped in it, the request lets go of its session.
    let events = Events {
        node,
        connections,
        key,
        stream,
        outlet,
        session,
        head: Some(format!("retry: {}\r\n\r\n", retry.as_millis())),
        keep_alive,
        silence: Box::pin(sleep(keep_alive)),
    };
    pending.flush().await;
    let mut response = Response::new(Body::stream(Box::new(events)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    // nginx would collect the events before it hands them on.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    // What ends with the stream needs no limit for what might come after it.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Any status but 200 tells a browser not to ask again ([FY-7]).
fn refuse(none: NoStream) -> Response {
    let status = match none {
        NoStream::Unknown => StatusCode::NOT_FOUND,
        NoStream::Crowded => StatusCode::SERVICE_UNAVAILABLE,
    };
    response::text(status, none.to_string())
}

impl EventStream {
    /// Ends the stream once it has brought what the session has.
    pub(super) fn end(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.is_over = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Outlet for EventStream {
    fn flush(&self, _: &Arc<Node>, _: &Arc<Session>, _: &OutletRef) -> Flushed {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        Flushed::Done
    }

    fn release(&self, _: &Arc<Node>, _: Release) {
        self.end();
    }
}

/// The body of the response.
struct Events {
    node: Arc<Node>,
    connections: Arc<Connections>,
    key: u64,
    stream: Arc<EventStream>,
    outlet: OutletRef,
    session: Arc<Session>,
    /// What has to come first.
    head: Option<String>,
    keep_alive: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Events {
    fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(head) = self.head.take() {
            return Some(head.into_bytes());
        }
        let mut batch = Batch::default();
        let took = self.node.engine().take(self.node.now(), &self.session, &self.outlet, &mut batch);
        (took == Took::Batch).then(|| encode::event(&batch))
    }
}

impl Source for Events {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let is_over = {
            let mut state = self.stream.state.lock();
            // Before the session is asked, so that what comes in between is not missed.
            state.waker = Some(context.waker().clone());
            state.is_over
        };
        if let Some(bytes) = self.next() {
            let deadline = Instant::now() + self.keep_alive;
            self.silence.as_mut().reset(deadline);
            return Poll::Ready(Some(bytes));
        }
        if is_over {
            return Poll::Ready(None);
        }
        if self.silence.as_mut().poll(context).is_ready() {
            let deadline = Instant::now() + self.keep_alive;
            self.silence.as_mut().reset(deadline);
            return Poll::Ready(Some(KEEP_ALIVE.to_vec()));
        }
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connections.remove_stream(self.key);
        self.node.engine().detach(self.node.now(), &self.session, &self.outlet);
    }
}
