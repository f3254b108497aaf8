//! What a server or a client may do to the proxy: bytes are handed on, nothing is kept for ever, and the file says what
//! is missing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mirant::client::frames::Message;
use mirant::client::http::MessageHead;
use mirant::client::recorder::{self, Content, Recorder, Side};
use mirant::client::transcript::{Conversation, Head};
use proptest::prelude::*;
use serde_json::json;

use super::support::http::{Connection, PATIENCE, Request};
use super::support::server::Server;
use super::support::websocket::{Frame, Socket, opcode, opening};
use super::{Client, Recording, TestFile};

/// A server that reads one request head, writes `answer`, and then does as told.
fn upstream(answer: Vec<u8>, then: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        let _ = stream.write_all(&answer);
        then(stream);
    });
    (address, thread)
}

/// All that comes until the connection ends.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn ask(address: SocketAddr, request: &Request) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(&request.to_bytes()).expect("sent");
    stream
}

#[test]
fn garbage_is_handed_on_and_left_out() {
    let deep = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), vec![b'['; 300_000]].concat();
    let names = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[$name,\xe2\x80\xa6]".to_vec();
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    endless.extend(vec![b'a'; 400_000]);
    let answers = [
        b"\x16\x03\x03\x00\x20no HTTP".to_vec(),
        b"SSH-2.0-something\r\n\r\n".to_vec(),
        b"HTTP/1.1 whatever\r\n\r\nbody".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nbody".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut short".to_vec(),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\xff\xfe not UTF-8".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]".to_vec(),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n\xff\xff\xff\xff\xff\xff".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08".to_vec(),
        deep,
        names,
        endless,
        Vec::new(),
    ];
    for answer in answers {
        let (address, thread) = upstream(answer.clone(), drop);
        let recording = Recording::of(address);
        let got = rest(ask(recording.address(), &Request::post("/cometd", "[]")));
        let start = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        // The head is written anew, and says the same.
        assert_eq!(got.len(), answer.len(), "{start}: {}", String::from_utf8_lossy(&got[..got.len().min(200)]));
        thread.join().expect("the server ends");
        let (file, summary) = recording.stop();
        assert!(file.conversation().lines.len() <= 3, "{start}: {}", file.text());
        assert!(file.text().len() < 700_000 && summary.ended.is_none(), "{start}");
    }
}

#[test]
fn a_garbage_request_reaches_the_server_and_no_more_is_recorded() {
    let server = Server::start(&[]);
    let recording = Recording::of(server.address());
    for bytes in
        [&b"\x00\x01\x02\x03\x04\x05\x06\x07\x08"[..], b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(recording.address()).expect("connected");
        stream.write_all(bytes).expect("sent");
        stream.shutdown(Shutdown::Write).expect("ended");
        let _ = rest(stream);
    }
    super::support::witness::Witness::new(&server).is_well();
    Client::handshaken(recording.address());
    let (file, summary) = recording.stop();
    assert!(summary.left_out >= 2 && file.text().contains("left out: what follows on"), "{}", file.text());
    assert!(file.text().contains("/meta/handshake"), "{}", file.text());
}

#[test]
fn huge_bodies_and_messages_are_handed_on_and_left_out() {
    let server = Server::start(&["bayeux.max_message_size=8MiB", "bayeux.timeout=1s"]);
    let recording = Recording::with(server.address(), |_, options| options.body_max = 100_000);
    let mut client = Client::handshaken(recording.address());
    client.subscribe("/a");
    let (id, text) = (client.id.clone(), "x".repeat(3_000_000));
    let publish = |data: &str| json!([{"channel": "/a", "id": "2", "clientId": id, "data": data}]);
    let reply = client.ask(publish(&text));
    assert_eq!(reply[0]["data"], text, "it came back whole");
    let (mut socket, _) = Socket::open(recording.address(), &opening("/cometd")).expect("opened");
    socket.send(&Frame::new(opcode::TEXT, publish(&text).to_string())).expect("sent");
    let frame = socket.receive().expect("a frame");
    assert!(frame.payload.len() > text.len(), "it came back whole");
    client.ask(publish("small"));
    let complaints = recording.complaints();
    let (file, summary) = recording.stop();
    assert!(summary.left_out >= 2 && complaints.len() == summary.left_out, "{complaints:?}");
    let text = file.text();
    assert!(text.len() < 100_000 && text.contains("too long") && text.contains("small"), "{text}");
    file.conversation();
}

