//! Event streams of Faye's clients: what they bring, what the requests beside them get, and how they end.

use mirant::bayeux::{MountId, NoStream, Peer, Transport};
use serde_json::{Value, json};

use super::client::Client;
use super::world::{World, millis};

/// A session with a stream: its requests, and the stream.
fn streaming(world: &World, channel: &str) -> (Client, Client) {
    let ann = world.long_polling().subscribed(channel);
    ann.frames();
    let stream = ann.stream_of_events();
    (ann, stream)
}

/// What a client with a stream is advised.
fn advice() -> Value {
    json!({"reconnect": "retry", "interval": 30_000, "timeout": 0})
}

/// [FY-1]
#[test]
fn what_only_faye_knows_is_offered_to_who_names_it() {
    let offered = |world: &World, named: Value| {
        let handshake = json!({"channel": "/meta/handshake", "supportedConnectionTypes": named});
        world.long_polling().ask(handshake)["supportedConnectionTypes"].clone()
    };
    let world = World::new();
    let cometd = json!(["websocket", "long-polling", "callback-polling"]);
    for named in
        [json!(["websocket", "long-polling"]), json!([]), json!(null), json!(5), json!([5, null, ["eventsource"]])]
    {
        assert_eq!(offered(&world, named.clone()), cometd, "{named}");
    }
    let all = json!(["websocket", "long-polling", "cross-origin-long-polling", "callback-polling", "eventsource"]);
    assert_eq!(offered(&world, json!(["eventsource", "cross-origin-long-polling", "in-process"])), all);
    let with_stream = json!(["websocket", "long-polling", "callback-polling", "eventsource"]);
    assert_eq!(offered(&world, json!("eventsource")), with_stream);
    assert_eq!(offered(&world, json!(["event\u{73}ource"])), with_stream);

    let named = json!(["eventsource", "cross-origin-long-polling"]);
    let without = World::with(|config| config.allowed_transports = vec![Transport::WebSocket]);
    assert_eq!(offered(&without, named.clone()), json!(["websocket"]));
    let waiting = World::with(|config| config.long_polling.meta_connect_deliver_only = true);
    let no_stream = json!(["websocket", "long-polling", "cross-origin-long-polling", "callback-polling"]);
    assert_eq!(offered(&waiting, named), no_stream);
}

/// [FY-3] [FY-4] [PB-10]
#[test]
fn publications_leave_on_the_stream_and_replies_with_the_requests() {
    let world = World::new();
    let (ann, stream) = streaming(&world, "/a");
    world.publish("/a", &json!(1));
    let sent = ann.send(json!([{"channel": "/a", "id": "1", "data": 2}, {"channel": "/a", "id": "2", "data": 3}]));
    let reply = |id: &str| json!({"channel": "/a", "id": id, "successful": true});
    assert_eq!(sent.messages(), json!([reply("1"), reply("2")]));
    assert_eq!(stream.heard(), [1, 2, 3]);
    ann.subscribe("/b");
    assert_eq!(ann.heard().len(), 0);
}

/// [FY-4]
#[test]
fn a_stream_brings_what_was_queued_before() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    world.publish("/a", &json!(1));
    let stream = ann.stream_of_events();
    assert_eq!(stream.heard(), [1]);
}

/// [FY-5]
#[test]
fn a_connect_beside_a_stream_is_answered_at_once_with_its_own_advice() {
    let world = World::new();
    let ann = world.long_polling().shaken();
    // Before the stream, with it, and by whatever name.
    let first = ann.connect_beside_stream();
    assert_eq!(first.reply()["advice"], advice());
    let stream = ann.stream_of_events();
    for connect in [ann.connect_beside_stream(), ann.connect(), ann.connect_beside_stream()] {
        assert_eq!(connect.reply()["successful"], true);
        assert_eq!(connect.reply()["advice"], advice());
    }
    world.act(|engine, _, _| engine.set_session_times(ann.session_id(), Some(millis(4_000)), None));
    assert_eq!(ann.connect_beside_stream().reply()["advice"]["interval"], 4_000);
    world.act(|engine, _, _| engine.set_session_times(ann.session_id(), Some(millis(0)), None));
    assert_eq!(ann.connect_beside_stream().reply()["advice"], advice(), "never without a pause");
    assert!(stream.events().is_empty());
}

/// [FY-5] [CN-8]
#[test]
fn a_client_that_falls_back_is_advised_anew_and_held() {
    let world = World::new();
    let (ann, stream) = streaming(&world, "/a");
    ann.connect_beside_stream();
    stream.cut();
    let held = ann.hold();
    world.publish("/a", &json!(1));
    let retry = json!({"reconnect": "retry", "interval": 0, "timeout": 30_000});
    assert_eq!(held.messages()[0]["data"], 1);
    assert_eq!(held.reply()["advice"], retry);
    world.publish("/a", &json!(2));
    let late = ann.connect_beside_stream();
    assert_eq!(late.messages()[0]["data"], 2, "without a stream a response brings it");
}

/// [FY-4] [CN-13]
#[test]
fn a_held_connect_ends_well_when_the_stream_opens() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let held = ann.hold();
    let stream = ann.stream_of_events();
    assert_eq!(held.reply()["successful"], true);
    assert!(held.reply().get("advice").is_none());
    world.publish("/a", &json!(1));
    assert_eq!(stream.heard(), [1]);
}

/// [FY-6]
#[test]
fn a_newer_stream_takes_the_place_of_the_older() {
    let world = World::new();
    let (ann, first) = streaming(&world, "/a");
    let second = ann.stream_of_events();
    assert_eq!((first.closed(), second.closed()), (Some(1000), None));
    world.publish("/a", &json!(1));
    assert_eq!((first.heard().len(), second.heard().len()), (0, 1));
    first.cut();
    world.publish("/a", &json!(2));
    assert_eq!(second.heard(), [2], "the end of the older one means nothing");
}

