//! Limits of queues and batches, delivery with connects only, and what could not be written.

use mirant::bayeux::config::QueueOverflow;
use serde_json::{Value, json};

use super::world::{World, millis};

/// [LM-4] [DC-4]
#[test]
fn a_session_whose_queue_is_full_is_ended() {
    let world = World::with(|config| config.long_polling.max_queue = 3);
    let ann = world.long_polling().subscribed("/a");
    for number in 0..3 {
        assert_eq!(world.publish("/a", &json!(number)), Some(1));
    }
    assert_eq!(ann.queued(), 3);
    assert_eq!(world.publish("/a", &json!(3)), Some(0));
    assert!(!ann.is_alive());
    assert_eq!(world.engine().totals().sessions_overflowed, 1);
    assert_eq!(ann.ask(json!({"channel": "/meta/connect"}))["advice"]["reconnect"], "handshake");
}

/// [LM-4] [DC-4]
#[test]
fn a_session_that_overflows_while_its_connect_is_held_is_told() {
    let world = World::with(|config| config.websocket.max_queue = 2);
    let ann = world.websocket().subscribed("/a");
    let held = ann.hold();
    ann.stop_reading();
    for number in 0..3 {
        world.publish("/a", &json!(number));
    }
    assert!(!ann.is_alive());
    assert!(held.is_held());
    ann.read_again();
    let channels: Vec<_> = ann.received().into_iter().map(|mut message| message["channel"].take()).collect();
    assert_eq!(channels, ["/meta/disconnect", "/meta/connect"]);
    assert_eq!(held.reply()["advice"]["reconnect"], "none");
}

/// [LM-4]
#[test]
fn a_queue_that_drops_keeps_the_newest_messages_and_counts() {
    let world = World::with(|config| {
        config.long_polling.max_queue = 3;
        config.long_polling.queue_overflow = QueueOverflow::DropOldest;
    });
    let ann = world.long_polling().subscribed("/a");
    for number in 0..10 {
        assert_eq!(world.publish("/a", &json!(number)), Some(1));
    }
    assert_eq!(world.engine().session(ann.session_id()).unwrap().dropped_messages, 7);
    assert_eq!(world.engine().totals().dropped, 7);
    ann.connect();
    assert_eq!(ann.heard(), [7, 8, 9]);
}

/// [LM-4]
#[test]
fn bytes_are_limited_too_but_one_large_message_passes() {
    let world = World::with(|config| {
        config.long_polling.max_queue_bytes = 1_000;
        config.long_polling.queue_overflow = QueueOverflow::DropOldest;
    });
    let ann = world.long_polling().subscribed("/a");
    let large = "x".repeat(2_000);
    world.publish("/a", &json!(1));
    world.publish("/a", &json!(large));
    assert_eq!(ann.queued(), 1, "it drove out what was there");
    world.publish("/a", &json!(2));
    assert_eq!(ann.queued(), 1);
    for number in 3..30 {
        world.publish("/a", &json!(number));
    }
    let report = world.engine().session(ann.session_id()).unwrap();
    assert!((500..=1_000).contains(&report.queued_bytes), "{report:?}");
    ann.connect();
    assert_eq!(ann.heard().last(), Some(&json!(29)));
    assert_eq!(world.engine().session(ann.session_id()).unwrap().queued_bytes, 0);
}

/// [LM-4]
#[test]
fn limits_are_those_of_the_transport_of_the_handshake() {
    let world = World::with(|config| config.long_polling.max_queue = 0);
    let ann = world.long_polling().subscribed("/a");
    assert_eq!(world.publish("/a", &json!(1)), Some(0));
    assert!(!ann.is_alive());
    let bob = world.websocket().subscribed("/a");
    assert_eq!(world.publish("/a", &json!(1)), Some(1));
    assert_eq!(bob.heard(), [1]);
}

