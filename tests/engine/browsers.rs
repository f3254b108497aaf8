//! Several sessions of one browser.

use serde_json::{Value, json};

use super::client::Client;
use super::world::{World, millis};

const CONNECT: &str = "/meta/connect";

fn crowded(interval: u64) -> Value {
    json!({"reconnect": "retry", "interval": interval, "multiple-clients": true})
}

fn tabs(world: &World, count: usize) -> Vec<Client> {
    (0..count).map(|_| world.long_polling().in_browser("b").connected()).collect()
}

/// [BR-3] [BR-4] [BR-5]
#[test]
fn one_connect_too_many_is_answered_at_once_with_advice() {
    let world = World::with(|config| config.long_polling.max_sessions_per_browser = Some(2));
    let tabs = tabs(&world, 3);
    let held = [tabs[0].hold(), tabs[1].hold()];
    assert_eq!(
        tabs[2].ask(json!({"channel": CONNECT, "id": "x"})),
        json!({"channel": CONNECT, "id": "x", "successful": true, "advice": crowded(2_000)})
    );
    world.advance(2_000);
    let due = tabs[2].ask(json!({"channel": CONNECT, "advice": {}}));
    let mut advice = crowded(2_000);
    advice["timeout"] = json!(30_000);
    assert_eq!(due["advice"], advice, "with the timeout where advice is due anyway");
    for _ in 0..4 {
        world.advance(7_000);
        tabs[2].publish("/alive", 1);
    }
    assert!(held.iter().all(|held| !held.is_held()));
    let third = tabs[2].hold();
    let first = tabs[0].hold();
    assert_eq!(tabs[1].ask(json!({"channel": CONNECT}))["advice"], crowded(2_000));
    tabs[0].disconnect();
    assert!(!first.is_held());
    let second = tabs[1].hold();
    world.advance(30_000);
    assert!(third.reply().get("advice").is_none() && second.reply().get("advice").is_none());
}

/// [BR-4] [SS-1]
#[test]
fn a_tab_that_waits_as_it_was_told_does_not_expire_meanwhile() {
    let world = World::with(|config| {
        config.long_polling.max_sessions_per_browser = Some(1);
        config.long_polling.multi_session_interval = millis(25_000);
    });
    let tabs = tabs(&world, 2);
    let _held = tabs[0].hold();
    for _ in 0..3 {
        assert_eq!(tabs[1].ask(json!({"channel": CONNECT}))["advice"], crowded(25_000));
        world.advance(25_000);
        tabs[0].hold();
    }
}

/// [BR-3]
#[test]
fn who_sends_no_cookie_another_one_or_speaks_http2_is_not_counted() {
    let world = World::with(|config| {
        config.long_polling.max_sessions_per_browser = Some(1);
        config.long_polling.http2_max_sessions_per_browser = None;
    });
    let counted = world.long_polling().in_browser("b").connected();
    counted.hold();
    let others = [
        world.long_polling().connected(),
        world.long_polling().connected(),
        world.long_polling().in_browser("c").connected(),
        world.long_polling().in_browser("b").on_http2().connected(),
        world.websocket().in_browser("b").connected(),
    ];
    for other in &others {
        other.hold();
    }
    // The next connect of the same session takes the place of the one it ends.
    counted.hold();
    counted.hold();
}

/// [BR-3]
#[test]
fn http2_has_a_limit_of_its_own_and_zero_holds_nothing() {
    let world = World::with(|config| {
        config.long_polling.http2_max_sessions_per_browser = Some(1);
        config.long_polling.max_sessions_per_browser = Some(0);
    });
    let ann = world.long_polling().in_browser("b").on_http2().connected();
    ann.hold();
    let bob = world.long_polling().in_browser("b").on_http2().connected();
    assert_eq!(bob.connect().reply()["advice"]["multiple-clients"], true);
    let carl = world.long_polling().in_browser("c").shaken();
    let reply = carl.ask(json!({"channel": CONNECT}));
    assert_eq!(reply["advice"]["multiple-clients"], true, "the check hits the first connect too");
}

/// [BR-4]
#[test]
fn without_an_interval_the_connect_is_refused() {
    let world = World::with(|config| {
        config.long_polling.max_sessions_per_browser = Some(1);
        config.long_polling.multi_session_interval = millis(0);
    });
    let tabs = tabs(&world, 2);
    tabs[0].hold();
    let expected = json!({
        "channel": CONNECT, "id": "x", "successful": false, "advice": {"reconnect": "none", "multiple-clients": true},
    });
    assert_eq!(tabs[1].ask(json!({"channel": CONNECT, "id": "x"})), expected);
    world.advance(10_000);
    assert!(!tabs[1].is_alive(), "the session is left to expire");
}

/// [CN-5] [BR-4]
#[test]
fn what_waits_is_delivered_before_places_are_counted() {
    let world = World::with(|config| config.long_polling.max_sessions_per_browser = Some(1));
    let tabs = tabs(&world, 2);
    tabs[0].hold();
    tabs[1].subscribe("/a");
    world.publish("/a", &json!(1));
    let messages = tabs[1].connect().messages();
    assert_eq!(messages[0]["data"], 1);
    assert!(messages[1].get("advice").is_none(), "{messages}");
}

/// [BR-4]
#[test]
fn a_client_that_ignores_the_advised_interval_is_made_to_wait_for_it() {
    let world = World::with(|config| config.long_polling.max_sessions_per_browser = Some(1));
    let tabs = tabs(&world, 2);
    let mut first = tabs[0].hold();
    let hasty = &tabs[1];
    hasty.subscribe("/a");
    let mut answered = 0;
    while !hasty.connect().is_held() {
        answered += 1;
        assert!(answered < 20, "nothing slows it down");
    }
    assert_eq!(answered, 4);
    world.advance(1_999);
    assert_eq!(hasty.received().len(), answered);
    world.advance(1);
    assert_eq!(hasty.received()[0]["advice"]["multiple-clients"], true);
    // From now on one answer in each interval, and events at once.
    let held = hasty.hold();
    world.publish("/a", &json!(1));
    assert!(!held.is_held());
    assert_eq!(hasty.heard(), [1]);
    hasty.hold();
    world.advance(1_000);
    assert_eq!(hasty.received().len(), 0);

    // A client that waits as it was told is answered at once.
    world.advance(10_000);
    hasty.frames();
    for _ in 0..10 {
        world.advance(2_000);
        if !first.is_held() {
            first = tabs[0].hold();
        }
        assert!(!hasty.connect().is_held());
    }
    assert!(hasty.is_alive());
}
