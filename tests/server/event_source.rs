//! `eventsource`: the stream of a session over a socket, from its head to its end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, WebSocket, assert_lasted};
use crate::support::http::{Connection, PATIENCE, Request, Response, is_end, read_some};
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";

/// A GET of a session's stream.
fn get(id: &str) -> Request {
    Request::new("GET", &format!("{MOUNT}/{id}")).header("Accept", "text/event-stream")
}

/// An open stream, as a browser reads it.
struct Stream {
    socket: TcpStream,
    /// What was read and is not taken: the framing of chunks, then text.
    raw: Vec<u8>,
    text: String,
    /// The head of the response.
    head: String,
    is_over: bool,
}

impl Stream {
    /// Opens a stream and reads its head and its first line.
    #[track_caller]
    fn open(address: SocketAddr, request: &Request) -> Self {
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts connections");
        socket.write_all(&request.to_bytes()).expect("written");
        let mut stream = Self { socket, raw: Vec::new(), text: String::new(), head: String::new(), is_over: false };
        while stream.head.is_empty() {
            stream.read();
            if let Some(end) = stream.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                stream.head = String::from_utf8(stream.raw.drain(..end + 4).collect()).expect("a head in ASCII");
            }
        }
        assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
        assert!(stream.block().starts_with("retry: "));
        stream
    }

    #[track_caller]
    fn of(server: &Server, client: &LongPolling) -> Self {
        Self::open(server.address(), &client.with_cookie(get(&client.id)))
    }

    #[track_caller]
    fn read(&mut self) {
        read_some(&mut self.socket, &mut self.raw, Instant::now() + PATIENCE).expect("more of the stream");
    }

    /// The value of a line of the head.
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Moves whole chunks from the raw bytes to the text.
    fn unchunk(&mut self) {
        while let Some(end) = self.raw.windows(2).position(|bytes| bytes == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..end]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            if self.raw.len() < end + 2 + size + 2 {
                return;
            }
            self.text.push_str(std::str::from_utf8(&self.raw[end + 2..end + 2 + size]).expect("UTF-8"));
            self.raw.drain(..end + 2 + size + 2);
            self.is_over |= size == 0;
        }
    }

    /// Waits for what ends with an empty line.
    #[track_caller]
    fn block(&mut self) -> String {
        loop {
            self.unchunk();
            if let Some(end) = self.text.find("\r\n\r\n") {
                let block: String = self.text.drain(..end + 4).collect();
                return block.trim_end().to_owned();
            }
            assert!(!self.is_over, "the stream has ended");
            self.read();
        }
    }

    /// Waits for the messages of the next event; comments say nothing.
    #[track_caller]
    fn event(&mut self) -> Value {
        loop {
            let block = self.block();
            if block == ":" {
                continue;
            }
            let lines: Vec<&str> = block.split("\r\n").map(|line| line.strip_prefix("data: ").expect(line)).collect();
            return serde_json::from_str(&lines.join("\n")).expect("JSON");
        }
    }

    /// Waits for so many messages, in however many events.
    #[track_caller]
    fn data(&mut self, count: usize) -> Vec<Value> {
        let mut data = Vec::new();
        while data.len() < count {
            let event = self.event();
            data.extend(event.as_array().expect("an array").iter().map(|message| message["data"].clone()));
        }
        data
    }

    /// Waits for the end of the stream and of its connection.
    #[track_caller]
    fn end(mut self) {
        loop {
            self.unchunk();
            match read_some(&mut self.socket, &mut self.raw, Instant::now() + PATIENCE) {
                Ok(()) => {}
                Err(error) => return assert!(is_end(&error) && self.is_over, "{error}"),
            }
        }
    }
}

/// A ready client that is subscribed and has a stream.
fn streaming(server: &Server, channel: &str) -> (LongPolling, Stream) {
    let ann = LongPolling::subscribed(server, channel);
    let stream = Stream::of(server, &ann);
    (ann, stream)
}

