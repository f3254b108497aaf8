//! Light clients: they write ready-made text and look for a number in what arrives instead of parsing it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::target::Target;

/// The channel of all fan-outs.
pub(crate) const CHANNEL: &str = "/measure/fanout";

/// What stands before the number of a publication.
const MARK: &[u8] = b"\"n\":";

/// What stands in the reply to a connect.
const CONNECT: &[u8] = b"/meta/connect";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

const OPENING: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

thread_local! {
    /// Where all connections read to.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// How many deliveries have come, over all subscribers.
#[derive(Default)]
pub(crate) struct Tally {
    received: Cell<u64>,
    wanted: Cell<u64>,
    reached: Notify,
    fault: RefCell<Option<String>>,
}

impl Tally {
    /// Expects so many more deliveries.
    pub(crate) fn want(&self, more: u64) {
        self.wanted.set(self.wanted.get() + more);
    }

    /// Waits until all that was expected has come.
    pub(crate) async fn complete(&self) -> Result<()> {
        let waiting = async {
            while self.received.get() < self.wanted.get() && self.fault.borrow().is_none() {
                self.reached.notified().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        if let Some(fault) = self.fault.borrow().as_deref() {
            bail!("{fault}");
        }
        ensure!(in_time, "{} of {} deliveries have come", self.received.get(), self.wanted.get());
        ensure!(self.received.get() == self.wanted.get(), "more deliveries than publications");
        Ok(())
    }

    fn add(&self, count: u64) {
        self.received.set(self.received.get() + count);
        if self.received.get() >= self.wanted.get() {
            self.reached.notify_one();
        }
    }

    fn fail(&self, fault: String) {
        self.fault.borrow_mut().get_or_insert(fault);
        self.reached.notify_one();
    }
}

/// A connection, before it is given to its task.
pub(crate) struct Client {
    stream: TcpStream,
    path: String,
    host: String,
    /// Bytes of a frame or response that is not whole.
    unread: Vec<u8>,
    id: String,
}

impl Client {
    /// Opens a TCP connection.
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(target.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let host = target.address.to_string();
        Ok(Self { stream, path: target.path.clone(), host, unread: Vec::new(), id: String::new() })
    }

    /// Opens a WebSocket with a session.
    pub(crate) async fn websocket(target: &Target) -> Result<Self> {
        let mut client = Self::open(target).await?;
        let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{OPENING}\r\n", client.path, client.host);
        client.stream.write_all(head.as_bytes()).await?;
        client.head().await?;
        let reply = client.call(
            r#"[{"channel":"/meta/handshake","version":"1.0","id":"1","supportedConnectionTypes":["websocket"]}]"#,
        );
        let reply = reply.await?;
        client.id = client_id(&reply)?;
        Ok(client)
    }

    /// Opens a session by long-polling on one kept connection.
    pub(crate) async fn long_polling(target: &Target) -> Result<Self> {
        let mut client = Self::open(target).await?;
        let handshake =
            r#"[{"channel":"/meta/handshake","version":"1.0","id":"1","supportedConnectionTypes":["long-polling"]}]"#;
        client.post(handshake).await?;
        let reply = client.response().await?;
        client.id = client_id(&reply)?;
        Ok(client)
    }

    /// Sends a frame and waits for the next one.
    pub(crate) async fn call(&mut self, text: &str) -> Result<Vec<u8>> {
        self.stream.write_all(&frame(text)).await?;
        loop {
            if let Some((start, end)) = parse(&self.unread) {
                let payload = self.unread[start..end].to_vec();
                self.unread.drain(..end);
                return Ok(payload);
            }
            self.fill().await?;
        }
    }

    /// Writes a request.
    pub(crate) async fn post(&mut self, body: &str) -> Result<()> {
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.path,
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.context("cannot write a request")
    }

    /// Waits for a response of known length.
    pub(crate) async fn response(&mut self) -> Result<Vec<u8>> {
        let head = self.head().await?.to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).context("no length")?;
        let length: usize = length.trim().parse()?;
        while self.unread.len() < length {
            self.fill().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// A subscription.
    pub(crate) fn subscribe(&self) -> String {
        format!(r#"[{{"channel":"/meta/subscribe","subscription":"{CHANNEL}","id":"2","clientId":"{}"}}]"#, self.id)
    }

    /// A connect that is answered at once, or one that may be held for two minutes.
    pub(crate) fn connect(&self, transport: &str, is_held: bool) -> String {
        let timeout = if is_held { 120_000 } else { 0 };
        format!(
            r#"[{{"channel":"/meta/connect","connectionType":"{transport}","id":"3","advice":{{"timeout":{timeout}}},"clientId":"{}"}}]"#,
            self.id
        )
    }

    /// A publication, as a message of an array.
    pub(crate) fn publication(&self, number: u64, padding: usize) -> String {
        let padding = "x".repeat(padding);
        format!(r#"{{"channel":"{CHANNEL}","data":{{"n":{number},"text":"{padding}"}},"clientId":"{}"}}"#, self.id)
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("cannot write")
    }

    /// Throws away the answers to publications that have arrived, and renews a connect that was answered.
    pub(crate) async fn forget_answers(&mut self) -> Result<()> {
        let read = BUFFER.with_borrow_mut(|buffer| {
            let count = self.stream.try_read(buffer)?;
            Ok::<_, std::io::Error>((count, find(&buffer[..count], CONNECT).is_some()))
        });
        match read {
            Ok((0, _)) => bail!("the server has closed the publisher's connection"),
            Ok((_, true)) => self.write(&frame(&self.connect("websocket", true))).await,
            Ok((_, false)) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads on for ever: counts publications, which have to come in order from `next` on, and renews its connect.
    pub(crate) fn spawn_counting(self, tally: Rc<Tally>, next: u64, renews: bool) {
        tokio::task::spawn_local(async move {
            let mut counting = Counting { client: self, tally, next, renews };
            if let Err(error) = counting.run().await {
                counting.tally.fail(format!("a subscriber: {error:#}"));
            }
        });
    }

    async fn head(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return Ok(String::from_utf8(self.unread.drain(..end + 4).collect())?);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        ensure!(read.context("no answer")?? > 0, "the server has closed a connection");
        Ok(())
    }
}

/// A subscriber.
struct Counting {
    client: Client,
    tally: Rc<Tally>,
    next: u64,
    renews: bool,
}

impl Counting {
    async fn run(&mut self) -> Result<()> {
        loop {
            self.client.stream.readable().await?;
            let Some(is_answered) = BUFFER.with_borrow_mut(|buffer| self.read(buffer))? else { continue };
            if is_answered && self.renews {
                let connect = frame(&self.client.connect("websocket", true));
                self.client.stream.write_all(&connect).await?;
            }
        }
    }

    /// Takes in what has arrived; says whether a connect was answered.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<bool>> {
        let count = match self.client.stream.try_read(buffer) {
            Ok(0) => bail!("the server has closed the connection"),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut unread = std::mem::take(&mut self.client.unread);
        let mut is_answered = false;
        let rest = if unread.is_empty() {
            self.frames(&buffer[..count], &mut is_answered)?
        } else {
            unread.extend_from_slice(&buffer[..count]);
            self.frames(&unread, &mut is_answered)?
        };
        self.client.unread = rest.to_vec();
        Ok(Some(is_answered))
    }

    /// Counts the publications of whole frames and returns what follows them.
    fn frames<'b>(&mut self, mut bytes: &'b [u8], is_answered: &mut bool) -> Result<&'b [u8]> {
        let before = self.next;
        while let Some((start, end)) = parse(bytes) {
            let mut payload = &bytes[start..end];
            bytes = &bytes[end..];
            *is_answered |= find(payload, CONNECT).is_some();
            while let Some(place) = find(payload, MARK) {
                payload = &payload[place + MARK.len()..];
                let digits = payload.iter().take_while(|byte| byte.is_ascii_digit());
                let number = digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
                ensure!(number == self.next, "got {number} instead of {}", self.next);
                self.next += 1;
            }
        }
        if self.next > before {
            self.tally.add(self.next - before);
        }
        Ok(bytes)
    }
}

/// A masked text frame, as clients send it; a mask of zeros changes nothing.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Where the payload of the first frame starts and ends, if all of it is there.
fn parse(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn client_id(reply: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(reply)?;
    let (_, rest) = text.split_once(r#""clientId":""#).with_context(|| format!("no clientId: {text}"))?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}
