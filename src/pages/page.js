// The page: forms, state and notices around one Bayeux client.

import { Client } from "./bayeux.js";
import { element, Messages, Rate, WireLog } from "./feed.js";
import { LANGUAGES, snippet } from "./snippets.js";

const DEMO_CHANNEL = "/demo";
const DEMO_PERIOD = 1_000;
const NOTICE_PERIOD = 30_000; // how long a notice stays that asks for nothing

const byId = (id) => document.getElementById(id);
const client = new Client();
const messages = new Messages();
const rate = new Rate();
const wire = new WireLog();
const thisTab = `tab ${crypto.getRandomValues(new Uint16Array(1))[0].toString(16).padStart(4, "0")}`;
let demo = null; // timer of the running demo, 0 while it waits for its connection
let lastProblem = null; // the Failure behind the state "refused"

// ---- notices ----

/** Shows what happened and what to do. A notice replaces an earlier one of the same topic. */
function notify(topic, level, what, advice, action) {
  const shown = findNotice(topic);
  if (shown?.dataset.what === what) {
    return; // keeps the focus where it is, and a screen reader quiet
  }
  shown?.remove();
  const notice = element("div", `notice ${level}`);
  Object.assign(notice.dataset, { topic, what });
  const text = element("div", "");
  text.append(element("p", "", what));
  if (advice) {
    text.append(element("p", "", advice));
  }
  notice.append(text);
  if (action) {
    const button = element("button", "small", action.label);
    button.type = "button";
    button.onclick = action.run;
    notice.append(button);
  }
  const close = element("button", "close", "×");
  close.type = "button";
  close.setAttribute("aria-label", "Dismiss");
  close.onclick = () => notice.remove();
  notice.append(close);
  byId("notices").append(notice);
}

function findNotice(topic) {
  return [...byId("notices").children].find((notice) => notice.dataset.topic === topic);
}

function dismiss(topic) {
  findNotice(topic)?.remove();
}

/** What a person can do about a failure of the connection. */
function adviceFor(failure) {
  switch (failure.kind) {
    case "unopened":
      return "If the server runs, the path may be wrong, or something in between may refuse WebSocket: then choose long-polling.";
    case "unreachable":
      return "Check that mirant is running and that nothing in between refuses its port.";
    case "status":
      return adviceForStatus(failure.status);
    case "format":
      return "Check the server path: something else than a Bayeux server seems to answer there.";
    case "lost":
      return failure.code === 1009
        ? "A message was larger than the server accepts (max_message_size)."
        : "The session continues on a new connection if the server still knows it; messages may have been missed meanwhile.";
    case "timeout":
      return "The server or the network is overloaded or gone; the connection is made anew.";
    case "session":
      return "The server was restarted, or this page was silent for too long. A new session with the same subscriptions takes over.";
    case "none":
      return failure.ended ? "It asks not to come back. Connect starts a new session." : "It asks not to try again. Check its policy, then connect anew.";
    default:
      return "";
  }
}

function adviceForStatus(status) {
  switch (status) {
    case 401:
    case 403:
      return "The server refuses this page: check allowed_origins in [server], or what stands in front of it.";
    case 404:
      return "Nothing is mounted at this path. Check the server path.";
    case 413:
      return "A message was larger than the server accepts (max_message_size).";
    default:
      return status >= 500 ? "The server’s own log says more." : "Check the server path and what stands in front of the server.";
  }
}

// ---- connection ----

const STATE_DETAILS = {
  offline: "not connected",
  handshaking: "asking for a session",
  connecting: "opening the session",
  disconnecting: "saying goodbye",
};

function showStatus() {
  const { state, clientId, connects, heldSince, retryAt, transport, advice } = client.status;
  const refused = state === "offline" && lastProblem;
  const active = state !== "offline";
  byId("state").textContent = refused ? "refused" : state;
  byId("dot").dataset.state = refused ? "refused" : state;
  byId("state-detail").textContent = stateDetail(state, transport, retryAt);
  byId("connect").textContent = active ? "Disconnect" : "Connect";
  byId("connect").classList.toggle("primary", !active);
  byId("connect").disabled = state === "disconnecting";
  byId("path").disabled = byId("transport").disabled = active;
  byId("publish").disabled = state !== "connected";
  byId("client-id").textContent = clientId ? `${clientId.slice(0, 8)}…` : "–";
  byId("client-detail").textContent = clientId ? `${clientId.length} characters` : "from the server";
  byId("advice").textContent = clientId ? advice.reconnect : "–";
  byId("advice-detail").textContent = clientId
    ? `interval ${seconds(advice.interval)}, timeout ${seconds(advice.timeout)}`
    : "from the server";
  byId("connects").textContent = active ? connects.toLocaleString("en") : "–";
  showHeld(heldSince, advice.timeout, active);
  messages.setConnected(state === "connected");
  document.title = state === "connected" ? "● Mirant" : "Mirant";
}