#[track_caller]
fn refused(server: &Server, request: &Request) -> Response {
    Connection::open(server.address()).exchange(request).expect("a response")
}

/// [FY-2] [FY-3]
#[test]
fn a_stream_begins_with_its_retry_time_and_brings_events() {
    let server = Server::start(&["bayeux.eventsource_retry=3s"]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let mut socket = TcpStream::connect(server.address()).expect("a connection");
    socket.write_all(&get(&ann.id).to_bytes()).expect("written");
    let mut seen = Vec::new();
    while !seen.ends_with(b"retry: 3000\r\n\r\n\r\n") {
        read_some(&mut socket, &mut seen, Instant::now() + PATIENCE).expect("the head and one chunk");
    }
    drop(socket);
    let mut stream = Stream::of(&server, &ann);
    assert_eq!(stream.header("Content-Type"), Some("text/event-stream"));
    assert_eq!(stream.header("Cache-Control"), Some("no-cache, no-store"));
    assert_eq!(stream.header("Connection"), Some("close"));
    server.publish("/a", json!({"n": 1}));
    assert_eq!(stream.event(), json!([{"channel": "/a", "data": {"n": 1}}]));
    let replies = ann.batch(json!([{"channel": "/a", "id": "1", "data": 2}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]), "an own one too ([FY-4])");
    assert_eq!(stream.event(), json!([{"channel": "/a", "data": 2}]));
}

/// [FY-3]
#[test]
fn line_breaks_between_tokens_do_not_end_an_event() {
    let server = Server::start(&[]);
    let (mut ann, mut stream) = streaming(&server, "/a");
    let body =
        format!("{{\"channel\":\"/a\",\"clientId\":\"{}\",\"data\":{{\r\n\"n\":\n\n1,\r\"s\":\"\\n\"}}}}", ann.id);
    assert_eq!(ann.exchange(body).status, 200);
    assert_eq!(stream.event(), json!([{"channel": "/a", "data": {"n": 1, "s": "\n"}}]));
}

/// [FY-5]
#[test]
fn a_connect_beside_a_stream_is_answered_at_once() {
    let server = Server::start(&["bayeux.timeout=4s"]);
    let (mut ann, _stream) = streaming(&server, "/a");
    let advice = json!({"reconnect": "retry", "interval": 4000, "timeout": 0});
    for _ in 0..3 {
        let replies = ann.batch(json!([{"channel": CONNECT, "id": "1", "connectionType": "eventsource"}]));
        assert_eq!(replies, json!([{"channel": CONNECT, "id": "1", "successful": true, "advice": advice}]));
    }
}

/// [FY-6]
#[test]
fn a_newer_stream_ends_the_older() {
    let server = Server::start(&[]);
    let (ann, first) = streaming(&server, "/a");
    let mut second = Stream::of(&server, &ann);
    first.end();
    server.publish("/a", json!(1));
    assert_eq!(second.data(1), [1]);
}

/// [FY-6] [WS-7]
#[test]
fn a_stream_ends_with_its_session_or_when_that_moves() {
    let server = Server::start(&[]);
    let (mut ann, stream) = streaming(&server, "/a");
    ann.batch(json!([{"channel": "/meta/disconnect"}]));
    stream.end();
    let (bob, stream) = streaming(&server, "/a");
    server.disconnect(&bob.id);
    stream.end();
    let (carl, stream) = streaming(&server, "/a");
    let mut socket = WebSocket::resumed(&server, &carl.id);
    socket.publish("/b", json!(1));
    stream.end();
    server.publish("/a", json!(2));
    assert_eq!(socket.receive(), json!([{"channel": "/a", "data": 2}]));
}

/// [FY-6] [FY-9]
#[test]
fn what_waits_for_a_session_that_ends_leaves_on_its_stream() {
    let server = Server::start(&[]);
    let (ann, mut stream) = streaming(&server, "/a");
    let filler = "x".repeat(10_000);
    // More than the sockets take, and less than the session's queue.
    for n in 0..1_500 {
        server.publish("/a", json!([n, filler]));
    }
    server.disconnect(&ann.id);
    let numbers: Vec<Value> = stream.data(1_500).into_iter().map(|data| data[0].clone()).collect();
    assert_eq!(numbers, (0..1_500).collect::<Vec<_>>());
    stream.end();
}

/// [FY-6]
#[test]
fn a_session_that_sends_no_connects_expires_under_its_stream() {
    let server = Server::start(&["bayeux.timeout=100ms", "bayeux.max_interval=300ms"]);
    let (mut ann, stream) = streaming(&server, "/a");
    ann.batch(json!([{"channel": CONNECT, "connectionType": "eventsource"}]));
    let started = Instant::now();
    stream.end();
    assert_lasted(started.elapsed(), Duration::from_millis(350));
    assert!(!server.has_session(&ann.id));
}

/// [FY-7]
#[test]
fn nobody_gets_a_stream_of_no_session() {
    let server = Server::start(&[]);
    for id in ["", "nobody", &"0".repeat(32)] {
        let response = refused(&server, &get(id));
        assert_eq!(
            (response.status, response.header("Content-Type")),
            (404, Some("text/plain; charset=utf-8")),
            "{id}"
        );
    }
    let ann = LongPolling::ready(&server);
    for request in [
        Request::new("GET", &format!("{MOUNT}/{}", ann.id)),
        get(&ann.id).header("Accept", "text/html"),
        Request::new("HEAD", &format!("{MOUNT}/{}", ann.id)).header("Accept", "text/event-stream"),
    ] {
        assert_eq!(refused(&server, &request).status, 400, "{request:?}");
    }
    let off = Server::start(&["bayeux.allowed_transports=long-polling"]);
    let bob = LongPolling::ready(&off);
    assert_eq!(refused(&off, &get(&bob.id)).status, 400);
    let stream = Stream::open(server.address(), &get(&ann.id).header("Accept", "text/html, text/event-stream;q=0.9"));
    assert_eq!(stream.header("Access-Control-Allow-Origin"), None);
}

/// [FY-7] [OR-2] [OR-3]
#[test]
fn the_page_of_a_stream_must_be_allowed() {
    let server = Server::start(&["server.allowed_origins=http://app.example.com"]);
    let ann = LongPolling::ready(&server);
    let stream = Stream::open(server.address(), &get(&ann.id).header("Origin", "http://app.example.com"));
    assert_eq!(stream.header("Access-Control-Allow-Origin"), Some("http://app.example.com"));
    assert_eq!(stream.header("Access-Control-Allow-Credentials"), Some("true"));
    let response = refused(&server, &get(&ann.id).header("Origin", "http://evil.example.com"));
    assert_eq!(response.status, 403);
    assert!(response.text().contains("server.allowed_origins"), "{}", response.text());
}

/// [FY-8]
#[test]
fn a_browser_with_too_many_open_requests_gets_no_stream() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=1"]);
    let (ann, stream) = streaming(&server, "/a");
    let mut bob = LongPolling::new(&server);
    bob.cookie.clone_from(&ann.cookie);
    bob.handshake();
    assert_eq!(refused(&server, &bob.with_cookie(get(&bob.id))).status, 503);
    drop(stream);
    server.await_streams(0);
    server.publish("/a", json!(1));
    drop(Stream::of(&server, &bob));
}

