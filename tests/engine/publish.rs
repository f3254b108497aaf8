//! Publishing and what subscribers get.

use mirant::bayeux::{Denial, Message, Operation, Verdict};
use serde_json::json;

use super::world::World;

/// [PB-1] [PB-2] [PB-8]
#[test]
fn a_subscriber_gets_the_message_without_what_belongs_to_replies() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let bob = world.websocket().connected();
    let sent = json!({
        "channel": "/a", "id": "9", "data": {"n": 1}, "ext": {"e": 1}, "timestamp": "now", "extra": [1], "data2": null,
        "advice": {"reconnect": "none"}, "successful": false, "error": "x", "x-messages": 3, "subscription": "/b",
        "connectionType": "x", "version": "1", "minimumVersion": "1", "supportedConnectionTypes": [],
    });
    bob.ask(sent);
    let forwarded = json!({
        "channel": "/a", "data": {"n": 1}, "ext": {"e": 1}, "timestamp": "now", "extra": [1], "data2": null,
    });
    assert_eq!(ann.received(), [forwarded]);
}

/// [PB-3]
#[test]
fn data_may_be_absent_or_null() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    ann.ask(json!({"channel": "/a"}));
    ann.ask(json!({"channel": "/a", "data": null}));
    assert_eq!(ann.received(), [json!({"channel": "/a"}), json!({"channel": "/a", "data": null})]);
}

/// [CH-2]
#[test]
fn a_message_to_one_session_keeps_the_spelling_of_its_channel() {
    let world = World::new();
    let ann = world.websocket().connected();
    let deliver = |channel: &'static str| {
        let to = ann.session_id();
        world.act(|engine, now, dirty| engine.deliver(now, None, to, Message::to(channel), dirty))
    };
    assert!(deliver("/a/") && !deliver("a"));
    assert_eq!(ann.received(), [json!({"channel": "/a/"})]);
}

/// [PB-5] [SC-1] [SC-3]
#[test]
fn the_policy_may_deny_creating_and_publishing() {
    let world = World::new();
    world.set_policy(|_, message| {
        let mut verdict = Verdict::granted();
        match message.channel.as_deref() {
            Some("/meta/foo" | "/create") => verdict.deny(Operation::Create, 0, Denial::default()),
            Some("/publish") => verdict.deny(Operation::Publish, 0, Denial::default()),
            _ => {}
        }
        verdict
    });
    let ann = world.websocket().connected();
    let refused = |channel: &str| ann.refused(json!({"channel": channel, "data": 1}));
    assert_eq!(refused("/meta/foo"), "403:denied_by_security_policy:channel_create_denied");
    assert_eq!(refused("/create"), "403:denied_by_security_policy:channel_create_denied");
    assert_eq!(refused("/publish"), "403:denied_by_security_policy:publish_denied");
    world.publish("/create", &json!(0));
    ann.publish("/create", 1);
}

/// [PB-6]
#[test]
fn a_publisher_hears_itself_unless_server_session_or_channel_say_no() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    ann.publish("/a", 1);
    assert_eq!(ann.heard(), [1]);
    assert!(world.engine().set_broadcast_to_publisher(ann.session_id(), false));
    ann.publish("/a", 2);
    assert_eq!(ann.heard(), [0; 0], "the session says no");

    let bob = world.websocket().subscribed("/silent/x");
    world.set_options("/silent/x", |options| options.broadcast_to_publisher = false);
    bob.publish("/silent/x", 1);
    assert_eq!(bob.heard(), [0; 0], "the channel of the subscription says no");
    world.publish("/silent/x", &json!(2));
    assert_eq!(bob.heard(), [2]);
    bob.subscribe("/silent/*");
    bob.publish("/silent/x", 3);
    assert_eq!(bob.heard(), [3], "another subscription's channel does not");
    bob.unsubscribe("/silent/x");
    world.set_options("/silent/*", |options| options.broadcast_to_publisher = false);
    bob.publish("/silent/x", 4);
    assert_eq!(bob.heard(), [0; 0]);

    let quiet = World::with(|config| config.broadcast_to_publisher = false);
    let ann = quiet.websocket().subscribed("/a");
    let bob = quiet.websocket().subscribed("/a");
    ann.publish("/a", 1);
    assert_eq!((ann.heard(), bob.heard()), (vec![], vec![json!(1)]));
}

/// [PB-7]
#[test]
fn a_session_gets_one_copy_however_many_patterns_match() {
    let world = World::new();
    let ann = world.websocket().connected();
    let bob = world.websocket().subscribed("/**");
    let carl = world.websocket().subscribed("/a/b");
    for name in ["/**", "/a/**", "/a/*", "/a/b", "/a/b/**"] {
        ann.subscribe(name);
    }
    carl.subscribe("/a/*");
    assert_eq!(world.publish("/a/b", &json!(1)), Some(3));
    assert_eq!((ann.heard(), bob.heard(), carl.heard()), (vec![json!(1)], vec![json!(1)], vec![json!(1)]));
    ann.unsubscribe("/a/b");
    ann.unsubscribe("/**");
    bob.unsubscribe("/**");
    assert_eq!(world.publish("/a/b", &json!(2)), Some(2));
    assert_eq!((ann.heard(), bob.heard(), carl.heard()), (vec![json!(2)], vec![], vec![json!(2)]));
}

