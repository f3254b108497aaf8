//! [`Splitter`]: cuts a stream of bytes into HTTP/1.1 messages while they arrive, and keeps every byte as it came.
//!
//! It is for looking on: what it does not understand is an error, after which whoever forwards the bytes goes on without
//! it. Heads are bounded here, bodies by whoever collects them.

use super::normalise::header;
use super::transcript::Headers;

/// Longest head, in bytes: far more than any server takes.
const HEAD_MAX: usize = 256 * 1024;

/// Longest line between two chunks, in bytes.
const CHUNK_LINE_MAX: usize = 4096;

/// The stream is not the HTTP/1.1 that this understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not HTTP/1.1: {0}")]
pub struct HttpError(&'static str);

/// First line and header lines of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// The first line.
    pub start: String,
    /// Header lines, in order and as spelled; one char per byte, whatever the charset.
    pub headers: Headers,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes until the connection ends.
    UntilEnd,
    /// None, and what follows is no HTTP any more.
    Upgraded,
}

/// What the next bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A head; [`Splitter::expect_body`] must be told what follows before more is taken.
    Head(MessageHead),
    /// A piece of a body: the bytes as they came, and those of them that are content.
    Body {
        /// All bytes, those of the transfer coding too.
        raw: Vec<u8>,
        /// The content.
        data: Vec<u8>,
    },
    /// The end of the message.
    End,
}

/// Cuts one direction of a connection into messages.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    Trailer,
    UntilEnd,
    End,
    Upgraded,
}

impl MessageHead {
    /// Returns the method of a request.
    #[must_use]
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Returns the target of a request.
    #[must_use]
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Returns the status of an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let status = self.start.split(' ').nth(1)?;
        status.parse().ok().filter(|status| (100..1000).contains(status))
    }

    /// Returns the value of a header line.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether a header line that is a list contains `token`.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        let lines = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        lines.flat_map(|(_, value)| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// Returns the bytes of the head.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        // One char per byte, as they were read; what a user gave is ASCII.
        text.chars().map(|char| u8::try_from(u32::from(char)).unwrap_or(b'?')).collect()
    }

    /// Returns how the body of this request ends.
    ///
    /// # Errors
    ///
    /// The length is none.
    pub fn request_framing(&self) -> Result<Framing, HttpError> {
        self.stated_framing().map(|framing| framing.unwrap_or(Framing::None))
    }

    /// Returns how the body of this answer to a request with this method ends.
    ///
    /// # Errors
    ///
    /// The length is none, or the status.
    pub fn answer_framing(&self, method: &str) -> Result<Framing, HttpError> {
        let status = self.status().ok_or(HttpError("the status is none"))?;
        match status {
            101 => Ok(Framing::Upgraded),
            100..200 | 204 | 304 => Ok(Framing::None),
            _ if method == "HEAD" => Ok(Framing::None),
            _ => self.stated_framing().map(|framing| framing.unwrap_or(Framing::UntilEnd)),
        }
    }

    fn stated_framing(&self) -> Result<Option<Framing>, HttpError> {
        if self.lists("transfer-encoding", "chunked") {
            return Ok(Some(Framing::Chunked));
        }
        let Some(length) = self.header("content-length") else { return Ok(None) };
        let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|_| is_number).ok_or(HttpError("Content-Length is none"))?;
        Ok(Some(Framing::Length(length)))
    }
}

