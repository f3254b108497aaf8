//! The commands themselves: what they print, how they end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::support::server::Server;
use super::{Client, TestFile};

fn mirant(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirant"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = mirant(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit status"), text(stdout), text(stderr))
}

/// `mirant record`, running.
struct Recording {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Recording {
    fn start(upstream: &str, file: &TestFile, more: &[&str]) -> Self {
        let path = file.path().to_str().expect("a path");
        let mut command = mirant(&["record", "--upstream", upstream, "--out", path]);
        let mut child = command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = String::new();
        while !lines.ends_with("ready\n") {
            assert_ne!(output.read_line(&mut lines).expect("text"), 0, "it ended: {lines}");
        }
        let address = lines.strip_prefix("record  http://").and_then(|rest| rest.split_whitespace().next());
        let address = address.expect("an address").parse().expect("an address");
        Self { child, output, address }
    }

    /// Ends it by a signal; its exit status, and what it printed since.
    fn stop(mut self, signal: Signal) -> (i32, String, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("text");
        let mut errors = String::new();
        let mut stderr: ChildStderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut errors).expect("text");
        (self.child.wait().expect("it ends").code().expect("an exit status"), text, errors)
    }
}

#[test]
fn a_recording_ends_with_a_signal_and_plays_again() {
    let server = Server::start(&["bayeux.timeout=1s", "bayeux.max_interval=2s"]);
    let upstream = format!("http://{}/cometd", server.address());
    for signal in [Signal::TERM, Signal::INT] {
        let file = TestFile::new();
        let path = file.path().to_str().expect("a path");
        let heads = ["--head", "cases: 171", "--head", "settings: max_interval=2s", "--client", "me"];
        let recording = Recording::start(&upstream, &file, &heads);
        let mut client = Client::handshaken(recording.address);
        client.ask(client.connect("2"));
        let (status, text, errors) = recording.stop(signal);
        assert_eq!((status, errors.as_str()), (0, ""));
        assert_eq!(text, format!("{path}: 4 lines on 1 connections\n"));
        let head = file.conversation().head;
        assert_eq!((head.cases, head.origin[2].as_str()), (vec!["171".to_owned()], "me"));
        assert_eq!(head.settings["max_interval"], "2s");
        let (status, text, errors) = output(&["replay", path]);
        assert_eq!((status, errors.as_str()), (0, ""), "{text}");
        assert!(text.contains(&format!("[1/1] {path} (")) && text.contains("1 as written, 0 different, 0 left out"));
        let (status, text, _) = output(&["replay", path, "--url", &upstream]);
        assert_eq!(status, 0, "{text}");
        let (status, text, _) = output(&["replay", path, "--set", "bayeux.timeout=7s"]);
        assert_eq!(status, 1);
        let difference = format!("{path}:8: [0].advice.timeout: expected 1000, got 7000\n  expected @");
        assert!(text.contains(&difference) && text.contains("\n  got      @"), "{text}");
        assert!(text.contains("0 as written, 1 different, 0 left out"), "{text}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    let file = TestFile::new();
    let path = file.path().to_str().expect("a path");
    let refused = |arguments: &[&str], status: i32, why: &str| {
        let (got, _, errors) = output(arguments);
        assert!(got == status && errors.contains(why), "{arguments:?}: {got} {errors}");
    };
    refused(&["record", "--upstream", "https://a.example", "--out", path], 2, "TLS is not spoken here");
    refused(&["record", "--upstream", "http://a", "--out", path, "--head", "colour: red"], 2, "unknown entry");
    refused(&["record", "--upstream", "http://a", "--out", path, "--head", "origin: x"], 2, "--server");
    refused(&["record", "--upstream", "http://a", "--out", path, "--listen", "192.0.2.1:1"], 1, "cannot listen on");
    assert!(!file.path().exists(), "nothing is left behind");
    std::fs::write(file.path(), "mine").expect("written");
    refused(&["record", "--upstream", "http://a", "--out", path], 1, "is there already");
    assert_eq!(file.text(), "mine");
    refused(&["replay", path, "--deviations", path], 2, "no deviation is called `mine`");
    refused(&["--set", "a.b=1", "replay", path], 2, "stand before `serve`");
    refused(&["replay"], 2, "Usage");
    refused(&["replay", path, "--control"], 2, "--url");
    let (status, text, _) = output(&["replay", path, "/nowhere"]);
    assert_eq!(status, 1);
    assert!(text.contains("line 1: a line starts with `@`") && text.contains("No such file"), "{text}");
}

/// What only a server, an operator or a deviation can do.
const SPECIAL: &str = r#"# origin: recorded | test server | test client | long-polling
# settings: timeout=2s

@0 > A.1 POST /cometd [{"channel":"/meta/handshake","id":"1"}]
@1 < A.1 [{"channel":"/meta/handshake","id":"1","successful":true,"clientId":$session1,…}]
@2 > A.2 POST /cometd [{"channel":"/meta/subscribe","id":"2","subscription":"/a","clientId":$session1},{"channel":"/meta/connect","id":"3","clientId":$session1,"connectionType":"long-polling"}]
@3 < A.2 [{"channel":"/meta/subscribe","id":"2","subscription":"/a","successful":true},{"channel":"/meta/connect","id":"3","successful":true}]
 | Content-Type: application/json;charset=utf-8
@4 > A.3 POST /cometd [{"channel":"/meta/connect","id":"4","clientId":$session1,"connectionType":"long-polling"}]
@200 ! publish /a {"n":1}
@201 < A.3 [{"channel":"/a","data":{"n":1}},{"channel":"/meta/connect","id":"4","successful":true}]
"#;

#[test]
fn what_no_client_can_do_is_done_by_an_operator_or_left_out_aloud() {
    let file = TestFile::new();
    let path = file.path().to_str().expect("a path");
    let disconnect = "@300 > A.4 POST /cometd [{\"channel\":\"/meta/connect\",\"id\":\"5\",\"clientId\":$session1,\"connectionType\":\"long-polling\"}]\n\
        @500 ! disconnect $session1\n\
        @501 < A.4 [{\"channel\":\"/meta/disconnect\",\"successful\":true},{\"channel\":\"/meta/connect\",\"id\":\"5\",\"successful\":true,\"advice\":{\"reconnect\":\"none\"}}]\n";
    std::fs::write(file.path(), format!("{SPECIAL}{disconnect}")).expect("written");
    let (status, text, _) = output(&["replay", path]);
    assert!(status == 0 && text.contains("deviations: content-type in 1"), "{text}");
    // A deviation that is not allowed is a difference.
    let none = TestFile::new();
    std::fs::write(none.path(), "# none\n").expect("written");
    let (status, text, _) = output(&["replay", path, "--deviations", none.path().to_str().expect("a path")]);
    assert!(status == 1 && text.contains("Content-Type: expected"), "{text}");
    // A server elsewhere is told by its admin listener; without one nobody can publish there.
    let elsewhere = Elsewhere::start();
    let (url, admin) = (elsewhere.url(), elsewhere.admin());
    let (status, text, _) = output(&["replay", path, "--url", &url]);
    assert!(status == 1 && text.contains("nobody can do `! publish` there"), "{text}");
    assert!(text.contains("0 as written, 0 different, 1 left out"), "{text}");
    let (status, text, _) = output(&["replay", path, "--url", &url, "--admin", &admin]);
    assert_eq!(status, 0, "{text}");
}

/// `mirant serve` with an admin listener, on free ports.
struct Elsewhere {
    child: Child,
    lines: String,
}

impl Elsewhere {
    fn start() -> Self {
        let settings = ["--listen", "127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0", "--set", "bayeux.timeout=2s"];
        let mut command = mirant(&settings);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = String::new();
        while !lines.ends_with("ready\n") {
            assert_ne!(output.read_line(&mut lines).expect("text"), 0, "it ended: {lines}");
        }
        Self { child, lines }
    }

    fn word(&self, start: &str) -> String {
        let line = self.lines.lines().find_map(|line| line.strip_prefix(start)).expect("a line");
        line.split_whitespace().next().expect("an address").to_owned()
    }

    fn url(&self) -> String {
        self.word("bayeux")
    }

    fn admin(&self) -> String {
        self.word("admin")
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn control_requests_are_written_as_what_they_do() {
    // Stands for the reference server: it answers whatever it is asked.
    let server = Server::start(&["bayeux.timeout=1s"]);
    let recording = super::Recording::with(server.address(), |options, _| options.control = true);
    let mut client = Client::handshaken(recording.address());
    let id = client.id.clone();
    let mut post = |target: &str, body: &str| {
        client.connection.exchange(&super::Request::post(target, body)).expect("an answer");
    };
    post("/publish?channel=/a%2Fb", r#"{"token":"hush","id":1}"#);
    post(&format!("/session?clientId={id}&timeout=300"), "");
    post(&format!("/deliver?clientId={id}&channel=/a"), "[7]");
    post(&format!("/disconnect?clientId={id}"), "");
    post("/page", "");
    let (file, _) = recording.stop();
    let text = file.text();
    let lines: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("! ")?.1)).collect();
    let expected = [
        "publish /a/b {\"token\":\"redacted\",\"id\":1}",
        "control /session?clientId=$session1&timeout=300",
        "control /deliver?clientId=$session1&channel=/a [7]",
        "disconnect $session1",
    ];
    assert_eq!(lines, expected, "{text}");
    assert_eq!(file.conversation().head.needs, ["control"]);
    assert!(!text.contains("page"), "only the mount is recorded: {text}");
}

#[test]
fn cookies_are_written_down_without_what_the_server_gave() {
    let server = Server::start(&["bayeux.timeout=1s"]);
    let recording = super::Recording::with(server.address(), |options, _| options.cookies = true);
    let mut client = Client::handshaken(recording.address());
    let connect = client.connect("2");
    let given = client.cookie.replace("other=elsewhere".to_owned()).expect("a cookie");
    client.ask(connect.clone());
    client.cookie = Some(given.clone());
    client.ask(connect);
    let (file, _) = recording.stop();
    let text = file.text();
    let brought: Vec<&str> = text.lines().filter(|line| line.contains("| Cookie:")).collect();
    let value = given.split_once('=').expect("a name and a value").1;
    assert!(text.contains("set-cookie: BAYEUX_BROWSER=…; Path=/; HttpOnly") && !text.contains(value), "{text}");
    assert!(brought.len() == 1 && brought[0].ends_with("| Cookie: other=elsewhere"), "{text}");
    super::play(&file.conversation(), server.address()).expect("it is answered alike");
}

#[test]
fn lines_that_may_differ_are_listed() {
    let recorded = "# origin: recorded | a server | a client\n# needs: empty-batch\n\n@0      > A.1 POST /cometd {}\n\
        @5      < A.1 500\n";
    let (file, list) = (TestFile::new(), TestFile::new());
    std::fs::write(file.path(), recorded).expect("the file is written");
    let name = file.path().file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let ours = r#"[{"successful":false,"error":"400::channel_missing"}]"#;
    std::fs::write(list.path(), format!("[{name}]\nD1: better\n- < A.1 500\n+ < A.1 {ours}\n")).expect("written");
    let (path, differences) = (file.path().to_str().expect("a path"), list.path().to_str().expect("a path"));
    let (status, text, _) = output(&["replay", path]);
    assert!(status == 1 && text.contains("the status is 200"), "{text}");
    let (status, text, errors) = output(&["replay", path, "--differences", differences]);
    assert_eq!(status, 0, "{text}{errors}");
    std::fs::write(list.path(), "what?\n").expect("written");
    let (status, _, errors) = output(&["replay", path, "--differences", differences]);
    assert!(status == 2 && errors.contains("the name of a recording is expected"), "{errors}");
}

#[test]
fn control_lines_are_done_by_a_server_in_the_process() {
    let file = TestFile::new();
    let lines = r#"@4 ! control /session?clientId=$session1&timeout=300
@5 ! control /lazy?channel=/lazy&timeout=400
@6 ! control /authorizer?channel=/no&result=deny&reason=never
@7 > A.3 POST /cometd [{"channel":"/no","id":"5","clientId":$session1,"data":1}]
@8 < A.3 [{"channel":"/no","id":"5","successful":false,"error":…}]
@20 > A.4 POST /cometd [{"channel":"/meta/connect","id":"4","clientId":$session1,"connectionType":"long-polling"}]
@320 < A.4 [{"channel":"/meta/connect","id":"4","successful":true,…}]
@400 > A.5 POST /cometd [{"channel":"/meta/connect","id":"6","clientId":$session1,"connectionType":"long-polling"}]
@500 ! control /deliver?clientId=$session1&channel=/b {"x":1}
@501 < A.5 [{"channel":"/b","data":{"x":1}},{"channel":"/meta/connect","id":"6","successful":true}]
"#;
    let start = SPECIAL.split("@4 >").next().expect("a start").replace("# settings", "# needs: control\n# settings");
    std::fs::write(file.path(), format!("{start}{lines}")).expect("written");
    let (status, text, _) = output(&["replay", file.path().to_str().expect("a path")]);
    assert_eq!(status, 0, "{text}");
}
