//! Subscribing and unsubscribing.

use mirant::bayeux::{Denial, Operation, Verdict};
use serde_json::{Value, json};

use super::client::Client;
use super::world::{World, millis};

fn subscribe(client: &Client, subscription: &Value) -> Value {
    client.ask(json!({"channel": "/meta/subscribe", "subscription": subscription}))
}

fn unsubscribe(client: &Client, subscription: &Value) -> Value {
    client.ask(json!({"channel": "/meta/unsubscribe", "subscription": subscription}))
}

fn subscriptions(world: &World, client: &Client) -> Vec<String> {
    let report = world.engine().session(client.session_id()).unwrap();
    report.subscriptions.iter().map(|name| name.as_str().to_owned()).collect()
}

/// [SB-1] [SB-8]
#[test]
fn one_channel_or_an_array_is_subscribed_before_any_connect() {
    let world = World::new();
    let ann = world.websocket().shaken();
    let reply = subscribe(&ann, &json!(["/a", "/b/*", "/c/**"]));
    assert_eq!(
        reply,
        json!({"channel": "/meta/subscribe", "id": "2", "successful": true, "subscription": ["/a", "/b/*", "/c/**"]})
    );
    assert_eq!(subscribe(&ann, &json!([]))["successful"], true);
    world.publish("/c/d/e", &json!(1));
    assert_eq!(ann.heard(), [1]);
    assert_eq!(subscriptions(&world, &ann), ["/a", "/b/*", "/c/**"]);
}

/// [SB-2] [SB-3]
#[test]
fn nothing_is_subscribed_if_one_name_is_bad() {
    let world = World::new();
    let ann = world.websocket().connected();
    for request in ["/meta/subscribe", "/meta/unsubscribe"] {
        for missing in [json!({"channel": request}), json!({"channel": request, "subscription": null})] {
            assert_eq!(ann.refused(missing), "403::subscription_missing");
        }
        for bad in [json!(5), json!({}), json!(true), json!(["/a", 5]), json!(["/a", "b"]), json!(["/a", "/b//c"])] {
            let refused = ann.refused(json!({"channel": request, "subscription": bad}));
            assert_eq!(refused, "403::subscription_invalid", "{bad}");
        }
    }
    assert_eq!(subscriptions(&world, &ann), [""; 0]);
}

/// [SB-4] [SB-5] [SC-1] [SC-3]
#[test]
fn an_array_stops_at_the_first_channel_that_is_denied() {
    let world = World::new();
    world.set_policy(|_, message| {
        let mut verdict = Verdict::granted();
        for (position, name) in message.subscription_names().unwrap_or_default().iter().enumerate() {
            if name == "/denied" {
                verdict.deny(Operation::Subscribe, position, Denial::default());
            } else if name == "/new" {
                verdict.deny(Operation::Create, position, Denial::default());
            }
        }
        verdict
    });
    let ann = world.websocket().connected();
    let reply = subscribe(&ann, &json!(["/a", "/denied", "/b"]));
    assert_eq!(reply["error"], "403:denied_by_security_policy:subscribe_denied");
    assert_eq!(reply["subscription"], json!(["/a", "/denied", "/b"]));
    assert_eq!(subscribe(&ann, &json!(["/c", "/new"]))["error"], "403:denied_by_security_policy:create_denied");
    assert_eq!(subscriptions(&world, &ann), ["/a", "/c"]);
    world.publish("/new", &json!(0));
    assert_eq!(subscribe(&ann, &json!("/new"))["successful"], true, "it need not be created");
}

/// [SB-6]
#[test]
fn subscribing_to_a_service_does_nothing() {
    let world = World::new();
    let ann = world.websocket().connected();
    assert_eq!(subscribe(&ann, &json!(["/service/a", "/service/**"]))["successful"], true);
    assert_eq!(unsubscribe(&ann, &json!("/service/never"))["successful"], true);
    assert_eq!(subscriptions(&world, &ann), [""; 0]);
}

/// [SB-7] [PB-7]
#[test]
fn subscribing_twice_is_subscribing_once() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    ann.subscribe("/a");
    ann.subscribe("/a/");
    world.publish("/a", &json!(1));
    assert_eq!(ann.heard(), [1]);
    ann.unsubscribe("/a");
    world.publish("/a", &json!(2));
    assert_eq!(ann.heard(), [0; 0]);
}

