//! The service channels that conversations name, for whatever kind of outlet the engine has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::bayeux::{ChannelListener, ChannelName, Context, Engine, Flow, Message};

/// All of them.
const SERVICES: [&str; 9] = ["echo", "tick", "call", "refuse", "burst", "kick", "fail", "lazy", "program"];

/// Longest burst.
const BURST_MAX: u64 = 100_000;

/// How long a message to `/lazy` may wait.
const LAZY_TIMEOUT: Duration = Duration::from_secs(1);

/// Says whether there are all of `services`.
///
/// # Errors
///
/// The first one that there is not.
pub fn check(services: &BTreeSet<String>) -> Result<(), String> {
    match services.iter().find(|service| !SERVICES.contains(&service.as_str())) {
        Some(service) => Err(format!("there is no service `{service}`")),
        None => Ok(()),
    }
}

/// Adds those of `services`.
///
/// # Errors
///
/// The first one that there is not.
pub fn add<T>(engine: &Engine<T>, services: &BTreeSet<String>) -> Result<(), String>
where
    T: Clone + PartialEq + Send + Sync + 'static,
{
    check(services)?;
    for service in services {
        let listener: Arc<dyn ChannelListener<T>> = match service.as_str() {
            "echo" => Arc::new(echo),
            "tick" => Arc::new(tick),
            "call" => Arc::new(call),
            "refuse" => Arc::new(refuse),
            "kick" => Arc::new(kick),
            "burst" => Arc::new(burst),
            "lazy" => {
                engine.set_channel_options(&channel("/lazy")?, |options| {
                    options.lazy = true;
                    options.lazy_timeout = Some(LAZY_TIMEOUT);
                    options.persistent = true;
                });
                continue;
            }
            "program" => {
                super::program::add(engine);
                continue;
            }
            // A handler that fails is the same to the client as none.
            _ => continue,
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
        // As there: what is null is not written.
        let data = message.data.clone().filter(|data| data != "null");
        context.deliver(sender, Message { data, ..Message::to(name.as_str()) });
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

/// `/service/call`: answered as a remote call, with the same data.
fn call<T>(context: &mut Context<'_, T>, _: &ChannelName, message: &Message<'_>) -> Flow
where
    T: Clone + PartialEq,
{
    answer(context, message, "true")
}

/// `/service/refuse`: answered as a remote call that fails, with the same data.
fn refuse<T>(context: &mut Context<'_, T>, _: &ChannelName, message: &Message<'_>) -> Flow
where
    T: Clone + PartialEq,
{
    answer(context, message, "false")
}

fn answer<T>(context: &mut Context<'_, T>, message: &Message<'_>, successful: &'static str) -> Flow
where
    T: Clone + PartialEq,
{
    if let Some(sender) = context.sender().map(|sender| sender.id) {
        let mut answer = message.clone();
        answer.ext = None;
        // As there: what is null is not written.
        answer.data = answer.data.filter(|data| data != "null");
        answer.extra = vec![("successful".into(), successful.into())];
        context.deliver(sender, answer);
    }
    Flow::Continue
}

/// `/service/kick`: ends the sender's session.
fn kick<T>(context: &mut Context<'_, T>, _: &ChannelName, _: &Message<'_>) -> Flow
where
    T: Clone + PartialEq,
{
    if let Some(sender) = context.sender().map(|sender| sender.id) {
        context.disconnect(sender);
    }
    Flow::Continue
}

/// `/service/burst`: as many messages to the sender as `data.count` says, with the data 0, 1, 2 and so on.
fn burst<T>(context: &mut Context<'_, T>, name: &ChannelName, message: &Message<'_>) -> Flow
where
    T: Clone + PartialEq,
{
    let data = message.data.as_deref().and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    let count = data.and_then(|data| data.get("count")?.as_u64()).unwrap_or(0).min(BURST_MAX);
    if let Some(sender) = context.sender().map(|sender| sender.id) {
        for i in 0..count {
            context.deliver(sender, Message { data: Some(i.to_string().into()), ..Message::to(name.as_str()) });
        }
    }
    Flow::Continue
}