impl Splitter {
    /// Takes bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Says what follows the head that was taken last.
    pub fn expect_body(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::None | Framing::Length(0) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilEnd => State::UntilEnd,
            Framing::Upgraded => State::Upgraded,
        };
    }

    /// Whether the stream may end here.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self.state, State::UntilEnd | State::Upgraded) || (self.state == State::Head && self.buffer.is_empty())
    }

    /// Takes all bytes that were not handed out yet.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Takes the next piece, if it has arrived.
    ///
    /// # Errors
    ///
    /// The stream is not HTTP; the bytes are left for [`take_rest`](Self::take_rest).
    pub fn next_piece(&mut self) -> Result<Option<Piece>, HttpError> {
        match self.state {
            State::Head => self.head(),
            State::Length(left) => {
                Ok(self.content(left, |left| if left == 0 { State::End } else { State::Length(left) }))
            }
            State::ChunkSize => self.chunk_size(),
            State::Chunk(left) => self.chunk(left),
            State::Trailer => self.trailer(),
            State::UntilEnd => Ok(self.content(u64::MAX, |_| State::UntilEnd)),
            State::End => {
                self.state = State::Head;
                Ok(Some(Piece::End))
            }
            State::Upgraded => Ok(None),
        }
    }

    fn head(&mut self) -> Result<Option<Piece>, HttpError> {
        // Blank lines before a request are allowed and mean nothing.
        let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.buffer.drain(..blank);
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else {
            let is_plausible = self.buffer.iter().take(8).all(|byte| byte.is_ascii_graphic() || *byte == b' ');
            return match () {
                () if self.buffer.len() > HEAD_MAX => Err(HttpError("the head does not end")),
                () if !is_plausible => Err(HttpError("the first line is none")),
                () => Ok(None),
            };
        };
        let text: String = self.buffer[..end].iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        if !start.split(' ').any(|word| word.starts_with("HTTP/1.")) {
            return Err(HttpError("the first line names no version"));
        }
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').ok_or(HttpError("a header line has no colon"))?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            is_name.then(|| (name.to_owned(), value.trim().to_owned())).ok_or(HttpError("a header line has no name"))
        });
        let headers = headers.collect::<Result<_, _>>()?;
        self.buffer.drain(..end + 4);
        Ok(Some(Piece::Head(MessageHead { start, headers })))
    }

    fn content(&mut self, left: u64, next: impl Fn(u64) -> State) -> Option<Piece> {
        if self.buffer.is_empty() {
            return None;
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
        let data: Vec<u8> = self.buffer.drain(..count).collect();
        self.state = next(left.saturating_sub(count as u64));
        Some(Piece::Body { raw: data.clone(), data })
    }

    /// Takes a line with its end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        match self.buffer.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) => Ok(Some(self.buffer.drain(..end + 2).collect())),
            None if self.buffer.len() > CHUNK_LINE_MAX => Err(HttpError("a line between chunks does not end")),
            None => Ok(None),
        }
    }

    fn chunk_size(&mut self) -> Result<Option<Piece>, HttpError> {
        const BAD: HttpError = HttpError("the size of a chunk is none");
        let text = self.buffer.iter().take(CHUNK_LINE_MAX).take_while(|byte| !b";\r".contains(byte));
        let text: String = text.map(|&byte| char::from(byte)).collect();
        if text.trim_end().bytes().any(|byte| !byte.is_ascii_hexdigit()) {
            return Err(BAD);
        }
        let Some(raw) = self.line()? else { return Ok(None) };
        let size = u64::from_str_radix(text.trim_end(), 16).map_err(|_| BAD)?;
        self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
        Ok(Some(Piece::Body { raw, data: Vec::new() }))
    }

    /// Takes content, and the line end behind it; none is left when that is due.
    fn chunk(&mut self, left: u64) -> Result<Option<Piece>, HttpError> {
        if left > 0 {
            return Ok(self.content(left, State::Chunk));
        }
        if self.buffer.len() < 2 {
            return Ok(None);
        }
        if !self.buffer.starts_with(b"\r\n") {
            return Err(HttpError("a chunk has no end"));
        }
        self.state = State::ChunkSize;
        Ok(Some(Piece::Body { raw: self.buffer.drain(..2).collect(), data: Vec::new() }))
    }

    fn trailer(&mut self) -> Result<Option<Piece>, HttpError> {
        let Some(raw) = self.line()? else { return Ok(None) };
        if raw == b"\r\n" {
            self.state = State::End;
        }
        Ok(Some(Piece::Body { raw, data: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a stream that arrives in pieces of `step` bytes; returns what was content, and whether no byte was lost.
    fn split(stream: &str, step: usize) -> Result<(Vec<String>, bool), HttpError> {
        let (mut splitter, mut messages, mut bytes, mut body) =
            (Splitter::default(), Vec::new(), Vec::new(), Vec::new());
        for part in stream.as_bytes().chunks(step) {
            splitter.push(part);
            while let Some(piece) = splitter.next_piece()? {
                match piece {
                    Piece::Head(head) => {
                        let framing =
                            if head.status().is_some() { head.answer_framing("GET")? } else { head.request_framing()? };
                        splitter.expect_body(framing);
                        bytes.extend(head.to_bytes());
                    }
                    Piece::Body { raw, data } => {
                        bytes.extend(raw);
                        body.extend(data);
                    }
                    Piece::End => messages.push(String::from_utf8(std::mem::take(&mut body)).unwrap()),
                }
            }
        }
        assert!(splitter.may_end(), "{splitter:?}");
        messages.extend((!body.is_empty()).then(|| String::from_utf8(body).unwrap()));
        Ok((messages, bytes == stream.as_bytes()))
    }

    #[test]
    fn messages_are_found_however_they_arrive_and_no_byte_is_lost() {
        let requests = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nX: \u{e9}\r\n\r\n\
            POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nwxyz\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n";
        let latin: Vec<u8> = requests.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
        assert!(std::str::from_utf8(&latin).is_err());
        for step in [1, 2, 7, 4096] {
            let requests = requests.replace('\u{e9}', "e");
            assert_eq!(split(&requests, step), Ok((vec!["abc".into(), String::new(), "wxyz!".into()], true)));
            let answers =
                "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nrest";
            assert_eq!(split(answers, step), Ok((vec![String::new(), String::new(), "rest".into()], true)));
        }
        let head = MessageHead { start: "GET / HTTP/1.1".into(), headers: vec![("X".into(), "\u{e9}".into())] };
        assert!(head.to_bytes().contains(&0xe9));
    }

    #[test]
    fn what_is_no_http_is_an_error_at_once_and_no_head_is_endless() {
        let error = |stream: &[u8]| {
            let mut splitter = Splitter::default();
            splitter.push(stream);
            loop {
                match splitter.next_piece() {
                    Ok(Some(Piece::Head(head))) => splitter.expect_body(head.request_framing()?),
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        assert!(error(b"\x16\x03\x01 garbage").is_err());
        assert!(error(b"GET / SPDY\r\n\r\n").is_err());
        assert!(error(b"GET / HTTP/1.1\r\nno colon\r\n\r\n").is_err());
        assert!(error(b"GET / HTTP/1.1\r\n folded: 1\r\n\r\n").is_err());
        assert!(error(b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n").is_err());
        assert!(error(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").is_err());
        assert!(error(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd").is_err());
        assert_eq!(error(&vec![b'a'; HEAD_MAX]), Ok(()));
        assert!(error(&vec![b'a'; HEAD_MAX + 1]).is_err());
    }

    #[test]
    fn the_framing_of_an_answer_depends_on_the_request() {
        let answer = |start: &str, line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            MessageHead { start: start.to_owned(), headers: vec![(name.to_owned(), value.to_owned())] }
        };
        let long = answer("HTTP/1.1 200 OK", "Content-Length: 9");
        assert_eq!(long.answer_framing("GET"), Ok(Framing::Length(9)));
        assert_eq!(long.answer_framing("HEAD"), Ok(Framing::None));
        let socket = answer("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket");
        assert_eq!(socket.answer_framing("GET"), Ok(Framing::Upgraded));
        assert_eq!(answer("HTTP/1.1 200 OK", "A: b").answer_framing("GET"), Ok(Framing::UntilEnd));
        assert!(answer("HTTP/1.1 OK", "A: b").answer_framing("GET").is_err());
    }
}
