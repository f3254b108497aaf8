//! What a program that embeds the server plugs into it: services, a policy, authorizers, listeners. Tests script them
//! from outside.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use mirant::bayeux::{
    Authorization, Authorizer, ChannelListener, ChannelName, Context, Extension, Flow, Listener, Message, Operation,
    Peer, SessionView,
};
use mirant::node::{Decision, Node, OutletRef, Policy};
use mirant::policy::DefaultSecurityPolicy;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What an authorizer says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// Granted.
    Grant,
    /// Denied, for this reason.
    Deny(&'static str),
    /// No opinion.
    Ignore,
}

/// What a policy is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// A handshake.
    Handshake,
    /// An operation on a channel.
    Channel(Operation),
}

/// What the policy adds to a denial.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denial {
    /// Advice to `reconnect`.
    pub(crate) reconnect: Option<&'static str>,
    /// The reply's `ext`.
    pub(crate) ext: Option<Value>,
}

/// CometD's default policy, and denials that a test adds while the server runs.
#[derive(Default)]
pub(crate) struct Script {
    denials: Mutex<HashMap<Question, Denial>>,
}

impl Script {
    /// Denies from now on.
    pub(crate) fn deny(&self, question: Question, denial: Denial) {
        self.denials.lock().insert(question, denial);
    }

    fn denial(&self, question: Question) -> Option<Decision> {
        let denial = self.denials.lock().get(&question)?.clone();
        let advice = denial.reconnect.map(|reconnect| json!({"reconnect": reconnect}).to_string());
        let ext = denial.ext.map(|ext| ext.to_string());
        Some(Decision::Denied(mirant::bayeux::Denial { advice, ext, ..mirant::bayeux::Denial::default() }))
    }
}

impl Policy for Script {
    fn can_handshake(&self, peer: &Peer, message: &Message<'_>) -> Decision {
        self.denial(Question::Handshake).unwrap_or_else(|| DefaultSecurityPolicy.can_handshake(peer, message))
    }

    fn can(&self, operation: Operation, channel: &str, session: &SessionView, message: &Message<'_>) -> Decision {
        let scripted = self.denial(Question::Channel(operation));
        scripted.unwrap_or_else(|| DefaultSecurityPolicy.can(operation, channel, session, message))
    }
}

/// An authorizer that always says the same.
pub(crate) struct Opinion(pub(crate) Verdict);

impl Authorizer for Opinion {
    fn authorize(&self, _: Operation, _: &ChannelName, _: &SessionView, _: &Message<'_>) -> Authorization {
        match self.0 {
            Verdict::Grant => Authorization::Grant,
            Verdict::Deny(reason) => Authorization::Deny(Cow::Borrowed(reason)),
            Verdict::Ignore => Authorization::Ignore,
        }
    }
}

/// An extension that drops every message to one channel.
pub(crate) struct VetoOfMeta(pub(crate) String);

impl Extension for VetoOfMeta {
    fn incoming(&self, _: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        if message.channel.as_deref() == Some(&self.0) { Flow::Drop } else { Flow::Continue }
    }
}

/// A channel listener that drops every message.
pub(crate) fn veto(_: &mut Context<'_, OutletRef>, _: &ChannelName, _: &Message<'_>) -> Flow {
    Flow::Drop
}

/// Sends each new session something during its handshake.
pub(crate) struct Greeting {
    /// Where it is sent.
    pub(crate) channel: String,
    /// The data of each message.
    pub(crate) data: Vec<Value>,
}

impl Listener<OutletRef> for Greeting {
    fn session_added(&self, context: &mut Context<'_, OutletRef>, session: &SessionView) {
        for data in &self.data {
            let message = Message { data: Some(data.to_string().into()), ..Message::to(&self.channel) };
            context.deliver(session.id, message);
        }
    }
}

/// Adds services: `/service/echo` sends `data` back, `/service/call` and `/service/refuse` answer a remote call with
/// success and failure, `/service/kick` ends the sender's session.
pub(crate) fn add_services(node: &Arc<Node>) {
    add(node, "/service/echo", |context, message| {
        reply(context, Message { data: message.data.clone(), ..Message::to("/service/echo") });
    });
    add(node, "/service/call", |context, message| answer(context, message, "true"));
    add(node, "/service/refuse", |context, message| answer(context, message, "false"));
    add(node, "/service/kick", |context, _| {
        if let Some(sender) = context.sender().copied() {
            context.disconnect(sender.id);
        }
    });
}

fn add(
    node: &Arc<Node>,
    channel: &str,
    service: impl Fn(&mut Context<'_, OutletRef>, &Message<'_>) + Send + Sync + 'static,
) {
    let listener = move |context: &mut Context<'_, OutletRef>, _: &ChannelName, message: &Message<'_>| {
        service(context, message);
        Flow::Continue
    };
    let listener: Arc<dyn ChannelListener<OutletRef>> = Arc::new(listener);
    node.engine().add_channel_listener(&ChannelName::parse(channel).expect("a channel name"), &listener);
}

fn answer(context: &mut Context<'_, OutletRef>, call: &Message<'_>, successful: &'static str) {
    let mut answer = call.clone();
    answer.ext = None;
    answer.extra = vec![("successful".into(), successful.into())];
    reply(context, answer);
}

fn reply(context: &mut Context<'_, OutletRef>, message: Message<'_>) {
    if let Some(sender) = context.sender().copied() {
        context.deliver(sender.id, message);
    }
}
