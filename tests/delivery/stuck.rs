//! Readers that stop: they cost others nothing and themselves at most their session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::cut::Gate;
use super::host::{Client, Host, wait_for};
use crate::support::websocket::{Frame, opcode};

/// A publication of about a kilobyte.
fn large(number: u64) -> Value {
    json!({"number": number, "filling": "x".repeat(1_000)})
}

/// Publications that wait for a client that does not read: more than its socket could still take.
const WAITING: usize = 500;

/// Publishes until so many wait for the client, which does not read; returns the number of publications.
fn fill(host: &Host, stuck: &str, channel: &str) -> u64 {
    fill_from(host, stuck, channel, 0)
}

/// The same; counts on from `first`.
fn fill_from(host: &Host, stuck: &str, channel: &str, first: u64) -> u64 {
    let mut number = 0;
    while host.session(stuck).unwrap().queued_messages < WAITING {
        host.publish(channel, &large(first + number));
        number += 1;
        assert!(number < 50_000, "the socket takes everything");
    }
    number
}

#[test]
fn a_stuck_reader_disturbs_nobody_and_ends_at_its_limit() {
    let limit = 64 * 1024;
    let host = Host::start(&["bayeux.max_queue_bytes=64KiB"]);
    let mut healthy = host.subscribers(99, "/news");
    let mut stuck = Client::subscribed(&host, "/news");
    let mut number = 0;
    let mut most = 0;
    while let Some(session) = host.session(&stuck.id) {
        most = most.max(session.queued_bytes);
        assert!(session.queued_bytes <= limit, "{session:?}");
        host.publish("/news", &large(number));
        healthy.iter_mut().for_each(|client| client.expect("/news", [large(number)]));
        number += 1;
        assert!(number < 50_000, "the session never ends");
    }
    assert!(most > limit / 2, "{most} bytes were the most that waited");
    assert_eq!(host.node().engine().totals().sessions_overflowed, 1);
    // Others go on; the stuck one finds what had left before, without a gap.
    host.publish("/news", &large(number));
    healthy.iter_mut().for_each(|client| client.expect("/news", [large(number)]));
    let mut frames = stuck.socket.barrier().unwrap();
    let last = frames.pop().expect("it is told that its session has ended, since it has not connected yet");
    let told: Value = serde_json::from_slice(&last.payload).unwrap();
    assert_eq!(told, json!([{"channel": "/meta/disconnect", "successful": true}]));
    for (place, frame) in frames.iter().enumerate() {
        assert_eq!(frame.opcode(), opcode::TEXT);
        let messages: Value = serde_json::from_slice(&frame.payload).unwrap();
        assert_eq!(messages, json!([{"channel": "/news", "data": large(place as u64)}]));
    }
    assert!(!frames.is_empty() && (frames.len() as u64) < number, "{} of {number}", frames.len());
}

#[test]
fn a_reader_that_comes_back_gets_everything_in_order() {
    let host = Host::start(&[]);
    let mut slow = Client::subscribed(&host, "/news");
    let number = fill(&host, &slow.id, "/news");
    slow.expect("/news", (0..number).map(large));
    host.publish("/news", &json!("end"));
    slow.expect("/news", ["end"]);
}

#[test]
fn what_a_stuck_publisher_has_published_does_not_wait_for_it() {
    let open = Arc::new(Semaphore::new(0));
    let host = Host::start_with(&[], Arc::new(Gate(Arc::clone(&open))));
    let mut subscriber = Client::subscribed(&host, "/gate");
    subscriber.subscribe("/news");
    // Two sessions share the publisher's socket: one fills it, the other publishes.
    let mut publisher = Client::subscribed(&host, "/flood");
    let flooded = publisher.id.clone();
    publisher.handshake();
    let frame = |channel: &str| json!([publisher.publication(channel, &json!("mine"))]);
    let frames = [frame("/news"), frame("/gate"), frame("/news")];
    publisher.send_frames(&frames);
    subscriber.expect("/news", ["mine"]);
    publisher.reply("/news");
    // Its socket is filled while the policy thinks about its second frame.
    let flood = fill(&host, &flooded, "/flood");
    open.add_permits(1);
    subscriber.expect("/gate", ["mine"]);
    // Sessions that it made sendable are not kept from others either.
    host.publish("/news", &json!("of another"));
    subscriber.expect("/news", ["of another"]);
    // Its next frame waits until it reads its answers.
    publisher.expect("/flood", (0..flood).map(large));
    publisher.reply("/gate");
    publisher.reply("/news");
    subscriber.expect("/news", ["mine"]);
}

/// [WS-11] Neither its session's end nor what it sends itself keeps the connection open.
#[test]
fn a_reader_that_is_stuck_for_too_long_is_cut_off() {
    let host = Host::start(&["bayeux.max_queue_bytes=64KiB", "bayeux.websocket.write_timeout=500ms"]);
    let mut healthy = Client::subscribed(&host, "/news");
    let mut stuck = Client::subscribed(&host, "/news");
    let mut number = 0;
    while host.session(&stuck.id).is_some() {
        host.publish("/news", &large(number));
        healthy.expect("/news", [large(number)]);
        number += 1;
    }
    assert_eq!(host.open_sockets(), 2);
    // Its socket may still take something; pongs fill it.
    let pings = Frame::new(opcode::PING, [b'x'; 125]).to_bytes().repeat(100);
    stuck.socket.write_no_longer_than(Duration::from_millis(10));
    wait_for("the end of the connection", || {
        let _ = stuck.socket.send_bytes(&pings);
        host.open_sockets() == 1
    });
    host.publish("/news", &json!("end"));
    healthy.expect("/news", ["end"]);
}

/// [WS-11] Who is slow but reads is not stuck: each time the socket takes something, the time begins anew.
#[test]
fn a_reader_that_takes_something_now_and_then_stays() {
    let host = Host::start(&["bayeux.websocket.write_timeout=800ms"]);
    let mut slow = Client::subscribed(&host, "/news");
    let started = Instant::now();
    let mut next = 0;
    while started.elapsed() < Duration::from_millis(1_600) {
        let number = next + fill_from(&host, &slow.id, "/news", next);
        slow.expect("/news", (next..number).map(large));
        next = number;
    }
    assert_eq!(host.open_sockets(), 1);
}

#[test]
fn a_stuck_reader_that_goes_away_leaves_nothing() {
    let host = Host::start(&[]);
    let stuck = Client::subscribed(&host, "/news");
    let tasks = host.node().tasks().count();
    fill(&host, &stuck.id, "/news");
    drop(stuck);
    wait_for("the end of the connection", || host.node().tasks().count() < tasks);
}
