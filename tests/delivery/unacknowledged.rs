//! Clients that acknowledge nothing (CVE-2025-53114), or read nothing, while far more is published to them than may wait.

use serde_json::{Value, json};

use super::host::{Client, Host};
use crate::support::client::LongPolling;

/// Bytes of one publication, about.
const SIZE: usize = 100_000;

/// Bytes published in all to the first, and to the others, which differ in how they leave only.
const TOTAL: usize = 200_000_000;
const FEWER: usize = 50_000_000;

/// What may wait for one session by default.
const LIMIT: usize = 16 * 1024 * 1024;

/// Resident memory of this process in KiB; what a test prints, as other tests run in it too.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Publishes it all; `each` does the client's part between publications and returns the id of its session. Whenever
/// that has ended, a new one is asked for. Returns how many sessions it took.
fn publish_all(host: &Host, total: usize, mut each: impl FnMut(usize, bool) -> String) -> usize {
    let data = json!("x".repeat(SIZE));
    let (mut id, mut sessions, mut most, mut peak) = (each(0, true), 1, 0, 0);
    for number in 0..total / SIZE {
        host.publish("/news", &data);
        match host.session(&id) {
            Some(session) => {
                assert!(session.queued_bytes <= LIMIT, "{session:?}");
                most = most.max(session.queued_bytes);
                id = each(number, false);
            }
            None => {
                sessions += 1;
                id = each(number, true);
            }
        }
        peak = peak.max(resident().unwrap_or_default());
    }
    println!("{sessions} sessions, at most {most} bytes queued, at most {} MB resident", peak / 1_024);
    assert!(most > LIMIT / 2, "{most} bytes were the most that waited");
    sessions
}

fn handshake() -> Value {
    json!([{"channel": "/meta/handshake", "ext": {"ack": true}}])
}

/// [AK-11] [LM-4]
#[test]
fn a_polling_client_with_a_constant_number_is_ended_again_and_again() {
    let host = Host::start(&[]);
    let mut client = LongPolling::at(host.address());
    let sessions = publish_all(&host, TOTAL, |number, anew| {
        if anew {
            client.id = client.batch(handshake())[0]["clientId"].as_str().unwrap().to_owned();
            client.batch(json!([{"channel": "/meta/subscribe", "subscription": "/news"}]));
        } else if number % 20 == 0 {
            client.batch(json!([{"channel": "/meta/connect", "ext": {"ack": 0}}]));
        }
        client.id.clone()
    });
    assert!((11..=14).contains(&sessions), "{sessions} sessions took 200 MB");
    assert_eq!(host.node().engine().totals().sessions_overflowed, sessions as u64 - 1);
}

/// [AK-11] [LM-4]
#[test]
fn so_is_one_on_a_websocket() {
    let host = Host::start(&[]);
    let mut client = Client::open(&host);
    let sessions = publish_all(&host, FEWER, |number, anew| {
        if anew {
            client.send(&handshake());
            client.id = client.reply("/meta/handshake")["clientId"].as_str().unwrap().to_owned();
            client.subscribe("/news");
        } else if number % 20 == 0 {
            client.send(&json!([{"channel": "/meta/connect", "clientId": client.id, "ext": {"ack": 0}}]));
            while client.next()["channel"] != "/meta/connect" {}
        }
        client.id.clone()
    });
    assert!((3..=4).contains(&sessions), "{sessions} sessions took 50 MB");
}

/// [AK-11] [LM-4]
#[test]
fn one_that_reads_nothing_is_ended_too() {
    let host = Host::start(&[]);
    let mut client = Client::open(&host);
    let mut sockets = Vec::new();
    let sessions = publish_all(&host, FEWER, |number, anew| {
        if anew {
            sockets.push(std::mem::replace(&mut client, Client::open(&host)));
            client.send(&handshake());
            client.id = client.reply("/meta/handshake")["clientId"].as_str().unwrap().to_owned();
            client.subscribe("/news");
        } else if number % 20 == 0 {
            // Its answers are never read; the server leaves its frames alone until they are.
            client.send(&json!([{"channel": "/meta/connect", "clientId": client.id, "ext": {"ack": 0}}]));
        }
        client.id.clone()
    });
    assert!((3..=4).contains(&sessions), "{sessions} sessions took 50 MB");
}
