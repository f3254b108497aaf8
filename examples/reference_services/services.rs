//! The services: what clients get when they publish to a channel below `/service/`.

use std::sync::Arc;

use mirant::bayeux::extension::Binary;
use mirant::bayeux::{ChannelName, Context, Json, Message};
use mirant::node::{Node, OutletRef, ServiceError};
use serde_json::Value;
use serde_json::value::RawValue;

/// What a service does with one message.
type Service = fn(&mut Context<'_, OutletRef>, &Message<'_>) -> Result<(), ServiceError>;

/// The services by the last segment of their channels.
const SERVICES: [(&str, Service); 5] =
    [("echo", echo), ("call", call), ("burst", burst), ("kick", kick), ("fail", fail)];

/// Adds all services to a node.
pub(crate) fn add(node: &Arc<Node>) {
    for (name, service) in SERVICES {
        add_one(node, name, service);
    }
}

/// Adds the service that only scripts of this repository use.
pub(crate) fn add_scripted(node: &Arc<Node>) {
    add_one(node, "refuse", refuse);
}

fn add_one(node: &Arc<Node>, name: &str, service: Service) {
    let channel = ChannelName::parse(&format!("/service/{name}")).expect("a channel name");
    node.add_service(&channel, service);
}

/// Leaves out a `null`, as CometD does when it writes a message.
pub(crate) fn unless_null(data: Option<Json<'_>>) -> Option<Json<'_>> {
    data.filter(|data| data != "null")
}

/// Sends to the session that the message at hand came from; false if it is gone.
fn reply(context: &mut Context<'_, OutletRef>, message: Message<'_>) -> bool {
    context.sender().map(|sender| sender.id).is_some_and(|sender| context.deliver(sender, message))
}

/// The bytes of a message that has some, where the server knows that extension.
fn bytes(context: &Context<'_, OutletRef>, message: &Message<'_>) -> Option<Binary> {
    if context.engine().config().extensions.binary { Binary::of(message) } else { None }
}

/// `data` back to the sender, on the same channel.
fn echo(context: &mut Context<'_, OutletRef>, message: &Message<'_>) -> Result<(), ServiceError> {
    let echo = match bytes(context, message) {
        Some(bytes) => bytes.put_into(Message::to("/service/echo")),
        None => Message { data: unless_null(message.data.clone()), ..Message::to("/service/echo") },
    };
    reply(context, echo);
    Ok(())
}

/// Answers a remote call with its own `data`.
fn call(context: &mut Context<'_, OutletRef>, message: &Message<'_>) -> Result<(), ServiceError> {
    match (context.call(message), &message.data) {
        (Some(call), Some(data)) => {
            if let Some(bytes) = bytes(context, message) {
                context.answer_binary(&call, Ok(&bytes));
                return Ok(());
            }
            let result = RawValue::from_string(data.clone().into_owned())?;
            context.answer(&call, Ok(&result));
        }
        // Nobody can wait for an answer without an id, and one without data answers nothing; sent they are all the same.
        _ => {
            let extra = vec![("successful".into(), "true".into())];
            let (id, data) = (message.id.clone(), message.data.clone());
            reply(context, Message { id, data, extra, ..Message::to("/service/call") });
        }
    }
    Ok(())
}

/// Answers a remote call as one that fails, with its own `data`.
fn refuse(context: &mut Context<'_, OutletRef>, message: &Message<'_>) -> Result<(), ServiceError> {
    let extra = vec![("successful".into(), "false".into())];
    let (id, data) = (message.id.clone(), unless_null(message.data.clone()));
    reply(context, Message { id, data, extra, ..Message::to("/service/refuse") });
    Ok(())
}

/// As many messages to the sender as `data.count` says: 0, 1, 2, …
fn burst(context: &mut Context<'_, OutletRef>, message: &Message<'_>) -> Result<(), ServiceError> {
    let data: Value = serde_json::from_str(message.data.as_deref().unwrap_or("null"))?;
    let count = data["count"].as_f64().ok_or("data.count is no number")?;
    for number in (0..i32::MAX).take_while(|number| f64::from(*number) < count.trunc()) {
        let data = Some(number.to_string().into());
        if !reply(context, Message { data, ..Message::to("/service/burst") }) {
            return Err("the queue of the session is full".into());
        }
    }
    Ok(())
}

/// Ends the sender's session.
fn kick(context: &mut Context<'_, OutletRef>, _: &Message<'_>) -> Result<(), ServiceError> {
    let sender = context.sender().map(|sender| sender.id).ok_or("nobody to disconnect")?;
    context.disconnect(sender);
    Ok(())
}

/// Fails; the sender does not notice.
fn fail(_: &mut Context<'_, OutletRef>, _: &Message<'_>) -> Result<(), ServiceError> {
    Err("asked to fail".into())
}
