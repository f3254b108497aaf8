// A small Bayeux client: one session over WebSocket or long-polling, with the reconnecting that the protocol asks for.
// It knows nothing of the page; what happens is told by events:
//
//   status         something in `client.status` has changed
//   subscriptions  something in `client.subscriptions` has changed
//   message        detail: {channel, data}
//   wire           detail: {direction: "sent" | "received", transport, message}, for every Bayeux message
//   problem        detail: Failure; the client goes on unless `client.status.state` is "offline"
//   recovered      a held connect works again after a problem

const NETWORK_DELAY = 10_000; // what an answer may take beyond the time that the server was asked to hold it
const DISCONNECT_DELAY = 2_000;
const BACKOFF_STEP = 1_000;
const BACKOFF_MAX = 60_000;
const BATCH_MAX = 100; // messages in one POST
const ADVICE = Object.freeze({ reconnect: "retry", interval: 0, timeout: 60_000 });

/** Why something did not work. `kind` is for programs, `message` for people. */
export class Failure extends Error {
  constructor(kind, message, detail = {}) {
    super(message);
    this.kind = kind;
    Object.assign(this, detail);
  }
}

/** WebSocket: everything on one socket, which is opened when it is first needed and again after it was lost. */
class SocketLink {
  #url;
  #events;
  #socket = null;
  #waiting = [];

  constructor(url, events) {
    this.#url = url.replace(/^http/, "ws");
    this.#events = events;
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#write([message]);
      return;
    }
    this.#waiting.push(message);
    if (this.#socket === null) {
      this.#open();
    }
  }

  /**
   * The answer to this message is overdue. One socket carries all: it is given up only if the session depends on it,
   * as other answers may merely queue behind a flood of messages.
   */
  abandon({ channel }) {
    if (channel === "/meta/connect" || channel === "/meta/handshake") {
      this.#drop(new Failure("timeout", "The server did not answer in time."));
    }
  }

  close() {
    this.#drop(new Failure("stopped", "The connection was closed."));
  }

  /** Says goodbye from a page that is being left: what is written before the close is still sent. */
  leave(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#write([message]);
    }
    this.close();
  }

  #write(messages) {
    this.#socket.send(JSON.stringify(messages));
    this.#events.sent(messages);
  }

  #open() {
    const socket = new WebSocket(this.#url);
    let opened = false;
    this.#socket = socket;
    socket.onopen = () => {
      opened = true;
      for (const message of this.#waiting.splice(0)) {
        this.#write([message]);
      }
    };
    socket.onmessage = (event) => {
      const messages = parse(event.data);
      if (messages) {
        this.#events.received(messages);
      } else {
        this.#drop(new Failure("format", "The server sent something that is not Bayeux.", { url: this.#url }));
      }
    };
    socket.onclose = (event) => {
      const { code, reason } = event;
      const kind = opened ? "lost" : "unopened";
      const what = opened ? `The WebSocket was closed (code ${code}${reason && `, ${reason}`}).` : "The WebSocket could not be opened.";
      this.#drop(new Failure(kind, what, { code, url: this.#url }));
    };
  }

  #drop(failure) {
    const socket = this.#socket;
    this.#socket = null;
    this.#waiting.length = 0;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    this.#events.failed(null, failure);
  }
}

/** Long-polling: one request for the held connect, one at a time for everything else, so order is kept. */
class PollingLink {
  #url;
  #events;
  #waiting = [];
  #busy = false;
  #requests = new Map(); // message id -> AbortController of the request that carries it

  constructor(url, events) {
    this.#url = url;
    this.#events = events;
  }

  send(message) {
    if (message.channel === "/meta/connect") {
      this.#post([message], "/connect");
      return;
    }
    this.#waiting.push(message);
    this.#pump();
  }

  abandon({ id }) {
    this.#requests.get(id)?.abort();
  }

  close() {
    this.#waiting.length = 0;
    for (const request of this.#requests.values()) {
      request.abort();
    }
    this.#events.failed(null, new Failure("stopped", "The connection was closed."));
  }

  /** A beacon outlives the page, an ordinary request does not. */
  leave(message) {
    const body = JSON.stringify([message]);
    const url = `${this.#url}/disconnect`;
    if (!navigator.sendBeacon?.(url, new Blob([body], { type: "application/json" }))) {
      fetch(url, { method: "POST", body, headers: { "Content-Type": "application/json" }, keepalive: true }).catch(() => {});
    }
    this.#events.sent([message]);
    this.close();
  }