/// [PB-9] [CH-4]
#[test]
fn publishing_to_a_pattern_reaches_it_and_the_patterns_above() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a/*");
    let bob = world.websocket().subscribed("/a/**");
    let carl = world.websocket().subscribed("/a/b");
    let dora = world.websocket().subscribed("/**");
    ann.publish("/a/*", 1);
    assert_eq!(ann.received(), [json!({"channel": "/a/*", "data": 1})]);
    assert_eq!((bob.heard(), carl.heard(), dora.heard()), (vec![json!(1)], vec![], vec![json!(1)]));
    ann.publish("/a/**", 2);
    assert_eq!((ann.heard(), bob.heard(), dora.heard()), (vec![], vec![json!(2)], vec![json!(2)]));
}

/// [CH-4]
#[test]
fn a_pattern_matches_no_name_above_or_too_far_below() {
    let world = World::new();
    let star = world.websocket().subscribed("/a/*");
    let deep = world.websocket().subscribed("/a/**");
    for name in ["/a", "/ab", "/b/a", "/a/b", "/a/b/c"] {
        world.publish(name, &json!(name));
    }
    assert_eq!(star.heard(), ["/a/b"]);
    assert_eq!(deep.heard(), ["/a/b", "/a/b/c"]);
}

/// [CH-1] [CH-2] [CH-5]
#[test]
fn trailing_blanks_and_a_slash_do_not_count_and_are_kept() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a/");
    ann.publish("/a", 1);
    ann.publish("/a/", 2);
    ann.publish("/a  ", 3);
    let seen: Vec<_> = ann.received().into_iter().map(|mut event| event["channel"].take()).collect();
    assert_eq!(seen, ["/a", "/a/", "/a  "]);
    let bob = world.websocket().subscribed("/meta");
    bob.subscribe("/service");
    bob.publish("/meta", 1);
    bob.publish("/service", 2);
    assert_eq!(bob.heard(), [1, 2]);
}

/// [CH-3]
#[test]
fn a_star_within_a_segment_is_an_ordinary_character() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a*b/c");
    ann.publish("/axb/c", 1);
    ann.publish("/a*b/c", 2);
    assert_eq!(ann.heard(), [2]);
    for bad in ["/a/*/b", "/**/b", "/a/ /b", "/", "//", "/ö", "/a%b"] {
        assert_eq!(ann.refused(json!({"channel": bad})), "405::channel_invalid", "{bad}");
    }
}

/// [PB-10] [CN-6]
#[test]
fn messages_of_one_publisher_keep_their_order() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a/**");
    let bob = world.websocket().subscribed("/a/*");
    let carl = world.websocket().connected();
    let batch: Vec<_> =
        (0..20).map(|number| json!({"channel": format!("/a/{}", number % 3), "data": number})).collect();
    let held = ann.hold();
    carl.send(batch.into());
    let expected: Vec<_> = (0..20).collect();
    assert_eq!(bob.heard(), expected);
    assert_eq!(held.messages().as_array().unwrap().len(), 21, "all travel in one response, then the connect reply");
    assert_eq!(ann.heard(), expected);
}

/// [PB-4]
#[test]
fn all_subscribers_under_one_name_share_the_same_bytes() {
    let world = World::new();
    let clients: Vec<_> = (0..3).map(|_| world.websocket().subscribed("/a")).collect();
    for client in &clients {
        client.stop_reading();
    }
    world.publish("/a", &json!({"n": 1}));
    let publications: Vec<_> = clients.iter().map(|client| world.take_one(client)).collect();
    assert!(publications.iter().all(|other| std::sync::Arc::ptr_eq(other, &publications[0])));
}

/// [PB-11] [EN-18]
#[test]
fn the_publishers_own_copy_comes_before_the_reply() {
    let world = World::new();
    let event = json!({"channel": "/a", "data": 1});
    let reply = json!({"channel": "/a", "id": "x", "successful": true});
    let publish = json!({"channel": "/a", "id": "x", "data": 1});
    let ann = world.long_polling().subscribed("/a");
    assert_eq!(ann.send(publish.clone()).messages(), json!([event, reply]));
    let bob = world.websocket().subscribed("/a");
    bob.send(publish);
    assert_eq!(bob.frames(), [json!([event]), json!([reply])]);
}

/// [PB-12]
#[test]
fn publishing_needs_a_session() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    for stranger in [world.long_polling(), world.websocket()] {
        let id = "0".repeat(32);
        assert_eq!(stranger.refused(json!({"channel": "/a", "data": 1})), "402::session_unknown");
        assert_eq!(stranger.refused(json!({"channel": "/a", "data": 1, "clientId": id})), "402::session_unknown");
    }
    assert_eq!(ann.heard(), [0; 0]);
}

/// [CH-7]
#[test]
fn subscribers_of_patterns_see_no_meta_and_no_service_messages() {
    let world = World::new();
    let ann = world.websocket().subscribed("/**");
    ann.subscribe("/*");
    let bob = world.websocket().connected();
    bob.publish("/service/echo", 1);
    bob.subscribe("/b");
    bob.disconnect();
    assert_eq!(ann.received(), [json!(null); 0]);
}

#[test]
fn the_server_cannot_publish_where_nobody_could_hear() {
    let world = World::new();
    assert_eq!(world.publish("/meta/connect", &json!(1)), None);
    assert_eq!(world.publish("/service/a", &json!(1)), None);
    let ann = world.websocket().subscribed("/a");
    assert_eq!(world.publish("/a", &json!(1)), Some(1));
    assert_eq!(ann.received(), [json!({"channel": "/a", "data": 1})]);
    let totals = world.engine().totals();
    assert_eq!((totals.published, totals.delivered), (1, 1));
}
