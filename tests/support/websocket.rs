//! A raw WebSocket client on a plain socket: frames go out exactly as the test builds them, right or wrong, and come
//! in one by one.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http::{Connection, PATIENCE, Request, Response, is_end, read_some};

/// Opcodes of RFC 6455, 5.2.
pub(crate) mod opcode {
    /// Continuation of a fragmented message.
    pub(crate) const CONTINUATION: u8 = 0;
    /// Text.
    pub(crate) const TEXT: u8 = 1;
    /// Binary.
    pub(crate) const BINARY: u8 = 2;
    /// Close.
    pub(crate) const CLOSE: u8 = 8;
    /// Ping.
    pub(crate) const PING: u8 = 9;
    /// Pong.
    pub(crate) const PONG: u8 = 10;
}

/// One frame; `first` is the byte of FIN, the reserved bits and the opcode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// FIN, RSV1 to RSV3, opcode.
    pub(crate) first: u8,
    /// The masking key; a client has to have one.
    pub(crate) mask: Option<[u8; 4]>,
    /// The payload, unmasked.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A final, masked frame, as a client sends it.
    pub(crate) fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { first: 0x80 | opcode, mask: Some([0x37, 0xfa, 0x21, 0x3d]), payload: payload.into() }
    }

    /// The same without FIN: more fragments follow.
    #[must_use]
    pub(crate) fn unfinished(mut self) -> Self {
        self.first &= 0x7f;
        self
    }

    /// The bytes on the wire, with the shortest form of the length.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let length = self.payload.len();
        if length < 126 {
            bytes.push(masked | u8::try_from(length).expect("below 126"));
        } else if let Ok(length) = u16::try_from(length) {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&length.to_be_bytes());
        } else {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
        if let Some(mask) = self.mask {
            bytes.extend_from_slice(&mask);
            bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend_from_slice(&self.payload);
        }
        bytes
    }

    /// The opcode alone.
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// The status code of a close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let code = self.payload.get(..2)?;
        Some(u16::from_be_bytes([code[0], code[1]]))
    }
}

/// The opening handshake of a WebSocket, with the nonce of RFC 6455, 1.3.
pub(crate) fn opening(path: &str) -> Request {
    Request::new("GET", path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Socket {
    /// Opens a WebSocket; gives the answer back as the error if it is not 101.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, request: &Request) -> Result<(Self, Response), Response> {
        let mut connection = Connection::open(address);
        let response = connection.exchange(request).expect("an answer to the opening handshake");
        if response.status != 101 {
            return Err(response);
        }
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok((Self::after(connection), response))
    }

    /// Takes over a connection on which the opening handshake is done.
    pub(crate) fn after(connection: Connection) -> Self {
        let (stream, unread) = connection.into_parts();
        Self { stream, unread }
    }

    /// Writes a frame.
    pub(crate) fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.send_bytes(&frame.to_bytes())
    }

    /// Lets a write fail when the server takes nothing for so long.
    pub(crate) fn write_no_longer_than(&self, limit: Duration) {
        self.stream.set_write_timeout(Some(limit)).expect("a write timeout");
    }

    /// Writes bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for the next frame; `TimedOut` when none comes, `UnexpectedEof` when the connection ends.
    ///
    /// Panics when the server masks its frames.
    pub(crate) fn receive(&mut self) -> io::Result<Frame> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((frame, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                return Ok(frame);
            }
            read_some(&mut self.stream, &mut self.unread, deadline)?;
        }
    }

    /// Reads on until the server closes; the status code of its close frame, or `None` when the connection ends
    /// without one.
    pub(crate) fn close_code(&mut self) -> io::Result<Option<u16>> {
        loop {
            match self.receive() {
                Ok(frame) if frame.opcode() == opcode::CLOSE => return Ok(frame.close_code()),
                Ok(_) => {}
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a ping and waits for its pong; the frames that came before it.
    pub(crate) fn barrier(&mut self) -> io::Result<Vec<Frame>> {
        let ping = Frame::new(opcode::PING, "barrier");
        self.send(&ping)?;
        let mut before = Vec::new();
        loop {
            let frame = self.receive()?;
            if frame.opcode() == opcode::PONG && frame.payload == ping.payload {
                return Ok(before);
            }
            before.push(frame);
        }
    }

    /// Takes the bare socket.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Ends the sending half only.
    pub(crate) fn shutdown_write(&self) {
        // The server may have closed first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, start) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((Frame { first, mask: None, payload }, start + length))
}
