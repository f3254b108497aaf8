//! [`Progress`]: how far an HTTP connection is, so that one that makes none is closed.
//!
//! hyper has one timer for the head of a request, which also runs while a kept-alive connection waits for the next one.
//! Clients keep connections for minutes, and closing one just when it is used loses a request, so the two times are
//! apart here.
//!
//! While hyper answers a request it watches for the end of the connection, but only until bytes of a next request have
//! come. From then on [`Monitored`] watches, or the answer would be written to a client that has gone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a connection may be without a request, with part of one, and with a stream that nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Longest time from the first byte of a head, or from the beginning of the connection, to its last.
    pub head: Duration,
    /// Longest time between two requests, and in which nothing of a stream can be written.
    pub idle: Duration,
}

/// How far a connection is.
#[derive(Debug)]
pub struct Progress {
    patience: Patience,
    phase: Mutex<Phase>,
    /// Whether whoever reads the connection has taken all there was and waits for more.
    is_awaited: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing of a request has come since then.
    Idle(Instant),
    /// A head is on its way since then.
    Head(Instant),
    /// A request is being answered; its body and its handler have limits of their own.
    Busy,
    /// A response goes on and on; something of it was last written then.
    Streaming(Instant),
}

/// The two ways a watched connection ends.
#[derive(Debug)]
pub enum Watched<T> {
    /// By itself.
    Ended(T),
    /// It made no progress and is to be closed.
    Stalled,
}

impl Progress {
    /// Begins with a connection that has sent nothing; its first head counts from now.
    #[must_use]
    pub fn start(patience: Patience) -> Arc<Self> {
        let phase = Mutex::new(Phase::Head(Instant::now()));
        Arc::new(Self { patience, phase, is_awaited: AtomicBool::new(false) })
    }

    /// A whole head has arrived.
    pub fn begin_request(&self) {
        *self.phase.lock() = Phase::Busy;
    }

    /// The answer is made.
    ///
    /// If bytes have come behind the request, the next head has begun, and it has waited for its answer only.
    pub fn end_request(&self) {
        let is_clean = self.is_awaited.load(Ordering::Relaxed);
        let phase = if is_clean { Phase::Idle } else { Phase::Head };
        *self.phase.lock() = phase(Instant::now());
    }

    /// Whether an answer is being made or goes on, which is in vain if nobody waits for it.
    fn is_answering(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Busy | Phase::Streaming(_))
    }

    /// The answer is made, and goes on for as long as it likes: its reader has to take some of it now and then.
    pub fn begin_stream(&self) {
        *self.phase.lock() = Phase::Streaming(Instant::now());
    }

    fn wrote(&self) {
        let mut phase = self.phase.lock();
        if let Phase::Streaming(_) = *phase {
            *phase = Phase::Streaming(Instant::now());
        }
    }

    fn received(&self) {
        let mut phase = self.phase.lock();
        if let Phase::Idle(_) = *phase {
            *phase = Phase::Head(Instant::now());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match *self.phase.lock() {
            Phase::Idle(since) | Phase::Streaming(since) => Some(since + self.patience.idle),
            Phase::Head(since) => Some(since + self.patience.head),
            Phase::Busy => None,
        }
    }

    /// Runs a connection until it ends or stalls.
    ///
    /// The timer is armed anew only if it would be too late; one that rings early looks again. A connection that is
    /// busy costs none.
    pub async fn watch<F: Future>(&self, mut connection: Pin<&mut F>) -> Watched<F::Output> {
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        std::future::poll_fn(move |context| {
            if let Poll::Ready(output) = connection.as_mut().poll(context) {
                return Poll::Ready(Watched::Ended(output));
            }
            loop {
                let Some(deadline) = self.deadline() else { return Poll::Pending };
                let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                if timer.deadline() > deadline {
                    timer.as_mut().reset(deadline);
                }
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                if deadline <= Instant::now() {
                    return Poll::Ready(Watched::Stalled);
                }
                timer.as_mut().reset(deadline);
            }
        })
        .await
    }
}

/// Most bytes of later requests that are read while one is answered, beyond what hyper has read itself. Behind more than
/// these the end of the connection is not seen before the answer is written.
const AHEAD_MAX: usize = 16 * 1024;

/// A socket that tells a [`Progress`] when something arrives, and notices when the client goes away.
#[derive(Debug)]
pub struct Monitored {
    stream: TcpStream,
    progress: Arc<Progress>,
    /// What was read ahead of hyper.
    ahead: Vec<u8>,
}

impl Monitored {
    /// Watches a socket.
    #[must_use]
    pub fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress, ahead: Vec::new() }
    }

    /// Returns the socket, and what was read from it and handed to nobody.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.ahead)
    }

    /// Reads on where hyper has stopped, which does so with the bytes of a next request in its hands.
    fn look_ahead(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.progress.is_awaited.load(Ordering::Relaxed) || !self.progress.is_answering() {
            return Ok(());
        }
        let mut piece = [0; 1024];
        while self.ahead.len() < AHEAD_MAX {
            let mut read = ReadBuf::new(&mut piece);
            let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_read(context, &mut read) else { break };
            outcome?;
            if read.filled().is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.ahead.extend_from_slice(read.filled());
        }
        Ok(())
    }
}

impl Monitored {
    /// Notes a write that the socket took.
    fn note(&self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(_))) {
            self.progress.wrote();
        }
    }
}

impl AsyncRead for Monitored {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let outcome = if self.ahead.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, out)
        } else {
            let count = self.ahead.len().min(out.remaining());
            out.put_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            Poll::Ready(Ok(()))
        };
        self.progress.is_awaited.store(outcome.is_pending(), Ordering::Relaxed);
        if out.filled().len() > before {
            self.progress.received();
        }
        outcome
    }
}

impl AsyncWrite for Monitored {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper calls this whenever it has done what it can.
        self.look_ahead(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
