//! The control endpoints of the reference server that conversations name, for an engine in this process.

use std::sync::Arc;
use std::time::Duration;

use super::normalise::parameters;
use super::services::channel;
use crate::bayeux::{
    Authorization, Authorizer, ChannelListener, ChannelName, ChannelOptions, Context, Engine, Flow, Message, Operation,
    SessionId, SessionView,
};

/// Endpoints that are known; `/publish` and `/disconnect` have lines of their own.
const KNOWN: [&str; 7] =
    ["/deliver", "/session", "/lazy", "/persistent", "/broadcastToPublisher", "/authorizer", "/veto"];

/// What is left for whoever has the engine: what goes out needs the time, and somebody who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// The body is to be delivered to a session, on a channel.
    Delivery(SessionId, ChannelName),
}

/// Whether there is an endpoint for a target.
#[must_use]
pub fn is_known(target: &str) -> bool {
    KNOWN.contains(&target.split('?').next().unwrap_or_default())
}

/// Does what is asked of an endpoint, as far as it is done without the time.
///
/// # Errors
///
/// There is no such endpoint, a parameter is missing or wrong, or the session is gone.
pub fn apply<T>(engine: &Engine<T>, target: &str) -> Result<Left, String>
where
    T: Clone + PartialEq + Send + Sync + 'static,
{
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters = Parameters { target, list: parameters(query) };
    let is_so = parameters.get("value") != Some("false");
    let set = |change: &dyn Fn(&mut ChannelOptions)| {
        engine.set_channel_options(&parameters.channel()?, |options| change(options));
        Ok(Left::Nothing)
    };
    match path {
        "/deliver" => Ok(Left::Delivery(parameters.session()?, parameters.channel()?)),
        "/session" => {
            let (timeout, interval) = (parameters.millis("timeout")?, parameters.millis("interval")?);
            let is_there = engine.change_session_times(parameters.session()?, |times| {
                times.timeout = timeout.unwrap_or(times.timeout);
                times.interval = interval.unwrap_or(times.interval);
            });
            is_there.then_some(Left::Nothing).ok_or_else(|| format!("{target}: the session is gone"))
        }
        "/lazy" => {
            let timeout = parameters.millis("timeout")?;
            set(&|options| {
                options.lazy = true;
                options.persistent = true;
                options.lazy_timeout = timeout.flatten().or(options.lazy_timeout);
            })
        }
        "/persistent" => set(&|options| options.persistent = is_so),
        "/broadcastToPublisher" => set(&|options| {
            options.broadcast_to_publisher = is_so;
            options.persistent = true;
        }),
        "/authorizer" => {
            let opinion = match parameters.need("result")? {
                "grant" => Opinion::Grant,
                "deny" => Opinion::Deny(parameters.get("reason").unwrap_or("denied").to_owned()),
                "ignore" => Opinion::Ignore,
                other => {
                    return Err(format!("{target}: an authorizer grants, denies or ignores, it does not `{other}`"));
                }
            };
            engine.add_authorizer(&parameters.channel()?, &(Arc::new(opinion) as _));
            Ok(Left::Nothing)
        }
        "/veto" => {
            let listener: Arc<dyn ChannelListener<T>> = Arc::new(veto);
            engine.add_channel_listener(&parameters.channel()?, &listener);
            Ok(Left::Nothing)
        }
        _ => Err(format!("there is no control endpoint {path}")),
    }
}

/// The parameters of a target.
struct Parameters<'a> {
    target: &'a str,
    list: Vec<(String, String)>,
}

impl Parameters<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn need(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("{} lacks `{name}`", self.target))
    }

    fn channel(&self) -> Result<ChannelName, String> {
        channel(self.need("channel")?)
    }

    fn session(&self) -> Result<SessionId, String> {
        let id = self.need("clientId")?;
        SessionId::parse(id).ok_or_else(|| format!("`{id}` is no id of a session"))
    }

    /// A time: not given, or less than nothing, which is that of the transport, or so long.
    fn millis(&self, name: &str) -> Result<Option<Option<Duration>>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let millis = text.parse::<i64>().map_err(|_| format!("{}: `{text}` is no number of milliseconds", self.target));
        Ok(Some(u64::try_from(millis?).ok().map(Duration::from_millis)))
    }
}

/// Lets no message pass.
fn veto<T>(_: &mut Context<'_, T>, _: &ChannelName, _: &Message<'_>) -> Flow {
    Flow::Drop
}

/// An authorizer that always says the same.
enum Opinion {
    Grant,
    Deny(String),
    Ignore,
}

impl Authorizer for Opinion {
    fn authorize(&self, _: Operation, _: &ChannelName, _: &SessionView, _: &Message<'_>) -> Authorization {
        match self {
            Self::Grant => Authorization::Grant,
            Self::Deny(reason) => Authorization::Deny(reason.clone().into()),
            Self::Ignore => Authorization::Ignore,
        }
    }
}