#[test]
fn an_unreachable_server_is_told_with_502() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let recording = Recording::of(address);
    let body = "x".repeat(200_000);
    let response = Connection::open(recording.address()).exchange(&Request::post("/cometd", body)).expect("an answer");
    assert_eq!(response.status, 502);
    let expected = format!("cannot reach http://{address}/cometd: ");
    assert!(response.text().contains(&expected), "{}", response.text());
    assert!(recording.complaints()[0].contains(&expected), "{:?}", recording.complaints());
    let (file, _) = recording.stop();
    assert_eq!(file.conversation().lines.len(), 0, "what the proxy says itself is not recorded");
}

#[test]
fn a_client_that_ended_its_half_gets_its_answer() {
    let (address, thread) = upstream(Vec::new(), |mut stream| {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n[{\"late\": 1}]")
            .expect("the other half is open");
    });
    let recording = Recording::of(address);
    let stream = ask(recording.address(), &Request::post("/cometd", "[]"));
    stream.shutdown(Shutdown::Write).expect("ended");
    let answer = rest(stream);
    assert!(answer.ends_with(b"[{\"late\": 1}]"), "{}", String::from_utf8_lossy(&answer));
    thread.join().expect("the server ends");
    // It counts as gone from then on, as it would be for the server of a client that has really gone.
    let (file, _) = recording.stop();
    assert!(file.text().contains("! cut A"), "{}", file.text());
    file.conversation();
}

#[test]
fn a_server_that_ends_its_half_is_a_cut() {
    let (address, thread) = upstream(Vec::new(), |stream| {
        stream.shutdown(Shutdown::Write).expect("ended");
        // It goes on listening until the other side has ended, too.
        let _ = rest(stream);
    });
    let recording = Recording::of(address);
    assert_eq!(rest(ask(recording.address(), &Request::post("/cometd", "[]"))), b"");
    thread.join().expect("the server has been left");
    let (file, _) = recording.stop();
    assert!(file.text().contains("< A cut\n") && !file.text().contains("! cut"), "{}", file.text());
}

#[test]
fn a_client_that_reads_nothing_stops_the_server_and_fills_no_memory() {
    const PIECE: usize = 1 << 16;
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let (address, thread) = upstream(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), move |mut stream| {
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let mut written = 0;
        // As long as nobody reads, only the buffers of the system take anything.
        while written < 1 << 28 {
            match stream.write(&[b'x'; PIECE]) {
                Ok(count) => written += count,
                Err(_) => break,
            }
        }
        send.send(written).expect("the test waits");
    });
    let recording = Recording::of(address);
    let stream = ask(recording.address(), &Request::post("/cometd", "[]"));
    let written = receive.recv_timeout(PATIENCE).expect("the server gives up");
    assert!(written < 1 << 26, "{written} bytes were taken");
    drop(stream);
    thread.join().expect("the server ends");
    let (file, _) = recording.stop();
    assert!(file.text().len() < 10_000);
}

#[test]
fn a_file_has_a_limit_and_the_proxy_goes_on_beyond_it() {
    let server = Server::start(&[]);
    let recording = Recording::with(server.address(), |options, _| options.file_max = 4_000);
    let mut client = Client::handshaken(recording.address());
    for _ in 0..50 {
        client.subscribe("/a");
    }
    let (file, summary) = recording.stop();
    let problem = summary.ended.expect("it ended");
    assert!(problem.contains("limit of 4000 bytes"), "{problem}");
    assert!(file.text().ends_with("# The recording ends here: the file has reached its limit.\n"));
    assert!(file.text().len() < 4_100 && file.text().len() > 3_000, "{}", file.text().len());
    file.conversation();
}

