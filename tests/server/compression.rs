//! permessage-deflate over real sockets.

use serde_json::{Value, json};

use crate::support::client::{LongPolling, WebSocket};
use crate::support::deflate::{self, AGREED, COMPRESSED, OFFER};
use crate::support::server::Server;
use crate::support::websocket::{Frame, Socket, opcode, opening};
use crate::support::witness::Witness;

const ON: &str = "bayeux.websocket.permessage_deflate=true";

/// A socket with permessage-deflate and a session.
#[track_caller]
fn compressing(server: &Server) -> WebSocket {
    let (socket, agreed) = deflate::open(server.address(), OFFER);
    assert_eq!(agreed.as_deref(), Some(AGREED));
    let mut client = WebSocket { id: String::new(), socket };
    client.send(json!([{"channel": "/meta/handshake"}]));
    let (replies, _) = receive(&mut client);
    client.id = replies[0]["clientId"].as_str().expect("a session").to_owned();
    client
}

/// The messages of the next frame, and whether it was compressed.
#[track_caller]
fn receive(client: &mut WebSocket) -> (Value, bool) {
    let frame = client.socket.receive().expect("a frame");
    let messages = serde_json::from_slice(&deflate::payload(&frame)).expect("JSON");
    (messages, frame.first & COMPRESSED != 0)
}

/// Sends messages of the client's session compressed.
#[track_caller]
fn send(client: &mut WebSocket, mut messages: Value) {
    for message in messages.as_array_mut().expect("messages") {
        message["clientId"] = json!(client.id);
    }
    client.socket.send(&deflate::frame(&messages.to_string())).expect("written");
}

/// [PD-1], [PD-3]
#[test]
fn messages_are_compressed_in_both_directions_from_the_threshold_on() {
    let server = Server::start(&[ON]);
    let mut ann = compressing(&server);
    // However it is sent: compressed or plain, short or long.
    send(&mut ann, json!([{"channel": "/meta/subscribe", "subscription": "/a"}]));
    let subscribed = json!([{"channel": "/meta/subscribe", "subscription": "/a", "successful": true}]);
    assert_eq!(receive(&mut ann), (subscribed, false));
    let long = "long text ".repeat(1000);
    send(&mut ann, json!([{"channel": "/a", "data": long}]));
    assert_eq!(receive(&mut ann), (json!([{"channel": "/a", "data": long}]), true));
    assert_eq!(receive(&mut ann), (json!([{"channel": "/a", "successful": true}]), false));
    let mut bob = LongPolling::ready(&server);
    // Exactly at the threshold and just below it: [{"channel":"/a","data":"…"}] is 28 bytes and the text.
    for (length, compressed) in [(1024 - 28, true), (1023 - 28, false)] {
        let text = "x".repeat(length);
        bob.publish("/a", json!(text));
        assert_eq!(receive(&mut ann), (json!([{"channel": "/a", "data": text}]), compressed));
    }
}

/// [PD-3]
#[test]
fn what_would_not_get_shorter_is_sent_plain() {
    let server = Server::start(&[ON, "bayeux.websocket.permessage_deflate_threshold=0"]);
    let mut ann = compressing(&server);
    ann.send(json!([{"channel": "/a"}]));
    assert_eq!(receive(&mut ann), (json!([{"channel": "/a", "successful": true}]), false));
}

/// [PD-3]
#[test]
fn batches_and_replies_are_compressed_too() {
    let server = Server::start(&[ON, "bayeux.websocket.messages_per_frame=0"]);
    let mut ann = compressing(&server);
    ann.subscribe("/a");
    let batch: Vec<Value> = (0..50).map(|n| json!({"channel": "/a", "id": format!("{n}"), "data": n})).collect();
    send(&mut ann, Value::Array(batch));
    let events: Vec<Value> = (0..50).map(|n| json!({"channel": "/a", "data": n})).collect();
    assert_eq!(receive(&mut ann), (Value::Array(events), true));
    let replies: Vec<Value> =
        (0..50).map(|n| json!({"channel": "/a", "id": format!("{n}"), "successful": true})).collect();
    assert_eq!(receive(&mut ann), (Value::Array(replies), true));
}

