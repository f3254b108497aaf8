//! [`TcpLine`]: one TCP connection of a replay, with a thread that reads whatever the server writes on it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use super::frames::{FrameReader, Message, frame, opcode};
use super::http::{MessageHead, Piece, Splitter};
use super::subject::{Output, Sent, Written};
use super::transcript::Millis;

/// Most requests that wait for an answer on one connection, and most outputs that wait to be compared.
const WAITING_MAX: usize = 10_000;

/// Longest body or message that is compared, in bytes; a longer one differs from whatever was recorded.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// Size of the chunks of a chunked body, in bytes.
const CHUNK: usize = 100;

/// One TCP connection. Dropping it ends it.
#[derive(Debug)]
pub struct TcpLine {
    stream: Arc<TcpStream>,
    /// Tells the reader number and method of each request, so that it can number and read the answers.
    asked: SyncSender<(u32, String)>,
}

/// Where all readers of a replay put what they read.
#[derive(Clone, Debug)]
pub struct Inbox {
    started: Instant,
    outputs: SyncSender<Output>,
}

impl Inbox {
    /// Returns an inbox that counts time from `started`, and its other end.
    #[must_use]
    pub fn new(started: Instant) -> (Self, Receiver<Output>) {
        let (outputs, received) = sync_channel(WAITING_MAX);
        (Self { started, outputs }, received)
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis::try_from(self.started.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Puts something in that no line of a conversation expects, which ends the replay.
    pub fn fail(&self, connection: &str, what: String) {
        self.put(connection, Written::Answer { number: 0, status: 0, headers: Vec::new(), body: what });
    }

    fn put(&self, connection: &str, written: Written) {
        // Nobody listens after the end of a replay.
        let _ = self.outputs.send(Output { at: self.now(), connection: connection.to_owned(), written });
    }
}

/// Returns the bytes of a request: the header lines of the file, and what HTTP and the browser add.
#[must_use]
pub fn request_bytes(sent: &Sent<'_>, authority: &str, cookie: Option<&str>) -> Vec<u8> {
    let is_upgrade = sent.method == "UPGRADE";
    let method = if is_upgrade { "GET" } else { sent.method };
    let mut head = MessageHead { start: format!("{method} {} HTTP/1.1", sent.path), headers: Vec::new() };
    let mut put = |name: &str, value: &str| {
        head.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        head.headers.push((name.to_owned(), value.to_owned()));
    };
    put("Host", authority);
    if is_upgrade {
        put("Connection", "Upgrade");
        put("Upgrade", "websocket");
        put("Sec-WebSocket-Version", "13");
        // The nonce of RFC 6455, 1.3: the server is not to be proven one.
        put("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    if let Some(cookie) = cookie {
        put("Cookie", cookie);
    }
    let mut is_chunked = false;
    for (name, value) in sent.headers {
        put(name, value);
        is_chunked |= name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked";
    }
    if !is_chunked && (method == "POST" || !sent.body.is_empty()) {
        put("Content-Length", &sent.body.len().to_string());
    }
    // An empty cookie line means that none is sent.
    head.headers.retain(|(name, value)| !(value.is_empty() && name.eq_ignore_ascii_case("cookie")));
    let mut bytes = head.to_bytes();
    if !is_chunked {
        bytes.extend_from_slice(sent.body.as_bytes());
        return bytes;
    }
    for chunk in sent.body.as_bytes().chunks(CHUNK) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

impl TcpLine {
    /// Takes over a connection, and reads from then on.
    ///
    /// # Errors
    ///
    /// There can be no more threads.
    pub fn over(stream: TcpStream, name: &str, inbox: Inbox) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        let (asked, numbers) = sync_channel(WAITING_MAX);
        let source = Arc::clone(&stream);
        let reader = Reader { name: name.to_owned(), inbox, numbers, stream: source, is_announced: false };
        thread::Builder::new().name("replay".to_owned()).spawn(move || reader.read())?;
        Ok(Self { stream, asked })
    }

    /// Sends a request; `number` names its answer.
    pub fn request(&self, number: u32, method: &str, bytes: &[u8]) {
        // A reader that has gone has told why.
        let _ = self.asked.try_send((number, method.to_owned()));
        self.write(bytes);
    }

    /// Sends a text frame.
    pub fn text(&self, text: &str) {
        self.write(&frame(opcode::TEXT, text.as_bytes()));
    }

    /// Sends a close frame.
    pub fn close(&self, code: Option<u16>, reason: &str) {
        let mut payload = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
        payload.extend_from_slice(reason.as_bytes());
        payload.truncate(125);
        self.write(&frame(opcode::CLOSE, &payload));
    }

    /// The server may have closed first: then the reader tells.
    fn write(&self, bytes: &[u8]) {
        let _ = (&*self.stream).write_all(bytes);
    }
}

impl Drop for TcpLine {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Reads one connection until it ends.
struct Reader {
    name: String,
    inbox: Inbox,
    numbers: Receiver<(u32, String)>,
    stream: Arc<TcpStream>,
    /// Whether the server has said that it will end the connection.
    is_announced: bool,
}

impl Reader {
    fn read(mut self) {
        let mut splitter = Splitter::default();
        let outcome = match self.read_http(&mut splitter) {
            Ok(true) => self.read_frames(&mut splitter),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        match outcome {
            Err(what) => self.inbox.fail(&self.name, what),
            Ok(()) if !self.is_announced => self.inbox.put(&self.name, Written::Cut),
            Ok(()) => {}
        }
    }

    /// Reads some bytes; `false` at the end, however it came.
    fn fill(&self, splitter: &mut Splitter) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match (&*self.stream).read(&mut buffer) {
                Ok(count) => {
                    splitter.push(&buffer[..count]);
                    return count > 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Reads answers until the end, or until one opens a WebSocket, which is `true`.
    fn read_http(&mut self, splitter: &mut Splitter) -> Result<bool, String> {
        let mut answer: Option<(u32, MessageHead)> = None;
        let mut body = Vec::new();
        loop {
            match splitter.next_piece().map_err(|error| error.to_string())? {
                None if self.fill(splitter) => {}
                None => {
                    if let (Some((number, head)), true) = (answer.take(), splitter.may_end()) {
                        self.is_announced = true;
                        self.put_answer(number, &head, &std::mem::take(&mut body));
                    }
                    return Ok(false);
                }
                Some(Piece::Head(head)) => {
                    // 100 Continue and its like announce the answer proper.
                    if matches!(head.status(), Some(100 | 102..200)) {
                        splitter.expect_body(super::http::Framing::None);
                        continue;
                    }
                    let asked = self.numbers.try_recv().map_err(|_| "an answer that nobody asked for".to_owned())?;
                    let framing = head.answer_framing(&asked.1).map_err(|error| error.to_string())?;
                    splitter.expect_body(framing);
                    self.is_announced = head.lists("connection", "close");
                    if head.status() == Some(101) {
                        self.put_answer(asked.0, &head, &[]);
                        return Ok(true);
                    }
                    answer = Some((asked.0, head));
                }
                Some(Piece::Body { data, .. }) if body.len() + data.len() > BODY_MAX => {
                    return Err(format!("a body of more than {BODY_MAX} bytes"));
                }
                Some(Piece::Body { data, .. }) => body.extend(data),
                Some(Piece::End) => {
                    if let Some((number, head)) = answer.take() {
                        self.put_answer(number, &head, &std::mem::take(&mut body));
                    }
                }
            }
        }
    }

    fn put_answer(&self, number: u32, head: &MessageHead, body: &[u8]) {
        let body = String::from_utf8_lossy(body).into_owned();
        let (status, headers) = (head.status().unwrap_or(0), head.headers.clone());
        self.inbox.put(&self.name, Written::Answer { number, status, headers, body });
    }

    fn read_frames(&mut self, splitter: &mut Splitter) -> Result<(), String> {
        let mut reader = FrameReader::new(BODY_MAX);
        loop {
            reader.push(&splitter.take_rest());
            while let Some(message) = reader.next_message().map_err(|error| error.to_string())? {
                let written = match message {
                    Message::Text(text) => Written::Frame(text),
                    Message::Close(code, reason) => {
                        self.is_announced = true;
                        Written::Close(code, reason)
                    }
                    Message::Ping(data) => {
                        let _ = (&*self.stream).write_all(&frame(opcode::PONG, &data));
                        continue;
                    }
                    Message::Pong => continue,
                    Message::Binary(_) | Message::TooLong => return Err("a message that is no text".to_owned()),
                };
                self.inbox.put(&self.name, written);
            }
            if !self.fill(splitter) {
                return Ok(());
            }
        }
    }
}
