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
    /// Lets the two begin; they announce a pause, so that neither expires while the test is busy elsewhere.
    #[track_caller]
    pub(crate) fn new(server: &Server) -> Self {
        let pause = json!([{"channel": "/meta/connect", "advice": {"timeout": 0, "interval": 120_000}}]);
        let mut subscriber = WebSocket::subscribed(server, "/witness");
        assert_eq!(subscriber.batch(pause.clone())[0]["successful"], true);
        let mut publisher = LongPolling::ready(server);
        assert_eq!(publisher.batch(pause)[0]["successful"], true);
        Self { subscriber, publisher, seen: 0 }
    }

    /// Asserts that the two are undisturbed: what the one publishes is what the other hears next.
    #[track_caller]
    pub(crate) fn is_well(&mut self) {
        self.seen += 1;
        self.publisher.publish("/witness", json!(self.seen));
        assert_eq!(self.subscriber.receive(), json!([{"channel": "/witness", "data": self.seen}]));
    }
}