/// [FY-9] [SS-8]
#[test]
fn a_stream_that_broke_is_opened_again_and_misses_nothing_new() {
    let server = Server::start(&[]);
    // Also when it has sent the beginning of a next request, as [LP-10] says of connects.
    for ahead in [&b""[..], b"GET /"] {
        let (ann, mut stream) = streaming(&server, "/a");
        server.publish("/a", json!(1));
        assert_eq!(stream.data(1), [1]);
        stream.socket.write_all(ahead).expect("written");
        drop(stream);
        server.await_streams(0);
        for n in 2..5 {
            server.publish("/a", json!(n));
        }
        let mut stream = Stream::of(&server, &ann);
        assert_eq!(stream.data(3), [2, 3, 4]);
        drop(stream);
        server.await_streams(0);
    }
}

/// [FY-9]
#[test]
fn a_reader_that_is_slow_gets_everything_in_order() {
    let server = Server::start(&[]);
    let (_ann, mut stream) = streaming(&server, "/a");
    let filler = "x".repeat(10_000);
    for n in 0..1_000 {
        server.publish("/a", json!([n, filler]));
    }
    let numbers: Vec<Value> = stream.data(1_000).into_iter().map(|data| data[0].clone()).collect();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
}

/// [PB-10] [FY-9]
#[test]
fn many_publishers_reach_a_stream_each_in_its_own_order() {
    const EACH: usize = 300;
    let server = Server::start(&[]);
    let (mut ann, mut stream) = streaming(&server, "/a");
    let publishers: Vec<_> = (0..4).map(|who| (who, LongPolling::ready(&server))).collect();
    let numbers = std::thread::scope(|scope| {
        for (who, mut publisher) in publishers {
            scope.spawn(move || (0..EACH).for_each(|n| publisher.publish("/a", json!([who, n]))));
        }
        // Its own requests go on meanwhile, and bring nothing that the stream should.
        scope.spawn(|| {
            for n in 0..EACH {
                let reply = json!([{"channel": "/a", "id": n.to_string(), "successful": true}]);
                assert_eq!(ann.batch(json!([{"channel": "/a", "id": n, "data": [4, n]}])), reply);
            }
        });
        stream.data(5 * EACH)
    });
    let mut next = [0; 5];
    for number in numbers {
        let who = usize::try_from(number[0].as_u64().expect("a number")).expect("few");
        assert_eq!(number[1], next[who], "publisher {who}");
        next[who] += 1;
    }
}