  async #pump() {
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    await null; // what is sent in the same turn travels together
    while (this.#waiting.length > 0) {
      // The server refuses a handshake that shares its request with anything else.
      const alone = this.#waiting[0].channel === "/meta/handshake";
      const batch = this.#waiting.splice(0, alone ? 1 : BATCH_MAX);
      const [{ channel }] = batch;
      const suffix = channel === "/meta/handshake" || channel === "/meta/disconnect" ? channel.slice(5) : "";
      await this.#post(batch, suffix);
    }
    this.#busy = false;
  }

  async #post(batch, suffix) {
    const ids = batch.map((message) => message.id);
    const request = new AbortController();
    ids.forEach((id) => this.#requests.set(id, request));
    this.#events.sent(batch);
    try {
      const messages = await exchange(this.#url + suffix, JSON.stringify(batch), request.signal);
      this.#events.received(messages);
      this.#events.failed(ids, new Failure("format", "The server's answer lacks a reply.", { url: this.#url }));
    } catch (failure) {
      this.#events.failed(ids, failure);
    } finally {
      ids.forEach((id) => this.#requests.delete(id));
    }
  }
}

/** One POST; the messages of the answer, or a Failure that says what is wrong with it. */
async function exchange(url, body, signal) {
  let response;
  let text;
  try {
    const headers = { "Content-Type": "application/json" };
    response = await fetch(url, { method: "POST", headers, body, signal, cache: "no-store" });
    text = await response.text();
  } catch {
    throw signal.aborted
      ? new Failure("timeout", "The server did not answer in time.", { url })
      : new Failure("unreachable", "The server cannot be reached.", { url });
  }
  if (response.status !== 200) {
    throw new Failure("status", `The server answered with HTTP status ${response.status}.`, { status: response.status, url });
  }
  const messages = parse(text);
  if (!messages || messages.length === 0) {
    throw new Failure("format", "The server's answer is not Bayeux.", { url });
  }
  return messages;
}

function parse(text) {
  try {
    const messages = JSON.parse(text);
    return Array.isArray(messages) && messages.every((message) => message && typeof message === "object") ? messages : null;
  } catch {
    return null;
  }
}

const LINKS = { websocket: SocketLink, "long-polling": PollingLink };

/** One session with a Bayeux server. `connect` and `disconnect` may alternate as often as one likes. */
export class Client extends EventTarget {
  #transport = "websocket";
  #link = null;
  #run = null; // AbortController of the current connect loop
  #wake = null; // ends the current pause early
  #pending = new Map(); // message id -> {resolve, reject, timer}
  #lastId = 0;
  #subscriptions = new Map(); // channel -> "waiting" | "active"
  #advice = { ...ADVICE };
  #status = { state: "offline", clientId: null, connects: 0, heldSince: null, retryAt: null };

  /** state: offline, handshaking, connecting, connected, reconnecting or disconnecting; times as Date.now(). */
  get status() {
    return { ...this.#status, transport: this.#transport, advice: { ...this.#advice } };
  }

  /** [channel, "waiting" | "active"], in the order of subscribing. */
  get subscriptions() {
    return [...this.#subscriptions];
  }

  /** Starts a session and keeps it until `disconnect`, or until the server says that it does not want one. */
  connect(url, transport) {
    if (this.#run) {
      return;
    }
    this.#transport = transport;
    this.#advice = { ...ADVICE };
    this.#run = new AbortController();
    this.#link = new LINKS[transport](url, {
      sent: (messages) => this.#log("sent", messages),
      received: (messages) => this.#receive(messages),
      failed: (ids, failure) => this.#fail(ids, failure),
    });
    this.#update({ state: "handshaking", connects: 0 });
    this.#loop(this.#run.signal);
  }

  /** Ends the session; wished subscriptions are kept for the next one. */
  async disconnect() {
    const run = this.#run;
    if (!run || run.signal.aborted) {
      return;
    }
    const { clientId } = this.#status;
    run.abort();
    this.#wake?.();
    this.#update({ state: "disconnecting", retryAt: null });
    if (clientId) {
      await this.#ask({ channel: "/meta/disconnect", clientId }, DISCONNECT_DELAY).catch(() => {});
    }
    this.#stop();
  }

  /** For a page that is being left: tells the server without waiting for an answer. */
  leave() {
    const { clientId } = this.#status;
    if (this.#run && clientId) {
      this.#run.abort();
      this.#link.leave({ id: String(++this.#lastId), channel: "/meta/disconnect", clientId });
      this.#stop();
    }
  }

  /** Does not wait for the rest of the pause between two attempts. */
  retryNow() {
    this.#wake?.();
  }

  /** Resolves once the server has accepted. Without a session the wish is kept and sent with the next one. */
  async subscribe(channel) {
    if (this.#subscriptions.has(channel)) {
      return;
    }
    this.#setSubscription(channel, "waiting");
    if (this.#status.clientId) {
      await this.#sendSubscription(channel);
    }
  }

  async unsubscribe(channel) {
    const known = this.#subscriptions.delete(channel);
    this.#emit("subscriptions");
    const { clientId } = this.#status;
    if (known && clientId && this.#run) {
      const gone = (failure) => {
        if (failure.code !== "400") throw failure; // 400: the server has no such channel any more, which is as good
      };
      await this.#askOrThrow({ channel: "/meta/unsubscribe", clientId, subscription: channel }).catch(gone);
    }
  }

  /** Resolves with the milliseconds that the server took to accept it. */
  async publish(channel, data) {
    const { clientId, state } = this.#status;
    if (state !== "connected") {
      throw new Failure("offline", "There is no connection.");
    }
    const start = performance.now();
    await this.#askOrThrow({ channel, clientId, data });
    return performance.now() - start;
  }

  // ---- the connect loop ----

  async #loop(signal) {
    let failures = 0; // since the last connect that worked
    let losses = 0; // of the session, likewise
    let lastContact = Date.now();
    while (!signal.aborted) {
      try {
        if (this.#status.clientId === null) {
          await this.#handshake(signal);
        }
        const interval = await this.#holdConnect(failures > 0, signal);
        lastContact = Date.now();
        if (failures > 0) {
          failures = losses = 0;
          this.#emit("recovered");
        }
        await this.#pause(interval, signal);
      } catch (failure) {
        if (signal.aborted) {
          return;
        }
        if (failure.kind === "none") {
          this.#stop();
          this.#emit("problem", failure);
          return;
        }
        failures += 1;
        if (failure.kind === "session") {
          losses += 1;
          this.#forgetSession();
        } else if (this.#expired(lastContact)) {
          this.#forgetSession();
        }
        // The first new handshake goes at once; a server that forgets every new session too is not to be hammered.
        const steps = failure.kind === "session" ? losses - 1 : failures;
        const wait = Math.min(steps * BACKOFF_STEP, BACKOFF_MAX) + this.#advice.interval;
        this.#update({ state: "reconnecting", heldSince: null, retryAt: Date.now() + wait });
        this.#emit("problem", failure);
        await this.#pause(wait, signal);
        this.#update({ retryAt: null });
      }
    }
  }

  async #handshake(signal) {
    this.#advice = { ...ADVICE };
    this.#update({ state: "handshaking" });
    const reply = await this.#ask({
      channel: "/meta/handshake",
      version: "1.0",
      minimumVersion: "1.0",
      supportedConnectionTypes: [this.#transport],
      advice: { timeout: ADVICE.timeout, interval: ADVICE.interval },
    });
    signal.throwIfAborted();
    this.#advise(reply);
    if (!reply.successful) {
      const kind = this.#advice.reconnect === "none" ? "none" : "refused";
      throw new Failure(kind, `The server refused the handshake: ${reply.error ?? "no reason given"}.`, { code: code(reply) });
    }
    const offered = reply.supportedConnectionTypes ?? [];
    if (!offered.includes(this.#transport)) {
      throw new Failure("none", `The server does not offer ${this.#transport}, but ${offered.join(", ") || "nothing"}.`);
    }
    this.#update({ state: "connecting", clientId: reply.clientId });
    for (const channel of this.#subscriptions.keys()) {
      this.#sendSubscription(channel).catch((failure) => this.#emit("problem", failure));
    }
  }

  /** One /meta/connect; resolves with the pause that the server wants before the next one. */
  async #holdConnect(afterFailure, signal) {
    const { clientId, state, connects } = this.#status;
    const message = { channel: "/meta/connect", clientId, connectionType: this.#transport };
    // The first one, and the first after a failure, is not to be held: its answer tells that the way is clear.
    const probe = afterFailure || state !== "connected";
    if (probe) {
      message.advice = { timeout: 0 };
    }
    const hold = probe ? 0 : this.#advice.timeout;
    this.#update({ connects: connects + 1, heldSince: probe ? null : Date.now() });
    const reply = await this.#ask(message, hold + NETWORK_DELAY);
    signal.throwIfAborted();
    this.#advise(reply);
    const { reconnect, interval } = this.#advice;
    if (reconnect === "none") {
      throw new Failure("none", "The server ended this session.", { code: code(reply), ended: true });
    }
    if (!reply.successful) {
      const kind = reconnect === "handshake" ? "session" : "refused";
      throw new Failure(kind, `The server refused the connect: ${reply.error ?? "no reason given"}.`, { code: code(reply) });
    }
    this.#update({ state: "connected", heldSince: null });
    return interval;
  }

  #pause(wait, signal) {
    if (wait <= 0 || signal.aborted) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), wait);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  /** A server that tells how long it keeps a silent session lets us see that ours is gone without asking. */
  #expired(lastContact) {
    const { timeout, interval, maxInterval } = this.#advice;
    return maxInterval > 0 && Date.now() - lastContact > timeout + interval + maxInterval;
  }

  #advise(reply) {
    if (reply.advice && typeof reply.advice === "object") {
      const { "multiple-clients": _, ...lasting } = this.#advice;
      this.#advice = { ...lasting, ...reply.advice };
      this.#emit("status");
    }
  }

  #forgetSession() {
    this.#status.clientId = null;
    this.#shelveSubscriptions();
  }

  #stop() {
    this.#run?.abort();
    this.#run = null;
    this.#link?.close();
    this.#link = null;
    this.#shelveSubscriptions();
    this.#update({ state: "offline", clientId: null, heldSince: null, retryAt: null });
  }

  // ---- subscriptions ----

  async #sendSubscription(channel) {
    const { clientId } = this.#status;
    try {
      await this.#askOrThrow({ channel: "/meta/subscribe", clientId, subscription: channel });
    } catch (failure) {
      if (failure.kind === "reply" && failure.code !== "402") {
        this.#subscriptions.delete(channel);
        this.#emit("subscriptions");
        throw failure;
      }
      return this.#retrySubscription(channel, clientId, failure);
    }
    if (this.#subscriptions.has(channel) && this.#status.clientId === clientId) {
      this.#setSubscription(channel, "active");
    }
  }

  /** The request was lost, not refused. A new session subscribes anew by itself; the same one has to be asked again. */
  async #retrySubscription(channel, clientId, failure) {
    if (failure.kind === "stopped" || failure.kind === "reply") {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 2 * BACKOFF_STEP));
    if (this.#status.clientId === clientId && this.#subscriptions.get(channel) === "waiting") {
      await this.#sendSubscription(channel);
    }
  }

  #setSubscription(channel, state) {
    this.#subscriptions.set(channel, state);
    this.#emit("subscriptions");
  }

  #shelveSubscriptions() {
    for (const channel of this.#subscriptions.keys()) {
      this.#subscriptions.set(channel, "waiting");
    }
    this.#emit("subscriptions");
  }

  // ---- requests and replies ----

  /** Resolves with the reply, whatever it says. */
  #ask(fields, timeout = NETWORK_DELAY) {
    const link = this.#link;
    const id = String(++this.#lastId);
    const message = { id, ...fields };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail([id], new Failure("timeout", `The server did not answer within ${timeout / 1000} s.`));
        link.abandon(message);
      }, timeout);
      this.#pending.set(id, { resolve, reject, timer });
      link.send(message);
    });
  }

  async #askOrThrow(fields) {
    const reply = await this.#ask(fields);
    if (!reply.successful) {
      throw new Failure("reply", reply.error ?? "no reason given", {
        code: code(reply),
        channel: fields.subscription ?? fields.channel,
        verb: fields.channel,
      });
    }
  }

  #receive(messages) {
    this.#log("received", messages);
    for (const message of messages) {
      const asked = "successful" in message && this.#pending.get(message.id);
      if (asked) {
        this.#pending.delete(message.id);
        clearTimeout(asked.timer);
        asked.resolve(message);
      } else if ("data" in message) {
        this.#emit("message", { channel: message.channel, data: message.data });
      }
      // What remains are late replies and the server's own /meta/disconnect, whose connect reply follows and says it all.
    }
  }

  /** Rejects the requests with these ids, or all. */
  #fail(ids, failure) {
    for (const id of ids ?? [...this.#pending.keys()]) {
      const asked = this.#pending.get(id);
      if (asked) {
        this.#pending.delete(id);
        clearTimeout(asked.timer);
        asked.reject(failure);
      }
    }
  }

  #log(direction, messages) {
    for (const message of messages) {
      this.#emit("wire", { direction, transport: this.#transport, message });
    }
  }

  #update(changes) {
    Object.assign(this.#status, changes);
    this.#emit("status");
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** "402" of "402::session_unknown". */
function code(reply) {
  return /^\d{3}(?=:)/.exec(reply.error ?? "")?.[0] ?? null;
}
