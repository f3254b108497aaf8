//! Measures a server over its sockets: what a delivery costs, and what a session at rest weighs.
//!
//! ```text
//! cargo build --release --bin mirant --example measure
//! target/release/examples/measure fanout --subscribers 1000 --messages 200 --burst 10
//! target/release/examples/measure idle --sessions 5000 --transport long-polling
//! ```
//!
//! It starts the `mirant` built beside it, or measures the server at `--url` whose process is `--pid`. Every delivery
//! is checked at every subscriber; one that is missing, doubled or out of order ends the run as an error.
//! `docs/performance.md` says what the figures mean.

mod client;
mod fanout;
mod floor;
mod idle;
mod target;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use tokio::task::LocalSet;

#[derive(Parser)]
#[command(about = "Measures a Bayeux server: writes, polls and CPU per delivered message, memory per idle session")]
struct Options {
    #[command(subcommand)]
    job: Job,
    /// Measures the server with this Bayeux URL instead of starting one.
    #[arg(long, global = true, requires = "pid")]
    url: Option<String>,
    /// Process of that server.
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// Keeps this program and the server it starts on one CPU, for ratios that can be compared.
    #[arg(long, global = true)]
    cpu: Option<usize>,
    /// Settings of the server that is started, as `section.key=value`.
    #[arg(long = "set", global = true)]
    sets: Vec<String>,
}

#[derive(Subcommand)]
enum Job {
    /// One publisher, many WebSocket subscribers of one channel.
    Fanout(fanout::Options),
    /// Sessions that do nothing but hold a connect.
    Idle(idle::Options),
    /// Serves as the bare program that fan-outs are compared with; started by this program itself.
    #[command(hide = true)]
    Floor,
}

/// How the sessions of a run are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    Websocket,
    LongPolling,
}

fn main() -> Result<()> {
    let options = Options::parse();
    raise_file_limit();
    if let Some(cpu) = options.cpu {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set)?;
    }
    if let Job::Floor = options.job {
        return floor::serve();
    }
    let start = || match (&options.url, options.pid) {
        (Some(url), Some(pid)) => target::Target::attach(url, pid),
        _ => target::Target::start(&options.sets),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &options.job {
        Job::Fanout(fanout) => LocalSet::new().block_on(&runtime, fanout::run(fanout, start()?)),
        Job::Idle(idle) => LocalSet::new().block_on(&runtime, idle::run(idle, start()?)),
        Job::Floor => Ok(()),
    }
}

/// Lets this process, and those it starts, have as many files as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        eprintln!("the limit of open files stays: {error}");
    }
}
