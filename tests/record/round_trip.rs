//! What is recorded plays again: without a difference to a server like the recorded one, with one to another.

use std::io::{Read, Write};

use serde_json::json;

use super::support::http::PATIENCE;
use super::support::server::Server;
use super::support::websocket::{Frame, Socket, opcode, opening};
use super::{Client, Recording, play};
use mirant::client::transcript::{Conversation, Directive, Event, Line};

const SETTINGS: [&str; 2] = ["bayeux.timeout=1s", "bayeux.max_interval=3s"];

/// A subscriber whose connects are held, and a publisher on another connection.
fn chat(address: std::net::SocketAddr) {
    let mut client = Client::handshaken(address);
    client.subscribe("/chat");
    client.ask(client.connect("2"));
    let mut held = client.beside(address);
    held.send(held.connect("3"));
    let id = client.id.clone();
    client.ask(json!([{"channel": "/chat", "id": "4", "clientId": id, "data": {"text": "é\u{2028}\"", "n": 1.50}}]));
    assert_eq!(held.answer()[0]["id"], "3");
    held.ask(held.connect("5"));
    client.ask(json!([{"channel": "/meta/disconnect", "id": "6", "clientId": client.id}]));
}

fn recorded(settings: &[&str], play: impl FnOnce(&Recording)) -> Conversation {
    recorded_with(settings, |_, recording| play(recording))
}

fn recorded_with(settings: &[&str], play: impl FnOnce(&Server, &Recording)) -> Conversation {
    let server = Server::start(settings);
    let recording = Recording::of(server.address());
    play(&server, &recording);
    assert_eq!(recording.complaints(), [""; 0]);
    let (file, summary) = recording.stop();
    assert_eq!((summary.left_out, &summary.ended), (0, &None), "{}", file.text());
    let conversation = file.conversation();
    assert_eq!(conversation.to_string(), file.text(), "a file is written as it is read");
    conversation
}

#[test]
fn long_polling_plays_again() {
    let conversation = recorded(&SETTINGS, |recording| chat(recording.address()));
    assert_eq!(conversation.head.origin, ["recorded", "test server", "test client", "long-polling"]);
    assert_eq!(conversation.head.settings["timeout"], "1s");
    let is_cut = |line: &&Line| matches!(line.event, Event::Directive(Directive::Cut(_)));
    assert_eq!(conversation.lines.iter().filter(|line| !is_cut(line)).count(), 14, "{conversation}");
    play(&conversation, Server::start(&SETTINGS).address()).expect("no difference");
}

#[test]
fn another_server_is_found_out() {
    let conversation = recorded(&SETTINGS, |recording| chat(recording.address()));
    let failure = |settings: &[&str]| {
        play(&conversation, Server::start(settings).address()).expect_err("a difference").to_string()
    };
    let text = failure(&["bayeux.timeout=2s"]);
    assert!(text.contains("[0].advice.timeout: expected 1000, got 2000"), "{text}");
    assert!(text.contains("expected @") && text.contains("got      @"), "{text}");
    // Silent ones are found out too: one that is deaf, and one that is not there.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = deaf.local_addr().expect("an address");
    let text = play(&conversation, address).expect_err("silence").to_string();
    assert!(text.contains("cannot be sent without"), "{text}");
    drop(deaf);
    let text = play(&conversation, address).expect_err("nobody").to_string();
    assert!(text.contains("cannot connect to http://127.0.0.1:"), "{text}");
}

#[test]
fn a_websocket_plays_again() {
    let conversation = recorded(&SETTINGS, |recording| {
        let offer = opening("/cometd").header("Sec-WebSocket-Extensions", "permessage-deflate");
        let (mut socket, response) = Socket::open(recording.address(), &offer).expect("opened");
        assert_eq!(response.header("Sec-WebSocket-Extensions"), None, "compression is not offered upstream");
        let mut ask = |message: serde_json::Value| -> serde_json::Value {
            socket.send(&Frame::new(opcode::TEXT, json!([message]).to_string())).expect("sent");
            serde_json::from_slice(&socket.receive().expect("a frame").payload).expect("JSON")
        };
        let hello = json!({"channel": "/meta/handshake", "id": "1", "version": "1.0",
            "supportedConnectionTypes": ["websocket"]});
        let id = ask(hello)[0]["clientId"].clone();
        ask(json!({"channel": "/meta/connect", "id": "2", "clientId": id, "connectionType": "websocket"}));
        ask(json!({"channel": "/meta/subscribe", "id": "3", "clientId": id, "subscription": "/a"}));
        ask(json!({"channel": "/meta/connect", "id": "4", "clientId": id, "connectionType": "websocket",
            "advice": {"timeout": 300}}));
        // A message in three fragments, with a ping between them, is one message.
        let text = json!([{"channel": "/a", "id": "5", "clientId": id, "data": [1, 2, 3]}]).to_string();
        let (first, rest) = text.split_at(10);
        let (second, third) = rest.split_at(10);
        socket.send(&Frame::new(opcode::TEXT, first).unfinished()).expect("sent");
        socket.send(&Frame::new(opcode::CONTINUATION, second).unfinished()).expect("sent");
        socket.send(&Frame::new(opcode::PING, "p")).expect("sent");
        socket.send(&Frame::new(opcode::CONTINUATION, third)).expect("sent");
        let opcodes: Vec<u8> = (0..3).map(|_| socket.receive().expect("a frame").opcode()).collect();
        assert!(opcodes.contains(&opcode::PONG), "pings and pongs are handed on: {opcodes:?}");
        socket.send(&Frame::new(opcode::CLOSE, b"\x03\xe8Bye".as_slice())).expect("sent");
        assert_eq!(socket.close_code().expect("closed"), Some(1000));
    });
    assert_eq!(conversation.head.origin[3], "websocket");
    let text = conversation.to_string();
    assert!(text.contains("> A close 1000 Bye\n") && !text.contains("< A cut"), "{text}");
    play(&conversation, Server::start(&SETTINGS).address()).expect("no difference");
}

