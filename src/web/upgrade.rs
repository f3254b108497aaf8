//! The opening handshake of a WebSocket (RFC 6455, section 4), and the way back to the bare socket.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    Request, Response,
    progress::Monitored,
    response::{self, Body},
    websocket::{Deflate, extensions},
};

/// The only version there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Why an opening handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeRefusal {
    /// The method is not `GET`.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// The request is not HTTP/1.1, or `Connection` does not name `upgrade`.
    #[error("a WebSocket is opened with HTTP/1.1 and Connection: Upgrade")]
    Connection,
    /// `Sec-WebSocket-Version` is not 13; the answer is 426 and names it.
    #[error("only version 13 of the WebSocket protocol is spoken")]
    Version,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is missing or malformed")]
    Key,
    /// A subprotocol is configured and the client does not offer it.
    #[error("the subprotocol of this server is not offered")]
    Protocol,
    /// Extensions are spoken here, and the client's list of them cannot be read.
    #[error("Sec-WebSocket-Extensions is malformed")]
    Extensions,
}

impl UpgradeRefusal {
    /// Answers with 400, or with 426 when another version would help.
    #[must_use]
    pub fn response(self) -> Response {
        if self != Self::Version {
            return response::text(StatusCode::BAD_REQUEST, self.to_string());
        }
        let mut response = response::text(StatusCode::UPGRADE_REQUIRED, self.to_string());
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_VERSION, VERSION);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        response
    }
}

/// Why there is no socket after an accepted handshake.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The connection broke before the answer was written.
    #[error("connection ended before the upgrade")]
    Connection(#[source] hyper::Error),
    /// The connection does not run over a bare TCP socket.
    #[error("connection is not plain TCP")]
    NotTcp,
}

/// Returns whether the client wants a WebSocket; [`accept`] says whether it asked correctly.
#[must_use]
pub fn is_requested(request: &Request) -> bool {
    has_token(request.headers(), header::UPGRADE, "websocket")
}

/// What a server speaks beyond the bare protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// The subprotocol that clients must offer; it is selected. Without it none ever is.
    pub protocol: Option<HeaderValue>,
    /// Whether permessage-deflate is agreed on with clients that offer it.
    pub deflate: Deflate,
}

/// An opening handshake that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The answer 101.
    pub response: Response,
    /// What yields the socket once the answer is written.
    pub handover: Handover,
    /// Whether permessage-deflate was agreed on.
    pub deflate: Deflate,
}

/// Checks an opening handshake and makes the answer 101, with what later yields the socket.
///
/// # Errors
///
/// The request is no correct opening handshake.
pub fn accept(request: &mut Request, spoken: &Spoken) -> Result<Accepted, UpgradeRefusal> {
    if *request.method() != Method::GET {
        return Err(UpgradeRefusal::Method);
    }
    let headers = request.headers();
    if request.version() != Version::HTTP_11 || !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(UpgradeRefusal::Connection);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(UpgradeRefusal::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes())).ok_or(UpgradeRefusal::Key)?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is visible ASCII");
    if spoken.protocol.as_ref().is_some_and(|protocol| !offers(headers, protocol)) {
        return Err(UpgradeRefusal::Protocol);
    }
    let extension = match spoken.deflate {
        Deflate::Off => None,
        Deflate::On => {
            let lines = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
            extensions::agree(lines.iter()).map_err(|extensions::Malformed| UpgradeRefusal::Extensions)?
        }
    };
    let upgrade = request.parts.extensions.remove::<OnUpgrade>().ok_or(UpgradeRefusal::Connection)?;

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = &spoken.protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    let deflate = if extension.is_some() { Deflate::On } else { Deflate::Off };
    if let Some(extension) = extension {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, extension);
    }
    Ok(Accepted { response, handover: Handover(upgrade), deflate })
}

/// A connection on its way from HTTP to WebSocket.
#[derive(Debug)]
pub struct Handover(OnUpgrade);

impl Handover {
    /// Waits until the answer 101 is written, and takes the socket, with what was read beyond the request.
    ///
    /// For connections that `server` runs as HTTP/1.1 with upgrades over `TokioIo<Monitored>`.
    ///
    /// # Errors
    ///
    /// The connection broke, or runs over something else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn take_stream(self) -> Result<(TcpStream, Bytes), UpgradeError> {
        let upgraded = self.0.await.map_err(UpgradeError::Connection)?;
        let parts = upgraded.downcast::<TokioIo<Monitored>>().map_err(|_| UpgradeError::NotTcp)?;
        let (stream, ahead) = parts.io.into_inner().into_parts();
        let read = if ahead.is_empty() { parts.read_buf } else { Bytes::from([&parts.read_buf[..], &ahead].concat()) };
        Ok((stream, read))
    }
}

/// Whether a header that is a list, perhaps over several lines, contains `token` in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
}

/// Whether the client offers this subprotocol; their names are compared exactly.
fn offers(headers: &HeaderMap, protocol: &HeaderValue) -> bool {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    offers
        .iter()
        .any(|value| value.as_bytes().split(|&b| b == b',').any(|item| item.trim_ascii() == protocol.as_bytes()))
}

