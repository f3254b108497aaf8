//! `mirant record`: a proxy in front of any Bayeux server that writes a conversation.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::signals::StopSignals;
use super::{WRONG_SETTINGS, complain, print};
use crate::client::recorder::{self, Recorder, Summary};
use crate::client::relay::{self, Relay};
use crate::client::sink::SinkError;
use crate::client::transcript::Head;
use crate::client::upstream::ServerUrl;

/// Longest file, in bytes: what an editor still opens with ease.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Longest body or message that is written down, in bytes: the limit that servers have for what they accept is lower.
const BODY_MAX: usize = 1024 * 1024;

/// Most connections at a time: several browsers, and no more threads than a small machine likes.
const CONNECTIONS_MAX: usize = 256;

#[derive(Args)]
pub(super) struct RecordArgs {
    /// The server, as http://HOST:PORT/MOUNT. Only what goes to the mount is recorded; without one, all but page loads
    #[arg(long, value_name = "URL")]
    upstream: ServerUrl,
    /// Where clients connect to instead; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replaces a file that is there already
    #[arg(long)]
    force: bool,
    /// Takes a field out of all messages; may be given several times. Cookies, Authorization, and whatever is named like
    /// a token or a password are taken out anyway
    #[arg(long, value_name = "ext.FIELD")]
    redact: Vec<String>,
    /// Puts a line into the head of the file, like "cases: 171" or "settings: max_interval=3s"; may be given several times
    #[arg(long, value_name = "KEY: VALUE")]
    head: Vec<String>,
    /// Name of the server in the file; what its Server line says if not given
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Name of the client in the file; its User-Agent if not given
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Writes requests to the reference server's control endpoints as what they do, like `! publish`
    #[arg(long)]
    control: bool,
    /// Writes cookies down: those that the server gives without their values, those that clients bring from elsewhere as
    /// they are
    #[arg(long)]
    cookies: bool,
    /// Names the upstream in Host instead of what the client wrote, for servers that serve by name
    #[arg(long)]
    rewrite_host: bool,
    /// Most bytes of the file; the recording ends there, the proxy goes on
    #[arg(long, value_name = "BYTES", default_value_t = FILE_MAX)]
    max_file: u64,
    /// Most bytes of a body or message that is written down; longer ones are left out, and handed on all the same
    #[arg(long, value_name = "BYTES", default_value_t = BODY_MAX)]
    max_body: usize,
    /// Most connections at a time; further ones are closed
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS_MAX)]
    max_connections: usize,
}

/// Records until a signal comes.
pub(super) fn run(arguments: RecordArgs) -> ExitCode {
    let head = match head(&arguments.head) {
        Ok(head) => head,
        Err(problem) => {
            complain(&problem);
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    // One thread that waits for signals; the relay has its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot wait for signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let mut stop = StopSignals::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
        let out = arguments.out.display().to_string();
        let relay = start(arguments, head)?;
        print(&format!("record  http://{}\nready\n", relay.address()));
        stop.next().await;
        Ok((relay.stop(), out))
    });
    match outcome {
        Ok((summary, out)) => finish(&summary, &out),
        Err(problem) => {
            let problem: String = problem;
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

fn finish(summary: &Summary, out: &str) -> ExitCode {
    print(&format!("{out}: {summary}\n"));
    let Some(problem) = &summary.ended else { return ExitCode::SUCCESS };
    complain(&format!("{problem}: nothing was recorded after that"));
    ExitCode::FAILURE
}

fn start(arguments: RecordArgs, head: Head) -> Result<Relay, String> {
    // First, so that an address that is taken leaves no empty file behind.
    let listen = arguments.listen;
    let listener = TcpListener::bind(listen).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let mount = Some(arguments.upstream.path.clone()).filter(|mount| !mount.is_empty());
    let upstream = arguments.upstream;
    let recorder = Recorder::create(recorder::Options {
        out: arguments.out,
        overwrite: arguments.force,
        head,
        server: arguments.server,
        client: arguments.client,
        redact: arguments.redact,
        mount,
        control: arguments.control,
        cookies: arguments.cookies,
        file_max: arguments.max_file,
    });
    let recorder = recorder.map_err(|error| match error {
        SinkError::Exists(_) => format!("{error}: choose another --out, or replace it with --force"),
        error => error.to_string(),
    })?;
    let options = relay::Options {
        upstream,
        rewrite_host: arguments.rewrite_host,
        connections_max: arguments.max_connections,
        body_max: arguments.max_body,
    };
    Relay::start(listener, options, Arc::new(recorder), Arc::new(complain))
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// Reads the lines that the head begins with.
fn head(lines: &[String]) -> Result<Head, String> {
    let mut head = Head::default();
    for line in lines {
        let key = line.split_once(':').map(|(key, _)| key.trim());
        let mut problem = String::new();
        match key {
            Some("origin") => problem.push_str("the origin is named with --server and --client"),
            Some(key) if !key.contains(' ') && !line.contains(['\n', '\r']) => {
                if let Err(error) = head.read(line.trim()) {
                    problem = error;
                }
            }
            _ => problem.push_str("a line of the head is written \"KEY: VALUE\""),
        }
        if !problem.is_empty() {
            let mut text = String::new();
            // Writing to a `String` cannot fail.
            let _ = write!(text, "--head {line:?}: {problem}");
            return Err(text);
        }
    }
    Ok(head)
}
