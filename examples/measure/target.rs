//! [`Target`]: the process that is measured, and what the system counts about it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

/// System calls that write to sockets.
const WRITES: &str = "write,writev,sendto,sendmsg,sendmmsg";

/// A server process.
pub(crate) struct Target {
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
    /// Path of the Bayeux end point.
    pub(crate) path: String,
    child: Option<Child>,
}

impl Target {
    /// Takes a server that runs already.
    pub(crate) fn attach(url: &str, pid: u32) -> Result<Self> {
        let rest = url.strip_prefix("http://").context("--url must begin with http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address = authority.to_socket_addrs()?.next().context("--url names no address")?;
        Ok(Self { pid, address, path: path.to_owned(), child: None })
    }

    /// Starts the `mirant` that was built with this program, on a free port.
    pub(crate) fn start(sets: &[String]) -> Result<Self> {
        let binary = sibling("mirant")?;
        let mut command = Command::new(&binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--set", "admin.listen=off", "--set", "log.level=error"]);
        for set in sets {
            command.args(["--set", set]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {binary:?}"))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("bayeux "));
        let line = line.context("the server did not start")?;
        let url = line.split_whitespace().nth(1).context("the server names no URL")?;
        let mut target = Self::attach(url, child.id())?;
        target.child = Some(child);
        Ok(target)
    }

    /// Starts this program as the floor.
    pub(crate) fn start_floor() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg("floor").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().parse().context("the floor did not start")?;
        Ok(Self { pid: child.id(), address, path: String::new(), child: Some(child) })
    }

    /// CPU time of all its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += schedstat.split(' ').next().context("schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// CPU time outside the kernel so far, in ticks of a hundredth of a second.
    pub(crate) fn user_ticks(&self) -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name in parentheses may contain spaces; user time is the 12th field behind it.
        let fields: Vec<_> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
        Ok(fields[11].parse()?)
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse::<u64>()? * 1024)
    }

    /// Counts its system calls that write while `work` goes on.
    pub(crate) async fn count_writes(&self, work: impl Future<Output = Result<()>>) -> Result<u64> {
        let mut strace = tokio::process::Command::new("strace")
            .args(["-f", "-c", "-U", "name,calls", "-e", &format!("trace={WRITES}"), "-p", &self.pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run strace")?;
        let pid = strace.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).context("strace ended")?;
        let mut output = tokio::io::BufReader::new(strace.stderr.take().context("no output")?);
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid))?.count();
        // One line for the process, and one that counts its threads if it has several.
        let mut line = String::new();
        output.read_line(&mut line).await?;
        if !line.contains("attached") {
            bail!("strace cannot attach: {line}");
        }
        if threads > 1 && !line.contains("threads") {
            for _ in 1..threads {
                output.read_line(&mut line).await?;
            }
        }
        work.await?;
        kill_process(pid, Signal::INT)?;
        let mut summary = String::new();
        output.read_to_string(&mut summary).await?;
        strace.wait().await?;
        let calls = summary.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            WRITES.split(',').any(|write| write == name).then(|| words.next()?.parse::<u64>().ok()).flatten()
        });
        Ok(calls.sum())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program of this name in the folder above that of the examples.
fn sibling(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(|examples| examples.parent()).context("no folder above this program")?;
    Ok(folder.join(name))
}
