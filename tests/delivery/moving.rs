//! Sessions and sockets: two sessions on one socket, and one session on many sockets.

use std::collections::BTreeSet;

use serde_json::json;

use super::host::{Client, Host};

#[test]
fn two_sessions_on_one_socket_get_a_copy_each() {
    let host = Host::start(&[]);
    let mut client = Client::subscribed(&host, "/one");
    client.subscribe("/both");
    // A second handshake binds the socket to a second session; the first one's publications still arrive here.
    client.handshake();
    client.subscribe("/two");
    client.subscribe("/both");
    host.publish("/one", &json!(1));
    client.expect("/one", [1]);
    host.publish("/two", &json!(2));
    client.expect("/two", [2]);
    host.publish("/both", &json!(3));
    client.expect("/both", [3, 3]);
    host.publish("/one", &json!(4));
    client.expect("/one", [4]);
}

#[test]
fn a_session_that_moves_during_a_fan_out_loses_nothing() {
    let host = Host::start(&[]);
    let mut bystanders = host.subscribers(50, "/news");
    let mut sockets = vec![Client::subscribed(&host, "/news")];
    let id = sockets[0].id.clone();
    let total = 3_000_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..total).for_each(|number| host.publish("/news", &json!(number))));
        for _ in 0..30 {
            let mut next = Client::open(&host);
            next.id.clone_from(&id);
            // Any message moves the session; what was written before stays where it was written.
            next.send(&json!([{"channel": "/meta/connect", "clientId": id, "advice": {"timeout": 0}}]));
            sockets.push(next);
        }
    });
    host.publish("/news", &json!("end"));
    bystanders.iter_mut().for_each(|client| client.expect("/news", 0..total));
    let mut seen = BTreeSet::new();
    for client in &mut sockets {
        let mut last = None;
        // A socket has said everything when it answers a ping, and the last one has the end.
        let frames = client.socket.barrier().unwrap();
        let payloads = frames.iter().map(|frame| serde_json::from_slice::<Vec<serde_json::Value>>(&frame.payload));
        for message in payloads.flat_map(Result::unwrap).filter(|message| message["channel"] == "/news") {
            let Some(number) = message["data"].as_u64() else { continue };
            assert!(last < Some(number), "{number} after {last:?}");
            assert!(seen.insert(number), "{number} came twice");
            last = Some(number);
        }
    }
    assert_eq!(seen, (0..total).collect());
}
