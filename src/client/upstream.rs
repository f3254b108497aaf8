//! [`ServerUrl`]: the address of a Bayeux server as its user writes it.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// How long connecting to one address may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Host name or address, in brackets if it is one of IPv6.
    pub host: String,
    /// Port; 80 if none is given.
    pub port: u16,
    /// Path of the mount without a slash at its end; empty if none is given.
    pub path: String,
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http" | "ws", rest)) => rest,
            Some(("https" | "wss", _)) => {
                return Err("TLS is not spoken here: let a local program like stunnel or socat do that, and name its \
                            http:// address"
                    .to_owned());
            }
            _ => return Err("an address begins with http://".to_owned()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') || rest.contains(['?', '#', ' ']) {
            return Err("an address is http://HOST:PORT/PATH and nothing else".to_owned());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
            }
            _ => (authority, 80),
        };
        let is_name = host.starts_with('[') && host.ends_with(']') || !host.contains([':', '[', ']']);
        if host.is_empty() || !is_name || !host.is_ascii() {
            return Err(format!("`{host}` is not a host"));
        }
        Ok(Self { host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "http://{}{}", self.authority(), self.path)
    }
}

impl ServerUrl {
    /// Returns host and port as they stand in `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Connects to the first address of the host that answers.
    ///
    /// # Errors
    ///
    /// None does, or the host has none.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (host, self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_MAX) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_a_reason() {
        let url: ServerUrl = "http://localhost:8080/cometd/".parse().unwrap();
        assert_eq!(url, ServerUrl { host: "localhost".into(), port: 8080, path: "/cometd".into() });
        assert_eq!(url.to_string(), "http://localhost:8080/cometd");
        let url: ServerUrl = "ws://[::1]".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.authority().as_str()), ("[::1]", 80, "[::1]"));
        for (wrong, why) in [
            ("https://a", "TLS"),
            ("localhost:80", "http://"),
            ("http://a:b", "port"),
            ("http://", "host"),
            ("http://::1", "host"),
            ("http://u:p@a", "nothing else"),
            ("http://a/?x", "nothing else"),
        ] {
            let error = wrong.parse::<ServerUrl>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