/// [LP-8]
#[test]
fn a_response_ends_at_max_batch_bytes_and_the_rest_follows() {
    let world = World::with(|config| config.long_polling.max_batch_bytes = 1_000);
    let ann = world.long_polling().subscribed("/a");
    let data = |number: u32| json!({"n": number, "pad": "x".repeat(300)});
    for number in 0..7 {
        world.publish("/a", &data(number));
    }
    let numbers = || ann.heard().into_iter().map(|mut data| data["n"].take()).collect::<Vec<_>>();
    ann.connect();
    assert_eq!(numbers(), [0, 1]);
    ann.publish("/b", 1);
    assert_eq!(numbers(), [2, 3], "any response has this limit");
    ann.connect();
    assert_eq!(numbers(), [4, 5]);
    ann.connect();
    assert_eq!(numbers(), [6]);

    world.publish("/a", &json!({"n": 7, "pad": "x".repeat(5_000)}));
    world.publish("/a", &data(8));
    ann.connect();
    assert_eq!(numbers(), [7], "one that is larger goes alone");
    // A connect that is held meanwhile takes the rest.
    ann.connect();
    assert_eq!(numbers(), [8]);
    let held = ann.hold();
    let batch: Vec<_> = (9..13).map(|number| json!({"channel": "/a", "data": data(number)})).collect();
    ann.send(Value::Array(batch));
    assert!(!held.is_held());
    assert_eq!(numbers(), [9, 10, 11, 12]);
}

/// [LP-8] [LZ-3]
#[test]
fn lazy_messages_left_by_a_full_response_do_not_wait_again() {
    let world = World::with(|config| config.long_polling.max_batch_bytes = 100);
    let ann = world.long_polling().subscribed("/a");
    world.set_options("/a", |options| options.lazy = true);
    for number in 0..5 {
        world.publish("/a", &json!([number, "0123456789012345678901234567890123456789"]));
    }
    ann.publish("/b", 1);
    let mut heard = ann.heard().len();
    while heard < 5 {
        assert!(!ann.connect().is_held());
        heard += ann.heard().len();
    }
    ann.hold();
}

/// [WS-5]
#[test]
fn a_stream_gets_everything_whatever_its_size() {
    let world = World::with(|config| config.websocket.max_batch_bytes = 100);
    let ann = world.websocket().subscribed("/a");
    let batch: Vec<_> = (0..20).map(|number| json!({"channel": "/a", "data": [number, "x".repeat(50)]})).collect();
    ann.send(batch.clone().into());
    let frames = ann.frames();
    assert_eq!(frames.len(), 21);
    assert_eq!(frames[20].as_array().unwrap().len(), 20, "replies last");
    let bob = world.websocket().connected();
    bob.send(batch.into());
    assert_eq!(ann.frames().len(), 20);
}

/// [DC-1]
#[test]
fn the_last_connect_reply_comes_behind_everything_that_is_queued() {
    let world = World::with(|config| config.websocket.max_batch_bytes = 100);
    let ann = world.websocket().subscribed("/a");
    ann.hold();
    ann.stop_reading();
    for number in 0..5 {
        world.publish("/a", &json!([number, "x".repeat(50)]));
    }
    world.disconnect(&ann);
    ann.read_again();
    let received = ann.received();
    assert_eq!(received.len(), 7);
    assert_eq!(
        (&received[5]["channel"], &received[6]["channel"]),
        (&json!("/meta/disconnect"), &json!("/meta/connect"))
    );
}

