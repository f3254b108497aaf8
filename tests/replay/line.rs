//! [`TcpLine`]: one TCP connection of a replay, with a thread that reads whatever the server writes on it.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Connection, Request, is_end};
use super::support::subject::{Output, Written};
use super::support::transcript::Millis;
use super::websocket::{Frame, Socket, opcode};

/// Most requests that wait for an answer on one connection, and most outputs that wait to be compared.
const WAITING_MAX: usize = 10_000;

/// One TCP connection. Dropping it ends it.
pub(crate) struct TcpLine {
    stream: TcpStream,
    /// Tells the reader the number of each request, so that it can number the answers.
    asked: SyncSender<u32>,
}

/// Where all readers of a replay put what they read.
#[derive(Clone)]
pub(crate) struct Inbox {
    started: Instant,
    outputs: SyncSender<Output>,
}

impl Inbox {
    /// Returns an inbox that counts time from `started`, and its other end.
    pub(crate) fn new(started: Instant) -> (Self, Receiver<Output>) {
        let (outputs, received) = sync_channel(WAITING_MAX);
        (Self { started, outputs }, received)
    }

    fn put(&self, connection: &str, written: Written) {
        let at = Millis::try_from(self.started.elapsed().as_millis()).expect("a short test");
        // Nobody listens after the end of a replay.
        let _ = self.outputs.send(Output { at, connection: connection.to_owned(), written });
    }
}

impl TcpLine {
    /// Connects, and reads from then on.
    pub(crate) fn open(address: SocketAddr, name: &str, inbox: Inbox) -> Self {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (asked, numbers) = sync_channel(WAITING_MAX);
        let reader = Reader { name: name.to_owned(), inbox, numbers, is_announced: false };
        let connection = Connection::over(stream.try_clone().expect("a second handle"));
        thread::spawn(move || reader.read(connection));
        Self { stream, asked }
    }

    /// Sends a request; `number` names its answer.
    pub(crate) fn request(&mut self, number: u32, request: &Request) {
        self.asked.send(number).ok();
        self.write(&request.to_bytes());
    }

    /// Sends a frame.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        self.write(&frame.to_bytes());
    }

    /// The server may have closed first: then the reader tells.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
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
    numbers: Receiver<u32>,
    /// Whether the server has said that it will end the connection.
    is_announced: bool,
}

impl Reader {
    fn read(mut self, connection: Connection) {
        let error = match self.read_http(connection) {
            Ok(socket) => self.read_frames(socket),
            Err(error) => error,
        };
        if !is_end(&error) {
            // No line of a conversation expects status 0.
            let body = error.to_string();
            self.inbox.put(&self.name, Written::Answer { number: 0, status: 0, headers: Vec::new(), body });
        } else if !self.is_announced {
            self.inbox.put(&self.name, Written::Cut);
        }
    }

    /// Reads answers until one opens a WebSocket.
    fn read_http(&mut self, mut connection: Connection) -> io::Result<Socket> {
        loop {
            let response = match connection.response() {
                // Between requests and during a hold a server is silent.
                Err(error) if error.kind() == ErrorKind::TimedOut => continue,
                response => response?,
            };
            let number = self.numbers.try_recv().map_err(|_| io::Error::other("an answer that nobody asked for"))?;
            self.is_announced = response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let body = response.text().to_owned();
            let (status, headers) = (response.status, response.headers);
            self.inbox.put(&self.name, Written::Answer { number, status, headers, body });
            if status == 101 {
                return Ok(Socket::after(connection));
            }
        }
    }

    fn read_frames(&mut self, mut socket: Socket) -> io::Error {
        loop {
            let frame = match socket.receive() {
                Err(error) if error.kind() == ErrorKind::TimedOut => continue,
                Err(error) => return error,
                Ok(frame) => frame,
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let written = match frame.first & 0x7f {
                opcode::TEXT => Written::Frame(text(&frame.payload)),
                opcode::CLOSE => {
                    self.is_announced = true;
                    Written::Close(frame.close_code(), text(frame.payload.get(2..).unwrap_or_default()))
                }
                other => return io::Error::other(format!("a frame with opcode {other}")),
            };
            self.inbox.put(&self.name, written);
        }
    }
}
