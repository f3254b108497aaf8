//! [`Relay`]: stands between clients and a server, hands every byte on, and tells a [`Recorder`] what the bytes mean.
//!
//! Two threads serve each connection, one for each direction, and each reads no further than the other side takes, so
//! that nothing piles up. A message is written down before its last byte is handed on: what follows from it stands below
//! it in the file. Of requests two header lines are changed, since the record must be readable: compression is not
//! offered, neither of bodies nor of frames.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::direction;
use super::recorder::{Recorder, Side, Summary};
use super::upstream::ServerUrl;

/// Stack of a thread, in bytes: JSON is read by recursion, as deep as its limit allows.
const STACK: usize = 2 * 1024 * 1024;

/// How long a client may take for the request that is answered with 502.
const REFUSAL_MAX: Duration = Duration::from_secs(5);

/// How long connections may take to end when the relay stops.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What a relay does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where requests are handed on to.
    pub upstream: ServerUrl,
    /// Whether `Host` names the server instead of what the client wrote.
    pub rewrite_host: bool,
    /// Most connections at a time.
    pub connections_max: usize,
    /// Longest body or message that is written down, in bytes; longer ones are handed on all the same.
    pub body_max: usize,
}

/// Is told, in a sentence, what goes wrong.
pub type Complain = Arc<dyn Fn(&str) + Send + Sync>;

/// A relay that runs.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What all threads of a relay know.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) recorder: Arc<Recorder>,
    complain: Complain,
    stopping: AtomicBool,
    /// Both sockets of each connection.
    open: Mutex<BTreeMap<u64, Vec<Arc<TcpStream>>>>,
    /// A connection has ended.
    ended: Condvar,
}

impl Shared {
    pub(super) fn complain(&self, what: &str) {
        (self.complain)(what);
    }
}

impl Relay {
    /// Relays whatever connects to `listener` from now on.
    ///
    /// # Errors
    ///
    /// There can be no more threads.
    pub fn start(
        listener: TcpListener,
        options: Options,
        recorder: Arc<Recorder>,
        complain: Complain,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stopping, open, ended) = (AtomicBool::new(false), Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { options, recorder, complain, stopping, open, ended });
        let accepting = Arc::clone(&shared);
        let accepting = spawn("accept", move || accept(&accepting, &listener))?;
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the recording, then all connections.
    #[must_use]
    pub fn stop(mut self) -> Summary {
        let summary = self.shared.recorder.finish();
        self.end();
        summary
    }

