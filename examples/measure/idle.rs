//! Memory of sessions that do nothing but hold a connect.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use super::Transport;
use super::client::{Client, frame};
use super::fanout::progress;
use super::target::Target;

/// How long a server rests before its memory is read.
const REST: Duration = Duration::from_millis(1_500);

#[derive(Args)]
pub(crate) struct Options {
    /// Sessions, each on a connection of its own.
    #[arg(long, default_value_t = 5000)]
    sessions: usize,
    /// How they are connected.
    #[arg(long, value_enum, default_value = "websocket")]
    transport: Transport,
    /// Connects of each session that are answered before the one that is held.
    #[arg(long, default_value_t = 10)]
    cycles: usize,
}

pub(crate) async fn run(options: &Options, target: Target) -> Result<()> {
    tokio::time::sleep(REST).await;
    let before = target.resident()?;
    let (cpu, started) = (target.cpu()?, Instant::now());
    let mut clients = Vec::with_capacity(options.sessions);
    for number in 0..options.sessions {
        if number % 100 == 0 {
            progress(&format!("{number} of {} sessions", options.sessions));
        }
        clients.push(session(options, &target).await?);
    }
    progress("");
    let (elapsed, cpu) = (started.elapsed(), target.cpu()? - cpu);
    ensure!(elapsed < Duration::from_secs(110), "connects held first have been answered meanwhile: too slow");
    tokio::time::sleep(REST).await;
    let after = target.resident()?;
    let per_session = |total: f64| total / options.sessions as f64;
    println!(
        "{} {:?} sessions after {} connects: {:.2} KB each ({:.1} MB before, {:.1} MB with all)",
        options.sessions,
        options.transport,
        options.cycles,
        per_session(after.saturating_sub(before) as f64) / 1024.0,
        before as f64 / 1_048_576.0,
        after as f64 / 1_048_576.0,
    );
    println!("set-up in {elapsed:.1?}, {:.0} us of CPU each", per_session(cpu.as_secs_f64() * 1e6));
    Ok(())
}

/// A session with a held connect.
async fn session(options: &Options, target: &Target) -> Result<Client> {
    match options.transport {
        Transport::Websocket => {
            let mut client = Client::websocket(target).await?;
            let (subscribe, connect) = (client.subscribe(), client.connect("websocket", false));
            client.call(&subscribe).await?;
            for _ in 0..options.cycles {
                client.call(&connect).await?;
            }
            let held = frame(&client.connect("websocket", true));
            client.write(&held).await?;
            Ok(client)
        }
        Transport::LongPolling => {
            let mut client = Client::long_polling(target).await?;
            let (subscribe, connect) = (client.subscribe(), client.connect("long-polling", false));
            client.post(&subscribe).await?;
            client.response().await?;
            for _ in 0..options.cycles {
                client.post(&connect).await?;
                client.response().await?;
            }
            let held = client.connect("long-polling", true);
            client.post(&held).await?;
            Ok(client)
        }
    }
}
