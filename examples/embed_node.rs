//! A whole server inside a program of one's own, which publishes to its clients and answers them.
//!
//! ```text
//! cargo run --example embed_node            # five messages, then it ends
//! cargo run --example embed_node -- 600     # a minute's worth: open the printed page and subscribe to /ticks
//! ```
//!
//! It shows the three ways in which a program takes part: publishing through the [`Node`], a service that answers one
//! client, and a session of its own that receives as a client does.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mirant::bayeux::{ChannelName, Context, Message, Shared};
use mirant::config::Config;
use mirant::node::{Node, OutletRef, ServiceError};
use mirant::server::Builder;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(5), |argument| argument.parse())?;

    // Settings are the same as in a file; everything else keeps its default. Port 0 takes any free port.
    let mut config = Config::default();
    config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.admin.listen = None;

    // What must be there before the first client goes into `node_setup`.
    let echo_channel = ChannelName::parse("/service/echo")?;
    let server = Builder::new(config).node_setup(move |node| node.add_service(&echo_channel, echo)).start().await?;
    let address = server.address();
    println!("page    http://{address}/\nbayeux  http://{address}/cometd  (ws://{address}/cometd)");

    // A local session receives on the thread that publishes. A handler that has work to do hands it to a task, through a
    // queue with a limit: it must not wait, or every publisher would wait with it.
    let (heard_tx, mut heard_rx) = mpsc::channel(64);
    let session = server
        .node()
        .local_session(move |publication: &Shared| {
            if heard_tx.try_send(Arc::clone(publication)).is_err() {
                eprintln!("too slow: a message to {} is lost", publication.channel());
            }
        })
        .await?;
    session.subscribe("/ticks").await?;
    let listening = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(publication) = heard_rx.recv().await {
            println!("heard {}", String::from_utf8_lossy(publication.json()));
            heard.push(publication);
        }
        heard
    });

    publish_ticks(server.node(), count).await?;

    // A request to a service: the answer comes to this session alone, on the same channel.
    session.publish("/service/echo", &to_raw_value("is anybody there?")?).await?;

    // Dropping the session ends it, and with its handler the queue: the listening task has heard everything then.
    drop(session);
    server.stop().await;
    drop(server);
    check(&listening.await?, count)
}

/// Publishes a number each 100 ms.
async fn publish_ticks(node: &Arc<Node>, count: usize) -> Result<(), Box<dyn Error>> {
    let channel = ChannelName::parse("/ticks")?;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for number in 1..=count {
        tick.tick().await;
        let sessions = node.publish(&channel, &to_raw_value(&json!({"number": number}))?).await?;
        println!("tick {number} goes to {sessions} session(s)");
    }
    Ok(())
}

/// The service: called with each message to `/service/echo`, in the middle of handling it, so it must not wait either.
fn echo(context: &mut Context<'_, OutletRef>, message: &Message<'_>) -> Result<(), ServiceError> {
    let sender = context.sender().ok_or("nobody to answer")?.id;
    // With the id of the request a client knows which of its remote calls this answers.
    let (data, id) = (message.data.clone(), message.id.clone());
    context.deliver(sender, Message { data, id, ..Message::to("/service/echo") });
    Ok(())
}

/// Fails unless every tick was heard in order, and the echo after them.
fn check(heard: &[Shared], count: usize) -> Result<(), Box<dyn Error>> {
    let heard: Result<Vec<Value>, _> =
        heard.iter().map(|publication| serde_json::from_slice(publication.json())).collect();
    let ticks = (1..=count).map(|number| json!({"channel": "/ticks", "data": {"number": number}}));
    let echo = json!({"channel": "/service/echo", "data": "is anybody there?"});
    assert_eq!(heard?, ticks.chain([echo]).collect::<Vec<_>>());
    println!("done");
    Ok(())
}
