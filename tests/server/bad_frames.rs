//! Bad input over WebSocket: each breach of RFC 6455 has its close code, and nobody else notices.

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, WebSocket};
use crate::support::http::{Connection, Request};
use crate::support::server::Server;
use crate::support::websocket::{Frame, Socket, opcode, opening};
use crate::support::witness::Witness;

const PROTOCOL_ERROR: u16 = 1002;
const NOT_UTF8: u16 = 1007;
const TOO_SLOW: u16 = 1008;
const TOO_BIG: u16 = 1009;

/// Sends bytes on sockets of ready clients, one each, and expects this close code.
#[track_caller]
fn closes(inputs: &[Vec<u8>], code: u16) {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    for input in inputs {
        let mut ann = WebSocket::ready(&server);
        // A server need not read to the end what it refuses.
        let _ = ann.socket.send_bytes(input);
        assert_eq!(ann.close_code(), Some(code), "{:02x?}", &input[..input.len().min(16)]);
        witness.is_well();
    }
}

/// A masked frame whose first byte is `first`.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    Frame { first, ..Frame::new(0, payload) }.to_bytes()
}

/// [WS-16]
#[test]
fn reserved_opcodes_and_bits_are_protocol_errors() {
    let opcodes = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| frame(0x80 | opcode, b"[]"));
    closes(&opcodes, PROTOCOL_ERROR);
    let bits = [0x40, 0x20, 0x10, 0x70].map(|bit| frame(0x80 | bit | opcode::TEXT, b"[]"));
    closes(&bits, PROTOCOL_ERROR);
}

#[test]
fn a_frame_without_a_mask_is_a_protocol_error() {
    let text = Frame { mask: None, ..Frame::new(opcode::TEXT, "[]") };
    let ping = Frame { mask: None, ..Frame::new(opcode::PING, "") };
    closes(&[text.to_bytes(), ping.to_bytes()], PROTOCOL_ERROR);
}

/// [WS-11]
#[test]
fn a_message_that_takes_too_long_to_arrive_closes_the_socket() {
    let settings = ["server.body_timeout=300ms", "bayeux.timeout=2s"];
    let server = Server::start(&settings);
    let mut ann = WebSocket::ready(&server);
    ann.socket.send_bytes(&frame(0x80 | opcode::TEXT, b"[{}]")[..7]).expect("written");
    assert_eq!(ann.close_code(), Some(TOO_SLOW));
}

#[test]
fn a_mask_of_zeros_is_a_mask() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    let text = json!([{"channel": "/a", "clientId": ann.id}]).to_string();
    ann.socket.send(&Frame { mask: Some([0; 4]), ..Frame::new(opcode::TEXT, text) }).expect("written");
    assert_eq!(ann.receive(), json!([{"channel": "/a", "successful": true}]));
}

#[test]
fn control_frames_are_short_and_whole() {
    let long = [opcode::PING, opcode::PONG, opcode::CLOSE].map(|opcode| frame(0x80 | opcode, &[b'x'; 126]));
    closes(&long, PROTOCOL_ERROR);
    let parts = [opcode::PING, opcode::PONG, opcode::CLOSE].map(|opcode| frame(opcode, b""));
    closes(&parts, PROTOCOL_ERROR);
}

