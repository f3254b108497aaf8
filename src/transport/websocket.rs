//! `websocket`: one connection with its reader, its task, and its life from upgrade to close.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::bayeux::{DecodeError, Peer, Release, Transport, decode};
use crate::node::{self, Binding, Flushed, Node, Outlet, OutletRef, Pending, Session};
use crate::web::upgrade::Accepted;
use crate::web::websocket::{
    CloseCode, CloseReason, Deflate, FrameDecoder, Incoming, encode_close, encode_pong, encode_text,
};
use crate::web::{Request, Response, upgrade as handshake};

use super::Mount;
use super::writer::{Moved, Wire, Writer, Wrote, with_scratch};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// How long a closing connection may take to be closed by the other side as well.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes that are read and thrown away while a connection is closing.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

thread_local! {
    /// Read buffers that no connection of this thread is using; an idle connection has none.
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers a thread keeps.
const BUFFERS_MAX: usize = 4;

/// One WebSocket of a client.
pub(super) struct Connection {
    mount: Arc<Mount>,
    stream: TcpStream,
    peer: Peer,
    /// Whether permessage-deflate was agreed on.
    deflate: Deflate,
    writer: Mutex<Writer>,
    /// Wakes the connection's task: the socket is full or broken, or somebody wants it closed.
    wake: Notify,
    close: Mutex<Option<Close>>,
    /// When something was last received, in the node's milliseconds.
    active_at: AtomicU64,
    /// When the message began that has not arrived whole, likewise; zero if there is none.
    partial_since: AtomicU64,
    /// Since when the socket has taken nothing of what waits to be written, likewise.
    full_since: AtomicU64,
}

/// A close frame to send.
#[derive(Clone, Copy, Debug)]
struct Close {
    code: Option<CloseCode>,
    text: &'static str,
}

impl From<CloseReason> for Close {
    fn from(reason: CloseReason) -> Self {
        Self { code: Some(reason.code), text: reason.text }
    }
}

/// Answers an upgrade; the connection begins when the answer is written.
pub(super) fn upgrade(mount: &Arc<Mount>, mut request: Request) -> Response {
    let peer = mount.peer(&request, Transport::WebSocket);
    let Accepted { response, handover, deflate } = match handshake::accept(&mut request, &mount.options.websocket) {
        Ok(accepted) => accepted,
        Err(refusal) => return refusal.response(),
    };
    let mount = Arc::clone(mount);
    let node = Arc::clone(&mount.node);
    node.tasks().spawn("upgrade", async move {
        match handover.take_stream().await {
            Ok((stream, read)) => {
                let polls = Arc::clone(&mount.connections.counters().polls);
                let tasks = Arc::clone(&mount.node);
                // A task of its own, so that what the upgrade needed is freed.
                let run = Connection::run(mount, stream, peer, deflate, read.to_vec());
                tasks.tasks().spawn_counted("websocket", polls, run);
            }
            Err(error) => tracing::debug!(%error, "upgrade failed"),
        }
    });
    response
}

impl Connection {
    /// Serves a connection until it ends; `read` was received together with the upgrade.
    async fn run(mount: Arc<Mount>, stream: TcpStream, peer: Peer, deflate: Deflate, read: Vec<u8>) {
        let connection = Arc::new(Self {
            active_at: AtomicU64::new(mount.node.now().as_millis()),
            partial_since: AtomicU64::new(0),
            full_since: AtomicU64::new(0),
            mount,
            stream,
            peer,
            deflate,
            writer: Mutex::default(),
            wake: Notify::new(),
            close: Mutex::new(None),
        });
        let key = connection.mount.connections.add(&connection);
        let me = OutletRef::new(Arc::clone(&connection) as _);
        let ending = Ending { connection: &connection, me: &me, key };
        let decoder = FrameDecoder::new(connection.mount.options.max_message_size, deflate);
        let mut reader = Reader { decoder, binding: Binding::Open };
        let close = connection.serve(&me, &mut reader, read).await;
        drop(reader);
        if let Some(close) = close {
            Box::pin(connection.close_gently(close)).await;
        }
        drop(ending);
    }

    /// Reads and writes until the connection is to be closed, or is gone.
    async fn serve(&self, me: &OutletRef, reader: &mut Reader, mut read: Vec<u8>) -> Option<Close> {
        if !read.is_empty()
            && let Err(close) = Box::pin(self.process(me, reader, &mut read)).await
        {
            return Some(close);
        }
        drop(read);
        loop {
            if let Some(close) = *self.close.lock() {
                return Some(close);
            }
            if !self.writer.lock().is_free() {
                match self.drain(me).await {
                    Wrote::Dead => return None,
                    Wrote::Full | Wrote::All => continue,
                }
            }
            let is_readable = tokio::select! {
                readable = self.stream.readable() => readable.is_ok(),
                () = self.wake.notified() => continue,
            };
            if !is_readable {
                return None;
            }
            let mut buffer = take_buffer();
            let outcome = match self.stream.try_read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    self.active_at.store(self.mount.node.now().as_millis(), Ordering::Relaxed);
                    // Boxed, so that an idle connection is no larger than it must be.
                    Box::pin(self.process(me, reader, &mut buffer[..count])).await
                }
                Err(error) if is_temporary(&error) => Ok(()),
                Err(_) => return None,
            };
            give_buffer(buffer);
            if let Err(close) = outcome {
                return Some(close);
            }
        }
    }

    /// Handles everything that one read brought, and flushes once at its end.
    async fn process(&self, me: &OutletRef, reader: &mut Reader, mut input: &mut [u8]) -> Result<(), Close> {
        let mut pending = self.mount.node.pending();
        let outcome = self.process_frames(me, reader, &mut input, &mut pending).await;
        self.note_partial(&reader.decoder);
        pending.flush().await;
        outcome
    }

    async fn process_frames(
        &self,
        me: &OutletRef,
        reader: &mut Reader,
        input: &mut &mut [u8],
        pending: &mut Pending,
    ) -> Result<(), Close> {
        while let Some(incoming) = reader.decoder.next(input)? {
            match incoming {
                Incoming::Text(text) => self.text(me, &text, &mut reader.binding, pending).await?,
                // CometD ignores binary messages, and pongs need no answer.
                Incoming::Binary(_) | Incoming::Pong(_) => {}
                Incoming::Ping(payload) => {
                    let mut pong = Vec::new();
                    encode_pong(&mut pong, &payload);
                    self.write(&pong, pending).await;
                }
                Incoming::Close { code, .. } => return Err(Close { code, text: "" }),
            }
        }
        Ok(())
    }

    /// Handles one frame of messages.
    async fn text(
        &self,
        me: &OutletRef,
        text: &str,
        binding: &mut Binding,
        pending: &mut Pending,
    ) -> Result<(), Close> {
        let node = &self.mount.node;
        let messages = decode(text, &node.engine().config().limits).map_err(refuse)?;
        if messages.is_empty() {
            // Faye's keep-alive ([EN-14]).
            let mut empty = Vec::new();
            encode_text(&mut empty, b"[]");
            self.write(&empty, pending).await;
            return Ok(());
        }
        let received = node.receive(self.peer.clone(), me.clone(), binding.clone(), messages, pending).await;
        let incoming = received.map_err(|fault| {
            tracing::debug!(%fault, "websocket closed");
            Close { code: Some(CloseCode::Error), text: "bad request" }
        })?;
        *binding = self.finish(me, incoming).await?;
        Ok(())
    }

    /// Writes the answers of one frame.
    async fn finish(&self, me: &OutletRef, mut incoming: node::Incoming<'_>) -> Result<Binding, Close> {
        loop {
            match self.try_finish(me, incoming) {
                Ok(binding) => return Ok(binding),
                Err(unfinished) => incoming = unfinished,
            }
            // A client that does not read gets no answers to pile up: its next frame waits for its last answer. What it
            // has published does not wait with it.
            incoming.flush().await;
            self.wait_until_free(me).await?;
        }
    }

    /// Writes the answers of one frame, unless the writer is not free.
    fn try_finish<'p>(&self, me: &OutletRef, incoming: node::Incoming<'p>) -> Result<Binding, node::Incoming<'p>> {
        let mut writer = self.writer.lock();
        if !writer.is_free() {
            return Err(incoming);
        }
        let (wrote, binding) = with_scratch(|batch, bytes| {
            let (_, binding) = incoming.finish(batch);
            let session = if let Binding::Session(session) = &binding { Some(session) } else { None };
            (writer.write_batch(&self.wire(me), session, batch, bytes), binding)
        });
        self.remember(&mut writer, &binding);
        self.leave(writer, wrote);
        Ok(binding)
    }

    /// Notes a session that may be written to through this connection.
    fn remember(&self, writer: &mut Writer, binding: &Binding) {
        let Binding::Session(session) = binding else { return };
        if !writer.sessions.iter().any(|known| Arc::ptr_eq(known, session)) {
            // Only when there is no room: looking each of them up for each that is added would cost their square.
            if writer.sessions.len() == writer.sessions.capacity() {
                writer.sessions.retain(|known| self.mount.node.engine().view(known.id()).is_some());
            }
            writer.sessions.push(Arc::clone(session));
        }
    }

    /// Writes a frame of the connection's own.
    async fn write(&self, frame: &[u8], pending: &mut Pending) {
        let wrote = self.write_now(frame);
        // A client that floods with pings and never reads would otherwise pile up pongs. What it has published does
        // not wait with it.
        if wrote == Wrote::Full {
            pending.flush_list().await;
            self.wait_for_room().await;
        }
    }

    fn write_now(&self, frame: &[u8]) -> Wrote {
        let mut writer = self.writer.lock();
        let wrote = writer.write(&self.stream, self.mount.connections.counters(), frame);
        self.leave(writer, wrote);
        wrote
    }

    fn wire<'w>(&'w self, me: &'w OutletRef) -> Wire<'w> {
        let Mount { node, options, connections, .. } = &*self.mount;
        let deflate = match self.deflate {
            Deflate::Off => None,
            Deflate::On => Some(options.deflate_threshold),
        };
        Wire { stream: &self.stream, counters: connections.counters(), node, me, deflate }
    }

    async fn wait_until_free(&self, me: &OutletRef) -> Result<(), Close> {
        while !self.writer.lock().is_free() {
            if let Some(close) = *self.close.lock() {
                return Err(close);
            }
            if self.drain(me).await == Wrote::Dead {
                return Err(Close { code: None, text: "" });
            }
        }
        Ok(())
    }

    /// Waits until the socket takes more, or somebody wants this task; true if it is the socket.
    async fn wait_for_room(&self) -> bool {
        tokio::select! {
            biased;
            _ = self.stream.writable() => true,
            () = self.wake.notified() => false,
        }
    }

    /// Waits until the socket takes more, writes the rest, and then what every session of this connection has.
    async fn drain(&self, me: &OutletRef) -> Wrote {
        if self.writer.lock().is_dead() {
            return Wrote::Dead;
        }
        if !self.wait_for_room().await {
            // The writer stays full until the socket is not: else its queue would move on here without leaving.
            return Wrote::Full;
        }
        let mut writer = self.writer.lock();
        let mut wrote = writer.write_rest(&self.stream, self.mount.connections.counters());
        let sessions = writer.sessions.clone();
        for session in &sessions {
            if wrote != Wrote::All {
                break;
            }
            wrote = writer.flush(&self.wire(me), session).unwrap_or(Wrote::All);
        }
        // The socket has taken something, or there would have been no room.
        let since = if wrote == Wrote::Full { self.mount.node.now().as_millis() } else { 0 };
        self.full_since.store(since, Ordering::Relaxed);
        wrote
    }

    /// Lets go of the writer, and wakes the connection's task if the writer alone cannot go on.
    fn leave(&self, writer: MutexGuard<'_, Writer>, wrote: Wrote) {
        if wrote == Wrote::All {
            return;
        }
        // Noted while nobody else can write: a task that has written everything in the meantime would find nothing to do,
        // and the socket would count as full for ever. If it was full before, it still is.
        let now = self.mount.node.now().as_millis();
        let _ = self.full_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        drop(writer);
        self.wake.notify_one();
    }

    /// Asks the connection's task to close it.
    pub(super) fn request_close(&self, code: CloseCode, text: &'static str) {
        self.close.lock().get_or_insert(Close { code: Some(code), text });
        self.wake.notify_one();
    }

    /// Notes when a message began that has not arrived whole.
    fn note_partial(&self, decoder: &FrameDecoder) {
        let since = match self.partial_since.load(Ordering::Relaxed) {
            _ if decoder.buffered() == 0 => 0,
            0 => self.mount.node.now().as_millis(),
            since => since,
        };
        self.partial_since.store(since, Ordering::Relaxed);
    }

    /// Whether a message takes longer to arrive than a request body may.
    pub(super) fn is_stalled(&self) -> bool {
        let since = self.partial_since.load(Ordering::Relaxed);
        let taken = self.mount.node.now().as_millis().saturating_sub(since);
        since > 0 && u128::from(taken) >= self.mount.options.body.total.as_millis()
    }

    /// Whether the socket has taken nothing for the mount's `write_timeout`, though something waits to be written.
    pub(super) fn is_stuck(&self) -> bool {
        let since = self.full_since.load(Ordering::Relaxed);
        let taken = self.mount.node.now().as_millis().saturating_sub(since);
        since > 0 && u128::from(taken) >= self.mount.options.write_timeout.as_millis()
    }

    /// Whether nothing was received for the mount's `idle_timeout`.
    pub(super) fn is_idle(&self) -> bool {
        let silent = self.mount.node.now().as_millis().saturating_sub(self.active_at.load(Ordering::Relaxed));
        u128::from(silent) >= self.mount.options.idle_timeout.as_millis()
    }

    /// Sends a close frame and reads until the other side closes too, so that it is not lost to a reset.
    async fn close_gently(&self, close: Close) {
        let mut frame = Vec::new();
        encode_close(&mut frame, close.code, close.text);
        let closing = async {
            let counters = self.mount.connections.counters();
            let mut wrote = self.writer.lock().write(&self.stream, counters, &frame);
            while wrote == Wrote::Full {
                if self.stream.writable().await.is_err() {
                    return;
                }
                wrote = self.writer.lock().write_rest(&self.stream, counters);
            }
            self.writer.lock().kill();
            if socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write).is_err() {
                return;
            }
            let mut buffer = take_buffer();
            let mut read = 0;
            while read < LINGER_BYTES_MAX && self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => read += count,
                    Err(error) if is_temporary(&error) => {}
                    Err(_) => break,
                }
            }
            give_buffer(buffer);
        };
        // Whoever does not close in time is cut off.
        let _ = tokio::time::timeout(LINGER, closing).await;
    }
}