#[test]
fn each_browser_keeps_its_cookies() {
    let settings = ["bayeux.timeout=1s", "bayeux.max_interval=3s", "bayeux.max_sessions_per_browser=1"];
    let play_three = |server: &Server, address| {
        // Two tabs of one browser: the second one polls. A third client with cookies of its own is held.
        let mut one = Client::handshaken(address);
        let mut two = Client { cookie: one.cookie.clone(), ..Client::new(address) };
        let reply = two.ask(json!([{"channel": "/meta/handshake", "id": "1"}]));
        two.id = reply[0]["clientId"].as_str().expect("a clientId").to_owned();
        let mut three = Client::handshaken(address);
        for client in [&mut one, &mut two, &mut three] {
            client.ask(client.connect("2"));
        }
        for client in [&mut one, &mut three] {
            client.send(client.connect("3"));
            server.await_held(&client.id);
        }
        let reply = two.ask(two.connect("3"));
        assert_eq!(reply[0]["advice"]["multiple-clients"], true, "{reply}");
        for client in [&mut one, &mut three] {
            let reply = client.answer();
            assert_eq!(reply[0]["advice"]["multiple-clients"], json!(null), "{reply}");
        }
    };
    let conversation = recorded_with(&settings, |server, recording| play_three(server, recording.address()));
    let browsers: Vec<String> = conversation
        .lines
        .iter()
        .filter(|line| matches!(line.event, Event::Directive(Directive::Browser(..))))
        .map(|line| line.to_string()[8..].trim_end().to_owned())
        .collect();
    assert_eq!(browsers, ["! browser C 2"]);
    play(&conversation, Server::start(&settings).address()).expect("no difference");
}

#[test]
fn a_file_is_whole_at_any_time() {
    let server = Server::start(&SETTINGS);
    let recording = Recording::of(server.address());
    let mut client = Client::new(recording.address());
    assert_eq!(recording.file.conversation().lines.len(), 0);
    for count in 1..=3 {
        client.ask(json!([{"channel": "/meta/handshake", "id": "1", "version": "1.0"}]));
        assert_eq!(recording.file.conversation().lines.len(), 2 * count);
    }
    // What is under way when the recording ends was cut by it.
    let reply = client.ask(json!([{"channel": "/meta/handshake"}]));
    client.id = reply[0]["clientId"].as_str().expect("a clientId").to_owned();
    client.ask(client.connect("2"));
    client.send(client.connect("3"));
    server.await_held(&client.id);
    let (file, _) = recording.stop();
    let text = file.text();
    assert!(text.ends_with("! cut A\n"), "{text}");
    assert!(client.connection.response().is_err(), "the relay has ended");
}

#[test]
fn pipelined_requests_and_other_methods_keep_their_order() {
    let server = Server::start(&["server.allowed_origins=*"]);
    let recording = Recording::of(server.address());
    let client = Client::new(recording.address());
    let options = super::Request::new("OPTIONS", "/cometd").header("Origin", "http://a.example");
    let mut bytes = options.header("Access-Control-Request-Method", "POST").to_bytes();
    bytes.extend(super::Request::new("HEAD", "/cometd").to_bytes());
    bytes.extend(client.request(&json!([{"channel": "/meta/handshake"}])).chunked(7).to_bytes());
    bytes.extend(super::Request::new("DELETE", "/cometd").to_bytes());
    let (mut stream, _) = client.connection.into_parts();
    stream.write_all(&bytes).expect("sent");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while text.matches("HTTP/1.1 ").count() < 4 {
        let count = stream.read(&mut buffer).expect("more");
        assert_ne!(count, 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let (file, summary) = recording.stop();
    assert_eq!(summary.left_out, 0);
    let text = file.text();
    let order: Vec<usize> = ["> A.1 OPTIONS", "> A.2 HEAD", "> A.3 POST", "> A.4 DELETE"]
        .iter()
        .map(|start| text.find(start).unwrap_or_else(|| panic!("{start} in {text}")))
        .collect();
    assert!(order.is_sorted(), "{text}");
    assert!(text.contains("Transfer-Encoding: chunked"), "{text}");
}

#[test]
fn callback_polling_plays_again() {
    let settings = ["bayeux.timeout=1s", "server.allowed_origins=*"];
    let conversation = recorded(&settings, |recording| {
        let mut client = Client::new(recording.address());
        let mut call = |messages: serde_json::Value| {
            let text: String = messages.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
            let path = format!("/cometd?message={text}&jsonp=call_back");
            let response = client.connection.exchange(&super::Request::new("GET", &path)).expect("an answer");
            let argument = response.text().split_once('(').expect("a call").1.trim_end_matches(';');
            let batch = argument.strip_suffix(')').expect("a call");
            serde_json::from_str::<serde_json::Value>(batch).expect("JSON")
        };
        let reply = call(json!([{"channel": "/meta/handshake", "id": "1", "version": "1.0"}]));
        let id = reply[0]["clientId"].clone();
        let subscribe = json!({"channel": "/meta/subscribe", "id": "2", "clientId": id, "subscription": "/a"});
        call(json!([subscribe, {"channel": "/a", "id": "3", "clientId": id, "data": "ä a&b=c+d%"}]));
    });
    assert_eq!(conversation.head.needs, ["callback-polling"]);
    let text = conversation.to_string();
    assert!(text.contains("GET /cometd?message=$body&jsonp=call_back [{") && text.contains("call_back([{"), "{text}");
    play(&conversation, Server::start(&settings).address()).expect("no difference");
}
