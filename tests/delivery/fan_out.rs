//! Write calls and polls per delivered message.

use serde_json::{Value, json};

use super::host::{Client, Host};

const SUBSCRIBERS: usize = 400;

/// Write calls and polls per delivered message since `before`.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn since(host: &Host, before: mirant::transport::Traffic, delivered: usize) -> (f64, f64) {
    let now = host.traffic();
    let per_delivered = |now: u64, before: u64| (now - before) as f64 / delivered as f64;
    (per_delivered(now.writes, before.writes), per_delivered(now.polls, before.polls))
}

#[test]
fn a_publish_costs_one_write_per_subscriber() {
    let host = Host::start(&[]);
    let mut subscribers = host.subscribers(SUBSCRIBERS, "/news");
    let mut publisher = Client::new(&host);
    let before = host.traffic();
    let messages = 10;
    for number in 0..messages {
        publisher.send(&json!([publisher.publication("/news", &json!(number))]));
        publisher.reply("/news");
        subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", [number]));
    }
    let (writes, polls) = since(&host, before, SUBSCRIBERS * messages);
    assert!(writes <= 1.05, "{writes} writes per delivered message");
    // The publisher's own task is polled again whenever it has let others run.
    assert!(polls <= 0.1, "{polls} polls per delivered message");
}

#[test]
fn a_delivery_polls_no_connection() {
    let host = Host::start(&[]);
    let mut subscribers = host.subscribers(SUBSCRIBERS, "/news");
    let before = host.traffic();
    for number in 0..10 {
        host.publish("/news", &json!(number));
        subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", [number]));
    }
    assert_eq!(host.traffic().polls, before.polls);
}

#[track_caller]
fn assert_bursts_are_cheap(send: impl Fn(&mut Client, Vec<Value>)) {
    let host = Host::start(&[]);
    let mut subscribers = host.subscribers(SUBSCRIBERS, "/news");
    let mut publisher = Client::new(&host);
    let before = host.traffic();
    let rounds = 5;
    for round in 0..rounds {
        let numbers = round * 10..(round + 1) * 10;
        let burst = numbers.clone().map(|number| publisher.publication("/news", &json!(number))).collect();
        send(&mut publisher, burst);
        numbers.clone().for_each(|_| drop(publisher.reply("/news")));
        subscribers.iter_mut().for_each(|subscriber| subscriber.expect("/news", numbers.clone()));
    }
    let (writes, polls) = since(&host, before, SUBSCRIBERS * rounds * 10);
    assert!(writes <= 0.15, "{writes} writes per delivered message");
    assert!(polls <= 0.1, "{polls} polls per delivered message");
}

#[test]
fn a_burst_in_one_array_costs_one_write_per_subscriber() {
    assert_bursts_are_cheap(|publisher, burst| publisher.send(&Value::Array(burst)));
}

#[test]
fn a_burst_of_frames_in_one_segment_costs_one_write_per_subscriber() {
    assert_bursts_are_cheap(|publisher, burst| {
        let frames: Vec<_> = burst.into_iter().map(|message| json!([message])).collect();
        publisher.send_frames(&frames);
    });
}