/// What only the connection's own reader uses.
struct Reader {
    decoder: FrameDecoder,
    binding: Binding,
}

/// Takes leave of the connection, however its task ends.
struct Ending<'c> {
    connection: &'c Arc<Connection>,
    me: &'c OutletRef,
    key: u64,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let Connection { mount, writer, .. } = &**self.connection;
        let sessions = {
            let mut writer = writer.lock();
            writer.kill();
            std::mem::take(&mut writer.sessions)
        };
        for session in &sessions {
            mount.node.engine().detach(mount.node.now(), session, self.me);
        }
        mount.connections.remove(self.key);
    }
}

impl Outlet for Connection {
    fn flush(&self, _: &Arc<Node>, session: &Arc<Session>, me: &OutletRef) -> Flushed {
        let mut writer = self.writer.lock();
        // Whoever finds a rest leaves the queue alone: the connection's task takes from it when there is room.
        if !writer.is_free() {
            return Flushed::Done;
        }
        match writer.flush(&self.wire(me), session) {
            Err(Moved) => Flushed::Moved,
            Ok(wrote) => {
                self.leave(writer, wrote);
                Flushed::Done
            }
        }
    }

    fn settle(&self) {
        // Taking, writing and giving back are one turn of the writer.
        drop(self.writer.lock());
    }

