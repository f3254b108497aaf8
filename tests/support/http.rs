//! A raw HTTP/1.1 client on a plain socket: the test decides every byte it sends and sees every byte of the answer.
//!
//! One [`Connection`] is one TCP connection; requests that must be under way together each take their own. Waiting is
//! limited by [`PATIENCE`], which no correct server comes near: running into it is an error, never a result.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a test waits for anything; shorter than the default hold of a connect, so that a connect which should be
/// answered at once, and is held, fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A request, built in the order in which it is written.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunk: Option<usize>,
}

impl Request {
    /// A request without headers but `Host`, and without a body.
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let headers = vec![("Host".to_owned(), "localhost".to_owned())];
        Self { method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new(), chunk: None }
    }

    /// A POST of `body` as `application/json`.
    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).header("Content-Type", "application/json").body(body)
    }

    /// Sets a header, in the place of an earlier one of that name.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body, announced by `Content-Length`.
    #[must_use]
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in chunks of so many bytes and without `Content-Length`.
    #[must_use]
    pub(crate) fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size);
        self
    }

    /// The bytes of the request, head and body.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(size) = self.chunk {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in self.body.chunks(size) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            if self.method == "POST" || !self.body.is_empty() {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// A complete response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// Headers as received, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, without the framing of its chunks.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of the first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }
}

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    expects_body: bool,
    is_ending: bool,
}

impl Connection {
    /// Connects.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts connections");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        Self::over(stream)
    }

    /// Takes over a socket on which nothing is under way.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new(), expects_body: true, is_ending: false }
    }

    /// Writes a request and does not wait for the answer.
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<()> {
        self.expects_body = request.method != "HEAD";
        self.send_bytes(&request.to_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes a request and waits for its answer.
    pub(crate) fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        self.send(request)?;
        self.response()
    }

    /// Waits for the next response.
    ///
    /// Fails with `TimedOut` when it does not come, `UnexpectedEof` when the server closes before its end, and
    /// `InvalidData` when it is no HTTP.
    pub(crate) fn response(&mut self) -> io::Result<Response> {
        let deadline = Instant::now() + PATIENCE;
        let (status, headers) = loop {
            let head = self.head(deadline)?;
            // 100 Continue and its like announce the response proper.
            if head.0 == 101 || head.0 >= 200 {
                break head;
            }
        };
        let value =
            |name: &str| headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let body = if !self.expects_body || status == 101 || status == 204 || status == 304 {
            Vec::new()
        } else if value("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            self.chunks(deadline)?
        } else if let Some(length) = value("Content-Length") {
            let length = length.parse().map_err(|_| bad("Content-Length"))?;
            self.exactly(length, deadline)?
        } else {
            self.rest(deadline)?
        };
        self.is_ending = value("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Response { status, headers, body })
    }

    /// Whether nothing has arrived so far, the end of the connection included.
    pub(crate) fn is_silent(&self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        self.stream.set_nonblocking(true).expect("non-blocking");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("blocking");
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether another request may be sent: the server has neither closed nor said that it will.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.is_ending && self.is_silent()
    }

    /// Waits until the server has closed the connection; bytes before that are dropped.
    pub(crate) fn closed(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.fill(deadline) {
                Ok(()) => self.unread.clear(),
                Err(error) if is_end(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the same bytes again and again until the server has taken none of them for a while, has closed, or
    /// `limit` bytes are written; returns how many were.
    pub(crate) fn flood(&mut self, bytes: &[u8], limit: usize) -> usize {
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a write timeout");
        let mut written = 0;
        while written < limit {
            match self.stream.write(&bytes[written % bytes.len()..]) {
                Ok(count) => written += count,
                Err(_) => break,
            }
        }
        written
    }

    /// The status of the next response, or `None` when the server closes without one.
    ///
    /// Panics when neither happens.
    #[track_caller]
    pub(crate) fn outcome(&mut self) -> Option<u16> {
        match self.response() {
            Ok(response) => Some(response.status),
            Err(error) if is_end(&error) => None,
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
    }

    /// Ends the sending half only.
    pub(crate) fn shutdown_write(&self) {
        // The server may have closed first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Takes the socket, with what was read beyond the last response.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.unread)
    }

    fn head(&mut self, deadline: Instant) -> io::Result<(u16, Vec<(String, String)>)> {
        let status_line = self.line(deadline)?;
        let mut words = status_line.split(' ');
        if words.next() != Some("HTTP/1.1") {
            return Err(bad("status line"));
        }
        let status = words.next().and_then(|word| word.parse().ok()).ok_or_else(|| bad("status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line(deadline)?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("header"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn line(&mut self, deadline: Instant) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8(self.unread[..end].to_vec()).map_err(|_| bad("line"))?;
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            self.fill(deadline)?;
        }
    }

    fn chunks(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line(deadline)?, 16).map_err(|_| bad("chunk size"))?;
            body.extend(self.exactly(size, deadline)?);
            if !self.line(deadline)?.is_empty() {
                return Err(bad("end of chunk"));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, length: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill(deadline)?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn rest(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        loop {
            match self.fill(deadline) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(std::mem::take(&mut self.unread)),
                Err(error) => return Err(error),
            }
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        read_some(&mut self.stream, &mut self.unread, deadline)
    }
}

/// Appends what arrives next to `unread`; `TimedOut` at the deadline, `UnexpectedEof` at the end of the stream.
pub(crate) fn read_some(stream: &mut TcpStream, unread: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            unread.extend_from_slice(&buffer[..count]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    }
}

/// Whether an error means that the server has closed the connection.
pub(crate) fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what}"))
}