#[test]
fn connections_have_a_limit() {
    let server = Server::start(&[]);
    let recording = Recording::with(server.address(), |_, options| options.connections_max = 2);
    let one = Client::handshaken(recording.address());
    let two = Client::handshaken(recording.address());
    let third = ask(recording.address(), &Request::post("/cometd", "[]"));
    assert_eq!(rest(third), b"");
    assert!(recording.complaints()[0].contains("2 connections are open"), "{:?}", recording.complaints());
    drop((one, two));
    // Their places become free.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let stream = ask(recording.address(), &Request::post("/cometd", "[]").header("Connection", "close"));
        if rest(stream).starts_with(b"HTTP/1.1 200") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "no place becomes free");
    }
}

#[test]
fn an_answer_before_the_end_of_its_request_is_no_surprise() {
    let (address, thread) = upstream(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n".to_vec(), |stream| {
        drop(rest(stream));
    });
    let recording = Recording::of(address);
    let mut stream = TcpStream::connect(recording.address()).expect("connected");
    stream.write_all(b"POST /cometd HTTP/1.1\r\nContent-Length: 4\r\n\r\n[").expect("sent");
    let mut buffer = [0; 400];
    let count = stream.read(&mut buffer).expect("an answer");
    assert!(buffer[..count].starts_with(b"HTTP/1.1 413"));
    stream.write_all(b"{}]").expect("sent");
    stream.shutdown(Shutdown::Write).expect("ended");
    assert_eq!(rest(stream), b"");
    thread.join().expect("the server ends");
    let (file, _) = recording.stop();
    assert!(file.text().contains("answered before it ended"), "{}", file.text());
    file.conversation();
}

#[test]
fn a_client_that_leaves_while_its_websocket_is_opened_leaves_the_server_too() {
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let (address, thread) = upstream(Vec::new(), move |stream| {
        // Silent, until the other side has ended.
        send.send(rest(stream)).expect("the test waits");
    });
    let recording = Recording::of(address);
    drop(ask(recording.address(), &opening("/cometd")));
    assert_eq!(receive.recv_timeout(PATIENCE).expect("the server is left"), b"");
    thread.join().expect("the server ends");
    let (file, _) = recording.stop();
    assert!(file.text().contains("> A.1 UPGRADE /cometd\n"), "{}", file.text());
}