/// [WS-9]
#[test]
fn publications_wait_for_a_connect_and_leave_in_one_frame_with_its_reply() {
    let world = World::with(|config| config.websocket.meta_connect_deliver_only = true);
    let ann = world.websocket().subscribed("/a");
    let event = |number: u32| json!({"channel": "/a", "data": number});
    let connect = |id: &str| json!({"channel": "/meta/connect", "id": id, "successful": true});
    world.publish("/a", &event(1)["data"]);
    world.publish("/a", &event(2)["data"]);
    ann.publish("/b", 0);
    assert_eq!(ann.frames(), [json!(null); 0]);
    ann.connect();
    assert_eq!(ann.frames(), [json!([event(1), event(2), connect("5")])]);

    let held = ann.hold();
    world.publish("/a", &json!(3));
    assert_eq!(ann.frames(), [json!([event(3), connect("6")])]);
    assert!(!held.is_held());
    let held = ann.hold();
    ann.publish("/a", 4);
    assert!(!held.is_held());
    assert_eq!(ann.frames(), [json!([event(4), connect("7")])]);

    // With its size limit, the rest follows on the next connect.
    let world = World::with(|config| {
        config.websocket.meta_connect_deliver_only = true;
        config.websocket.max_batch_bytes = 130;
    });
    let ann = world.websocket().subscribed("/a");
    ann.hold();
    let bob = world.websocket().connected();
    let batch: Vec<_> = (0..5).map(|number| json!({"channel": "/a", "data": [number, "x".repeat(20)]})).collect();
    bob.send(batch.into());
    ann.connect();
    ann.connect();
    let sizes: Vec<_> = ann.frames().iter().map(|frame| frame.as_array().unwrap().len()).collect();
    assert_eq!(sizes, [3, 3, 2]);
    ann.hold();
}

/// [DC-1] [LP-8] There is no next response that the rest could come with.
#[test]
fn the_last_response_of_a_session_brings_all_that_is_queued() {
    let batch = |count: u32| (0..count).map(|number| json!({"channel": "/a", "data": [number, "x".repeat(300)]}));
    for connect_only in [false, true] {
        let world = World::with(|config| {
            config.long_polling.max_batch_bytes = 1_000;
            config.long_polling.meta_connect_deliver_only = connect_only;
        });
        let ann = world.long_polling().subscribed("/a");
        if !connect_only {
            for message in batch(7) {
                world.publish("/a", &message["data"]);
            }
            ann.disconnect();
            assert_eq!(ann.heard().len(), 7);
        }
        for ends_itself in [true, false] {
            let bob = world.long_polling().subscribed("/a");
            let held = bob.hold();
            if ends_itself {
                bob.send(batch(7).chain([json!({"channel": "/meta/disconnect"})]).collect());
            } else {
                world.act(|engine, _, _| engine.start_batch(bob.session_id()));
                for message in batch(7) {
                    world.publish("/a", &message["data"]);
                }
                world.disconnect(&bob);
            }
            assert!(!held.is_held());
            assert_eq!(bob.heard().len(), 7, "connects only: {connect_only}, itself: {ends_itself}");
        }
    }
}

/// [WS-9] [DC-1] What is left of an ended session need not leave in one piece that its client cannot take.
#[test]
fn the_last_batches_of_a_session_leave_piece_by_piece() {
    let world = World::with(|config| {
        config.websocket.max_batch_bytes = 1_000;
        config.websocket.meta_connect_deliver_only = true;
    });
    for count in [2, 7] {
        let ann = world.websocket().subscribed("/a");
        ann.hold();
        world.act(|engine, _, _| engine.start_batch(ann.session_id()));
        for number in 0..count {
            world.publish("/a", &json!([number, "x".repeat(300)]));
        }
        world.disconnect(&ann);
        let frames = ann.frames();
        let channels: Vec<Vec<String>> = frames
            .iter()
            .map(|frame| frame.as_array().unwrap().iter().map(|message| message["channel"].to_string()).collect())
            .collect();
        let mut expected = vec!["\"/a\"".to_owned(); count];
        expected.extend(["\"/meta/disconnect\"".to_owned(), "\"/meta/connect\"".to_owned()]);
        assert_eq!(channels.concat(), expected);
        assert!(frames.iter().all(|frame| frame.to_string().len() <= 1_100), "{count}: {channels:?}");
        assert_eq!(frames.len() == 1, count == 2, "{channels:?}");
    }
}

