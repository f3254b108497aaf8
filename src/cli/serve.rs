//! `mirant serve`: runs a server until it is told to stop.

use std::error::Error;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::settings::{Loaded, SettingsArgs};
use super::signals::StopSignals;
use super::{WRONG_SETTINGS, complain, print};
use crate::config::{Config, LogConfig, Mount};
use crate::server::Builder;

/// Reads the settings and runs a server with them.
pub(super) fn run(arguments: &SettingsArgs) -> ExitCode {
    let Loaded { config, file } = match arguments.load() {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(&errors.to_string());
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    start_log(&config.log);
    if let Some(file) = file {
        tracing::info!(file = %file.display(), "settings read");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start the threads of the server: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&sentence(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start_log(log: &LogConfig) {
    // The filter was checked with the settings; an embedder's own subscriber stays in place.
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).try_init();
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    // Before anything is bound: a signal that comes while the server starts must not kill it half-way.
    let mut stop = StopSignals::new()?;
    let mounts = config.mounts.clone();
    let server = Builder::new(config).start().await?;
    print(&banner(&mounts, server.address(), server.admin_address()));
    let name = stop.next().await;
    tracing::info!(signal = name, "stopping");
    tokio::select! {
        () = server.stop() => tracing::info!("stopped"),
        name = stop.next() => tracing::warn!(signal = name, "stopped at once, at a second signal"),
    }
    Ok(())
}

/// The lines that say the server is ready, and where.
fn banner(mounts: &[Mount], public: SocketAddr, admin: Option<SocketAddr>) -> String {
    let public = reachable(public);
    let mut text = format!("mirant {}\npage    http://{public}/\n", env!("CARGO_PKG_VERSION"));
    // Writing to a `String` cannot fail.
    for Mount { path } in mounts {
        let _ = writeln!(text, "bayeux  http://{public}{path}  (ws://{public}{path})");
    }
    if let Some(admin) = admin.map(reachable) {
        let _ = writeln!(text, "admin   http://{admin}/");
    }
    text.push_str("ready\n");
    text
}

/// Puts loopback for "all interfaces", which is no address that a browser can open everywhere.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Says in one sentence what went wrong, and what to do about it where that is known.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    let mut kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        kind = kind.or_else(|| cause.downcast_ref::<io::Error>().map(io::Error::kind));
        source = cause.source();
    }
    if let Some(advice) = kind.and_then(advice) {
        let _ = write!(text, "; {advice}");
    }
    text
}

fn advice(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::AddrInUse => Some(
            "another program listens there: end it, or choose another address with --listen or --set admin.listen=",
        ),
        io::ErrorKind::AddrNotAvailable => {
            Some("this machine has no such address: choose one with --listen or --set admin.listen=")
        }
        io::ErrorKind::PermissionDenied => Some("ports below 1024 need a privilege: choose a higher one with --listen"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_banner_gives_addresses_to_open() {
        let text = banner(&[Mount::default()], at("127.0.0.1:4711"), Some(at("127.0.0.1:4712")));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text,
            format!(
                "mirant {version}\npage    http://127.0.0.1:4711/\nbayeux  http://127.0.0.1:4711/cometd  \
                 (ws://127.0.0.1:4711/cometd)\nadmin   http://127.0.0.1:4712/\nready\n"
            )
        );
        let text = banner(&[Mount::default()], at("[::]:80"), None);
        assert!(text.contains("http://[::1]:80/cometd") && !text.contains("admin"), "{text}");
    }

    #[test]
    fn a_taken_address_comes_with_advice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot bind 127.0.0.1:80")]
        struct Bind(#[source] io::Error);
        let text = sentence(&Bind(io::Error::from(io::ErrorKind::AddrInUse)));
        assert!(text.starts_with("cannot bind 127.0.0.1:80: ") && text.contains("--listen"), "{text}");
        assert_eq!(sentence(&io::Error::other("odd")), "odd");
    }
}
