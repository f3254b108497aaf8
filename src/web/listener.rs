//! [`Listener`]: accepts TCP connections and sets their options.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that may wait to be accepted: enough for a storm of reconnects. The system may lower it
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Bytes that the kernel takes of one connection beyond what is on its way. Without a limit it swallows megabytes per
/// stuck reader before anyone notices; with it, fast readers lose nothing.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 16 * 1024;

/// First pause after the system refused to hand over a connection; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
    pause: Duration,
}

impl Listener {
    /// Starts to listen on `address`; port 0 takes a free one. To be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// The address is taken, not of this machine, or not permitted.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bound = listen(address).and_then(|inner| Ok((inner.local_addr()?, inner)));
        let (local, inner) = bound.map_err(|source| ListenError { address, source })?;
        Ok(Self { inner, address: local, pause: PAUSE_MIN })
    }

    /// Returns the address it really listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next connection; never fails.
    ///
    /// While the system cannot hand one over, because files or memory are used up, it pauses for up to a second between
    /// two attempts: the waiting connection would otherwise be reported again at once, and a core be lost to that.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no connection is lost.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((stream, remote)) => {
                    self.pause = PAUSE_MIN;
                    set_options(&stream, remote);
                    return (stream, remote);
                }
                // That one connection broke while it waited.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, pause = ?self.pause, "cannot accept connections");
                    let pause = self.pause;
                    self.pause = PAUSE_MAX.min(pause * 2);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it a restarted server cannot listen while connections of the earlier one linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sets what every connection needs. It works without, and fails only if the connection is gone already.
fn set_options(stream: &TcpStream, remote: SocketAddr) {
    let socket = SockRef::from(stream);
    let outcome = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let outcome = outcome.and_then(|()| socket.set_tcp_notsent_lowat(NOTSENT_LOWAT));
    if let Err(error) = outcome {
        tracing::debug!(peer = %remote, %error, "cannot set the options of a connection");
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_get_their_options() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        assert_ne!(address.port(), 0);
        let (client, (stream, remote)) = tokio::join!(TcpStream::connect(address), listener.accept());
        assert_eq!(client.unwrap().local_addr().unwrap(), remote);
        assert!(stream.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&stream).tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Listener::bind(listener.address()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {}", listener.address()));
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }
}
