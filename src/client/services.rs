//! The service channels that conversations name, for whatever kind of outlet the engine has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::bayeux::{ChannelListener, ChannelName, Context, Engine, Flow, Message};

/// How long a message to `/lazy` may wait.
const LAZY_TIMEOUT: Duration = Duration::from_secs(1);

/// Adds those of `services`.
///
/// # Errors
///
/// The first one that there is not.
pub fn add<T>(engine: &Engine<T>, services: &BTreeSet<String>) -> Result<(), String>
where
    T: Clone + PartialEq + Send + Sync + 'static,
{
    for service in services {
        let listener: Arc<dyn ChannelListener<T>> = match service.as_str() {
            "echo" => Arc::new(echo),
            "tick" => Arc::new(tick),
            "lazy" => {
                engine.set_channel_options(&channel("/lazy")?, |options| {
                    options.lazy = true;
                    options.lazy_timeout = Some(LAZY_TIMEOUT);
                    options.persistent = true;
                });
                continue;
            }
            _ => return Err(format!("there is no service `{service}`")),
        };
        engine.add_channel_listener(&channel(&format!("/service/{service}"))?, &listener);
    }
    Ok(())
}

/// Parses a channel name that a conversation gives.
///
/// # Errors
///
/// It is none.
pub fn channel(name: &str) -> Result<ChannelName, String> {
    ChannelName::parse(name).map_err(|_| format!("`{name}` is not a channel"))
}

/// `/service/echo`: the same data back to the sender.
fn echo<T>(context: &mut Context<'_, T>, name: &ChannelName, message: &Message<'_>) -> Flow
where
    T: Clone + PartialEq,
{
    if let Some(sender) = context.sender().map(|sender| sender.id) {
        context.deliver(sender, Message { data: message.data.clone(), ..Message::to(name.as_str()) });
    }
    Flow::Continue
}

/// `/service/tick`: three publications to `/tick`.
fn tick<T>(context: &mut Context<'_, T>, _: &ChannelName, _: &Message<'_>) -> Flow
where
    T: Clone + PartialEq,
{
    let Ok(tick) = channel("/tick") else { return Flow::Continue };
    for i in 1..=3 {
        context.publish(&tick, Message { data: Some(format!("{{\"i\":{i}}}").into()), ..Message::default() });
    }
    Flow::Continue
}