/// [FY-9] [LM-4]
#[test]
fn a_reader_that_never_reads_costs_no_more_than_its_queue() {
    let server = Server::start(&["bayeux.max_queue_bytes=1MiB", "server.idle_timeout=1s"]);
    let (ann, mut stream) = streaming(&server, "/a");
    let filler = "x".repeat(100_000);
    for _ in 0..1_000 {
        if !server.has_session(&ann.id) {
            break;
        }
        server.publish("/a", json!(filler));
    }
    server.await_end_of(&ann.id);
    // Nothing can be written, so the connection is cut; what is in the client's own buffers is all there is.
    let mut read = vec![0; 1 << 20];
    let deadline = Instant::now() + PATIENCE;
    server.await_streams(0);
    stream.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    loop {
        match stream.socket.read(&mut read) {
            Ok(0) => break,
            Ok(_) => assert!(Instant::now() < deadline, "it never ends"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("neither bytes nor an end: {error}"),
        }
    }
}

/// [FY-10]
#[test]
fn a_silent_stream_is_kept_alive_by_comments() {
    let server = Server::start(&["bayeux.eventsource_keep_alive=50ms"]);
    let (_ann, mut stream) = streaming(&server, "/a");
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(stream.block(), ":");
    }
    assert_lasted(started.elapsed(), Duration::from_millis(150));
    server.publish("/a", json!(1));
    assert_eq!(stream.data(1), [1]);
}

/// [FY-10]
#[test]
fn a_silent_stream_is_not_closed_as_idle() {
    let server = Server::start(&["server.idle_timeout=200ms"]);
    let (_ann, mut stream) = streaming(&server, "/a");
    for _ in 0..6 {
        assert_eq!(stream.block(), ":");
    }
    server.publish("/a", json!(1));
    assert_eq!(stream.data(1), [1]);
}

/// [FY-6] [CN-17]
#[test]
fn a_server_that_stops_ends_its_streams() {
    let server = Server::start(&[]);
    let (_ann, mut stream) = streaming(&server, "/a");
    server.publish("/a", json!(1));
    server.stop();
    assert_eq!(stream.data(1), [1]);
    stream.end();
}
