//! [`Witness`]: two ordinary sessions that go about their business while a test makes trouble beside them.

use serde_json::json;

use super::client::{LongPolling, WebSocket};
use super::server::Server;

/// A subscriber on WebSocket and a publisher by long-polling.
#[derive(Debug)]
pub(crate) struct Witness {
    subscriber: WebSocket,
    publisher: LongPolling,
    seen: u32,
}

impl Witness {
    /// Lets the two begin.
    #[track_caller]
    pub(crate) fn new(server: &Server) -> Self {
        let subscriber = WebSocket::subscribed(server, "/witness");
        Self { subscriber, publisher: LongPolling::ready(server), seen: 0 }
    }

    /// Asserts that the two are undisturbed: what the one publishes is what the other hears next.
    #[track_caller]
    pub(crate) fn is_well(&mut self) {
        self.seen += 1;
        self.publisher.publish("/witness", json!(self.seen));
        assert_eq!(self.subscriber.receive(), json!([{"channel": "/witness", "data": self.seen}]));
    }
}
