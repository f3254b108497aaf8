//! The control endpoints: what an application inside the server would do, for scripts outside it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mirant::bayeux::{
    Authorization, Authorizer, ChannelKind, ChannelListener, ChannelName, ChannelOptions, Context, Flow, Message,
    Operation, SessionId, SessionView, is_protocol_channel,
};
use mirant::config::Config;
use mirant::node::{LocalSession, Node, OutletRef, ReceiveError};
use mirant::web::body::BodyLimits;
use mirant::web::origin::{AllowedOrigins, OriginError};
use mirant::web::{Method, Request, Response, Router, StatusCode, header, response};
use serde_json::value::RawValue;

use super::services::unless_null;

/// Bodies may be as large as a script likes, but not without end.
const BODY: BodyLimits =
    BodyLimits { max_bytes: 256 * 1024 * 1024, idle: Duration::from_secs(30), total: Duration::from_secs(300) };

/// CometD counts the five channels of the protocol, which are no channels here.
const PROTOCOL_CHANNELS: usize = 5;

/// What was asked for is there and was done, or it is not there.
type Outcome = Result<bool, Unusable>;

/// A parameter or a body that cannot be understood: CometD's program fails with a 500.
#[derive(Debug)]
struct Unusable(String);

/// The endpoints.
pub(crate) struct Control {
    origins: AllowedOrigins,
    /// In whose name messages are published; set once the server runs.
    local: OnceLock<LocalSession>,
}

/// An authorizer that always says the same.
struct Opinion(Authorization);

impl Authorizer for Opinion {
    fn authorize(&self, _: Operation, _: &ChannelName, _: &SessionView, _: &Message<'_>) -> Authorization {
        self.0.clone()
    }
}

impl Control {
    /// Makes endpoints that pages of the same origins may use as the mount.
    pub(crate) fn new(config: &Config) -> Result<Self, OriginError> {
        let origins = AllowedOrigins::parse(&config.server.allowed_origins)?;
        Ok(Self { origins, local: OnceLock::new() })
    }

    /// Opens the session in whose name messages are published.
    pub(crate) async fn open(&self, node: &Arc<Node>) -> Result<(), ReceiveError> {
        let session = node.local_session(|_| ()).await?;
        assert!(self.local.set(session).is_ok(), "it is opened once");
        Ok(())
    }

    /// Answers every path but the mount's.
    pub(crate) fn routes(self: Arc<Self>, node: &Arc<Node>) -> Router {
        let node = Arc::clone(node);
        Router::new().fallback(move |request| {
            let (control, node) = (Arc::clone(&self), Arc::clone(&node));
            async move { control.serve(&node, request).await }
        })
    }

    async fn serve(&self, node: &Arc<Node>, request: Request) -> Response {
        let admitted = match self.origins.judge(&request) {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal.response(),
        };
        if AllowedOrigins::is_preflight(&request) && request.header(header::ACCESS_CONTROL_REQUEST_METHOD).is_some() {
            return self.origins.preflight(&request);
        }
        let mut response = self.answer(node, request).await;
        admitted.add_headers(&mut response);
        response
    }

