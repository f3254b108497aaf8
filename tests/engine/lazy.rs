//! Lazy messages.

use std::time::Duration;

use serde_json::json;

use super::world::{World, millis};

fn lazy(world: &World, name: &str, timeout: Option<Duration>) {
    world.set_options(name, |options| {
        options.lazy = true;
        options.lazy_timeout = timeout;
    });
}

/// [LZ-1] [LZ-2]
#[test]
fn a_lazy_message_waits_for_the_channels_time_or_the_transports() {
    let world = World::with(|config| config.websocket.max_lazy_timeout = millis(700));
    let ann = world.long_polling().subscribed("/a");
    let bob = world.websocket().subscribed("/b");
    lazy(&world, "/a", Some(millis(1_000)));
    lazy(&world, "/b", None);
    world.publish("/a", &json!(1));
    world.publish("/b", &json!(2));
    let held = ann.hold();
    world.advance(699);
    assert_eq!(bob.heard(), [0; 0]);
    world.advance(1);
    assert_eq!(bob.heard(), [2]);
    world.advance(299);
    assert!(held.is_held(), "lazy messages alone do not answer a connect");
    world.advance(1);
    assert_eq!(ann.heard(), [1]);
}

/// [LZ-2] The released server waits as well.
#[test]
fn a_connect_that_is_held_takes_no_lazy_message_along() {
    let world = World::new();
    let ann = world.websocket().subscribed("/lazy");
    lazy(&world, "/lazy", Some(millis(1_000)));
    world.publish("/lazy", &json!(1));
    let held = ann.hold();
    assert_eq!(ann.heard(), [0; 0]);
    world.advance(1_000);
    assert_eq!(ann.heard(), [1]);
    assert!(held.is_held());
}

/// [LZ-1]
#[test]
fn a_lazy_time_of_zero_sends_at_once() {
    let world = World::with(|config| config.websocket.max_lazy_timeout = millis(0));
    let ann = world.websocket().subscribed("/a");
    lazy(&world, "/a", None);
    world.publish("/a", &json!(1));
    assert_eq!(ann.heard(), [1]);
}

/// [LZ-3]
#[test]
fn whatever_is_sent_takes_lazy_messages_along() {
    let world = World::new();
    let ann = world.websocket().subscribed("/lazy");
    let bob = world.long_polling().subscribed("/lazy");
    lazy(&world, "/lazy", None);
    world.publish("/lazy", &json!(1));
    assert_eq!(ann.heard(), [0; 0]);
    ann.subscribe("/a");
    bob.subscribe("/a");
    assert_eq!((ann.heard(), bob.heard()), (vec![json!(1)], vec![json!(1)]), "with a reply");
    world.publish("/lazy", &json!(2));
    world.publish("/a", &json!(3));
    assert_eq!(ann.heard(), [2, 3], "with another message, in order");
    assert_eq!(bob.connect().messages()[0]["data"], 2);
    assert_eq!(bob.heard(), [2, 3]);
    world.publish("/lazy", &json!(4));
    ann.hold();
    assert_eq!(ann.heard(), [0; 0], "a connect that is held sends nothing");
    // The timer of messages that are gone is no timer.
    world.publish("/a", &json!(5));
    assert_eq!((ann.heard(), bob.heard()), (vec![json!(4), json!(5)], vec![]));
    assert_eq!(bob.connect().messages()[0]["data"], 4);
    world.publish("/lazy", &json!(6));
    let held = bob.hold();
    world.advance(4_999);
    assert!(held.is_held());
    world.advance(1);
    assert_eq!((ann.heard(), held.messages()[0]["data"].clone()), (vec![json!(6)], json!(6)));
}

/// [LZ-4]
#[test]
fn a_channel_is_lazy_by_itself_or_by_a_pattern_and_not_by_its_parent() {
    let world = World::new();
    let ann = world.websocket().subscribed("/**");
    lazy(&world, "/a", None);
    lazy(&world, "/b/**", None);
    world.publish("/a/x", &json!(1));
    assert_eq!(ann.heard(), [1]);
    world.publish("/b/x", &json!(2));
    world.publish("/a", &json!(3));
    assert_eq!(ann.heard(), [0; 0]);
    world.advance(5_000);
    assert_eq!(ann.heard(), [2, 3]);
}

/// [LZ-5]
#[test]
fn a_shorter_wait_brings_the_timer_forward_and_none_puts_it_off() {
    let world = World::new();
    let ann = world.websocket().subscribed("/*");
    lazy(&world, "/slow", Some(millis(1_000)));
    lazy(&world, "/quick", Some(millis(100)));
    world.publish("/slow", &json!(1));
    world.advance(50);
    world.publish("/quick", &json!(2));
    world.advance(99);
    assert_eq!(ann.heard(), [0; 0]);
    world.advance(1);
    assert_eq!(ann.heard(), [1, 2]);

    world.publish("/quick", &json!(3));
    world.advance(60);
    world.publish("/slow", &json!(4));
    world.publish("/quick", &json!(5));
    world.advance(40);
    assert_eq!(ann.heard(), [3, 4, 5]);
    world.advance(10_000);
    assert_eq!(ann.heard(), [0; 0]);
}

/// [LZ-1]
#[test]
fn a_lazy_message_whose_time_came_while_nobody_asked_answers_the_next_connect() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    lazy(&world, "/a", Some(millis(100)));
    world.publish("/a", &json!(1));
    world.advance(200);
    assert_eq!(ann.connect().messages()[0]["data"], 1);
    ann.heard();
    // And the next one waits again.
    world.publish("/a", &json!(2));
    let held = ann.hold();
    world.advance(100);
    assert!(!held.is_held());
}