/// [SB-9] [CH-2]
#[test]
fn unsubscribing_needs_a_channel_that_is_there_under_that_very_name() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let bob = world.websocket().connected();
    assert_eq!(unsubscribe(&ann, &json!("/never"))["error"], "400::channel_missing");
    assert_eq!(unsubscribe(&ann, &json!("/a/"))["error"], "400::channel_missing");
    assert_eq!(unsubscribe(&bob, &json!("/a"))["successful"], true);
    assert_eq!(unsubscribe(&ann, &json!("/meta/connect"))["error"], "403::unsubscribe_failed");
}

/// [SB-10]
#[test]
fn an_unsubscribe_array_stops_at_the_first_failure() {
    let world = World::new();
    let ann = world.websocket().connected();
    subscribe(&ann, &json!(["/a", "/b", "/c"]));
    assert_eq!(unsubscribe(&ann, &json!(["/a", "/never", "/c"]))["error"], "400::channel_missing");
    assert_eq!(subscriptions(&world, &ann), ["/b", "/c"]);
}

/// [LM-3]
#[test]
fn subscriptions_and_channels_have_limits() {
    let world = World::with(|config| {
        config.limits.max_subscriptions = 2;
        config.limits.max_channels = 3;
    });
    let ann = world.websocket().connected();
    let by_limit = |rejection: &str| format!("403:denied_by_limit:{rejection}");
    assert_eq!(subscribe(&ann, &json!(["/a", "/b", "/c"]))["error"], by_limit("subscribe_denied"));
    assert_eq!(subscriptions(&world, &ann), [""; 0], "more names than a session may have are not tried");
    assert_eq!(subscribe(&ann, &json!(["/a", "/b"]))["successful"], true);
    assert_eq!(subscribe(&ann, &json!("/a"))["successful"], true, "it is there already");
    assert_eq!(subscribe(&ann, &json!("/c"))["error"], by_limit("subscribe_denied"));

    let bob = world.websocket().connected();
    bob.publish("/c", 1);
    assert_eq!(bob.refused(json!({"channel": "/d", "data": 1})), by_limit("channel_create_denied"));
    assert_eq!(subscribe(&bob, &json!("/d"))["error"], by_limit("create_denied"));
    assert_eq!(subscribe(&bob, &json!("/c"))["successful"], true);
    // The server's own code is not held back.
    assert_eq!(world.publish("/d", &json!(1)), Some(0));
}

/// [CH-6] [CH-8] [SB-9]
#[test]
fn a_channel_goes_on_the_third_idle_pass_in_a_row() {
    let world = World::with(|config| config.sweep_period = millis(1_000));
    world.keep("/kept");
    let ann = world.websocket().subscribed("/a/b");
    ann.subscribe("/a");
    assert_eq!(world.channels(), ["/a", "/a/b", "/kept"]);
    let held = ann.hold();
    world.advance(10_000);
    assert_eq!(world.channels(), ["/a", "/a/b", "/kept"], "subscribers keep them");

    ann.unsubscribe("/a");
    world.advance(1_500);
    ann.subscribe("/a");
    ann.unsubscribe("/a");
    world.advance(1_900);
    assert_eq!(world.channels(), ["/a", "/a/b", "/kept"], "the count began again");
    world.advance(1_200);
    assert_eq!(world.channels(), ["/a/b", "/kept"], "a channel below does not protect it");
    assert_eq!(unsubscribe(&ann, &json!("/a"))["error"], "400::channel_missing");

    ann.publish("/a", 1);
    assert_eq!(world.channels(), ["/a", "/a/b", "/kept"]);
    ann.subscribe("/a");
    ann.disconnect();
    assert!(!held.is_held());
    world.advance(3_000);
    assert_eq!(world.channels(), ["/kept"]);
}

/// [CH-6]
#[test]
fn listeners_authorizers_and_persistence_keep_a_channel() {
    let world = World::new();
    world.listen("/l", |_, _, _| mirant::bayeux::Flow::Continue);
    world.authorize("/z", super::hooks::Always(mirant::bayeux::Authorization::Grant));
    world.keep("/p");
    world.set_options("/lazy", |options| options.lazy = true);
    world.advance(60_000);
    assert_eq!(world.channels(), ["/l", "/p", "/z"], "options alone do not");
    world.set_options("/p", |options| options.persistent = false);
    world.advance(60_000);
    assert_eq!(world.channels(), ["/l", "/z"]);
    world.keep("/p");
}
