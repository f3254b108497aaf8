//! No secret gets into a file, whatever it is in.

use serde_json::json;

use super::support::server::Server;
use super::support::websocket::{Frame, Socket, opcode, opening};
use super::{Client, Recording, Request, play};

#[test]
fn no_secret_is_in_the_file_and_what_is_left_plays_again() {
    let server = Server::start(&["bayeux.timeout=1s"]);
    let recording = Recording::with(server.address(), |options, _| options.redact = vec!["ext.login".to_owned()]);
    let mut client = Client::new(recording.address());
    let handshake = json!([{"channel": "/meta/handshake", "id": "1", "ext":
        {"auth": {"accessToken": "SECRET", "who": "ann"}, "login": {"pin": "SECRET"}, "other": {"Password": "SECRET"}}}]);
    let request = Request::post("/cometd/handshake;jsessionid=SECRET?api_key=SECRET&x=1", handshake.to_string())
        .header("Authorization", "Bearer SECRET")
        .header("Proxy-Authorization", "Basic SECRET")
        .header("X-Api-Token", "SECRET")
        .header("X-CSRF", "SECRET")
        .header("X-Version", "7")
        .header("Cookie", "SESSION=SECRET; other=SECRET");
    let response = client.connection.exchange(&request).expect("an answer");
    assert_eq!(response.status, 200);
    let reply: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    client.id = reply[0]["clientId"].as_str().expect("a clientId").to_owned();
    let cookie = response.header("Set-Cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
    client.cookie = Some(cookie.clone());
    client.subscribe("/a");
    let id = client.id.clone();
    client.ask(json!([{"channel": "/a", "id": "2", "clientId": id, "data": {"user": "ann", "password": "SECRET"}}]));
    // A session of somebody else, which may be alive.
    let stranger = "5ecre7SECRET0123456789abcdef0123";
    client.ask(json!([{"channel": "/a", "id": "3", "clientId": stranger, "data": 1}]));
    let other = Request::post("/cometd", "user=ann&password=SECRET").header("Content-Type", "text/plain");
    client.connection.exchange(&other).expect("an answer");
    let open = opening("/cometd?token=SECRET").header("Cookie", &cookie);
    let (mut socket, _) = Socket::open(recording.address(), &open).expect("opened");
    let message = json!([{"channel": "/meta/handshake", "ext": {"credentials": "SECRET"}}]);
    socket.send(&Frame::new(opcode::TEXT, message.to_string())).expect("sent");
    socket.receive().expect("a reply");
    let (file, _) = recording.stop();
    let text = file.text();
    assert!(!text.contains("SECRET"), "{text}");
    let value = cookie.split_once('=').expect("a value").1;
    assert!(!text.contains(value) && !text.contains(&client.id), "{text}");
    for kept in
        ["\"who\":\"ann\"", "\"login\":\"redacted\"", "X-Version: 7", "Authorization: redacted", "\"stranger1\""]
    {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    play(&file.conversation(), Server::start(&["bayeux.timeout=1s"]).address()).expect("no difference");
}
