//! Frames never interleave, whoever writes: publishers, the reader's own replies, pongs, closes.

use serde_json::{Value, json};

use super::host::{Client, Host};
use crate::support::websocket::{Frame, opcode};

const PUBLISHERS: usize = 8;
const MESSAGES: u64 = 60;

/// A payload whose size runs from a few bytes to more than a socket takes at once.
fn payload(publisher: usize, number: u64) -> Value {
    let filling = ["x", "y"][usize::from(number.is_multiple_of(2))];
    let size = [1, 200, 5_000, 70_000][usize::try_from(number % 4).unwrap()];
    json!({"publisher": publisher, "number": number, "filling": filling.repeat(size)})
}

/// Reads like a slow client that pings now and then, until it has everything and the server closes; checks every frame.
fn read_to_the_end(mut client: Client) {
    let mut next = [0; PUBLISHERS];
    let (mut pings, mut pongs) = (0_u32, 0_u32);
    loop {
        let frame = client.socket.receive().unwrap();
        assert_eq!(frame.first & 0x70, 0, "{frame:?}");
        match frame.opcode() {
            opcode::TEXT => {
                let messages: Vec<Value> = serde_json::from_slice(&frame.payload).unwrap();
                for message in messages.iter().filter(|message| message["channel"] == "/news") {
                    let publisher = usize::try_from(message["data"]["publisher"].as_u64().unwrap()).unwrap();
                    assert_eq!(message["data"], payload(publisher, next[publisher]));
                    next[publisher] += 1;
                }
            }
            opcode::PONG => {
                assert_eq!(frame.payload, pongs.to_be_bytes());
                pongs += 1;
            }
            opcode::CLOSE => {
                assert_eq!(frame.close_code(), Some(1001));
                break;
            }
            other => panic!("opcode {other}: {frame:?}"),
        }
        if next.iter().sum::<u64>() % 7 == 3 {
            // The server may be closing, and then answers no more.
            let _ = client.socket.send(&Frame::new(opcode::PING, pings.to_be_bytes()));
            pings += 1;
        }
    }
    assert_eq!(next, [MESSAGES; PUBLISHERS]);
    assert!(pongs > 0 && pongs <= pings, "{pongs} of {pings}");
}

#[test]
fn frames_are_whole_and_in_order_under_all_writers() {
    let host = Host::start(&[]);
    let subscribers = host.subscribers(6, "/news");
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            subscribers.into_iter().map(|client| scope.spawn(move || read_to_the_end(client))).collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let host = &host;
                scope.spawn(move || {
                    let mut client = Client::new(host);
                    for number in 0..MESSAGES {
                        client.send(&json!([client.publication("/news", &payload(publisher, number))]));
                        client.reply("/news");
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        let last = Client::new(&host);
        let waits = || host.node().engine().session_reports().iter().any(|session| session.queued_messages > 0);
        super::host::wait_for("empty queues", || !waits());
        drop(last);
        host.stop();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}
