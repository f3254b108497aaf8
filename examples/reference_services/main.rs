//! A whole server with the services and control endpoints that a test of a CometD server needs, to run one script
//! against this server and against the Java one and to compare what both answer.
//!
//! ```text
//! cargo run --example reference_services -- --port 0
//! cargo run --example reference_services -- --port 8081 --set timeout=5000 --policy default --ext ack
//! ```
//!
//! It prints `ready HOST:PORT cometd=8.0.10` once it listens, the release that it is to be compared with, and ends on
//! SIGTERM. Options have CometD's names, and whatever is not set is as that release has it, not as `mirant serve` does:
//! nearly no limits, one held connect per browser, 20 seconds of hold. It is for tests, not for the public.
//!
//! `--scripted on` adds what only the scripts of `fixtures/scripts` ask for: `/service/refuse`, and `ext` entries that drop,
//! deny or greet ([`program`]).
//!
//! Bayeux is at `/cometd`. [`services`] are what clients publish to, [`control`] what a script asks for over HTTP,
//! [`options`] how CometD's options become settings.

mod arguments;
mod control;
mod options;
mod services;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use mirant::client::program;
use mirant::config::Config;
use mirant::node::Policy;
use mirant::policy::{DefaultSecurityPolicy, Denying, Open};
use mirant::server::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use arguments::{Access, Arguments};
use control::Control;

/// The release whose behaviour and defaults these are.
const COMETD: &str = "8.0.10";

/// What the Java program ends with if it does not understand its arguments.
const WRONG_ARGUMENTS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| {
        let (config, remarks) = options::config(&arguments)?;
        Ok((arguments, config, remarks))
    });
    let (arguments, config, remarks) = match settings {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("reference_services: {problem}");
            return ExitCode::from(WRONG_ARGUMENTS);
        }
    };
    for remark in remarks {
        eprintln!("reference_services: {remark}");
    }
    match serve(&arguments, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference_services: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: &Arguments, config: Config) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_new(&arguments.log)?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let policy: Arc<dyn Policy> = match arguments.policy {
        Access::Open => Arc::new(Open),
        Access::Default => Arc::new(DefaultSecurityPolicy),
    };
    let scripted = arguments.scripted;
    let policy = if scripted { Arc::new(Denying::new(program::denial, policy)) } else { policy };
    let control = Arc::new(Control::new(&config)?);
    let routes = Arc::clone(&control);
    let server = Builder::new(config)
        .policy(policy)
        .node_setup(move |node| {
            services::add(node);
            if scripted {
                services::add_scripted(node);
                program::add(node.engine());
            }
        })
        .routes_with(move |node| routes.routes(node))
        .without_page()
        .start()
        .await?;
    // A session in whose name the services would act; nothing but the count of sessions shows it.
    let _services = server.node().local_session(|_| ()).await?;
    control.open(server.node()).await?;
    println!("ready {}:{} cometd={COMETD}", arguments.host, server.address().port());
    io::stdout().flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}
