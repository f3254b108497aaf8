//! What `long-polling` and `callback-polling` share: a request with messages, one answer, perhaps after a wait.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use uuid::Uuid;

use crate::bayeux::{Batch, DecodeError, Finished, Message, Peer, Shared, Transport, decode};
use crate::node::{Binding, Node, OutletRef, Session};
use crate::web::response::{Body, Delivery};
use crate::web::{HeaderValue, Request, Response, Scheme, StatusCode, header, response};

use super::Mount;
use super::encode;
use super::held::{Answer, HeldRequest, Waiting};

/// What became of a request once its messages were handled.
pub(super) enum Handled {
    /// Its answer is there: nothing of Bayeux.
    Answered(Response),
    /// Its answer has to be made, perhaps after a wait.
    Open(Open),
}

/// A request on its way to its answer; boxed, so that thousands of held connects do not keep the room that reading a
/// request takes.
pub(super) type Handling<'m> = Pin<Box<dyn Future<Output = Handled> + Send + 'm>>;

/// A request whose messages have been handled.
pub(super) struct Open {
    /// The connect that is held.
    waiting: Option<Waiting>,
    unsent: Unsent,
    /// The scheme of a browser that has no cookie yet.
    new_browser: Option<Scheme>,
}

/// Who sent a request, and in which form it is answered.
pub(super) struct Sender {
    peer: Peer,
    new_browser: Option<Scheme>,
    form: Form,
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON array.
    Json,
    /// A script that calls a function with the array. Boxed, for the sake of the requests that are held.
    Callback(Box<Callback>),
}

/// The call that a script consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Callback {
    /// The function.
    pub(super) name: String,
    /// Whether the script is kept from being taken for anything else ([CP-7]).
    pub(super) hardened: bool,
}

impl Sender {
    pub(super) fn of(mount: &Mount, request: &Request, transport: Transport, form: Form) -> Self {
        let peer = mount.peer(request, transport);
        let new_browser = peer.browser.is_none().then(|| request.scheme());
        Self { peer, new_browser, form }
    }
}

/// Gives a request its answer.
pub(super) async fn serve(mount: &Mount, handling: Handling<'_>) -> Response {
    match handling.await {
        Handled::Answered(response) => response,
        Handled::Open(open) => open.answer(mount).await,
    }
}

/// Handles the messages of a request and flushes what they made sendable.
///
/// What comes back keeps nothing of the request: its body would pin the connection's read buffer while a connect is
/// held.
pub(super) async fn handle(mount: &Mount, sender: Sender, messages: Vec<Message<'_>>) -> Handled {
    let Sender { peer, new_browser, form } = sender;
    if messages.is_empty() {
        return Handled::Answered(form.response(Body::full(form.body(b"[]".to_vec()))));
    }
    let held = HeldRequest::new();
    let outlet = OutletRef::new(Arc::clone(&held) as _);
    let mut pending = mount.node.pending();
    let mut batch = Batch::default();
    let received = mount.node.receive(peer, outlet.clone(), Binding::Open, messages, &mut pending).await;
    let (finished, binding) = match received.map(|incoming| incoming.finish(&mut batch)) {
        Ok(finished) => finished,
        Err(fault) => {
            pending.flush().await;
            return Handled::Answered(response::text(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()));
        }
    };
    let session = match binding {
        Binding::Session(session) => Some(session),
        Binding::Open | Binding::Nobody => None,
    };
    // Waiting begins before the flush, so that a request which is dropped in it lets go of its connect.
    let waiting = match (finished, &session) {
        (Finished::Held, Some(session)) => {
            Some(Waiting::new(held, outlet, Arc::clone(&mount.node), Arc::clone(session)))
        }
        _ => None,
    };
    let unsent = Unsent { node: Arc::clone(&mount.node), session, batch, form };
    pending.flush().await;
    Handled::Open(Open { waiting, unsent, new_browser })
}

