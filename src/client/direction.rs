//! The two directions of a relayed connection: bytes are handed on as they come, and told to the recorder as messages.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::frames::FrameReader;
use super::http::{Framing, MessageHead, Piece, Splitter};
use super::recorder::{Content, Side};
use super::relay::{Link, Phase};
use super::transcript::Headers;

/// Bytes that are read at once.
pub(super) const BUFFER: usize = 64 * 1024;

/// Hands on what the client sends until one of the two ends, and returns which.
pub(super) fn requests(link: &Link, client: &TcpStream, server: &TcpStream) -> Side {
    let mut pipe = Pipe::new(link, client, server, Side::Client);
    // An error is the end of one of the two sockets.
    let _ = pipe.requests();
    pipe.ended
}

/// Hands on what the server sends until one of the two ends, and returns which.
pub(super) fn answers(link: &Link, server: &TcpStream, client: &TcpStream) -> Side {
    let mut pipe = Pipe::new(link, server, client, Side::Server);
    let _ = pipe.answers();
    pipe.ended
}

/// One direction.
struct Pipe<'a> {
    link: &'a Link,
    from: &'a TcpStream,
    to: &'a TcpStream,
    side: Side,
    /// Who ended it.
    ended: Side,
    splitter: Splitter,
    /// What has been understood and is to be handed on.
    out: Vec<u8>,
    body: Kept,
    buffer: Vec<u8>,
}

/// The content of a body, as far as it is kept.
struct Kept {
    bytes: Vec<u8>,
    longest: usize,
    is_cut: bool,
}

impl Kept {
    fn push(&mut self, data: &[u8]) {
        if self.is_cut || self.bytes.len() + data.len() > self.longest {
            self.is_cut = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(data);
        }
    }

    fn take(&mut self) -> Content {
        let bytes = std::mem::take(&mut self.bytes);
        if std::mem::take(&mut self.is_cut) { Content::TooLong } else { Content::Whole(bytes) }
    }
}

impl<'a> Pipe<'a> {
    fn new(link: &'a Link, from: &'a TcpStream, to: &'a TcpStream, side: Side) -> Self {
        let longest = link.shared.options.body_max;
        let body = Kept { bytes: Vec::new(), longest, is_cut: false };
        let (splitter, buffer) = (Splitter::default(), vec![0; BUFFER]);
        Self { link, from, to, side, ended: side, splitter, out: Vec::new(), body, buffer }
    }

