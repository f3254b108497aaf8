//! [`Response`] and its [`Body`], and the few shapes an answer has.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};

/// An answer to a [`Request`](super::Request).
pub type Response = http::Response<Body>;

/// Learns what became of a [`Body`].
///
/// Exactly one of the two is called, once. Both run inside the connection's task: they must be short and never block.
pub trait Delivery: Send {
    /// The last byte was handed to the connection, which writes it next.
    fn delivered(self: Box<Self>);

    /// The body was dropped before that; the client has certainly not received all of it.
    fn lost(self: Box<Self>);
}

/// Gives the bytes of a [`Body`] that goes on for as long as it likes.
///
/// It is asked when the connection has room, and dropped when the connection is gone.
pub trait Source: Send {
    /// Returns the next bytes, which are then on their way; `None` ends the body.
    ///
    /// Who has nothing wakes the caller when it has, and remembers the waker also when it had something: the caller may
    /// be busy writing that.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>>;
}

/// The body of a [`Response`]: nothing, bytes of known length, or a stream.
pub struct Body {
    data: Option<Bytes>,
    delivery: Option<Box<dyn Delivery>>,
    source: Option<Box<dyn Source>>,
}

impl Body {
    /// Creates a body of no bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self { data: None, delivery: None, source: None }
    }

    /// Creates a body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { data: Some(bytes.into()).filter(|bytes| !bytes.is_empty()), delivery: None, source: None }
    }

    /// Creates a body of these bytes that reports whether they were handed over.
    ///
    /// Nothing of an empty body, or of one that answers `HEAD`, is ever handed over, so these count as lost.
    pub fn guarded(bytes: impl Into<Bytes>, delivery: Box<dyn Delivery>) -> Self {
        let mut body = Self::full(bytes);
        body.delivery = Some(delivery);
        body
    }

    /// Creates a body of whatever `source` gives, until it ends.
    #[must_use]
    pub fn stream(source: Box<dyn Source>) -> Self {
        Self { data: None, delivery: None, source: Some(source) }
    }

    /// Whether it goes on for as long as it likes.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.source.is_some()
    }

    /// Returns the bytes that were not handed over yet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len", &self.bytes().len()).field("guarded", &self.delivery.is_some()).finish()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.lost();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(source) = &mut self.source {
            let next = std::task::ready!(source.poll_next(context));
            if next.is_none() {
                self.source = None;
            }
            return Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes.into()))));
        }
        let Some(data) = self.data.take() else { return Poll::Ready(None) };
        if let Some(delivery) = self.delivery.take() {
            delivery.delivered();
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_stream() { SizeHint::default() } else { SizeHint::with_exact(self.bytes().len() as u64) }
    }
}

/// Answers with a status and no body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Answers with a short sentence for the person who debugs the client; never with a trace or anything internal.
pub fn text(status: StatusCode, sentence: impl Into<Bytes>) -> Response {
    let mut response = content(status, "text/plain; charset=utf-8", sentence);
    // A sentence may quote the request, which no browser shall take for a page.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Answers with JSON, which is UTF-8 by definition.
pub fn json(status: StatusCode, json: impl Into<Bytes>) -> Response {
    content(status, "application/json", json)
}

/// Answers with bytes of any type.
pub fn content(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use http_body::Body as _;
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[derive(Default)]
    struct Counts {
        delivered: AtomicUsize,
        lost: AtomicUsize,
    }

    struct Counting(Arc<Counts>);

    impl Delivery for Counting {
        fn delivered(self: Box<Self>) {
            self.0.delivered.fetch_add(1, Ordering::Relaxed);
        }
        fn lost(self: Box<Self>) {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn guarded(bytes: &'static str) -> (Body, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        (Body::guarded(bytes, Box::new(Counting(Arc::clone(&counts)))), counts)
    }

    fn totals(counts: &Counts) -> (usize, usize) {
        (counts.delivered.load(Ordering::Relaxed), counts.lost.load(Ordering::Relaxed))
    }

    #[test]
    fn a_body_dropped_untouched_is_lost() {
        let (body, counts) = guarded("[]");
        assert_eq!(totals(&counts), (0, 0));
        drop(body);
        assert_eq!(totals(&counts), (0, 1));
    }

    #[tokio::test]
    async fn a_body_whose_frame_was_taken_is_delivered() {
        let (mut body, counts) = guarded("[]");
        assert_eq!(body.size_hint().exact(), Some(2));
        assert!(!body.is_end_stream());
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "[]");
        assert!(body.is_end_stream());
        assert_eq!(totals(&counts), (1, 0));
        assert!(body.frame().await.is_none());
        drop(body);
        assert_eq!(totals(&counts), (1, 0));
    }

    #[test]
    fn empty_bytes_are_no_body() {
        assert!(Body::full("").is_end_stream());
        assert_eq!(Body::empty().size_hint().exact(), Some(0));
    }

    /// Sends one request to a connection of hyper that answers with `[]`, and returns the answer and the counts.
    async fn through_hyper(method: &str) -> (String, (usize, usize)) {
        let (body, counts) = guarded("[]");
        let body = parking_lot::Mutex::new(Some(body));
        let service = hyper::service::service_fn(|_| {
            let body = body.lock().take().unwrap();
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(format!("{method} / HTTP/1.1\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let connection = hyper::server::conn::http1::Builder::new();
        connection.serve_connection(hyper_util::rt::TokioIo::new(server), service).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (answer, totals(&counts))
    }

    #[tokio::test]
    async fn hyper_takes_the_frame_and_announces_its_length() {
        let (answer, counts) = through_hyper("GET").await;
        assert!(answer.contains("content-length: 2\r\n") && answer.ends_with("\r\n\r\n[]"), "{answer}");
        assert_eq!(counts, (1, 0));
        let (answer, counts) = through_hyper("HEAD").await;
        assert!(answer.contains("content-length: 2\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(counts, (0, 1));
    }

    /// Gives so many pieces, and waits to be woken before each.
    struct Pieces(usize, bool);

    impl Source for Pieces {
        fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
            self.1 = !self.1;
            if self.1 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.0 = self.0.saturating_sub(1);
            Poll::Ready((self.0 > 0).then(|| b"piece".to_vec()))
        }
    }

    #[tokio::test]
    async fn a_stream_goes_on_until_its_source_ends() {
        let mut body = Body::stream(Box::new(Pieces(3, false)));
        assert!(body.is_stream() && !body.is_end_stream());
        assert_eq!(body.size_hint().exact(), None);
        for _ in 0..2 {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
        }
        assert!(body.frame().await.is_none());
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[test]
    fn a_sentence_is_not_sniffed() {
        let answer = text(StatusCode::BAD_REQUEST, "no");
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.body().bytes(), b"no");
    }
}
