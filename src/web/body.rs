//! Reading a request body under limits of size and time.

use std::{error::Error, time::Duration};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::response::{self, Response};

/// Most bytes of a refused body that are read so that its sender sees the answer.
const DISCARD_MAX: u64 = 16 * 1024 * 1024;

/// How much of a body is read, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Most bytes of a body.
    pub max_bytes: usize,
    /// Longest time without a byte.
    pub idle: Duration,
    /// Longest time for the whole body, so that a byte now and then does not hold a connection for ever.
    pub total: Duration,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It has, or announces, more bytes than allowed.
    #[error("body is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// It did not arrive in time.
    #[error("body did not arrive in time")]
    TimedOut,
    /// The client went away, or broke the rules of HTTP.
    #[error("body ended early")]
    Aborted(#[source] Box<dyn Error + Send + Sync>),
}

impl BodyError {
    /// Returns the status that HTTP has for this: 413, 408 or 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Aborted(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Answers with [`status`](Self::status) and this error's sentence.
    #[must_use]
    pub fn response(&self) -> Response {
        response::text(self.status(), self.to_string())
    }
}

/// Reads `body` to its end.
///
/// An announced length is judged before anything is kept. A body that arrives in one piece is not copied, so it may pin
/// the connection's read buffer: drop it before waiting for anything.
///
/// # Errors
///
/// The body is too large, too slow or incomplete; what was read is gone.
///
/// # Cancel safety
///
/// Not cancel safe: the bytes read so far are lost.
pub async fn read<B>(mut body: B, limits: &BodyLimits) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let max_bytes = limits.max_bytes;
    let end = Instant::now() + limits.total;
    if body.size_hint().lower() > max_bytes as u64 {
        discard(body, end, limits.idle).await;
        return Err(BodyError::TooLarge { max_bytes });
    }
    let mut collected = Collected::default();
    loop {
        let deadline = end.min(Instant::now() + limits.idle);
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| BodyError::TimedOut)?;
        let Some(frame) = frame else { return Ok(collected.into_bytes()) };
        // Trailers say nothing here.
        let Ok(data) = frame.map_err(|error| BodyError::Aborted(error.into()))?.into_data() else { continue };
        if data.len() > max_bytes - collected.len() {
            drop((data, collected));
            discard(body, end, limits.idle).await;
            return Err(BodyError::TooLarge { max_bytes });
        }
        collected.push(data);
    }
}

/// Reads the rest of a body that is refused and throws it away.
///
/// A client that is still sending when the connection is closed under it never sees the answer. What is larger than
/// [`DISCARD_MAX`], or slow, is cut off all the same.
async fn discard<B>(mut body: B, end: Instant, idle: Duration)
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > DISCARD_MAX {
        return;
    }
    let mut discarded = 0;
    while discarded <= DISCARD_MAX {
        let deadline = end.min(Instant::now() + idle);
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => discarded += frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => return,
        }
    }
}

/// Pieces of a body; the first one is kept as it is, in case it stays the only one.
#[derive(Default)]
struct Collected {
    first: Bytes,
    all: BytesMut,
}

impl Collected {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(self.first.len() + data.len());
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body::{Frame, SizeHint};
    use http_body_util::Full;

    use super::*;

    const LIMITS: BodyLimits =
        BodyLimits { max_bytes: 10, idle: Duration::from_secs(5), total: Duration::from_secs(12) };

    /// A body of these steps, each after a pause; then it ends, or stays open.
    struct Script {
        steps: VecDeque<Result<&'static str, &'static str>>,
        pause: Duration,
        sleep: Pin<Box<tokio::time::Sleep>>,
        stays_open: bool,
    }

    impl Script {
        fn new(pause: u64, steps: &[Result<&'static str, &'static str>]) -> Self {
            let pause = Duration::from_secs(pause);
            let sleep = Box::pin(tokio::time::sleep(pause));
            Self { steps: steps.iter().copied().collect(), pause, sleep, stays_open: false }
        }
    }

    impl http_body::Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            if self.stays_open && self.steps.is_empty() {
                return Poll::Pending;
            }
            std::task::ready!(self.sleep.as_mut().poll(cx));
            let next = Instant::now() + self.pause;
            self.sleep.as_mut().reset(next);
            match self.steps.pop_front() {
                Some(step) => Poll::Ready(Some(step.map(|data| Frame::data(Bytes::from_static(data.as_bytes()))))),
                None => Poll::Ready(None),
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let bytes = Bytes::from_static(b"[]");
        let read = read(Full::new(bytes.clone()), &LIMITS).await.unwrap();
        assert_eq!(read.as_ptr(), bytes.as_ptr());
    }

    #[tokio::test]
    async fn an_announced_length_is_judged_before_reading() {
        let outcome = read(Full::new(Bytes::from_static(b"12345678901")), &LIMITS).await;
        assert!(matches!(outcome, Err(BodyError::TooLarge { max_bytes: 10 })));
        assert_eq!(outcome.unwrap_err().response().status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_are_joined_and_counted() {
        let body = Script::new(0, &[Ok("1234"), Ok(""), Ok("56"), Ok("7890")]);
        assert_eq!(read(body, &LIMITS).await.unwrap(), "1234567890");
        let body = Script::new(0, &[Ok("1234"), Ok("567890"), Ok("1")]);
        assert!(matches!(read(body, &LIMITS).await, Err(BodyError::TooLarge { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_dribbling_end_at_their_limits() {
        let start = Instant::now();
        let outcome = read(Script { stays_open: true, ..Script::new(0, &[Ok("1")]) }, &LIMITS).await;
        assert!(matches!(outcome, Err(BodyError::TimedOut)));
        assert_eq!(start.elapsed().as_secs(), 5);

        let start = Instant::now();
        let outcome = read(Script::new(4, &[Ok("1"), Ok("2"), Ok("3"), Ok("4")]), &LIMITS).await;
        assert!(matches!(outcome, Err(BodyError::TimedOut)));
        assert_eq!(start.elapsed().as_secs(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_body_is_aborted() {
        let outcome = read(Script::new(0, &[Ok("1"), Err("reset")]), &LIMITS).await;
        assert!(matches!(outcome, Err(BodyError::Aborted(_))));
    }
}