    fn end(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let Some(accepting) = self.accepting.take() else { return };
        // The thread waits for a connection.
        if TcpStream::connect_timeout(&reachable(self.address), STOP_MAX).is_ok() {
            let _ = accepting.join();
        }
        let mut open = self.shared.open.lock();
        for socket in open.values().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let deadline = Instant::now() + STOP_MAX;
        while !open.is_empty() && !self.shared.ended.wait_until(&mut open, deadline).timed_out() {}
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

/// Puts loopback for "all interfaces", which nobody can connect to everywhere.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut was_full = false;
    for (id, accepted) in (0..).zip(listener.incoming()) {
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        let client = match accepted {
            Ok(client) => Arc::new(client),
            Err(error) => {
                shared.complain(&format!("cannot accept a connection: {error}"));
                // Out of files, most likely: what runs has to end first.
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let mut open = shared.open.lock();
        let is_full = open.len() >= shared.options.connections_max;
        if is_full && !was_full {
            shared.complain(&format!("{} connections are open: new ones are closed", open.len()));
        }
        was_full = is_full;
        if is_full {
            continue;
        }
        open.insert(id, vec![Arc::clone(&client)]);
        drop(open);
        let place = Place { shared: Arc::clone(shared), id };
        if let Err(error) = spawn("connection", move || serve(&place, &client)) {
            shared.complain(&format!("cannot start a thread: {error}"));
        }
    }
}

/// The place of a connection among those that are open.
struct Place {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.recorder.forget(self.id);
        self.shared.open.lock().remove(&self.id);
        self.shared.ended.notify_all();
    }
}

fn serve(place: &Place, client: &Arc<TcpStream>) {
    let Place { shared, id } = place;
    let _ = client.set_nodelay(true);
    let server = match shared.options.upstream.connect() {
        Ok(server) => Arc::new(server),
        Err(error) => {
            let text = format!("cannot reach {}: {error}", shared.options.upstream);
            shared.complain(&text);
            refuse(client, &text);
            return;
        }
    };
    if let Some(sockets) = shared.open.lock().get_mut(id) {
        sockets.push(Arc::clone(&server));
    }
    let link = Arc::new(Link { shared: Arc::clone(shared), id: *id, state: Mutex::default(), changed: Condvar::new() });
    let (back, client_of_back, server_of_back) = (Arc::clone(&link), Arc::clone(client), Arc::clone(&server));
    let answers = spawn("answers", move || {
        let by = direction::answers(&back, &server_of_back, &client_of_back);
        back.end(by);
        // What the server wrote has been handed on; a client that goes on sending speaks to nobody.
        let _ = client_of_back.shutdown(Shutdown::Both);
    });
    let Ok(answers) = answers else { return };
    let by = direction::requests(&link, client, &server);
    link.shared.recorder.end(*id, by);
    // It may have ended its half only, and wait for an answer.
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
    let _ = server.shutdown(Shutdown::Both);
}

/// Answers one request with 502 and its reason.
fn refuse(client: &TcpStream, text: &str) {
    let body = format!("mirant record: {text}\n");
    let head = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let deadline = Instant::now() + REFUSAL_MAX;
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // A request of which bytes are still under way when the socket is closed would take the answer with it.
    let mut has_answered = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let is_whole = request.windows(4).any(|window| window == b"\r\n\r\n");
        if left.is_zero() || client.set_read_timeout(Some(left)).is_err() {
            return;
        }
        if is_whole && !has_answered {
            has_answered = true;
            if (&*client).write_all(answer.as_bytes()).is_err() || client.shutdown(Shutdown::Write).is_err() {
                return;
            }
        }
        match (&*client).read(&mut buffer) {
            Ok(0) => return,
            Ok(count) if request.len() < direction::BUFFER => request.extend_from_slice(&buffer[..count]),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What the two directions of a connection tell one another.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    state: Mutex<LinkState>,
    changed: Condvar,
}

#[derive(Default)]
struct LinkState {
    asked: std::collections::VecDeque<Asked>,
    count: u32,
    phase: Phase,
}

/// A request whose answer has not come.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) number: u32,
    pub(super) method: String,
    upgrades: bool,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Http,
    /// A WebSocket was asked for, and the answer is awaited.
    Asking,
    WebSocket,
    Ended,
}

/// How often a client is looked after while its WebSocket is being opened.
const LOOK: Duration = Duration::from_millis(200);

/// Most requests on a connection that wait for an answer; more are not read before.
const ASKED_MAX: usize = 64;

impl Link {
    /// Notes a request, once there is room for it, and returns its number.
    pub(super) fn ask(&self, method: &str, upgrades: bool) -> u32 {
        let mut state = self.state.lock();
        while state.asked.len() >= ASKED_MAX && state.phase != Phase::Ended {
            self.changed.wait(&mut state);
        }
        state.count += 1;
        let number = state.count;
        state.asked.push_back(Asked { number, method: method.to_owned(), upgrades });
        if upgrades && state.phase == Phase::Http {
            state.phase = Phase::Asking;
        }
        number
    }

    /// Returns the request that is answered next.
    pub(super) fn asked(&self) -> Option<Asked> {
        self.state.lock().asked.front().cloned()
    }

    /// Notes an answer, and what the connection speaks after it if it was asked to become a WebSocket.
    pub(super) fn answered(&self, phase: Phase) {
        let mut state = self.state.lock();
        let upgraded = state.asked.pop_front().is_some_and(|asked| asked.upgrades);
        if upgraded && state.phase == Phase::Asking {
            state.phase = phase;
        }
        self.changed.notify_all();
    }

    /// Waits until it is known what the connection speaks, or the client has left.
    pub(super) fn phase(&self, client: &TcpStream) -> Phase {
        loop {
            let mut state = self.state.lock();
            let is_late = state.phase == Phase::Asking && self.changed.wait_for(&mut state, LOOK).timed_out();
            match state.phase {
                Phase::Asking if is_late => drop(state),
                Phase::Asking => continue,
                phase => return phase,
            }
            // Nobody else reads from the client meanwhile.
            if client.set_read_timeout(Some(Duration::from_millis(1))).is_err() {
                return Phase::Ended;
            }
            let has_left = matches!(client.peek(&mut [0]), Ok(0));
            if has_left || client.set_read_timeout(None).is_err() {
                return Phase::Ended;
            }
        }
    }

    fn end(&self, side: Side) {
        self.shared.recorder.end(self.id, side);
        self.state.lock().phase = Phase::Ended;
        self.changed.notify_all();
    }
}
