//! One publisher, many subscribers: write calls, CPU time and polls per delivered message.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use mirant::config::Config;
use mirant::server::{Builder, Server};

use super::client::{Client, Tally, frame};
use super::target::Target;

#[derive(Args)]
pub(crate) struct Options {
    /// WebSocket subscribers of the channel.
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Publications of each counted phase, and of each repeat of the timed ones.
    #[arg(long, default_value_t = 200)]
    messages: u64,
    /// Publications of a burst.
    #[arg(long, default_value_t = 10)]
    burst: u64,
    /// Repeats of the timed phases.
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// Bytes of text in each publication; 60 make frames of about 120 bytes.
    #[arg(long, default_value_t = 60)]
    padding: usize,
}

/// How publications are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One by one, each when everybody has the one before.
    Single,
    /// A burst as one array in one frame.
    Array,
    /// A burst as frames in one segment.
    Frames,
}

const SHAPES: [(Shape, &str); 3] =
    [(Shape::Single, "single"), (Shape::Array, "burst, one array"), (Shape::Frames, "burst, many frames")];

/// A publisher and its subscribers.
struct Line {
    publisher: Client,
    tally: Rc<Tally>,
    next: u64,
    /// Whether the publisher talks to the floor.
    is_floor: bool,
}

pub(crate) async fn run(options: &Options, target: Target) -> Result<()> {
    let mut line = Line::open(options, &target).await?;
    let floor_target = Target::start_floor()?;
    let mut floor = Line::open_floor(options, &floor_target).await?;
    line.send(options, Shape::Single, options.messages / 4).await?;
    line.send(options, Shape::Array, options.messages).await?;
    floor.send(options, Shape::Single, options.messages / 4).await?;
    println!(
        "\n{:<20} {:>8} {:>22} {:>8} {:>22} {:>7}",
        "", "writes", "CPU us (min-max)", "in user", "floor us (min-max)", "ratio"
    );
    let deliveries = options.messages * options.subscribers as u64;
    for (shape, name) in SHAPES {
        let (mut own, mut bare, mut ratios, mut user) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for repeat in 0..options.repeats {
            progress(&format!("{name}: repeat {} of {}", repeat + 1, options.repeats));
            let before = target.user_ticks()?;
            own.push(line.cost(options, shape, &target).await?);
            user += target.user_ticks()? - before;
            bare.push(floor.cost(options, shape, &floor_target).await?);
            ratios.push(own[repeat] / bare[repeat]);
        }
        progress(&format!("{name}: under strace"));
        let writes = target.count_writes(line.send(options, shape, options.messages)).await?;
        progress("");
        let writes = writes as f64 / deliveries as f64;
        let user = user as f64 * 10_000.0 / (deliveries * options.repeats as u64) as f64;
        let (own, bare, ratio) = (spread(&mut own), spread(&mut bare), median(&mut ratios));
        println!("{name:<20} {writes:>8.4} {own:>22} {user:>8.3} {bare:>22} {ratio:>7.2}");
    }
    drop((line, target, floor, floor_target));
    polls(options).await
}

