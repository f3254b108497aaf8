//! Services, remote calls, listeners.

use std::sync::Arc;

use mirant::bayeux::{ChannelTemplate, Context, Flow, Message};
use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::RawValue;

use super::world::{Token, World, channel};

fn answer(context: &mut Context<'_, Token>, message: Message<'_>) -> bool {
    let sender = context.sender().unwrap().id;
    context.deliver(sender, message)
}

/// [SV-1]
#[test]
fn a_message_to_a_service_goes_to_its_listeners_with_its_id() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for name in ["/**", "/service/**", "/service/x"] {
        let seen = Arc::clone(&seen);
        world.listen(name, move |context, channel, message| {
            assert!(context.sender().is_some());
            if !channel.as_str().starts_with("/meta/") {
                seen.lock().push((name, channel.as_str().to_owned(), message.id.as_deref().map(str::to_owned)));
            }
            Flow::Continue
        });
    }
    let ann = world.websocket().connected();
    ann.ask(json!({"channel": "/service/x", "id": "7", "data": 1}));
    ann.ask(json!({"channel": "/service/none", "id": "8", "data": 1}));
    let row = |name, channel: &str, id: &str| (name, channel.to_owned(), Some(id.to_owned()));
    let expected = [
        row("/**", "/service/x", "7"),
        row("/service/**", "/service/x", "7"),
        row("/service/x", "/service/x", "7"),
        row("/**", "/service/none", "8"),
        row("/service/**", "/service/none", "8"),
    ];
    assert_eq!(*seen.lock(), expected, "from the widest to the exact channel");
}

/// [SV-2]
#[test]
fn an_answer_comes_before_the_reply() {
    let world = World::new();
    world.listen("/service/echo", |context, _, message| {
        answer(context, Message { data: message.data.clone(), ..Message::to("/service/echo") });
        Flow::Continue
    });
    let echo = json!({"channel": "/service/echo", "data": {"x": 1}});
    let reply = json!({"channel": "/service/echo", "id": "1", "successful": true});
    let call = json!({"channel": "/service/echo", "id": "1", "data": {"x": 1}});
    let ann = world.long_polling().connected();
    assert_eq!(ann.send(call.clone()).messages(), json!([echo, reply]));
    let bob = world.websocket().connected();
    bob.send(call);
    assert_eq!(bob.frames(), [json!([echo]), json!([reply])]);
}

/// [SV-3] [SV-4]
#[test]
fn a_remote_call_is_answered_once() {
    let world = World::new();
    world.listen("/service/call", |context, _, message| {
        let call = context.call(message).unwrap();
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let is_answered = match message.data.as_deref() {
            Some("\"fail\"") => context.answer(&call, Err(&raw(r#"{"why":"no"}"#))),
            Some("\"null\"") => context.answer(&call, Ok(&raw("null"))),
            _ => context.answer(&call, Ok(&raw(r#"{"a":2}"#))),
        };
        assert!(is_answered);
        assert!(!context.answer(&call.clone(), Ok(&raw("3"))), "a further answer is dropped");
        Flow::Continue
    });
    let ann = world.long_polling().connected();
    let call = |data: &str| ann.send(json!({"channel": "/service/call", "id": "5", "data": data})).messages();
    let reply = json!({"channel": "/service/call", "id": "5", "successful": true});
    let answer = |ok: bool, data: &serde_json::Value| json!({"channel": "/service/call", "id": "5", "successful": ok, "data": data});
    assert_eq!(call("x"), json!([answer(true, &json!({"a": 2})), reply]));
    assert_eq!(call("fail"), json!([answer(false, &json!({"why": "no"})), reply]));
    assert_eq!(call("null"), json!([answer(true, &json!(null)), reply]));
}

/// [SC-6]
#[test]
fn a_listener_that_vetoes_a_message_deletes_it() {
    let world = World::new();
    world.listen("/a/**", |_, channel, message| {
        assert!(message.id.is_none(), "a broadcast has no id any more");
        if channel.as_str() == "/a/bad" { Flow::Drop } else { Flow::Continue }
    });
    world.listen("/service/bad", |_, _, _| Flow::Drop);
    let ann = world.websocket().subscribed("/a/*");
    ann.publish("/a/good", 1);
    assert_eq!(ann.refused(json!({"channel": "/a/bad", "data": 2})), "404::message_deleted");
    assert_eq!(ann.refused(json!({"channel": "/service/bad", "data": 3})), "404::message_deleted");
    assert_eq!(world.publish("/a/bad", &json!(4)), None, "also if the server publishes");
    assert_eq!(ann.heard(), [1]);
}

/// [SC-6]
#[test]
fn listeners_on_meta_channels_see_and_veto_their_messages() {
    let world = World::new();
    world.listen("/meta/subscribe", |_, _, message| {
        if message.subscription.as_deref() == Some("\"/secret\"") { Flow::Drop } else { Flow::Continue }
    });
    let ann = world.websocket().subscribed("/a");
    let refused = ann.refused(json!({"channel": "/meta/subscribe", "subscription": "/secret"}));
    assert_eq!(refused, "404::message_deleted");
    assert_eq!(world.publish("/secret", &json!(1)), Some(0));
}

#[test]
fn a_listener_may_publish_and_its_messages_come_first() {
    let world = World::new();
    world.listen("/a", |context, _, _| {
        let message = Message { data: Some("\"derived\"".into()), ..Message::default() };
        assert_eq!(context.publish(&channel("/b"), message), Some(2));
        Flow::Continue
    });
    let ann = world.websocket().subscribed("/*");
    let bob = world.long_polling().subscribed("/b");
    let held = bob.hold();
    ann.publish("/a", 1);
    assert_eq!(ann.heard(), [json!("derived"), json!(1)]);
    assert!(!held.is_held());
}

/// [SV-6]
#[test]
fn a_service_answers_for_a_family_of_channels() {
    let world = World::new();
    let template: ChannelTemplate = "/service/rooms/{room}/say".parse().unwrap();
    let pattern = template.pattern().as_str().to_owned();
    world.listen(&pattern, move |context, channel, message| {
        let (Some(values), Some(call)) = (template.bind(channel), context.call(message)) else { return Flow::Continue };
        let room = RawValue::from_string(format!("\"{}\"", values[0].1)).unwrap();
        assert!(context.answer(&call, Ok(&room)));
        Flow::Continue
    });
    let ann = world.long_polling().connected();
    let call = |channel: &str| ann.send(json!({"channel": channel, "id": "7"})).messages();
    let answer = json!({"channel": "/service/rooms/blue/say", "id": "7", "successful": true, "data": "blue"});
    assert_eq!(call("/service/rooms/blue/say")[0], answer);
    assert_eq!(call("/service/rooms/blue/shout").as_array().unwrap().len(), 1, "the reply alone");
}