/// Decodes the values of several `message` parameters as one batch.
pub(super) fn decode_parts<'a>(mount: &Mount, parts: &'a [Cow<'_, str>]) -> Result<Vec<Message<'a>>, DecodeError> {
    let limits = &mount.node.engine().config().limits;
    let mut messages = Vec::new();
    for part in parts {
        messages.extend(decode(part, limits)?);
        if messages.len() > limits.max_batch_messages {
            return Err(DecodeError::TooMany);
        }
    }
    Ok(messages)
}

/// Answers what cannot be read as messages ([EN-1], [EN-15]).
pub(super) fn refuse_messages(error: DecodeError) -> Handled {
    let status = match error {
        DecodeError::Syntax | DecodeError::TooDeep | DecodeError::TooMany => StatusCode::BAD_REQUEST,
        DecodeError::NotMessages => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Handled::Answered(response::text(status, error.to_string()))
}

impl Open {
    async fn answer(self, mount: &Mount) -> Response {
        let Self { waiting, mut unsent, new_browser } = self;
        if let Some(waiting) = waiting {
            match waiting.await {
                Answer::Status(status) => {
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    return response::text(status, "A newer /meta/connect of this session has replaced this one.");
                }
                Answer::Batch(batch) => unsent.batch = batch,
            }
        }
        let cookie =
            new_browser.filter(|_| unsent.batch.handshake.is_some()).map(|scheme| new_browser_cookie(mount, scheme));
        let mut response = unsent.into_response();
        if let Some(cookie) = cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

impl Form {
    /// Puts a JSON array into this form.
    fn body(&self, json: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Json => json,
            Self::Callback(callback) => encode::call(&callback.name, &json, callback.hardened),
        }
    }

    /// Answers with a body that has this form.
    fn response(&self, body: Body) -> Response {
        let mut response = Response::new(body);
        let content_type = match self {
            Self::Json => "application/json",
            Self::Callback(_) => "text/javascript;charset=UTF-8",
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if matches!(self, Self::Callback(callback) if callback.hardened) {
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        response
    }
}

/// Makes a cookie that names the browser with 16 letters and digits ([BR-1]).
fn new_browser_cookie(mount: &Mount, scheme: Scheme) -> HeaderValue {
    let mut rest = Uuid::new_v4().as_u128();
    let id: String = (0..16)
        .map(|_| {
            let digit = u32::try_from(rest % 36).expect("a remainder of 36 is small");
            rest /= 36;
            char::from_digit(digit, 36).expect("36 digits exist")
        })
        .collect();
    mount.options.browser_cookie.set_cookie(&id, scheme)
}

/// An answer on its way to the connection.
///
/// Until the last byte is handed over, its publications can go back to their session ([LP-10]).
struct Unsent {
    node: Arc<Node>,
    session: Option<Arc<Session>>,
    batch: Batch,
    form: Form,
}

impl Unsent {
    fn into_response(mut self) -> Response {
        let body = self.form.body(encode::body(&self.batch));
        let events = std::mem::take(&mut self.batch.events);
        let starts_expiry = self.batch.starts_expiry;
        let body = match &self.session {
            Some(session) if starts_expiry || !events.is_empty() => {
                let (node, session) = (Arc::clone(&self.node), Arc::clone(session));
                Body::guarded(body, Box::new(Guard { node, session, events, starts_expiry }))
            }
            _ => Body::full(body),
        };
        self.form.response(body)
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let events = std::mem::take(&mut self.batch.events);
        if let (Some(session), false) = (&self.session, events.is_empty()) {
            let mut pending = self.node.pending();
            self.node.engine().put_back(session, events, pending.dirty());
        }
    }
}

/// Follows an answer until it is written.
struct Guard {
    node: Arc<Node>,
    session: Arc<Session>,
    events: Vec<Shared>,
    starts_expiry: bool,
}

impl Delivery for Guard {
    fn delivered(self: Box<Self>) {
        if self.starts_expiry {
            self.node.engine().written(self.node.now(), &self.session);
        }
    }

    fn lost(self: Box<Self>) {
        if !self.events.is_empty() {
            let mut pending = self.node.pending();
            self.node.engine().put_back(&self.session, self.events, pending.dirty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn future_size<A, B, F: Future>(_: &impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// What every held connect has beside its connection and session.
    #[test]
    fn a_held_request_is_small() {
        let size = future_size(&|mount: &'static Mount, handling| serve(mount, handling));
        let whole = future_size(&Mount::serve);
        println!("held request {size}, with what leads to it {whole}");
        assert!(size <= 640, "{size} bytes");
        assert!(whole <= 1_440, "{whole} bytes");
    }
}