/// Runs the same load against a server in this process, which can be asked for its own counts.
async fn polls(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let sets = ["server.listen=127.0.0.1:0".to_owned(), "admin.listen=off".to_owned()];
    let config = Config::load(None, std::iter::empty(), &sets)?;
    let (ready_tx, ready_rx) = tokio::sync::oneshot::channel::<Result<Server>>();
    runtime.spawn(async move {
        // Whoever waits for the server has ended otherwise.
        let _ = ready_tx.send(Builder::new(config).start().await.map_err(Into::into));
    });
    let server = ready_rx.await??;
    let target = Target::attach(&format!("http://{}/cometd", server.address()), std::process::id())?;
    let mut line = Line::open(options, &target).await?;
    line.send(options, Shape::Single, options.messages / 4).await?;
    println!("\nA server in this process, by its own count; the polls are those of the publisher's connection:");
    for (shape, name) in SHAPES {
        let before = server.connections().traffic();
        line.send(options, shape, options.messages).await?;
        let (after, deliveries) = (server.connections().traffic(), options.messages * options.subscribers as u64);
        let per_delivery = |count: u64| count as f64 / deliveries as f64;
        let (writes, polls) = (after.writes - before.writes, after.polls - before.polls);
        println!(
            "{name:<20} {:>12.4} writes {:>12.4} polls per delivered message",
            per_delivery(writes),
            per_delivery(polls)
        );
    }
    let channel = mirant::bayeux::ChannelName::parse(super::client::CHANNEL)?;
    let before = server.connections().traffic();
    for _ in 0..options.messages {
        let text = format!(r#"{{"n":{},"text":""}}"#, line.next);
        let data = serde_json::value::RawValue::from_string(text)?;
        line.expect(options, 1);
        let (node, channel) = (std::sync::Arc::clone(server.node()), channel.clone());
        runtime.spawn(async move { node.publish(&channel, &data).await }).await??;
        line.tally.complete().await?;
    }
    let polls = server.connections().traffic().polls - before.polls;
    println!("{:<20} {polls} polls of connections in {} publications of the server itself", "", options.messages);
    runtime.shutdown_background();
    Ok(())
}

impl Line {
    async fn open(options: &Options, target: &Target) -> Result<Self> {
        let tally = Rc::new(Tally::default());
        let started = Instant::now();
        for number in 0..options.subscribers {
            if number % 100 == 0 {
                progress(&format!("{number} of {} subscribers", options.subscribers));
            }
            let mut client = Client::websocket(target).await?;
            let (subscribe, connect) = (client.subscribe(), client.connect("websocket", false));
            client.call(&subscribe).await?;
            client.call(&connect).await?;
            let held = frame(&client.connect("websocket", true));
            client.write(&held).await?;
            client.spawn_counting(Rc::clone(&tally), 0, true);
        }
        let mut publisher = Client::websocket(target).await?;
        let connect = publisher.connect("websocket", false);
        publisher.call(&connect).await?;
        let held = frame(&publisher.connect("websocket", true));
        publisher.write(&held).await?;
        progress("");
        println!("{} subscribers in {:.1?}", options.subscribers, started.elapsed());
        Ok(Self { publisher, tally, next: 0, is_floor: false })
    }

    async fn open_floor(options: &Options, target: &Target) -> Result<Self> {
        let tally = Rc::new(Tally::default());
        let mut publisher = Client::open(target).await?;
        publisher.write(format!("0 {} 0\n", options.subscribers).as_bytes()).await?;
        for _ in 0..options.subscribers {
            Client::open(target).await?.spawn_counting(Rc::clone(&tally), 0, false);
        }
        Ok(Self { publisher, tally, next: 0, is_floor: true })
    }

    fn expect(&mut self, options: &Options, messages: u64) {
        self.next += messages;
        self.tally.want(messages * options.subscribers as u64);
    }

    /// Sends so many publications and waits for each or each burst until all subscribers have it.
    async fn send(&mut self, options: &Options, shape: Shape, messages: u64) -> Result<()> {
        let burst = if shape == Shape::Single { 1 } else { options.burst };
        for _ in 0..messages / burst {
            let numbers = self.next..self.next + burst;
            let texts = numbers.map(|number| self.publisher.publication(number, options.padding));
            let bytes = match shape {
                _ if self.is_floor => format!("{burst} {} {}\n", self.next, options.padding).into_bytes(),
                Shape::Single | Shape::Array => frame(&format!("[{}]", texts.collect::<Vec<_>>().join(","))),
                Shape::Frames => texts.flat_map(|text| frame(&format!("[{text}]"))).collect(),
            };
            self.expect(options, burst);
            self.publisher.write(&bytes).await?;
            self.tally.complete().await?;
            self.publisher.forget_answers().await?;
        }
        Ok(())
    }

    /// CPU time per delivered message, in microseconds.
    async fn cost(&mut self, options: &Options, shape: Shape, target: &Target) -> Result<f64> {
        let before = target.cpu()?;
        self.send(options, shape, options.messages).await?;
        let spent = target.cpu()?.checked_sub(before).context("CPU time went backwards")?;
        Ok(micros(spent) / (options.messages * options.subscribers as u64) as f64)
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: &mut [f64]) -> String {
    let middle = median(values);
    format!("{middle:.3} ({:.3}-{:.3})", values[0], values[values.len() - 1])
}

/// Shows how far the run is, on a line that the next call replaces.
pub(crate) fn progress(text: &str) {
    eprint!("\r{text:<60}\r");
}