    /// Reads once; `false` at the end.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            match self.from.read(&mut self.buffer) {
                Ok(count) => {
                    self.splitter.push(&self.buffer[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands on what has been understood.
    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.to.write_all(&self.out);
        if outcome.is_err() {
            self.ended = if self.side == Side::Client { Side::Server } else { Side::Client };
        }
        self.out.clear();
        outcome
    }

    fn complain(&self, complaint: Option<String>) {
        if let Some(complaint) = complaint {
            self.link.shared.complain(&format!("left out: {complaint}"));
        }
    }

    fn give_up(&mut self, why: &str) -> io::Result<()> {
        let complaint = self.link.shared.recorder.unreadable(self.link.id, self.side, why);
        self.complain(Some(complaint));
        self.hand_on_blindly()
    }

    /// Hands on whatever comes without looking at it.
    fn hand_on_blindly(&mut self) -> io::Result<()> {
        let rest = self.splitter.take_rest();
        self.out.extend(rest);
        self.flush()?;
        while self.read()? {
            self.out = self.splitter.take_rest();
            self.flush()?;
        }
        Ok(())
    }

    fn requests(&mut self) -> io::Result<()> {
        let mut request: Option<(u32, MessageHead)> = None;
        while self.read()? {
            loop {
                match self.splitter.next_piece() {
                    Ok(None) => break,
                    Ok(Some(Piece::Head(head))) => {
                        let head = self.readable(head);
                        let framing = match head.request_framing() {
                            Ok(framing) => framing,
                            Err(error) => {
                                self.out.extend(head.to_bytes());
                                return self.give_up(&error.to_string());
                            }
                        };
                        self.splitter.expect_body(framing);
                        // What came before must not wait for room.
                        self.flush()?;
                        let number = self.link.ask(head.method(), super::normalise::is_upgrade(&head.headers));
                        self.out.extend(head.to_bytes());
                        request = Some((number, head));
                    }
                    Ok(Some(Piece::Body { raw, data })) => {
                        self.out.extend(raw);
                        self.body.push(&data);
                    }
                    Ok(Some(Piece::End)) => {
                        let body = self.body.take();
                        let Some((number, head)) = request.take() else { continue };
                        self.complain(self.link.shared.recorder.request(self.link.id, number, &head, body));
                        self.flush()?;
                        match self.link.phase(self.from) {
                            Phase::WebSocket => return self.frames(),
                            Phase::Ended => return Ok(()),
                            Phase::Http | Phase::Asking => {}
                        }
                    }
                    Err(error) => return self.give_up(&error.to_string()),
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Takes out of a request what would make the record unreadable.
    fn readable(&self, mut head: MessageHead) -> MessageHead {
        head.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("sec-websocket-extensions"));
        let put = |headers: &mut Headers, name: &str, value: &str| {
            for (_, old) in headers.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case(name)) {
                value.clone_into(old);
            }
        };
        put(&mut head.headers, "accept-encoding", "identity");
        if self.link.shared.options.rewrite_host {
            put(&mut head.headers, "host", &self.link.shared.options.upstream.authority());
        }
        head
    }

    fn answers(&mut self) -> io::Result<()> {
        let mut answer: Option<(u32, MessageHead)> = None;
        loop {
            let is_open = self.read();
            loop {
                match self.splitter.next_piece() {
                    Ok(None) => break,
                    Ok(Some(Piece::Head(head))) => {
                        self.out.extend(head.to_bytes());
                        match self.begin_answer(head) {
                            Ok(begun) => answer = begun,
                            Err(why) => return self.give_up(&why),
                        }
                        if answer.as_ref().is_some_and(|(_, head)| head.status() == Some(101)) {
                            let Some((number, head)) = answer.take() else { continue };
                            self.record_answer(number, &head, Phase::WebSocket);
                            self.flush()?;
                            return self.frames();
                        }
                    }
                    Ok(Some(Piece::Body { raw, data })) => {
                        self.out.extend(raw);
                        self.body.push(&data);
                    }
                    Ok(Some(Piece::End)) => {
                        if let Some((number, head)) = answer.take() {
                            self.record_answer(number, &head, Phase::Http);
                        }
                    }
                    Err(error) => return self.give_up(&error.to_string()),
                }
            }
            if !is_open.as_ref().is_ok_and(|is_open| *is_open) {
                if let (Some((number, mut head)), true) = (answer.take(), self.splitter.may_end()) {
                    head.headers.push(("Connection".to_owned(), "close".to_owned()));
                    self.record_answer(number, &head, Phase::Http);
                }
                self.flush()?;
                return is_open.map(|_| ());
            }
            self.flush()?;
        }
    }

    /// Finds the request that a head answers, if it is the answer proper.
    fn begin_answer(&mut self, head: MessageHead) -> Result<Option<(u32, MessageHead)>, String> {
        let asked = self.link.asked().ok_or("an answer that nobody asked for")?;
        let framing = head.answer_framing(&asked.method).map_err(|error| error.to_string())?;
        let is_proper = !matches!(head.status(), Some(100 | 102..200));
        let is_stream = head.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        self.splitter.expect_body(framing);
        self.body.longest = if is_stream { 0 } else { self.link.shared.options.body_max };
        if is_stream && framing != Framing::None {
            let complaint = self.link.shared.recorder.stream(self.link.id, asked.number, &head);
            self.complain(complaint);
        }
        Ok(is_proper.then_some((asked.number, head)))
    }

    fn record_answer(&mut self, number: u32, head: &MessageHead, phase: Phase) {
        let body = self.body.take();
        self.complain(self.link.shared.recorder.answer(self.link.id, number, head, body));
        self.link.answered(phase);
    }

    fn frames(&mut self) -> io::Result<()> {
        let mut reader = FrameReader::new(self.link.shared.options.body_max);
        loop {
            let bytes = self.splitter.take_rest();
            reader.push(&bytes);
            self.out.extend(bytes);
            loop {
                match reader.next_message() {
                    Ok(None) => break,
                    Ok(Some(message)) => {
                        self.complain(self.link.shared.recorder.message(self.link.id, self.side, &message));
                    }
                    Err(error) => return self.give_up(&error.to_string()),
                }
            }
            self.flush()?;
            if !self.read()? {
                return Ok(());
            }
        }
    }
}
