//! [`ReferenceServices`]: the example of this name as a process of its own, as a script would start it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::client::Host;
use super::http::{Connection, PATIENCE, Request, Response};

/// The name of the example.
const NAME: &str = "reference_services";

/// A running example. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct ReferenceServices {
    process: Child,
    address: SocketAddr,
}

impl Host for ReferenceServices {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl ReferenceServices {
    /// Starts the example on a free port with these further arguments, and waits for its ready line.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(program())
            .args(["--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let (send, receive) = mpsc::sync_channel(1);
        let output = process.stdout.take().expect("a pipe");
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line);
            // The test has given up if it does not listen any more.
            let _ = send.send(read.map(|_| line));
        });
        let line = receive.recv_timeout(PATIENCE).expect("a line in time").expect("readable output");
        let words: Vec<_> = line.split_whitespace().collect();
        let ["ready", address, "cometd=8.0.10"] = words[..] else { panic!("not the ready line: {line:?}") };
        Self { process, address: address.parse().expect("an address") }
    }

    /// Runs the example with arguments that it refuses, to its end.
    #[track_caller]
    pub(crate) fn refused(arguments: &[&str]) -> Output {
        Command::new(program()).args(arguments).output().expect("the example starts")
    }

    /// Sends a request on a connection of its own and waits for the answer.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Response {
        Connection::open(self.address).exchange(request).expect("a response")
    }

    /// Sends SIGTERM and waits for the end; how it ended, and what it wrote to stderr.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("the process is there");
        let errors = self.process.stderr.take().map(read_all).expect("a pipe");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                return (status, errors.join().expect("readable errors"));
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for ReferenceServices {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_all(mut errors: ChildStderr) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).expect("text");
        text
    })
}

/// Builds the example if it is not up to date, with the features of these tests, and returns where it is.
///
/// Cargo gives tests the paths of binaries, but not of examples, and builds those only when asked.
#[track_caller]
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of this test");
        // target/PROFILE/deps/TEST
        let profile = test.ancestors().nth(2).expect("the folder of the profile");
        let target = profile.parent().expect("the target folder");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--quiet", "--example", NAME, "--target-dir"]).arg(target);
        if !cfg!(feature = "jemalloc") {
            build.args(["--no-default-features", "--features", "server"]);
        }
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(status.success(), "the example does not build");
        profile.join("examples").join(NAME)
    })
}