#[test]
fn a_stream_is_handed_on_while_it_goes_on() {
    let (step, steps) = std::sync::mpsc::sync_channel::<()>(1);
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (address, thread) = upstream(head.to_vec(), move |mut stream| {
        // Each event is written when the one before it has arrived.
        while steps.recv().is_ok() {
            stream.write_all(b"b\r\ndata: [1]\n\n\r\n").expect("written");
        }
        stream.write_all(b"0\r\n\r\n").expect("written");
    });
    let recording = Recording::of(address);
    let mut stream = ask(recording.address(), &Request::new("GET", "/cometd").header("Accept", "text/event-stream"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    for count in 0..3 {
        while text.matches("data: [1]").count() < count || !text.contains("\r\n\r\n") {
            let read = stream.read(&mut buffer).expect("more");
            assert_ne!(read, 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        step.send(()).expect("the server waits");
    }
    drop(step);
    assert!(String::from_utf8_lossy(&rest(stream)).ends_with("0\r\n\r\n"));
    thread.join().expect("the server ends");
    let (file, summary) = recording.stop();
    assert!(summary.left_out == 1 && file.text().contains("left out: the events of A.1"), "{}", file.text());
    file.conversation();
}

/// Text with everything in it that means something to the format, to HTTP or to JSON.
fn nasty() -> impl Strategy<Value = String> {
    let pieces = [
        "/a",
        " ",
        "\n",
        "\r",
        "\t",
        "|",
        " | ",
        "#",
        "@0 ! restart",
        "$session1",
        "$body",
        "…",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "=",
        "&",
        "?",
        ";",
        "%",
        "text ",
        "close",
        "cut",
        "(",
        ")",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "é",
        "x",
        "1",
        "\\",
        "token",
        "clientId",
        "id1234567890abcdef0",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..6).prop_map(|pieces| pieces.concat())
}

/// A message, or something like one.
fn batch() -> impl Strategy<Value = String> {
    let channel = prop_oneof![Just("/meta/handshake".to_owned()), Just("/meta/disconnect".to_owned()), nasty()];
    (channel, nasty(), nasty(), nasty(), 0_u8..4).prop_map(|(channel, id, key, value, kind)| match kind {
        0 => value,
        1 => json!([{"channel": channel, "data": {key.clone(): value}, "clientId": id, "ext": {key: 1, "ack": 2}}])
            .to_string(),
        2 => json!([{"channel": channel, "successful": true, "clientId": id, "advice": {"timeout": 5}}]).to_string(),
        _ => format!("{key}({})", json!([{"channel": channel, "data": value}])),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_recorded_can_be_read(
        exchanges in proptest::collection::vec((nasty(), nasty(), nasty(), batch(), batch(), 0_u64..3, 0_u16..6), 1..12)
    ) {
        let file = TestFile::new();
        let options = recorder::Options {
            out: file.path().to_owned(),
            overwrite: true,
            head: Head::default(),
            server: None,
            client: None,
            redact: Vec::new(),
            mount: None,
            control: true,
            cookies: false,
            file_max: 1 << 20,
        };
        let recorder = Recorder::create(options).expect("a new file");
        for (number, (target, name, value, asked, answered, connection, kind)) in (1..).zip(exchanges) {
            // What the splitter lets through: no line ends, and one word as the target.
            let line = |text: &str| text.replace(['\r', '\n'], "");
            let word = |text: &str| line(text).replace(' ', "");
            let method = ["POST", "GET", "OPTIONS", "BREW"][usize::from(kind % 4)];
            let start = ["/cometd", "/publish?channel=", "/lazy?a=", "/disconnect?clientId="][usize::from(kind % 4)];
            let headers = vec![
                ("Origin".to_owned(), line(&value).trim().to_owned()),
                (format!("X-{}", word(&name).replace(':', "")), line(&value).trim().to_owned()),
                ("User-Agent".to_owned(), line(&name).trim().to_owned()),
                ("Server".to_owned(), line(&value).trim().to_owned()),
                ("Access-Control-Allow-Origin".to_owned(), "*".to_owned()),
            ];
            let mut head = MessageHead { start: format!("{method} {start}{} HTTP/1.1", word(&target)), headers };
            let body = |text: &str| Content::Whole(text.as_bytes().to_vec());
            recorder.request(connection, number, &head, body(&asked));
            let status = [200, 101, 404, 204, 200, 302][usize::from(kind)];
            head.start = format!("HTTP/1.1 {status} x");
            recorder.answer(connection, number, &head, body(&answered));
            recorder.message(connection, Side::Client, &Message::Text(asked));
            recorder.message(connection, Side::Server, &Message::Text(answered));
            if kind == 5 {
                recorder.message(connection, Side::Server, &Message::Close(Some(1000), value));
                recorder.unreadable(connection, Side::Client, &name);
                recorder.end(connection, Side::Server);
                recorder.forget(connection);
            }
            let text = file.text();
            prop_assert!(Conversation::parse(&text).is_ok(), "{:?} in\n{}", Conversation::parse(&text).err(), text);
        }
        recorder.finish();
        let text = file.text();
        let conversation = Conversation::parse(&text);
        prop_assert!(conversation.is_ok(), "{:?} in\n{}", conversation.err(), text);
        prop_assert!(!text.contains("\n@0 ! restart"));
    }
}