#[test]
fn a_length_beyond_all_bounds_is_refused_before_the_payload() {
    let announced = |length: u64| [&[0x81, 0xff][..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat();
    closes(&[announced(1 << 62), announced(1 << 32), announced(1 << 30)], TOO_BIG);
    // The highest bit of a length must be clear; too big it is as well.
    let server = Server::start(&[]);
    for length in [1 << 63, u64::MAX] {
        let mut ann = WebSocket::ready(&server);
        ann.socket.send_bytes(&announced(length)).expect("written");
        let code = ann.close_code().expect("a close frame");
        assert!([PROTOCOL_ERROR, TOO_BIG].contains(&code), "{code}");
    }
}

#[test]
fn fragments_count_together() {
    let start = Frame::new(opcode::TEXT, vec![b' '; 1024 * 1024]).unfinished().to_bytes();
    let more = Frame::new(opcode::CONTINUATION, vec![b' '; 1024 * 1024]).unfinished().to_bytes();
    closes(&[[start, more.clone(), more].concat()], TOO_BIG);
}

#[test]
fn fragments_come_in_order() {
    let lone = frame(0x80 | opcode::CONTINUATION, b"[]");
    let lone_start = frame(opcode::CONTINUATION, b"[");
    let interrupted = [frame(opcode::TEXT, b"["), frame(0x80 | opcode::TEXT, b"[]")].concat();
    let mixed = [frame(opcode::TEXT, b"["), frame(0x80 | opcode::BINARY, b"[]")].concat();
    closes(&[lone, lone_start, interrupted, mixed], PROTOCOL_ERROR);
}

#[test]
fn a_message_may_come_in_fragments_with_control_frames_between_them() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    let text = json!([{"channel": "/a", "clientId": ann.id, "id": "ä€😀"}]).to_string();
    for (n, byte) in text.bytes().enumerate() {
        let opcode = if n == 0 { opcode::TEXT } else { opcode::CONTINUATION };
        ann.socket.send(&Frame::new(opcode, [byte]).unfinished()).expect("written");
    }
    assert_eq!(ann.socket.barrier().expect("a pong"), []);
    ann.socket.send(&Frame::new(opcode::CONTINUATION, "")).expect("written");
    assert_eq!(ann.receive()[0]["error"], "405::message_id_invalid");
    ann.expect_silence();
}

#[test]
fn very_many_empty_fragments_are_borne() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = WebSocket::ready(&server);
    let mut input = Frame::new(opcode::TEXT, "[").unfinished().to_bytes();
    input.extend(Frame::new(opcode::CONTINUATION, "").unfinished().to_bytes().repeat(100_000));
    input.extend(Frame::new(opcode::CONTINUATION, "]").to_bytes());
    ann.socket.send_bytes(&input).expect("written");
    assert_eq!(ann.receive(), json!([]));
    witness.is_well();
}

#[test]
fn text_that_is_not_utf8_has_its_own_code() {
    let whole = [&b"[\xff]"[..], b"[\"\xc3\x28\"]", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"[\"\xe2\x82"]
        .map(|text| frame(0x80 | opcode::TEXT, text));
    closes(&whole, NOT_UTF8);
    let parts = [frame(opcode::TEXT, b"[\"\xe2\x82"), frame(0x80 | opcode::CONTINUATION, b"\"]")].concat();
    closes(&[parts], NOT_UTF8);
}

#[test]
fn a_bad_close_frame_is_a_protocol_error() {
    let codes = [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535];
    let mut frames: Vec<Vec<u8>> = codes.iter().map(|code| frame(0x80 | opcode::CLOSE, &code.to_be_bytes())).collect();
    frames.push(frame(0x80 | opcode::CLOSE, &[3]));
    closes(&frames, PROTOCOL_ERROR);
}

#[test]
fn a_close_reason_that_is_not_utf8_has_its_own_code() {
    closes(&[frame(0x80 | opcode::CLOSE, b"\x03\xe8\xff\xfe")], NOT_UTF8);
}

#[test]
fn a_close_is_echoed_and_the_connection_ends() {
    let server = Server::start(&[]);
    let payloads: [(&[u8], Option<u16>); 4] =
        [(b"\x03\xe8bye", Some(1000)), (b"\x03\xe9", Some(1001)), (b"\x0b\xb8", Some(3000)), (b"", None)];
    for (payload, code) in payloads {
        let mut ann = WebSocket::ready(&server);
        ann.socket.send(&Frame::new(opcode::CLOSE, payload)).expect("written");
        let answer = ann.socket.receive().expect("a frame");
        assert_eq!((answer.opcode(), answer.close_code()), (opcode::CLOSE, code));
        assert!(ann.socket.receive().is_err(), "nothing follows a close frame");
    }
}