    async fn answer(&self, node: &Arc<Node>, request: Request) -> Response {
        if *request.method() == Method::GET && request.path() == "/stats" {
            let (sessions, channels) = (node.engine().session_count(), node.engine().channel_count());
            let channels = channels + PROTOCOL_CHANNELS;
            return response::json(StatusCode::OK, format!(r#"{{"sessions":{sessions},"channels":{channels}}}"#));
        }
        if *request.method() != Method::POST {
            return response::json(StatusCode::NOT_FOUND, "{}");
        }
        match self.act(node, request).await {
            Ok(true) => response::json(StatusCode::OK, r#"{"done":true}"#),
            Ok(false) => response::json(StatusCode::NOT_FOUND, r#"{"done":false}"#),
            Err(Unusable(problem)) => response::text(StatusCode::INTERNAL_SERVER_ERROR, problem),
        }
    }

    async fn act(&self, node: &Arc<Node>, mut request: Request) -> Outcome {
        match request.path() {
            "/publish" => {
                let Some(channel) = channel(&request)? else { return Ok(false) };
                self.publish(node, &channel, body(&mut request).await?).await
            }
            "/deliver" => {
                let Some(session) = session(node, &request) else { return Ok(false) };
                let Some(channel) = text(&request, "channel") else { return Ok(false) };
                deliver(node, session, &channel, body(&mut request).await?).await
            }
            "/disconnect" => {
                let Some(session) = session(node, &request) else { return Ok(false) };
                Ok(node.disconnect(session).await)
            }
            "/session" => change_session(node, &request),
            "/authorizer" => authorize(node, &request),
            "/veto" => veto(node, &request),
            "/lazy" => {
                let timeout = millis(&request, "timeout")?;
                change_channel(node, &request, |options| match timeout {
                    None => options.lazy = true,
                    // As there: a lazy time of nothing is not lazy.
                    Some(timeout) => {
                        options.lazy_timeout = timeout.filter(|timeout| !timeout.is_zero());
                        options.lazy = options.lazy_timeout.is_some();
                    }
                })
            }
            "/persistent" => {
                let value = text(&request, "value").as_deref() != Some("false");
                change_channel(node, &request, |options| options.persistent = value)
            }
            "/broadcastToPublisher" => {
                let value = text(&request, "value").as_deref() == Some("true");
                change_channel(node, &request, |options| options.broadcast_to_publisher = value)
            }
            _ => Ok(false),
        }
    }

    /// Publishes in the name of the session that was opened for it.
    async fn publish(&self, node: &Arc<Node>, channel: &ChannelName, data: Option<Box<RawValue>>) -> Outcome {
        let session = self.local.get().ok_or_else(|| unusable("the server is still starting"))?;
        if channel.is_wildcard() || is_protocol_channel(channel.as_str()) {
            return Err(unusable(format!("{channel} cannot be published to")));
        }
        if channel.kind() == ChannelKind::Meta {
            // Nobody listens there.
            return Ok(true);
        }
        if channel.kind() == ChannelKind::Service {
            // Through the pipeline of clients, so that the service sees it.
            let data = data.unwrap_or_default();
            session.publish(channel.as_str(), &data).await.map_err(|refusal| unusable(refusal.to_string()))?;
            return Ok(true);
        }
        let message = data.as_deref().map_or_else(Message::default, |data| Message::default().with_data(data));
        let mut pending = node.pending();
        // A message that somebody drops is done with as well.
        let _ = node.publish_into(channel, message, node.engine().view(session.id()).as_ref(), &mut pending);
        pending.flush().await;
        Ok(true)
    }
}

/// Sends to one session, under the channel as it was written.
async fn deliver(node: &Arc<Node>, to: SessionId, channel: &str, data: Option<Box<RawValue>>) -> Outcome {
    ChannelName::parse(channel).map_err(|problem| unusable(format!("{channel}: {problem}")))?;
    let mut message = Message::to(channel);
    if let Some(data) = &data {
        message = message.with_data(data);
    }
    let mut pending = node.pending();
    node.deliver_into(to, message, &mut pending);
    pending.flush().await;
    Ok(true)
}

/// Gives a session times of its own; less than nothing gives it its transport's again.
fn change_session(node: &Node, request: &Request) -> Outcome {
    let Some(session) = session(node, request) else { return Ok(false) };
    let (timeout, interval) = (millis(request, "timeout")?, millis(request, "interval")?);
    Ok(node.engine().change_session_times(session, |times| {
        times.timeout = timeout.unwrap_or(times.timeout);
        times.interval = interval.unwrap_or(times.interval);
    }))
}

fn authorize(node: &Node, request: &Request) -> Outcome {
    let Some(channel) = channel(request)? else { return Ok(false) };
    let reason = text(request, "reason").unwrap_or_default();
    let authorization = match text(request, "result").as_deref() {
        Some("grant") => Authorization::Grant,
        Some("deny") => Authorization::Deny(reason.into()),
        _ => Authorization::Ignore,
    };
    let authorizer: Arc<dyn Authorizer> = Arc::new(Opinion(authorization));
    node.engine().add_authorizer(&channel, &authorizer);
    Ok(true)
}

/// Lets no message to the channel pass from now on.
fn veto(node: &Node, request: &Request) -> Outcome {
    let Some(channel) = channel(request)? else { return Ok(false) };
    let veto = |_: &mut Context<'_, OutletRef>, _: &ChannelName, _: &Message<'_>| Flow::Drop;
    let listener: Arc<dyn ChannelListener<OutletRef>> = Arc::new(veto);
    node.engine().add_channel_listener(&channel, &listener);
    Ok(true)
}

fn change_channel(node: &Node, request: &Request, change: impl FnMut(&mut ChannelOptions)) -> Outcome {
    let Some(channel) = channel(request)? else { return Ok(false) };
    node.engine().set_channel_options(&channel, change);
    Ok(true)
}

fn text(request: &Request, name: &str) -> Option<String> {
    request.parameter(name).map(std::borrow::Cow::into_owned)
}

/// The channel that is asked for.
fn channel(request: &Request) -> Result<Option<ChannelName>, Unusable> {
    let parse = |text: String| ChannelName::parse(&text).map_err(|problem| unusable(format!("{text}: {problem}")));
    text(request, "channel").map(parse).transpose()
}

/// The session that is asked for, if it is there.
fn session(node: &Node, request: &Request) -> Option<SessionId> {
    let id = SessionId::parse(&request.parameter("clientId")?)?;
    node.engine().view(id).map(|view| view.id)
}

/// A time in milliseconds: not given, or less than nothing, or so long.
fn millis(request: &Request, name: &str) -> Result<Option<Option<Duration>>, Unusable> {
    let Some(text) = request.parameter(name) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| unusable(format!("{name} is no number of milliseconds")))?;
    Ok(Some(u64::try_from(number).ok().map(Duration::from_millis)))
}

/// The body as JSON, if there is any.
async fn body(request: &mut Request) -> Result<Option<Box<RawValue>>, Unusable> {
    let bytes = request.body(&BODY).await.map_err(|problem| unusable(problem.to_string()))?;
    let text = str::from_utf8(&bytes).map_err(|_| unusable("the body is not UTF-8"))?.trim();
    let data = unless_null(Some(text.into())).filter(|text| !text.is_empty());
    let parse = |text: std::borrow::Cow<'_, str>| RawValue::from_string(text.into_owned());
    data.map(parse).transpose().map_err(|problem| unusable(problem.to_string()))
}

fn unusable(problem: impl Into<String>) -> Unusable {
    Unusable(problem.into())
}