/// [FY-6]
#[test]
fn a_stream_ends_with_its_session() {
    let world = World::new();
    let (ann, stream) = streaming(&world, "/a");
    ann.disconnect();
    assert_eq!(stream.closed(), Some(1000));
    let (bob, stream) = streaming(&world, "/a");
    assert!(world.disconnect(&bob));
    assert_eq!(stream.closed(), Some(1000));
    let (carl, stream) = streaming(&world, "/a");
    world.advance(20_000);
    assert!(!carl.is_alive());
    assert_eq!(stream.closed(), Some(1000));
}

/// [FY-6]
#[test]
fn a_stream_ends_when_its_session_moves_to_a_socket() {
    let world = World::new();
    let (ann, stream) = streaming(&world, "/a");
    let socket = ann.moved_to(Transport::WebSocket);
    socket.connect_at_once();
    assert_eq!(stream.closed(), Some(1000));
    world.publish("/a", &json!(1));
    assert_eq!((stream.heard().len(), socket.heard()), (0, vec![json!(1)]));
    let held = socket.hold();
    let again = ann.stream_of_events();
    world.publish("/a", &json!(2));
    assert_eq!((socket.heard().len(), again.heard()), (0, vec![json!(2)]));
    assert_eq!((socket.closed(), held.is_held()), (None, true), "its connect is forgotten ([CN-13])");
}

/// [FY-5] [SS-1]
#[test]
fn a_session_lives_as_long_as_its_connects_come_as_advised() {
    let world = World::new();
    let (ann, stream) = streaming(&world, "/a");
    for _ in 0..5 {
        ann.connect_beside_stream();
        world.advance(39_900);
        assert!(ann.is_alive());
    }
    ann.connect_beside_stream();
    stream.cut();
    world.advance(39_900);
    let stream = ann.stream_of_events();
    world.advance(9_900);
    assert!(ann.is_alive(), "whoever opens a stream is there ([SS-3])");
    world.advance(200);
    assert!(!ann.is_alive());
    assert_eq!(stream.closed(), Some(1000));
}

/// [FY-7] [SS-9]
#[test]
fn nobody_gets_a_stream_who_must_not() {
    let world = World::with(|config| config.websocket.meta_connect_deliver_only = true);
    let ann = world.long_polling().connected();
    let peer = Peer::on(Transport::EventSource);
    let elsewhere = Peer { mount: MountId(1), ..peer.clone() };
    assert_eq!(ann.try_stream(elsewhere).err(), Some(NoStream::Unknown));
    let waiting = world.websocket().connected();
    assert_eq!(waiting.try_stream(peer.clone()).err(), Some(NoStream::Unknown));
    ann.disconnect();
    assert_eq!(ann.try_stream(peer).err(), Some(NoStream::Unknown));
}

/// [FY-8] [BR-3]
#[test]
fn a_stream_counts_among_the_open_requests_of_its_browser() {
    let world = World::with(|config| config.long_polling.max_sessions_per_browser = Some(1));
    let in_browser = || Peer { browser: Some("b".into()), ..Peer::on(Transport::EventSource) };
    let ann = world.long_polling().in_browser("b").connected();
    let bob = world.long_polling().in_browser("b").connected();
    // A held connect gives its place to the stream that takes over from it.
    ann.hold();
    let stream = ann.try_stream(in_browser()).expect("a stream");
    let again = ann.try_stream(in_browser()).expect("another stream");
    stream.cut();
    assert_eq!(bob.try_stream(in_browser()).err(), Some(NoStream::Crowded));
    assert_eq!(bob.connect().reply()["advice"]["multiple-clients"], true);
    assert_eq!(ann.connect_beside_stream().reply()["advice"], advice(), "a connect beside a stream needs no place");
    again.cut();
    let stream = bob.try_stream(in_browser()).expect("a stream");
    assert!(stream.closed().is_none());
}

/// [FY-5] [BR-3]
#[test]
fn who_only_says_that_there_is_a_stream_needs_a_place_like_any_other() {
    let world = World::with(|config| {
        config.long_polling.max_sessions_per_browser = Some(1);
        config.long_polling.meta_connect_deliver_only = true;
    });
    let ann = world.long_polling().in_browser("b").connected();
    let bob = world.long_polling().in_browser("b").connected();
    let held = ann.connect_beside_stream();
    assert!(held.is_held(), "its publications travel with connect replies only");
    assert_eq!(bob.connect_beside_stream().reply()["advice"]["multiple-clients"], true);
}

/// [FY-9] [LM-4]
#[test]
fn a_stream_that_is_not_read_costs_no_more_than_its_queue() {
    let world = World::with(|config| config.long_polling.max_queue = 10);
    let (ann, stream) = streaming(&world, "/a");
    stream.stop_reading();
    for n in 0..10 {
        world.publish("/a", &json!(n));
    }
    assert_eq!(ann.queued(), 10);
    stream.read_again();
    assert_eq!(stream.heard(), (0..10).collect::<Vec<_>>());
    stream.stop_reading();
    for n in 0..11 {
        world.publish("/a", &json!(n));
    }
    assert!(!ann.is_alive());
    assert_eq!(stream.closed(), Some(1000));
}

/// [FY-9]
#[test]
fn what_a_broken_stream_did_not_take_waits_for_the_next() {
    let world = World::new();
    let (ann, stream) = streaming(&world, "/a");
    stream.stop_reading();
    world.publish("/a", &json!(1));
    stream.cut();
    world.publish("/a", &json!(2));
    assert_eq!(ann.stream_of_events().heard(), [1, 2]);
}