function stateDetail(state, transport, retryAt) {
  if (state === "connected") {
    return transport === "websocket" ? "over WebSocket" : "by long-polling";
  }
  if (state === "reconnecting") {
    return retryAt ? `next try in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1_000))} s` : "trying";
  }
  return STATE_DETAILS[state];
}

function showHeld(heldSince, timeout, active) {
  const age = heldSince ? Math.max(0, Date.now() - heldSince) : 0;
  byId("held").textContent = heldSince ? `${Math.floor(age / 1_000)} s of ${seconds(timeout)}` : active ? "none held" : "–";
  byId("held-bar").value = timeout > 0 ? Math.min(age / timeout, 1) : 0;
}

function seconds(milliseconds) {
  return `${Math.round(milliseconds / 100) / 10} s`;
}

/** The address of the server, or null if the path is none. */
function serverUrl() {
  const path = byId("path").value.trim();
  return /^\/(?!\/)[^\s?#]*$/.test(path) ? location.origin + path.replace(/\/+$/, "") : null;
}

function startConnection() {
  const url = serverUrl();
  byId("path").setAttribute("aria-invalid", String(!url));
  if (!url) {
    notify("connection", "error", "That is no server path.", "It starts with one slash and has no query, for example /cometd.");
    byId("path").focus();
    return false;
  }
  lastProblem = null;
  dismiss("connection");
  client.connect(url, byId("transport").value);
  return true;
}

function onProblem({ detail: failure }) {
  if (failure.kind === "reply") {
    notify(`subscribe ${failure.channel}`, "error", `Subscribing to ${failure.channel} was refused.`, refusal(failure));
    return;
  }
  if (failure.kind === "session") {
    dismiss("connection");
    notify("session", "warning", "The server no longer knew this session.", adviceFor(failure));
    setTimeout(() => dismiss("session"), NOTICE_PERIOD);
    return;
  }
  const final = client.status.state === "offline";
  lastProblem = final && !failure.ended ? failure : null;
  const retry = final ? null : { label: "Retry now", run: () => client.retryNow() };
  const where = failure.url && failure.kind !== "lost" ? ` (${failure.url})` : "";
  const level = final ? "error" : "warning";
  notify("connection", level, failure.message.replace(/\.?$/, `${where}.`), adviceFor(failure), retry);
  if (final) {
    stopDemo();
  }
  showStatus();
}

function onRecovered() {
  lastProblem = null;
  dismiss("connection");
}

/** Tells once that several tabs share the connections that this browser may hold. */
function checkMultipleClients() {
  const crowded = client.status.advice["multiple-clients"] === true && client.status.state === "connected";
  const shown = findNotice("crowded");
  if (crowded && !shown) {
    notify("crowded", "warning", "Another tab of this browser already holds a connect.",
      `This one polls every ${seconds(client.status.advice.interval)} instead. WebSocket has no such limit.`);
  } else if (!crowded && shown) {
    dismiss("crowded");
  }
}

// ---- channels ----

/** Why this is no channel to publish or subscribe to, or null. */
function channelError(channel, wildcards) {
  if (!channel.startsWith("/") || channel.length < 2) {
    return "A channel starts with a slash, for example /news/today.";
  }
  const segments = channel.slice(1).split("/");
  if (segments.some((segment) => segment.trim() === "")) {
    return "A channel has no empty parts: check for double slashes and one at the end.";
  }
  if (!/^[\w !#$()*+\-./@{~}]+$/.test(channel)) {
    return "Allowed are letters and digits of ASCII, spaces, and ! # $ ( ) * + - . / @ _ { ~ }";
  }
  const wild = segments.findIndex((segment) => segment === "*" || segment === "**");
  if (wild >= 0 && !wildcards) {
    return "Wildcards are for subscribing; a message goes to one channel.";
  }
  return wild >= 0 && wild < segments.length - 1 ? "A wildcard is the last part of a channel: /news/* or /news/**." : null;
}

/** What the server said, and what to make of it. */
function refusal({ code, channel, message }) {
  const closed = channel?.startsWith("/meta/") ? "Channels under /meta/ belong to the protocol." : "The server’s policy does not allow this channel.";
  const hints = { 402: "The session is gone; a new one is being made.", 403: closed, 405: "The server takes this for no valid channel." };
  return `The answer was ${message}. ${hints[code] ?? ""}`.trim();
}

function hint(id, level, text) {
  byId(id).className = `hint ${level}`;
  byId(id).textContent = text;
}

function explainWildcards() {
  const channel = byId("subscribe-channel").value.trim();
  const stem = channel.replace(/\*+$/, "");
  const examples = { "*": `Matches one more part: ${stem}a, but not ${stem}a/b.`, "**": `Matches everything below: ${stem}a and ${stem}a/b.` };
  const text = channelError(channel, true) ? "" : examples[channel.split("/").at(-1)];
  hint("subscribe-hint", "", text ?? "* matches one part, ** everything below");
  byId("subscribe-channel").removeAttribute("aria-invalid");
}

async function subscribe(event) {
  event.preventDefault();
  const input = byId("subscribe-channel");
  const channel = input.value.trim();
  const error = channelError(channel, true);
  input.setAttribute("aria-invalid", String(error !== null));
  if (error) {
    hint("subscribe-hint", "bad", error);
    return;
  }
  const connected = client.status.clientId !== null;
  if (client.subscriptions.some(([known]) => known === channel)) {
    hint("subscribe-hint", "", `${channel} is in the list already.`);
    return;
  }
  try {
    const done = client.subscribe(channel);
    hint("subscribe-hint", "", connected ? "" : "Kept until there is a connection.");
    await done;
    if (channel.startsWith("/service/")) {
      hint("subscribe-hint", "warn", "Service channels are not broadcast: only what the server sends to this session itself arrives.");
    }
  } catch (failure) {
    hint("subscribe-hint", "bad", `${channel} was refused. ${refusal(failure)}`);
  }
}

function showSubscriptions() {
  byId("subscriptions").replaceChildren(...client.subscriptions.map(([channel, state]) => {
    const item = element("li", "");
    item.dataset.state = state;
    item.title = state === "active" ? channel : `${channel}: not yet confirmed by the server`;
    const remove = element("button", "", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Unsubscribe from ${channel}`);
    remove.onclick = () => client.unsubscribe(channel).catch((failure) => hint("subscribe-hint", "bad", `Unsubscribing failed: ${failure.message}`));
    item.append(element("span", "", channel), remove);
    return item;
  }));
}

// ---- publishing ----

/** {value, hint, level}: JSON as JSON, anything else as a string. */
function readData() {
  const text = byId("publish-data").value;
  try {
    const value = JSON.parse(text);
    const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
    return { value, level: "", hint: `Valid JSON: ${kind}` };
  } catch (error) {
    const meant = /^\s*[[{"]/.test(text);
    return meant
      ? { value: text, level: "warn", hint: `Goes out as a string, as it is not valid JSON: ${error.message}` }
      : { value: text, level: "", hint: "Goes out as a string" };
  }
}

function explainData() {
  const { level, hint: text } = readData();
  hint("publish-kind", level, text);
}

async function publish(event) {
  event.preventDefault();
  const channel = byId("publish-channel").value.trim();
  const error = channelError(channel, false);
  byId("publish-channel").setAttribute("aria-invalid", String(error !== null));
  if (error) {
    hint("publish-result", "bad", error);
    return;
  }
  if (client.status.state !== "connected") {
    hint("publish-result", "bad", "Not sent: there is no connection. Connect first.");
    return;
  }
  try {
    showLatency(await client.publish(channel, readData().value));
    const unheard = !channel.startsWith("/service/") && !isHeard(channel);
    hint("publish-result", "good", `Accepted by the server for ${channel}.${unheard ? " This page is not subscribed to it." : ""}`);
  } catch (failure) {
    const said = failure.kind === "reply" ? `${channel} was refused. ${refusal(failure)}` : `No answer, so it may have been lost: ${failure.message}`;
    hint("publish-result", "bad", said);
  }
}

function showLatency(milliseconds) {
  byId("latency").textContent = milliseconds >= 1_000 ? seconds(milliseconds)
    : `${milliseconds < 100 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

/** Whether one of the subscriptions matches the channel. */
function isHeard(channel) {
  return client.subscriptions.some(([pattern]) => {
    const stem = pattern.replace(/\*+$/, "");
    const rest = channel.slice(stem.length);
    return pattern.endsWith("/**") ? channel.startsWith(stem) && rest !== ""
      : pattern.endsWith("/*") ? channel.startsWith(stem) && rest !== "" && !rest.includes("/")
      : pattern === channel;
  });
}

// ---- the demo ----

function startDemo() {
  if (client.status.state === "offline" && !startConnection()) {
    return;
  }
  let count = 0;
  client.subscribe(DEMO_CHANNEL).catch((failure) => {
    stopDemo();
    notify("demo", "error", `The demo may not subscribe to ${DEMO_CHANNEL}.`, refusal(failure));
  });
  const greet = async () => {
    if (client.status.state !== "connected") {
      return;
    }
    count += 1;
    try {
      showLatency(await client.publish(DEMO_CHANNEL, { from: thisTab, text: `Hello, number ${count}` }));
    } catch (failure) {
      if (failure.kind === "reply" && failure.code !== "402") {
        stopDemo();
        notify("demo", "error", `The demo may not publish to ${DEMO_CHANNEL}.`, refusal(failure));
      }
    }
  };
  const begin = () => {
    if (demo === 0 && client.status.state === "connected") {
      client.removeEventListener("status", begin);
      demo = setInterval(greet, DEMO_PERIOD);
      greet();
    }
  };
  demo = 0;
  client.addEventListener("status", begin);
  begin();
  showDemo();
}

function stopDemo() {
  clearInterval(demo);
  demo = null;
  showDemo();
}

function showDemo() {
  const running = demo !== null;
  byId("try").textContent = running ? "Stop demo" : "Try it";
  byId("try").setAttribute("aria-pressed", String(running));
  byId("try-here").disabled = running;
}

// ---- snippets ----

let language = LANGUAGES[0];

function showSnippet() {
  const channel = byId("publish-channel").value.trim();
  const { code, hint: text } = snippet(language, serverUrl() ?? `${location.origin}/cometd`, channelError(channel, false) ? DEMO_CHANNEL : channel);
  byId("code").textContent = code;
  byId("code-hint").textContent = text;
  byId("code-panel").setAttribute("aria-labelledby", `tab-${language}`);
  for (const tab of document.querySelectorAll("[data-code]")) {
    const selected = tab.dataset.code === language;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
  }
}

function chooseLanguage(name) {
  language = name;
  showSnippet();
  byId(`tab-${name}`).focus();
}

function onTabKey(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) {
    const { length } = LANGUAGES;
    chooseLanguage(LANGUAGES[(LANGUAGES.indexOf(language) + step + length) % length]);
  }
}

async function copySnippet() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(byId("code").textContent);
    button.textContent = "Copied";
  } catch {
    // Over plain HTTP to another machine browsers have no clipboard for pages.
    getSelection().selectAllChildren(byId("code"));
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2_000);
}

// ---- start ----

/** Which mounts there are, if the server tells. */
async function readMounts() {
  try {
    const response = await fetch("mirant.json");
    const { version, mounts } = response.ok ? await response.json() : {};
    if (typeof version === "string") {
      byId("version").textContent = version;
    }
    if (Array.isArray(mounts) && mounts.length > 0) {
      byId("mounts").replaceChildren(...mounts.map((mount) => Object.assign(document.createElement("option"), { value: String(mount) })));
      if (!mounts.includes(byId("path").value) && client.status.state === "offline") {
        byId("path").value = String(mounts[0]);
      }
    }
  } catch {
    // The page works without: the path can be typed.
  }
  showSnippet();
}

function listen() {
  client.addEventListener("status", showStatus);
  client.addEventListener("status", checkMultipleClients);
  client.addEventListener("subscriptions", showSubscriptions);
  client.addEventListener("problem", onProblem);
  client.addEventListener("recovered", onRecovered);
  client.addEventListener("wire", ({ detail }) => wire.add({ ...detail, time: Date.now() }));
  client.addEventListener("message", ({ detail }) => {
    rate.count();
    messages.add({ ...detail, time: Date.now() });
  });

  byId("connection-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (client.status.state === "offline") {
      startConnection();
    } else {
      stopDemo();
      dismiss("connection");
      client.disconnect();
    }
  });
  byId("try").addEventListener("click", () => (demo === null ? startDemo() : stopDemo()));
  byId("try-here").addEventListener("click", () => demo ?? startDemo());
  byId("subscribe-form").addEventListener("submit", subscribe);
  byId("subscribe-channel").addEventListener("input", explainWildcards);
  byId("publish-form").addEventListener("submit", publish);
  byId("publish-data").addEventListener("input", explainData);
  byId("publish-data").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      byId("publish-form").requestSubmit();
    }
  });
  byId("publish-channel").addEventListener("input", showSnippet);
  byId("path").addEventListener("input", showSnippet);
  for (const tab of document.querySelectorAll("[data-code]")) {
    tab.addEventListener("click", () => chooseLanguage(tab.dataset.code));
    tab.addEventListener("keydown", onTabKey);
  }
  byId("copy").addEventListener("click", copySnippet);
  addEventListener("online", () => client.retryNow());
  addEventListener("pagehide", () => client.leave());
}

listen();
showStatus();
explainWildcards();
explainData();
showSnippet();
setInterval(showStatus, 250);
await readMounts();
if (location.hash === "#try") {
  startDemo();
}