/// [PD-3] Each message of a burst is the frame that everyone gets.
#[test]
fn a_burst_is_a_row_of_shared_frames() {
    let server = Server::start(&[ON]);
    let mut ann = compressing(&server);
    ann.subscribe("/a");
    let text = |n: usize| format!("{n}").repeat(2000);
    let batch: Vec<Value> = (0..5).map(|n| json!({"channel": "/a", "data": text(n)})).collect();
    LongPolling::ready(&server).batch(Value::Array(batch));
    for n in 0..5 {
        assert_eq!(receive(&mut ann), (json!([{"channel": "/a", "data": text(n)}]), true));
    }
}

/// [PD-1]
#[test]
fn it_is_off_unless_switched_on() {
    let server = Server::start(&[]);
    let (socket, agreed) = deflate::open(server.address(), OFFER);
    assert_eq!(agreed, None);
    let mut ann = WebSocket { id: String::new(), socket };
    ann.handshake();
    ann.subscribe("/a");
    ann.send(json!([{"channel": "/a", "data": "x".repeat(10_000)}]));
    assert!(!receive(&mut ann).1);
    // [PD-5]
    ann.socket.send(&deflate::frame("[]")).expect("written");
    assert_eq!(ann.close_code(), Some(1002));
}

/// [PD-2]
#[test]
fn an_offer_that_cannot_be_kept_is_declined_and_the_connection_stays_plain() {
    let server = Server::start(&[ON]);
    for offer in ["permessage-deflate; server_max_window_bits=9", "permessage-deflate; other", "x-other"] {
        let (socket, agreed) = deflate::open(server.address(), offer);
        assert_eq!(agreed, None, "{offer}");
        let mut ann = WebSocket { id: String::new(), socket };
        ann.handshake();
        ann.socket.send(&deflate::frame("[]")).expect("written");
        assert_eq!(ann.close_code(), Some(1002), "{offer}");
    }
    let malformed = opening("/cometd").header("Sec-WebSocket-Extensions", "permessage-deflate; =");
    assert_eq!(Socket::open(server.address(), &malformed).unwrap_err().status, 400);
}

/// [PD-5], [PD-6]
#[test]
fn breaches_have_their_close_codes_and_disturb_nobody() {
    let server = Server::start(&[ON, "bayeux.max_message_size=64KiB"]);
    let mut witness = Witness::new(&server);
    let marked = |frame: Frame| Frame { first: frame.first | COMPRESSED, ..frame };
    let text = deflate::frame("[{\"channel\":\"/a\"}]");
    let cut = text.payload.len() / 2;
    let begun = Frame { payload: text.payload[..cut].to_vec(), ..text.clone() }.unfinished();
    let bomb = "[".to_owned() + &" ".repeat(16 << 20) + "]";
    let cases: [(&str, u16, Vec<Frame>); 6] = [
        ("a ping", 1002, vec![marked(Frame::new(opcode::PING, ""))]),
        ("a continuation", 1002, vec![begun, marked(Frame::new(opcode::CONTINUATION, &text.payload[cut..]))]),
        ("noise", 1007, vec![marked(Frame::new(opcode::TEXT, [0xff; 100]))]),
        ("not UTF-8", 1007, vec![marked(Frame::new(opcode::TEXT, deflate::deflated(b"[\"\xff\"]")))]),
        ("a bomb", 1009, vec![deflate::frame(&bomb)]),
        ("no JSON", 1011, vec![deflate::frame("[")]),
    ];
    for (what, code, frames) in cases {
        let mut ann = compressing(&server);
        frames.iter().for_each(|frame| ann.socket.send(frame).expect("written"));
        assert_eq!(ann.close_code(), Some(code), "{what}");
        witness.is_well();
    }
}

/// [PD-4]
#[test]
fn a_compressed_message_may_come_in_fragments() {
    let server = Server::start(&[ON]);
    let mut ann = compressing(&server);
    let whole = deflate::frame(&json!([{"channel": "/a", "clientId": ann.id, "id": "1"}]).to_string());
    let last = whole.payload.len() - 1;
    for (n, byte) in whole.payload.iter().enumerate() {
        let first = if n == 0 { COMPRESSED | opcode::TEXT } else { opcode::CONTINUATION };
        let fin = if n == last { 0x80 } else { 0 };
        ann.socket.send(&Frame { first: fin | first, ..Frame::new(0, [*byte]) }).expect("written");
        if n == last / 2 {
            assert_eq!(ann.socket.barrier().expect("a pong"), []);
        }
    }
    assert_eq!(receive(&mut ann).0, json!([{"channel": "/a", "id": "1", "successful": true}]));
}
