//! Plays a script of `fixtures/scripts` against a Bayeux server: `play_script FILE HOST:PORT [NAME]`.
//!
//! Prints what was sent and what came back, with the milliseconds since the beginning. The server must have its mount at
//! `/cometd`; a script that uses control endpoints needs a server that has them (`docs/differential.md`). NAME takes the
//! place of `@` in the names of channels. `play_script FILE` prints the command line of the server that a script wants.

#[path = "../tests/differential/connection.rs"]
#[allow(dead_code)] // Shared with the differential test, which uses more of it.
mod connection;
#[cfg(test)]
#[path = "../tests/differential/difference.rs"]
mod difference;
#[path = "../tests/differential/player.rs"]
#[allow(dead_code)] // As above.
mod player;
#[path = "../tests/differential/script.rs"]
#[allow(dead_code)] // As above.
mod script;
#[path = "../tests/differential/shorthand.rs"]
mod shorthand;
#[cfg(test)]
#[path = "../tests/differential/tests.rs"]
mod tests;
#[path = "../tests/differential/wire.rs"]
#[allow(dead_code)] // As above.
mod wire;

use std::error::Error;
use std::fs;
use std::net::ToSocketAddrs as _;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(file) = arguments.next() else {
        return Err("usage: play_script FILE [HOST:PORT [NAME]]".into());
    };
    let script = script::Script::parse(&file, &fs::read_to_string(&file)?)?;
    let Some(server) = arguments.next() else {
        println!("{}", script.server.0.join(" "));
        return Ok(());
    };
    println!("# the script wants a server with {}", script.server.0.join(" "));
    let address = server.trim_start_matches("http://").trim_end_matches("/cometd").trim_end_matches('/');
    let address = address.to_socket_addrs()?.next().ok_or("no address")?;
    // Channels of an earlier play on the same server may still be there.
    let token = arguments.next().unwrap_or_else(|| format!("p{}", std::process::id()));
    for line in player::play(&script, address, &token)?.log {
        println!("{line}");
    }
    Ok(())
}
