//! Extensions, authorizers and listeners.

use std::borrow::Cow;
use std::sync::Arc;

use mirant::bayeux::{
    Authorization, Authorizer, ChannelName, Context, Ended, Extension, Flow, Listener, Message, Operation, Reply,
    SessionId, SessionView,
};
use parking_lot::Mutex;
use serde_json::json;

use super::world::{Token, World};

type Log = Arc<Mutex<Vec<String>>>;

/// Notes what it sees under its name.
struct Noting(&'static str, Log);

impl Extension for Noting {
    fn incoming(&self, _: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        self.1.lock().push(format!("{} in {}", self.0, message.channel.as_deref().unwrap_or("")));
        Flow::Continue
    }

    fn outgoing(&self, _: Option<SessionId>, to: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        let whom = if to.is_some() { "one" } else { "all" };
        self.1.lock().push(format!("{} out {} to {whom}", self.0, message.channel.as_deref().unwrap_or("")));
        Flow::Continue
    }

    fn reply(&self, _: Option<&SessionView>, reply: &mut Reply<'_>) -> Flow {
        self.1.lock().push(format!("{} reply {}", self.0, reply.channel.as_deref().unwrap_or("")));
        Flow::Continue
    }
}

/// [SC-7]
#[test]
fn messages_pass_the_servers_extensions_then_the_sessions_and_replies_in_reverse() {
    let world = World::new();
    let log = Log::default();
    let ann = world.websocket().subscribed("/a");
    for name in ["server 1", "server 2"] {
        world.engine().add_extension(Arc::new(Noting(name, Arc::clone(&log))));
    }
    for name in ["own 1", "own 2"] {
        assert!(world.engine().add_session_extension(ann.session_id(), Arc::new(Noting(name, Arc::clone(&log)))));
    }
    ann.publish("/a", 1);
    let expected = [
        "server 1 in /a",
        "server 2 in /a",
        "own 1 in /a",
        "own 2 in /a",
        "server 2 out /a to all",
        "server 1 out /a to all",
        "server 2 reply /a",
        "server 1 reply /a",
        "own 2 reply /a",
        "own 1 reply /a",
        "own 2 out /a to one",
        "own 1 out /a to one",
    ];
    assert_eq!(std::mem::take(&mut *log.lock()), expected);

    ann.hold();
    log.lock().clear();
    ann.disconnect();
    let expected = [
        "server 1 in /meta/disconnect",
        "server 2 in /meta/disconnect",
        "own 1 in /meta/disconnect",
        "own 2 in /meta/disconnect",
        "server 2 reply /meta/disconnect",
        "server 1 reply /meta/disconnect",
        "own 2 reply /meta/disconnect",
        "own 1 reply /meta/disconnect",
        "server 2 reply /meta/connect",
        "server 1 reply /meta/connect",
        "own 2 reply /meta/connect",
        "own 1 reply /meta/connect",
    ];
    assert_eq!(*log.lock(), expected, "also when the session has ended");
}

/// Writes its name into `ext`.
struct Signing(&'static str);

impl Extension for Signing {
    fn outgoing(&self, _: Option<SessionId>, _: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        let old = message.ext.as_deref().unwrap_or("0");
        message.ext = Some(Cow::Owned(format!(r#"{{"{}":{old}}}"#, self.0)));
        Flow::Continue
    }
}

/// [SC-8] [PB-4]
#[test]
fn what_an_extension_of_one_session_changes_only_that_session_sees() {
    let world = World::new();
    world.engine().add_extension(Arc::new(Signing("server")));
    let ann = world.websocket().subscribed("/a");
    let bob = world.websocket().subscribed("/a");
    world.engine().add_session_extension(ann.session_id(), Arc::new(Signing("own")));
    bob.ask(json!({"channel": "/a", "data": 1, "ext": {"x": 1}, "extra": [true]}));
    let event = |ext| json!({"channel": "/a", "data": 1, "ext": ext, "extra": [true]});
    assert_eq!(bob.received(), [event(json!({"server": {"x": 1}}))]);
    assert_eq!(ann.received(), [event(json!({"own": {"server": {"x": 1}}}))]);
}

/// [SC-8] [SV-3]
#[test]
fn the_answer_of_a_call_survives_the_extensions_of_the_caller() {
    let world = World::new();
    world.listen("/service/call", |context, _, message| {
        let call = context.call(message).unwrap();
        assert!(context.answer(&call, Ok(serde_json::value::RawValue::NULL)));
        Flow::Continue
    });
    let ann = world.websocket().connected();
    world.engine().add_session_extension(ann.session_id(), Arc::new(Noting("own", Log::default())));
    ann.ask(json!({"channel": "/service/call", "id": "x", "data": 1}));
    let answer = json!({"channel": "/service/call", "id": "x", "successful": true, "data": null});
    assert_eq!(ann.received(), [answer]);
}

/// [SC-8]
#[test]
fn what_the_server_publishes_may_be_deeper_than_clients_may_send() {
    let world = World::with(|config| config.limits.max_depth = 5);
    let ann = world.websocket().subscribed("/a");
    world.engine().add_session_extension(ann.session_id(), Arc::new(Signing("own")));
    let mut deep = json!(1);
    (0..20).for_each(|_| deep = json!([deep]));
    world.publish("/a", &deep);
    assert_eq!(ann.heard(), [deep]);
}

/// Drops what goes out to one channel.
struct Hiding(&'static str);

impl Extension for Hiding {
    fn outgoing(&self, _: Option<SessionId>, _: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        if message.channel.as_deref() == Some(self.0) { Flow::Drop } else { Flow::Continue }
    }

    fn reply(&self, _: Option<&SessionView>, reply: &mut Reply<'_>) -> Flow {
        if reply.channel.as_deref() == Some("/silence") { Flow::Drop } else { Flow::Continue }
    }
}

/// [SC-6] [SC-7]
#[test]
fn outgoing_extensions_may_drop_for_all_or_for_one() {
    let world = World::new();
    world.engine().add_extension(Arc::new(Hiding("/all")));
    let ann = world.websocket().subscribed("/*");
    let bob = world.websocket().subscribed("/*");
    world.engine().add_session_extension(bob.session_id(), Arc::new(Hiding("/one")));
    assert_eq!(ann.refused(json!({"channel": "/all", "data": 1})), "404::message_deleted");
    ann.publish("/one", 2);
    assert_eq!((ann.heard(), bob.heard()), (vec![json!(2)], vec![]));
    // A dropped reply leaves the client without an answer.
    ann.send(json!([{"channel": "/b", "id": "1"}, {"channel": "/silence", "id": "2"}, {"channel": "/b", "id": "3"}]));
    let ids: Vec<_> = ann.received().into_iter().filter(|reply| !reply["id"].is_null()).collect();
    assert_eq!(ids.len(), 2);
}

/// Sees only channels and replies go wrong: what is called when no session could be found.
struct Blank;

impl Extension for Blank {
    fn incoming(&self, from: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        if from.is_none() {
            message.ext = Some(Cow::Borrowed("{}"));
        }
        message.channel = message.channel.take().map(|channel| match &*channel {
            "/old" => Cow::Borrowed("/new"),
            _ => channel,
        });
        Flow::Continue
    }
}

/// [EN-2] [SC-7]
#[test]
fn an_incoming_extension_may_change_the_message() {
    let world = World::new();
    world.engine().add_extension(Arc::new(Blank));
    let ann = world.websocket().subscribed("/new");
    assert_eq!(ann.ask(json!({"channel": "/old", "data": 1}))["channel"], "/old");
    assert_eq!(ann.received(), [json!({"channel": "/new", "data": 1})]);
}

/// An authorizer that always says the same.
pub(super) struct Always(pub(super) Authorization);

impl Authorizer for Always {
    fn authorize(&self, _: Operation, _: &ChannelName, _: &SessionView, _: &Message<'_>) -> Authorization {
        self.0.clone()
    }
}

/// An authorizer that says something about one operation.
struct About(Operation, Authorization);

impl Authorizer for About {
    fn authorize(&self, operation: Operation, _: &ChannelName, _: &SessionView, _: &Message<'_>) -> Authorization {
        if operation == self.0 { self.1.clone() } else { Authorization::Grant }
    }
}

fn denied(reason: &'static str) -> Authorization {
    Authorization::Deny(Cow::Borrowed(reason))
}

/// [SC-4] [SC-5] [SC-3]
#[test]
fn one_denial_denies_and_without_a_grant_nothing_is_granted() {
    let world = World::new();
    world.authorize("/t/*", Always(Authorization::Grant));
    world.authorize("/t/x", Always(denied("custom")));
    world.authorize("/i/**", Always(Authorization::Ignore));
    let ann = world.websocket().connected();
    let publish = |channel: &str| ann.refused(json!({"channel": channel, "data": 1}));
    let subscribe = |channel: &str| ann.refused(json!({"channel": "/meta/subscribe", "subscription": channel}));
    assert_eq!(publish("/t/x"), "403:custom:publish_denied", "it exists");
    ann.publish("/t/y", 1);
    ann.subscribe("/t/y");
    assert_eq!(subscribe("/t/x"), "403:custom:subscribe_denied");
    assert_eq!(publish("/i/a"), "403:denied_by_not_granting:channel_create_denied");
    assert_eq!(subscribe("/i/a"), "403:denied_by_not_granting:create_denied");
    assert_eq!(subscribe("/i/**"), "403:denied_by_not_granting:subscribe_denied");
    ann.publish("/free", 1);
    ann.publish("/i", 1);
    world.authorize("/i/a", Always(Authorization::Grant));
    ann.publish("/i/a", 1);
    world.publish("/i/b", &json!(1));
    assert_eq!(publish("/i/b"), "403:denied_by_not_granting:publish_denied");
}

/// [SC-4]
#[test]
fn authorizers_see_services_and_never_meta_channels() {
    let world = World::new();
    world.authorize("/**", About(Operation::Publish, denied("closed")));
    let ann = world.websocket().connected();
    ann.subscribe("/a");
    assert_eq!(ann.refused(json!({"channel": "/service/x"})), "403:closed:publish_denied");
    assert_eq!(ann.refused(json!({"channel": "/a"})), "403:closed:publish_denied");
    assert_eq!(world.publish("/a", &json!(1)), Some(1), "the server is not asked");
    assert_eq!(ann.heard(), [1]);
    ann.disconnect();
}

/// Asks in which order it is asked.
struct Order(&'static str, Log);

impl Authorizer for Order {
    fn authorize(&self, operation: Operation, _: &ChannelName, _: &SessionView, _: &Message<'_>) -> Authorization {
        self.1.lock().push(format!("{} {operation:?}", self.0));
        Authorization::Grant
    }
}

/// [SC-4]
#[test]
fn authorizers_are_asked_from_the_widest_pattern_inwards() {
    let world = World::new();
    let log = Log::default();
    for name in ["/a/b", "/a/*", "/**", "/b", "/a/**"] {
        world.authorize(name, Order(name, Arc::clone(&log)));
    }
    world.websocket().connected().publish("/a/b", 1);
    assert_eq!(*log.lock(), ["/** Publish", "/a/** Publish", "/a/* Publish", "/a/b Publish"]);
}

/// Notes comings and goings.
struct Gatekeeper(Log);

impl Listener<Token> for Gatekeeper {
    fn session_added(&self, _: &mut Context<'_, Token>, _: &SessionView) {
        self.0.lock().push("added".to_owned());
    }

    fn session_removed(&self, context: &mut Context<'_, Token>, session: &SessionView, ended: Ended) {
        assert!(context.engine().session(session.id).is_none());
        self.0.lock().push(format!("removed {ended:?}"));
    }

    fn subscribed(&self, _: &mut Context<'_, Token>, _: &SessionView, channel: &ChannelName) {
        self.0.lock().push(format!("subscribed {channel}"));
    }

    fn unsubscribed(&self, _: &mut Context<'_, Token>, _: &SessionView, channel: &ChannelName) {
        self.0.lock().push(format!("unsubscribed {channel}"));
    }

    fn channel_added(&self, channel: &ChannelName) {
        self.0.lock().push(format!("channel {channel}"));
    }

    fn channel_removed(&self, channel: &ChannelName) {
        self.0.lock().push(format!("no channel {channel}"));
    }
}

#[test]
fn listeners_hear_of_each_coming_and_going_once() {
    let world = World::new();
    let log = Log::default();
    world.engine().add_listener(Arc::new(Gatekeeper(Arc::clone(&log))));
    let take = || std::mem::take(&mut *log.lock());
    let ann = world.websocket().connected();
    ann.subscribe("/a");
    ann.subscribe("/a");
    ann.subscribe("/b");
    assert_eq!(take(), ["added", "channel /a", "subscribed /a", "channel /b", "subscribed /b"]);
    ann.unsubscribe("/a");
    ann.unsubscribe("/a");
    ann.disconnect();
    assert_eq!(take(), ["unsubscribed /a", "unsubscribed /b", "removed Disconnected"]);
    let bob = world.long_polling().shaken();
    world.advance(10_000);
    assert!(!bob.is_alive());
    assert_eq!(take(), ["added", "no channel /a", "no channel /b", "removed Expired"]);
}
