//! Bayeux connection types over HTTP and WebSocket: they move bytes between `web` and [`Node`].
//!
//! The central type is [`Mount`], one path where Bayeux is served. It judges the origin of a request and gives it to
//! `long_polling`, `callback_polling`, `event_source` or `websocket`. They read messages, hand them to [`Node::receive`],
//! and implement [`Outlet`](crate::node::Outlet), through which publications reach the client later.
//!
//! **Must not know**: policies, administration, settings files, and any rule of the protocol: what a message means is
//! the engine's business.
//!
//! Start reading at [`Mount::serve`]; who may write to a socket is in `writer.rs`, why a request waits in `held.rs`.

mod callback_polling;
mod connections;
mod encode;
mod event_source;
mod held;
mod long_polling;
mod polling;
mod websocket;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bayeux::{HttpVersion, MountId, Peer, Transport};
use crate::node::Node;
use crate::web::body::BodyLimits;
use crate::web::cookie::CookieJar;
use crate::web::origin::AllowedOrigins;
use crate::web::throttle::Throttle;
use crate::web::upgrade::Spoken;
use crate::web::{Method, Request, Response, StatusCode, Version, response, upgrade};

pub use callback_polling::CallbackOptions;
pub use connections::{Connections, Traffic};
pub use event_source::StreamOptions;

/// Longest browser id that is taken from a cookie; longer ones count as none.
const BROWSER_ID_MAX: usize = 64;

/// Options of the transports that are not the engine's.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which pages of other origins may use this server.
    pub origins: AllowedOrigins,
    /// Limits of long-polling request bodies.
    pub body: BodyLimits,
    /// The cookie that names the browser.
    pub browser_cookie: CookieJar,
    /// The function that responses of `callback-polling` call.
    pub callback: CallbackOptions,
    /// Event streams.
    pub stream: StreamOptions,
    /// Most bytes of a WebSocket message.
    pub max_message_size: usize,
    /// How long a WebSocket may be silent before it is closed.
    pub idle_timeout: Duration,
    /// How long a WebSocket may take nothing of what is to be written before it is closed.
    pub write_timeout: Duration,
    /// What WebSocket clients must or may agree on.
    pub websocket: Spoken,
    /// From how many bytes on a WebSocket message is compressed, where that was agreed on.
    pub deflate_threshold: usize,
}

/// One path where Bayeux is served.
pub struct Mount {
    node: Arc<Node>,
    id: MountId,
    options: Options,
    connections: Arc<Connections>,
    /// Which refused origins are logged where operators look.
    refusals: Throttle,
}

impl Mount {
    /// Makes a mount; `connections` may be shared by several.
    #[must_use]
    pub fn new(node: Arc<Node>, id: MountId, options: Options, connections: Arc<Connections>) -> Self {
        Self { node, id, options, connections, refusals: Throttle::new(Throttle::PERIOD) }
    }

    /// Answers a request to the mount's path or below; what follows the path has no meaning ([LP-1], [WS-1]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets go of a held connect; nothing that was queued is lost.
    pub async fn serve(self: Arc<Self>, request: Request) -> Response {
        let allowed = &self.node.engine().config().allowed_transports;
        let callback = callback_polling::callback(&self.options.callback, &request)
            .filter(|_| allowed.contains(&Transport::CallbackPolling));
        let origins = &self.options.origins;
        let judged = if callback.is_some() { origins.judge_script(&request) } else { origins.judge(&request) };
        let admitted = match judged {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let peer = request.remote();
                // Any page of the world can have its readers' browsers ask.
                match self.refusals.pass(Instant::now()) {
                    Some(unseen) => tracing::warn!(%peer, unseen, "{refusal}"),
                    None => tracing::debug!(%peer, "{refusal}"),
                }
                return refusal.response();
            }
        };
        if AllowedOrigins::is_preflight(&request) {
            return self.options.origins.preflight(&request);
        }
        let mut response = if upgrade::is_requested(&request) && allowed.contains(&Transport::WebSocket) {
            websocket::upgrade(&self, request)
        } else if request.method() == Method::POST && allowed.contains(&Transport::LongPolling) {
            polling::serve(&self, Box::pin(long_polling::handle(&self, request))).await
        } else if let Some(callback) = callback {
            polling::serve(&self, Box::pin(callback_polling::handle(&self, request, callback))).await
        } else if event_source::is_requested(&request) && allowed.contains(&Transport::EventSource) {
            // Boxed, as the others are, so that a held connect has no room for what opens a stream.
            Box::pin(event_source::open(&self, request)).await
        } else {
            response::text(
                StatusCode::BAD_REQUEST,
                "Unknown Bayeux transport: send a POST, a WebSocket upgrade, or a GET that names one callback.",
            )
        };
        admitted.add_headers(&mut response);
        response
    }

    /// Describes who sent a request.
    fn peer(&self, request: &Request, transport: Transport) -> Peer {
        let browser = self.options.browser_cookie.read(request.headers());
        Peer {
            transport,
            mount: self.id,
            address: Some(request.remote().ip()),
            browser: browser.filter(|id| !id.is_empty() && id.len() <= BROWSER_ID_MAX).map(Arc::from),
            http: if request.version() == Version::HTTP_2 { HttpVersion::Two } else { HttpVersion::One },
        }
    }
}
