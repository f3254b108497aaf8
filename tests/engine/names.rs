//! Names outside and inside.

use std::sync::Arc;

use mirant::bayeux::{ChannelName, MountId, Naming, Rename, Route, SessionView, Transport};
use serde_json::json;

use super::world::{World, channel};

/// Replaces the beginning of a name.
struct Prefix {
    inside: &'static str,
    outside: &'static str,
}

impl Rename for Prefix {
    fn outside(&self, routing: &ChannelName) -> Option<ChannelName> {
        let rest = routing.as_str().strip_prefix(self.inside)?;
        // What is secret has no name outside.
        if rest.contains("secret") { None } else { ChannelName::parse(&format!("{}{rest}", self.outside)).ok() }
    }
}

/// A topic map: on mount 7, `/me/…` is `/sys/user/ann/…`, and `/all/…` is that and `/public/…`.
struct Topics;

impl Naming for Topics {
    fn routes(&self, session: &SessionView, outside: &ChannelName) -> Vec<Route> {
        if session.mount != MountId(7) {
            return Vec::new();
        }
        let route = |inside: &'static str, prefix: &'static str, rest: &str| {
            let rename: Arc<dyn Rename> = Arc::new(Prefix { inside, outside: prefix });
            Route { routing: channel(&format!("{inside}{rest}")), rename: Some(rename) }
        };
        if let Some(rest) = outside.as_str().strip_prefix("/me") {
            return vec![route("/sys/user/ann", "/me", rest)];
        }
        if let Some(rest) = outside.as_str().strip_prefix("/all") {
            return vec![route("/sys/user/ann", "/all", rest), route("/public", "/all", rest)];
        }
        Vec::new()
    }
}

fn world() -> World {
    World::named(|_| {}, Arc::new(Topics))
}

/// [CH-9]
#[test]
fn a_subscriber_sees_the_name_of_its_own_subscription() {
    let world = world();
    let ann = world.websocket().on_mount(7).subscribed("/me/chats");
    let service = world.client(Transport::Local).shaken();
    service.subscribe("/sys/user/ann/chats");
    assert_eq!(world.publish("/sys/user/ann/chats", &json!(1)), Some(2));
    assert_eq!(ann.received(), [json!({"channel": "/me/chats", "data": 1})]);
    assert_eq!(service.received(), [json!({"channel": "/sys/user/ann/chats", "data": 1})]);
    assert_eq!(world.publish("/sys/user/bob/chats", &json!(2)), Some(0));
    ann.unsubscribe("/me/chats");
    assert_eq!(world.publish("/sys/user/ann/chats", &json!(3)), Some(1));
}

/// [CH-9] [PB-4]
#[test]
fn subscribers_of_one_outside_name_share_the_same_bytes() {
    let world = world();
    let clients = [
        world.websocket().on_mount(7).subscribed("/me/x"),
        world.websocket().on_mount(7).subscribed("/me/x"),
        world.websocket().on_mount(7).subscribed("/all/x"),
    ];
    clients.iter().for_each(super::client::Client::stop_reading);
    world.publish("/sys/user/ann/x", &json!(1));
    let [one, two, three] = clients.each_ref().map(|client| world.take_one(client));
    assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &three));
    assert_eq!(one.channel(), &channel("/sys/user/ann/x"));
}

/// [CH-9] [PB-7]
#[test]
fn who_matches_under_two_names_gets_one_copy_under_the_outside_one() {
    let world = world();
    let ann = world.websocket().on_mount(7).subscribed("/all/news");
    ann.subscribe("/public/news");
    ann.subscribe("/**");
    let bob = world.websocket().subscribed("/public/*");
    assert_eq!(world.publish("/public/news", &json!(1)), Some(2));
    assert_eq!(ann.received(), [json!({"channel": "/all/news", "data": 1})]);
    assert_eq!(bob.received(), [json!({"channel": "/public/news", "data": 1})]);
    assert_eq!(world.publish("/sys/user/ann/news", &json!(2)), Some(1));
    assert_eq!(ann.received(), [json!({"channel": "/all/news", "data": 2})]);
    ann.unsubscribe("/all/news");
    assert_eq!(world.publish("/public/news", &json!(3)), Some(2));
    assert_eq!(ann.received(), [json!({"channel": "/public/news", "data": 3})]);
    ann.unsubscribe("/**");
    assert_eq!(world.publish("/public/news", &json!(4)), Some(2));
    ann.unsubscribe("/public/news");
    assert_eq!(world.publish("/public/news", &json!(5)), Some(1));
}

/// [CH-9]
#[test]
fn patterns_match_the_outside_names_and_hide_what_has_none() {
    let world = world();
    let ann = world.websocket().on_mount(7).subscribed("/me/**");
    world.publish("/sys/user/ann/a/b", &json!(1));
    world.publish("/sys/user/ann/secret", &json!(2));
    world.publish("/sys/user/bob/a", &json!(3));
    assert_eq!(ann.received(), [json!({"channel": "/me/a/b", "data": 1})]);
    ann.disconnect();
    assert_eq!(world.publish("/sys/user/ann/a/b", &json!(4)), Some(0));
}

/// [SC-9]
#[test]
fn the_servers_own_names_are_closed_to_clients() {
    let world = world();
    let ann = world.websocket().on_mount(7).subscribed("/**");
    ann.subscribe("/*");
    ann.subscribe("/system");
    for name in ["/sys", "/sys/", "/sys/x", "/sys/user/ann/chats", "/sys/**", "/sys/*"] {
        let subscribe = json!({"channel": "/meta/subscribe", "subscription": name});
        assert_eq!(ann.refused(subscribe), "403:denied_by_security_policy:create_denied", "{name}");
        let error = ann.refused(json!({"channel": name, "data": 1}));
        assert_eq!(error, "403:denied_by_security_policy:channel_create_denied", "{name}");
    }
    for name in ["/sys", "/sys/x", "/sys/user/ann/chats"] {
        assert_eq!(world.publish(name, &json!(1)), Some(0), "patterns do not show {name}");
        // Whether the channel is there makes no difference.
        let subscribe = json!({"channel": "/meta/subscribe", "subscription": name});
        assert_eq!(ann.refused(subscribe), "403:denied_by_security_policy:create_denied", "{name}");
        let error = ann.refused(json!({"channel": name, "data": 1}));
        assert_eq!(error, "403:denied_by_security_policy:channel_create_denied", "{name}");
        let unsubscribe = json!({"channel": "/meta/unsubscribe", "subscription": name});
        assert_eq!(ann.refused(unsubscribe), "400::channel_missing", "{name}");
    }
    assert_eq!(ann.heard(), [0; 0]);
    let service = world.client(Transport::Local).shaken();
    service.subscribe("/sys/**");
    service.publish("/sys/x", 1);
    assert_eq!(service.heard(), [1]);
    ann.publish("/system", 2);
    assert_eq!(ann.heard(), [2]);
}
