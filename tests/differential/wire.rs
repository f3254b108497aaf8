//! HTTP/1.1 and WebSocket as bytes: what the player writes and reads, and nothing about Bayeux.

use std::io::{self, BufRead, ErrorKind};

/// A complete HTTP response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// Header lines in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body without the framing of its chunks.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The values of the headers of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of the first header of that name.
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Whether the server will close the connection after this response.
    pub(crate) fn is_last(&self) -> bool {
        self.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Writes a request; `headers` replace those that it would have otherwise, and one without a value removes it.
pub(crate) fn request(
    method: &str,
    target: &str,
    defaults: &[(&str, String)],
    headers: &[(String, String)],
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let is_given = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    for (name, value) in defaults.iter().filter(|(name, _)| !is_given(name)) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Reads a response; `has_body` tells, once it is there, whether it can have one: the answer to HEAD cannot.
pub(crate) fn read_response(reader: &mut impl BufRead, has_body: impl FnOnce() -> bool) -> io::Result<Response> {
    let mut response = loop {
        let head = read_head(reader)?;
        if head.status == 101 || head.status >= 200 {
            break head;
        }
    };
    if !has_body() || matches!(response.status, 101 | 204 | 304) {
        return Ok(response);
    }
    response.body = if response.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        read_chunks(reader)?
    } else if let Some(length) = response.header("Content-Length") {
        let length = length.parse().map_err(|_| bad("Content-Length"))?;
        exactly(reader, length)?
    } else {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest)?;
        rest
    };
    Ok(response)
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Response> {
    let status_line = line(reader)?;
    let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut response = Response { status: status.ok_or_else(|| bad("status line"))?, ..Response::default() };
    loop {
        let text = line(reader)?;
        if text.is_empty() {
            return Ok(response);
        }
        let (name, value) = text.split_once(':').ok_or_else(|| bad("header"))?;
        response.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(line(reader)?.trim(), 16).map_err(|_| bad("chunk size"))?;
        body.extend(exactly(reader, size)?);
        line(reader)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn exactly(reader: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what}"))
}

/// First byte of a WebSocket frame: the final one of a text message.
pub(crate) const TEXT: u8 = 0x81;
/// First byte of a close frame.
pub(crate) const CLOSE: u8 = 0x88;
/// First byte of a pong.
pub(crate) const PONG: u8 = 0x8a;

/// A WebSocket frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its first byte: flags and opcode.
    pub(crate) first: u8,
    /// What it carries.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The opcode.
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Whether it ends its message.
    pub(crate) fn is_final(&self) -> bool {
        self.first & 0x80 != 0
    }

    /// Whether its payload is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.first & 0x40 != 0
    }

    /// The bytes of the frame as a client sends it, masked with a constant.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut bytes = vec![self.first];
        let length = self.payload.len();
        match u16::try_from(length) {
            Ok(short) if short < 126 => bytes.push(0x80 | short.to_be_bytes()[1]),
            Ok(medium) => {
                bytes.push(0x80 | 126);
                bytes.extend(medium.to_be_bytes());
            }
            Err(_) => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

/// Reads a frame of the server.
pub(crate) fn read_frame(reader: &mut impl BufRead) -> io::Result<Frame> {
    let head = exactly(reader, 2)?;
    let length = match head[1] & 0x7f {
        126 => {
            let bytes = exactly(reader, 2)?;
            usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
        }
        127 => {
            let mut bytes = [0; 8];
            reader.read_exact(&mut bytes)?;
            usize::try_from(u64::from_be_bytes(bytes)).map_err(|_| bad("length of a frame"))?
        }
        short => usize::from(short),
    };
    Ok(Frame { first: head[0], payload: exactly(reader, length)? })
}

/// Percent-encodes everything but letters, digits and a few harmless marks.
pub(crate) fn percent_encoded(text: &[u8]) -> String {
    let mut encoded = String::new();
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