#[test]
fn what_follows_a_close_frame_is_not_read() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let mut bob = WebSocket::ready(&server);
    let publish = json!([{"channel": "/a", "clientId": bob.id, "data": 1}]).to_string();
    let input =
        [Frame::new(opcode::CLOSE, b"\x03\xe8").to_bytes(), Frame::new(opcode::TEXT, publish).to_bytes()].concat();
    bob.socket.send_bytes(&input).expect("written");
    assert_eq!(bob.close_code(), Some(1000));
    witness.is_well();
    assert_eq!(ann.events(), json!([]));
}

#[test]
fn a_ping_is_answered_with_its_payload_and_a_pong_is_ignored() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    ann.socket.send(&Frame::new(opcode::PONG, "unasked")).expect("written");
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        ann.socket.send(&Frame::new(opcode::PING, payload)).expect("written");
        let pong = ann.socket.receive().expect("a frame");
        assert_eq!((pong.first, pong.payload.as_slice()), (0x80 | opcode::PONG, payload));
    }
    ann.expect_silence();
}

#[test]
fn a_flood_of_pings_disturbs_nobody() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = WebSocket::ready(&server);
    let pings = Frame::new(opcode::PING, [b'x'; 125]).to_bytes().repeat(1000);
    ann.socket.send_bytes(&pings).expect("written");
    witness.is_well();
    for _ in 0..1000 {
        assert_eq!(ann.socket.receive().expect("a frame").opcode(), opcode::PONG);
    }
    ann.expect_silence();
}

/// [WS-2]
#[test]
fn a_binary_frame_is_ignored() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    let publish = json!([{"channel": "/a", "clientId": ann.id, "data": 1}]).to_string();
    ann.socket.send(&Frame::new(opcode::BINARY, publish)).expect("written");
    ann.expect_silence();
}

/// [LM-1]
#[test]
fn json_nested_too_deep_and_batches_too_long_close_the_socket() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let nested = |id: &str| {
        format!(r#"[{{"channel":"/a","clientId":"{id}","data":{}{}}}]"#, "[".repeat(100_000), "]".repeat(100_000))
    };
    let long = |id: &str| {
        let message = format!(r#"{{"channel":"/b","clientId":"{id}"}}"#);
        format!("[{}]", vec![message; 10_001].join(","))
    };
    let texts: [&dyn Fn(&str) -> String; 3] = [&nested, &long, &|_| "[".repeat(100_000)];
    for text in texts {
        let mut ann = WebSocket::ready(&server);
        ann.send_text(&text(&ann.id.clone()));
        assert_eq!(ann.close_code(), Some(1011));
        witness.is_well();
    }
}

#[test]
fn a_socket_may_be_cut_at_every_byte_of_a_frame() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let frame =
        Frame::new(opcode::TEXT, json!([{"channel": "/a", "clientId": ann.id, "data": 1}]).to_string()).to_bytes();
    for end in 0..frame.len() {
        let (mut socket, _) = Socket::open(server.address(), &opening(MOUNT)).expect("101");
        socket.send_bytes(&frame[..end]).expect("written");
    }
    witness.is_well();
    assert_eq!(ann.events(), json!([]), "no cut frame takes effect");
}

#[test]
fn a_frame_may_follow_its_opening_handshake_at_once() {
    let server = Server::start(&[]);
    let mut connection = Connection::open(server.address());
    let handshake = Frame::new(opcode::TEXT, r#"[{"channel":"/meta/handshake"}]"#).to_bytes();
    connection.send_bytes(&[opening(MOUNT).to_bytes(), handshake].concat()).expect("written");
    assert_eq!(connection.response().expect("a response").status, 101);
    let mut ann = WebSocket { id: String::new(), socket: Socket::after(connection) };
    assert_eq!(ann.receive()[0]["successful"], true);
}

#[test]
fn a_socket_that_ends_its_half_is_closed() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = WebSocket::ready(&server);
    ann.socket.shutdown_write();
    ann.socket.close_code().expect("an end, with a close frame or without");
    witness.is_well();
}

