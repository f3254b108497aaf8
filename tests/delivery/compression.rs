//! Compressed frames: made once, shared by all who agreed to compression, beside those who did not.

use serde_json::{Value, json};

use super::host::{Client, Host};
use crate::support::deflate::{self, COMPRESSED};

const ON: &str = "bayeux.websocket.permessage_deflate=true";

/// Text of this many bytes that compresses to about two thirds.
fn text(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    (0..length).map(|_| next()).collect()
}

fn data(number: u64) -> Value {
    json!({"number": number, "text": text(number, 3_000)})
}

/// [PD-3]
#[test]
fn plain_and_compressed_subscribers_share_a_publication() {
    let host = Host::start(&[ON]);
    let mut plain = host.subscribers(100, "/news");
    let mut compressed: Vec<Client> = (0..100).map(|_| Client::compressing(&host, "/news")).collect();
    let before = host.traffic();
    for number in 0..10 {
        host.publish("/news", &data(number));
        let frames: Vec<_> = compressed.iter_mut().map(|client| client.socket.receive().unwrap()).collect();
        assert!(frames.iter().all(|frame| frame == &frames[0]), "one frame for all");
        assert_eq!(frames[0].first & COMPRESSED, COMPRESSED);
        assert!(frames[0].payload.len() < 2_200, "{} bytes", frames[0].payload.len());
        let messages: Value = serde_json::from_slice(&deflate::payload(&frames[0])).unwrap();
        assert_eq!(messages, json!([{"channel": "/news", "data": data(number)}]));
        plain.iter_mut().for_each(|client| client.expect("/news", [data(number)]));
    }
    assert!(host.traffic().writes - before.writes <= 2_000 * 105 / 100);
}

/// [PD-3]
#[test]
fn a_slow_reader_of_compressed_frames_gets_everything_in_order() {
    let host = Host::start(&[ON]);
    let mut slow = Client::compressing(&host, "/news");
    let mut plain = Client::subscribed(&host, "/news");
    let mut number = 0;
    while host.session(&slow.id).unwrap().queued_messages < 300 {
        host.publish("/news", &data(number));
        plain.expect("/news", [data(number)]);
        number += 1;
        assert!(number < 50_000, "the socket takes everything");
    }
    slow.expect("/news", (0..number).map(data));
    host.publish("/news", &json!("end"));
    slow.expect("/news", ["end"]);
}

/// What a client offers is not its publications' business: compressed or not, they are the same message.
#[test]
fn a_publisher_may_compress_what_others_get_plain() {
    let host = Host::start(&[ON]);
    let mut subscriber = Client::subscribed(&host, "/news");
    let mut publisher = Client::compressing(&host, "/other");
    let frame = json!([publisher.publication("/news", &data(1))]).to_string();
    publisher.socket.send(&deflate::frame(&frame)).unwrap();
    publisher.reply("/news");
    subscriber.expect("/news", [data(1)]);
}
