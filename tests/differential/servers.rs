//! [`Server`]: a server as a process of its own, on a free port, with the options of a group of scripts.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::player::{fetch, play};
use super::script::{Script, ServerArguments};

/// How long a server may take to say that it is ready.
const START: Duration = Duration::from_secs(60);

/// What a server has to do before it is measured: classes are loaded, code is compiled.
const WARM_UP: &str = "A ? hs $a\nA ? cn0 $a\nA ? sub $a /@/x\nA ? pub $a /@/x 1\nA2 > cn $a\nA ? dis $a\nA2 <\n\
    B ws\nB ? hs $b\nB ? cn0 $b\nB ? sub $b /@/x\nB ? pub $b /@/x 1\nB ? dis $b\nC ? jsonp hs $c\n! publish /@/x 1\n";

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The released CometD server of this version.
    Reference(String),
    /// Ours.
    Mirant,
}

impl Kind {
    /// Reads `mirant` or a version.
    pub(crate) fn parse(text: &str) -> Self {
        if text == "mirant" { Self::Mirant } else { Self::Reference(text.to_owned()) }
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Reference(version) => format!("CometD {version}"),
            Self::Mirant => "Mirant".to_owned(),
        }
    }

    fn command(&self) -> Command {
        let mut command = match self {
            Self::Reference(version) => {
                let mut command = Command::new(root().join("tests/reference/run"));
                command.args(["--cometd", version]);
                command
            }
            Self::Mirant => Command::new(reference_services()),
        };
        command.args(["--scripted", "on"]);
        command
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The example that offers what the reference server offers; cargo builds it beside the folder of the tests. Another
/// build can be named by `REFERENCE_SERVICES`.
fn reference_services() -> PathBuf {
    if let Some(path) = std::env::var_os("REFERENCE_SERVICES") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(Path::parent).unwrap_or(root());
    folder.join("examples/reference_services")
}

/// A running server; dropping it ends it.
pub(crate) struct Server {
    process: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it is ready and warm.
    ///
    /// # Errors
    ///
    /// Says why it did not start.
    pub(crate) fn start(kind: &Kind, arguments: &ServerArguments) -> Result<Self, String> {
        let failed = |why: String| format!("{} did not start with {}: {why}", kind.name(), arguments.0.join(" "));
        let mut command = kind.command();
        command.args(["--port", "0"]).args(&arguments.0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| failed(format!("{command:?}: {error}")))?;
        let output = process.stdout.take().map(BufReader::new);
        let mut server = Self { process, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let (sender, receiver) = sync_channel(1);
        thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| output.lines()).map_while(Result::ok) {
                let address = line.strip_prefix("ready ").and_then(|rest| rest.split(' ').next()?.parse().ok());
                if let Some(address) = address {
                    // Nobody waits any longer if the server was late.
                    let _ = sender.try_send(address);
                }
            }
        });
        server.address = receiver.recv_timeout(START).map_err(|_| failed("no line `ready`".to_owned()))?;
        server.warm_up().map_err(failed)?;
        Ok(server)
    }

    fn warm_up(&self) -> Result<(), String> {
        let script = Script::parse("warm-up", WARM_UP)?;
        for round in 0..3 {
            play(&script, self.address, &format!("warm{round}"))?;
        }
        fetch(self.address, "GET", "/stats", "").map(|_| ()).map_err(|error| error.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