/// [WS-9] [LP-7]
#[test]
fn on_long_polling_they_wait_for_a_connect_too() {
    let world = World::with(|config| config.long_polling.meta_connect_deliver_only = true);
    let ann = world.long_polling().subscribed("/a");
    ann.publish("/a", 1);
    assert_eq!(ann.heard(), [0; 0]);
    assert_eq!(ann.connect().messages()[0]["data"], 1);
    let held = ann.hold();
    ann.publish("/a", 2);
    assert_eq!(held.messages()[0]["data"], 2, "the connect is woken by its own client");
    let held = ann.hold();
    ann.send(json!([{"channel": "/a", "data": 3}, {"channel": "/meta/disconnect"}]));
    assert!(!held.is_held());
    assert_eq!(ann.heard(), [1, 2, 3]);
}

/// [WS-9] [DC-1] [DC-2]
#[test]
fn at_the_end_publications_leave_with_a_connect_reply_or_not_at_all() {
    let world = World::with(|config| config.websocket.meta_connect_deliver_only = true);
    let ann = world.websocket().subscribed("/a");
    ann.hold();
    ann.send(json!([{"channel": "/a", "data": 1}, {"channel": "/meta/disconnect"}]));
    let channels: Vec<_> = ann.received().into_iter().map(|mut message| message["channel"].take()).collect();
    assert_eq!(channels, ["/a", "/a", "/meta/disconnect", "/meta/connect"]);

    let bob = world.websocket().subscribed("/a");
    world.publish("/a", &json!(1));
    bob.disconnect();
    assert_eq!(bob.heard(), [0; 0]);

    let carl = world.websocket().subscribed("/a");
    world.publish("/a", &json!(2));
    carl.send(json!([{"channel": "/meta/disconnect", "id": "1"}, {"channel": "/meta/connect", "id": "2"}]));
    let frames = carl.frames();
    assert_eq!(
        (frames.len(), &frames[0][0]["data"], &frames[0][2]["error"]),
        (1, &json!(2), &json!("402::session_unknown"))
    );
}

/// [WS-9] [LZ-2]
#[test]
fn lazy_messages_answer_a_held_connect_when_their_time_has_come() {
    let world = World::with(|config| config.websocket.meta_connect_deliver_only = true);
    let ann = world.websocket().subscribed("/a");
    world.set_options("/a", |options| options.lazy_timeout = Some(millis(100)));
    world.set_options("/a", |options| options.lazy = true);
    world.publish("/a", &json!(1));
    let held = ann.hold();
    world.advance(99);
    assert!(held.is_held());
    world.advance(1);
    assert_eq!(ann.frames().len(), 1);
    assert!(!held.is_held());
}

/// [LP-10] [PB-10]
#[test]
fn what_a_lost_response_carried_comes_first_again() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let held = ann.hold();
    world.publish("/a", &json!(1));
    assert!(!held.is_held());
    world.publish("/a", &json!(2));
    ann.lose_last_response();
    world.publish("/a", &json!(3));
    assert!(!ann.connect().is_held());
    assert_eq!(ann.heard(), [1, 2, 3]);

    // The loss is noticed while the next connect is held already.
    world.publish("/a", &json!(4));
    ann.connect();
    let held = ann.hold();
    ann.lose_last_response();
    assert!(!held.is_held());
    assert_eq!(ann.heard(), [4]);
}

/// [LP-10] [LZ-3]
#[test]
fn lazy_messages_of_a_lost_response_do_not_wait_again() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    world.set_options("/a", |options| options.lazy = true);
    world.publish("/a", &json!(1));
    ann.publish("/b", 0);
    ann.lose_last_response();
    assert!(!ann.connect().is_held());
    assert_eq!(ann.heard(), [1]);
}

/// [WS-15]
#[test]
fn a_full_stream_leaves_its_messages_in_the_queue_in_order() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    world.publish("/a", &json!(1));
    ann.stop_reading();
    world.publish("/a", &json!(2));
    world.publish("/a", &json!(3));
    assert_eq!(ann.heard(), [1]);
    assert_eq!(ann.queued(), 2);
    ann.read_again();
    world.publish("/a", &json!(4));
    assert_eq!(ann.heard(), [2, 3, 4]);
}