#[test]
fn a_bad_opening_handshake_is_refused() {
    let server = Server::start(&[]);
    let requests = [
        opening(MOUNT).header("Sec-WebSocket-Version", "12"),
        opening(MOUNT).without("Sec-WebSocket-Version"),
        opening(MOUNT).without("Sec-WebSocket-Key"),
        opening(MOUNT).header("Sec-WebSocket-Key", "short"),
        opening(MOUNT).header("Connection", "keep-alive"),
        opening(MOUNT).header("Upgrade", "h2c"),
        opening("/elsewhere"),
    ];
    for request in requests {
        let response = Socket::open(server.address(), &request).map(|_| ()).expect_err("refused");
        assert!((400..500).contains(&response.status), "{request:?}: {response:?}");
    }
    let posted = Request::post(MOUNT, "[]").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut connection = Connection::open(server.address());
    assert_ne!(connection.exchange(&posted).expect("a response").status, 101);
    Witness::new(&server).is_well();
}

#[test]
fn an_extension_is_not_agreed_on_unless_configured() {
    let server = Server::start(&[]);
    let offer = opening(MOUNT).header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let (socket, response) = Socket::open(server.address(), &offer).expect("101");
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    WebSocket { id: String::new(), socket }.handshake();
}

/// [WS-15]
#[test]
fn frames_of_several_writers_are_never_mixed() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    let publishers: Vec<WebSocket> = (0..4).map(|_| WebSocket::ready(&server)).collect();
    let sizes = [10, 200, 5000, 70_000];
    std::thread::scope(|scope| {
        for (mut bob, size) in publishers.into_iter().zip(sizes) {
            scope.spawn(move || (0..50).for_each(|n| bob.publish("/a", json!([size, n, "x".repeat(size)]))));
        }
        let mut next = [0; 4];
        for n in 0..200 {
            // Its own pings and messages make the reader of this connection write as well.
            if n % 10 == 0 {
                ann.socket.send(&Frame::new(opcode::PING, [b'p'; 100])).expect("written");
                ann.send(json!([{"channel": "/b", "id": n}]));
            }
            let mut events = 0;
            while events == 0 {
                let frame = ann.socket.receive().expect("a frame");
                if frame.opcode() == opcode::PONG {
                    assert_eq!(frame.payload, [b'p'; 100]);
                    continue;
                }
                let messages: Value = serde_json::from_slice(&frame.payload).expect("whole JSON");
                if messages[0]["channel"] == "/b" {
                    continue;
                }
                let data = &messages[0]["data"];
                let index = sizes.iter().position(|size| data[0] == *size).expect("a known size");
                assert_eq!((&data[1], data[2].as_str().map(str::len)), (&json!(next[index]), Some(sizes[index])));
                next[index] += 1;
                events += 1;
            }
        }
        assert_eq!(next, [50; 4]);
    });
}

/// [LM-4]
#[test]
fn a_subscriber_that_stops_reading_loses_its_session_and_delays_nobody() {
    let server = Server::start(&["bayeux.max_queue_bytes=4MiB"]);
    let stalled = WebSocket::subscribed(&server, "/a");
    let mut ann = WebSocket::subscribed(&server, "/a");
    let mut bob = WebSocket::ready(&server);
    let data: Value = json!("x".repeat(100_000));
    // More than the buffers of both sockets and the queue can hold.
    for n in 0..400 {
        bob.publish("/a", json!([n, data]));
        assert_eq!(ann.receive()[0]["data"][0], n);
        if n % 20 == 0 && !server.has_session(&stalled.id) {
            break;
        }
    }
    server.await_end_of(&stalled.id);
    ann.publish("/b", json!(1));
}

#[test]
fn a_held_connect_whose_reader_stops_disturbs_nobody() {
    let server = Server::start(&["bayeux.max_queue_bytes=4MiB"]);
    let mut witness = Witness::new(&server);
    let ann = LongPolling::subscribed(&server, "/a");
    let _unread = ann.hold(&server);
    let mut bob = WebSocket::ready(&server);
    for _ in 0..100 {
        bob.publish("/a", json!("x".repeat(100_000)));
    }
    witness.is_well();
    server.await_end_of(&ann.id);
}
