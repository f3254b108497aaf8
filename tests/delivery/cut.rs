//! Publishers that vanish: what was accepted reaches everybody, once.

use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mirant::bayeux::{ChannelName, Message, Operation, SessionView};
use mirant::node::{Decision, Policy};
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::sync::Semaphore;

use super::host::{Client, Host, wait_for};
use crate::support::http::{Connection, Request};

const SUBSCRIBERS: usize = 400;

/// Asserts that everybody got `data` and then nothing but what is published now.
#[track_caller]
fn assert_all_got_it_once(host: &Host, subscribers: &mut [Client], data: &serde_json::Value) {
    subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", [data.clone()]));
    host.publish("/news", &json!("end"));
    subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", ["end"]));
}

/// Closes a connection so that the other side learns it as an error.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_flush_dropped_half_way_is_finished_by_the_node() {
    let host = Host::start(&[]);
    let mut subscribers = host.subscribers(SUBSCRIBERS, "/news");
    let _inside = host.handle().enter();
    let (channel, data) = (ChannelName::parse("/news").unwrap(), to_raw_value("half").unwrap());
    let mut pending = host.node().pending();
    let queued = host.node().publish_into(&channel, Message::default().with_data(&data), None, &mut pending).unwrap();
    assert_eq!(queued, SUBSCRIBERS);
    let before = host.traffic();
    {
        let mut flush = pin!(pending.flush());
        // One turn writes to some, and there are more than one turn may write to.
        assert_eq!(flush.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        let written = host.traffic().writes - before.writes;
        assert!(0 < written && written < SUBSCRIBERS as u64, "{written}");
    }
    assert_all_got_it_once(&host, &mut subscribers, &json!("half"));
}

#[test]
fn a_list_that_nobody_flushes_is_flushed_by_the_node() {
    let host = Host::start(&[]);
    let mut subscribers = host.subscribers(20, "/news");
    let _inside = host.handle().enter();
    let (channel, data) = (ChannelName::parse("/news").unwrap(), to_raw_value("none").unwrap());
    let mut pending = host.node().pending();
    host.node().publish_into(&channel, Message::default().with_data(&data), None, &mut pending).unwrap();
    drop(pending);
    assert_all_got_it_once(&host, &mut subscribers, &json!("none"));
}

#[test]
fn a_websocket_publisher_reset_in_mid_fan_out_silences_nobody() {
    let host = Host::start(&[]);
    let mut subscribers = host.subscribers(SUBSCRIBERS, "/news");
    for round in 0..5 {
        let mut publisher = Client::new(&host);
        publisher.send(&json!([publisher.publication("/news", &json!(round))]));
        // The fan-out has begun when the first subscriber has its message.
        subscribers[0].expect("/news", [round]);
        reset(publisher.socket.into_stream());
        subscribers[1..].iter_mut().for_each(|subscriber| subscriber.expect("/news", [round]));
    }
    host.publish("/news", &json!("end"));
    subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", ["end"]));
}

#[test]
fn an_http_publisher_reset_in_mid_fan_out_silences_nobody() {
    let host = Host::start(&[]);
    let mut subscribers = host.subscribers(SUBSCRIBERS, "/news");
    let publisher = Client::new(&host);
    for round in 0..5 {
        let body = json!([publisher.publication("/news", &json!(round))]).to_string();
        let mut connection = Connection::open(host.address());
        connection.send(&Request::post("/cometd", body)).unwrap();
        subscribers[0].expect("/news", [round]);
        reset(connection.into_parts().0);
        subscribers[1..].iter_mut().for_each(|subscriber| subscriber.expect("/news", [round]));
    }
    host.publish("/news", &json!("end"));
    subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", ["end"]));
}

/// Lets publishes to `/gate` wait until the test opens it.
pub(super) struct Gate(pub(super) Arc<Semaphore>);

impl Policy for Gate {
    fn can(&self, operation: Operation, channel: &str, _: &SessionView, _: &Message<'_>) -> Decision {
        if operation != Operation::Publish || channel != "/gate" {
            return Decision::Granted;
        }
        let open = Arc::clone(&self.0);
        Decision::Later(Box::pin(async move {
            open.acquire().await.expect("never closed").forget();
            None
        }))
    }
}

#[test]
fn an_http_publisher_cut_while_the_policy_thinks_silences_nobody() {
    let open = Arc::new(Semaphore::new(0));
    let host = Host::start_with(&[], Arc::new(Gate(Arc::clone(&open))));
    let mut subscribers = host.subscribers(20, "/news");
    let publisher = Client::new(&host);
    let message = |channel: &str| publisher.publication(channel, &json!("first"));
    let mut connection = Connection::open(host.address());
    connection.send(&Request::post("/cometd", json!([message("/news"), message("/gate")]).to_string())).unwrap();
    // What was accepted does not wait for what is still being thought about.
    subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", ["first"]));
    let tasks = host.node().tasks().count();
    reset(connection.into_parts().0);
    wait_for("the end of the connection", || host.node().tasks().count() < tasks);
    host.publish("/news", &json!("end"));
    subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", ["end"]));
}
