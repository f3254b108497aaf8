//! Long-polling: an answer that was not written is not lost.

use serde_json::{Value, json};

use super::host::{Client, Host, wait_for};
use crate::support::http::{Connection, Request};

/// A request of a session's own.
fn request(message: &Value) -> Request {
    Request::post("/cometd", json!([message]).to_string())
}

fn exchange(host: &Host, message: &Value) -> Vec<Value> {
    let response = Connection::open(host.address()).exchange(&request(message)).unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_slice(&response.body).unwrap()
}

/// A session whose messages travel by long-polling, with its first connect done.
fn session(host: &Host) -> Client {
    let mut client = Client::open(host);
    let handshake = exchange(host, &json!({"channel": "/meta/handshake"}));
    client.id = handshake[0]["clientId"].as_str().unwrap().to_owned();
    exchange(host, &json!({"channel": "/meta/subscribe", "subscription": "/news", "clientId": client.id}));
    exchange(host, &connect(&client));
    client
}

fn connect(client: &Client) -> Value {
    json!({"channel": "/meta/connect", "clientId": client.id, "connectionType": "long-polling"})
}

fn hold(host: &Host, client: &Client) -> Connection {
    let mut connection = Connection::open(host.address());
    connection.send(&request(&connect(client))).unwrap();
    wait_for("a held connect", || host.session(&client.id).unwrap().is_held);
    connection
}

#[test]
fn what_is_published_after_a_cut_waits_for_the_next_connect() {
    let host = Host::start(&[]);
    let client = session(&host);
    for round in 0..20 {
        let held = hold(&host, &client);
        drop(held);
        wait_for("the end of the hold", || !host.session(&client.id).unwrap().is_held);
        host.publish("/news", &json!(round));
        let messages = exchange(&host, &connect(&client));
        assert_eq!(messages[0], json!({"channel": "/news", "data": round}));
        assert_eq!((messages.len(), &messages[1]["channel"]), (2, &json!("/meta/connect")));
    }
}

/// [LP-10] Bytes behind a held connect keep hyper from seeing the end of the connection.
#[test]
fn a_client_that_has_sent_ahead_and_goes_away_loses_nothing() {
    let host = Host::start(&[]);
    let client = session(&host);
    let next = Request::post("/cometd", json!([connect(&client)]).to_string()).to_bytes();
    let ahead: [&[&[u8]]; 4] = [&[b"P"], &[&next], &[b"POST /", &next, &next], &[&[b'x'; 10_000], &[b'y'; 10_000]]];
    for (round, pieces) in ahead.into_iter().cycle().take(20).enumerate() {
        let mut held = hold(&host, &client);
        for piece in pieces {
            held.send_bytes(piece).unwrap();
            // Another connection has its turn in between, so that the pieces are more than one read.
            exchange(&host, &json!({"channel": "/other", "clientId": client.id}));
        }
        assert!(host.session(&client.id).unwrap().is_held);
        drop(held);
        wait_for("the end of the hold", || !host.session(&client.id).unwrap().is_held);
        host.publish("/news", &json!(round));
        let messages = exchange(&host, &connect(&client));
        assert_eq!(messages[0], json!({"channel": "/news", "data": round}));
        assert_eq!((messages.len(), &messages[1]["channel"]), (2, &json!("/meta/connect")));
    }
}

#[test]
fn a_held_connect_gets_each_publication_once() {
    let host = Host::start(&[]);
    let client = session(&host);
    let total = 300;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..total).for_each(|number| host.publish("/news", &json!(number))));
        let mut next = 0;
        while next < total {
            for message in exchange(&host, &connect(&client)) {
                if message["channel"] == "/news" {
                    assert_eq!(message["data"], next);
                    next += 1;
                }
            }
        }
    });
}