/// Whether these are 16 bytes in base64: 22 digits and the padding.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use crate::web::progress::{Patience, Progress};
    use std::convert::Infallible;
    use std::time::Duration;

    use hyper::service::service_fn;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{
        super::{Scheme, request::tests::request},
        *,
    };

    const GOOD: [&str; 4] = [
        "upgrade: WebSocket",
        "connection: keep-alive, Upgrade",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];

    fn spoken(protocol: Option<&'static str>, deflate: Deflate) -> Spoken {
        Spoken { protocol: protocol.map(HeaderValue::from_static), deflate }
    }

    fn refusal(method: &str, headers: &[&str], protocol: Option<&'static str>) -> UpgradeRefusal {
        let mut request = request(method, "/cometd", headers);
        assert!(is_requested(&request));
        accept(&mut request, &spoken(protocol, Deflate::On)).unwrap_err()
    }

    fn without(index: usize, replacement: &'static str) -> [&'static str; 4] {
        let mut headers = GOOD;
        headers[index] = replacement;
        headers
    }

    #[test]
    fn requests_that_ask_wrongly_are_refused() {
        assert_eq!(refusal("POST", &GOOD, None), UpgradeRefusal::Method);
        assert_eq!(refusal("GET", &without(1, "connection: keep-alive"), None), UpgradeRefusal::Connection);
        assert_eq!(refusal("GET", &without(2, "sec-websocket-version: 8"), None), UpgradeRefusal::Version);
        assert_eq!(
            refusal("GET", &without(3, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ="), None),
            UpgradeRefusal::Key
        );
        assert_eq!(
            refusal("GET", &without(3, "sec-websocket-key: dGhl!HNhbXBsZSBub25jZQ=="), None),
            UpgradeRefusal::Key
        );
        assert_eq!(refusal("GET", &GOOD, Some("p")), UpgradeRefusal::Protocol);
        let [upgrade, connection, version, key] = GOOD;
        let broken = [upgrade, connection, version, key, "sec-websocket-extensions: permessage-deflate;"];
        assert_eq!(refusal("GET", &broken, None), UpgradeRefusal::Extensions);
        let response = UpgradeRefusal::Version.response();
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert_eq!(UpgradeRefusal::Key.response().status(), 400);
    }

    #[test]
    fn other_upgrades_are_none_of_ours() {
        assert!(!is_requested(&request("GET", "/", &["upgrade: h2c", "connection: upgrade"])));
        assert!(is_requested(&request("GET", "/", &["upgrade: h2c, websocket", "connection: upgrade"])));
    }

    /// Sends one handshake through a real connection and returns the head of the answer and the socket's first bytes.
    async fn exchange(extra: &str, spoken: Spoken) -> (String, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (handover_tx, handover_rx) = tokio::sync::oneshot::channel();
        let handover_tx = parking_lot::Mutex::new(Some(handover_tx));
        let server = async {
            let (stream, remote) = listener.accept().await.unwrap();
            let service = service_fn(|hyper_request| {
                let mut request = Request::from_hyper(hyper_request, remote, Scheme::Http);
                let Accepted { response, handover, .. } = accept(&mut request, &spoken).unwrap();
                handover_tx.lock().take().unwrap().send(handover).unwrap();
                async { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let patience = Patience { head: Duration::from_secs(9), idle: Duration::from_secs(9) };
            let stream = Monitored::new(stream, Progress::start(patience));
            connection.serve_connection(TokioIo::new(stream), service).with_upgrades().await.unwrap();
        };
        let taker = async {
            let handover = handover_rx.await.unwrap();
            let (mut stream, read) = handover.take_stream().await.unwrap();
            let mut bytes = read.to_vec();
            while bytes.len() < 5 {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
            }
            bytes
        };
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!("GET /cometd HTTP/1.1\r\nhost: x\r\n{}\r\n{extra}\r\n", GOOD.join("\r\n"));
            // Bytes sent ahead of the answer must not get lost on the way to the codec.
            stream.write_all(format!("{head}hello").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
            }
            (String::from_utf8(answer).unwrap().to_lowercase(), stream)
        };
        let ((), bytes, (answer, _open)) = tokio::join!(server, taker, client);
        (answer, bytes)
    }

    #[tokio::test]
    async fn the_socket_comes_back_with_what_was_read() {
        let (answer, bytes) = exchange("sec-websocket-protocol: other\r\n", Spoken::default()).await;
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
        assert!(!answer.contains("sec-websocket-protocol"), "{answer}");
        assert_eq!(bytes, b"hello");
    }

    #[tokio::test]
    async fn the_configured_subprotocol_is_selected() {
        let (answer, _) = exchange("sec-websocket-protocol: other, p\r\n", spoken(Some("p"), Deflate::Off)).await;
        assert!(answer.contains("sec-websocket-protocol: p\r\n"), "{answer}");
    }

    /// [PD-1], [PD-2]
    #[tokio::test]
    async fn compression_is_agreed_on_only_where_it_is_spoken() {
        let offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";
        let (answer, _) = exchange(offer, spoken(None, Deflate::On)).await;
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert!(answer.contains(&format!("sec-websocket-extensions: {agreed}\r\n")), "{answer}");
        for (offer, deflate) in [
            (offer, Deflate::Off),
            ("", Deflate::On),
            ("sec-websocket-extensions: other\r\n", Deflate::On),
            ("sec-websocket-extensions: ;;\r\n", Deflate::Off),
        ] {
            let (answer, _) = exchange(offer, spoken(None, deflate)).await;
            assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
        }
    }
}