    fn release(&self, _: &Arc<Node>, release: Release) {
        match release {
            Release::Answer(replies) => {
                let mut frame = Vec::new();
                let payload = [b"[", replies.as_slice(), b"]"].concat();
                encode_text(&mut frame, &payload);
                self.write_now(&frame);
            }
            Release::Destroy => self.request_close(CloseCode::Normal, "Destroy"),
            Release::Status(_) => {}
        }
    }
}

/// Closes as CometD does on a frame it cannot use ([WS-10]).
fn refuse(error: DecodeError) -> Close {
    let text = match error {
        DecodeError::Syntax => "not JSON",
        DecodeError::NotMessages => "not messages",
        DecodeError::TooMany => "too many messages",
        DecodeError::TooDeep => "nested too deep",
    };
    Close { code: Some(CloseCode::Error), text }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn take_buffer() -> Vec<u8> {
    BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; READ_BYTES])
}

fn give_buffer(buffer: Vec<u8>) {
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < BUFFERS_MAX {
            buffers.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what an `async fn` of five arguments returns.
    const fn future_size<A, B, C, D, E, F: Future>(_: &impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// What every connection at rest has; its session and the runtime's task come on top.
    #[test]
    fn a_connection_at_rest_is_small() {
        let (connection, task) = (size_of::<Connection>(), future_size(&Connection::run));
        println!("connection {connection}, task {task}, session {}", size_of::<Session>());
        assert!(connection <= 256, "{connection} bytes");
        assert!(task <= 768, "{task} bytes");
        assert!(size_of::<Session>() <= 512, "{} bytes", size_of::<Session>());
    }
}
