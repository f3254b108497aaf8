//! The floor: a program that does nothing but send ready frames to sockets, one call per frame and socket.
//!
//! Its first line names its address. The first connection controls it: each line is `COUNT NUMBER PADDING` and sends
//! `COUNT` frames from `NUMBER` on, in one call, to every other connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};

use super::client::CHANNEL;

pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (control, _) = listener.accept()?;
    let mut subscribers: Vec<TcpStream> = Vec::new();
    for line in BufReader::new(control).lines() {
        let line = line?;
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [count, number, padding] = numbers[..] else { anyhow::bail!("not a command: {line}") };
        if count == 0 {
            // So many subscribers have connected.
            for _ in 0..number {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                subscribers.push(stream);
            }
            continue;
        }
        let mut frames = Vec::new();
        for number in number..number + count {
            let padding = "x".repeat(usize::try_from(padding)?);
            let text = format!(r#"[{{"channel":"{CHANNEL}","data":{{"n":{number},"text":"{padding}"}}}}]"#);
            let length = u16::try_from(text.len()).context("frames of the floor have two bytes of length")?;
            frames.extend_from_slice(&[0x81, 126]);
            frames.extend_from_slice(&length.to_be_bytes());
            frames.extend_from_slice(text.as_bytes());
        }
        for mut subscriber in &subscribers {
            subscriber.write_all(&frames)?;
        }
    }
    Ok(())
}
