// What the page shows of the traffic: the list of messages, their rate, and the log of the wire.
// Everything that came from the network is set as text, never as markup.

const KEPT = 500; // messages and lines of the wire log that are kept
const SHOWN_CHARACTERS = 4_000; // of one message, until one asks for more
const LINE = 76; // characters of a line of JSON, where it can be broken
const BUSY = 20; // messages in one drawing, above which the list is drawn less often
const BUSY_DELAY = 500; // milliseconds
const WIRE_DELAY = 200; // milliseconds between two drawings of the wire log, at least
const SLOT = 250; // milliseconds of one slot of the rate
const SLOTS = 240; // one minute
const MEANS = [12, 4]; // slots of the two moving means that make slow traffic a calm line
const JSON_TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)/g;

const byId = (id) => document.getElementById(id);

/** An element with a class and a text. */
export function element(name, className, text) {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text ?? "";
  return node;
}

/** 12:34:56.789, local time. */
function clock(time) {
  const date = new Date(time);
  const pad = (number, width = 2) => String(number).padStart(width, "0");
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

/** JSON for reading: what fits stays on one line, the rest is broken at the outermost level that has to be. */
function pretty(data, indent = "") {
  const line = JSON.stringify(data, null, 1)?.replace(/\n\s*/g, " ") ?? "";
  if (data === null || typeof data !== "object" || indent.length + line.length <= LINE) {
    return line;
  }
  const inner = `${indent}  `;
  const list = Array.isArray(data);
  const parts = list
    ? data.map((value) => inner + pretty(value, inner))
    : Object.entries(data).map(([key, value]) => `${inner}${JSON.stringify(key)}: ${pretty(value, inner)}`);
  return `${list ? "[" : "{"}\n${parts.join(",\n")}\n${indent}${list ? "]" : "}"}`;
}

/** Fills `target` with JSON text, tokens coloured. */
function paint(target, text) {
  let end = 0;
  const parts = [];
  for (const match of text.matchAll(JSON_TOKEN)) {
    const [token, string, colon, word] = match;
    parts.push(text.slice(end, match.index));
    const kind = string ? (colon ? "key" : "string") : word ? "word" : "number";
    parts.push(element("span", `json-${kind}`, string ?? token), colon ?? "");
    end = match.index + token.length;
  }
  target.replaceChildren(...parts, text.slice(end));
}

/** The same channel always has the same colour; none is red or yellow, which would look like trouble. */
function hue(channel) {
  let hash = 7;
  for (const character of channel) {
    hash = (hash * 31 + character.codePointAt(0)) % 3_600;
  }
  return 150 + ((hash * 47) % 180);
}

function messageRow({ time, channel, data }, fresh) {
  const row = element("li", fresh ? "message fresh" : "message");
  const name = element("span", "channel", channel);
  name.style.setProperty("--hue", hue(channel));
  name.title = channel;
  const body = element("pre", "");
  const text = pretty(data);
  row.append(element("time", "", clock(time)), name, body);
  if (text.length <= SHOWN_CHARACTERS) {
    paint(body, text);
    return row;
  }
  paint(body, `${text.slice(0, SHOWN_CHARACTERS)} …`);
  const more = element("button", "small more", `Show all ${text.length.toLocaleString("en")} characters`);
  more.type = "button";
  more.onclick = () => {
    paint(body, text);
    more.remove();
  };
  row.append(more);
  return row;
}

/** The list of received messages: bounded, filtered, drawn at most once per frame however many arrive. */
export class Messages {
  #list = byId("messages");
  #kept = [];
  #undrawn = [];
  #filter = "";
  #paused = false;
  #scheduled = false;
  #connected = false;
  #delay = 0;

  constructor() {
    byId("filter").addEventListener("input", (event) => {
      this.#filter = event.target.value.trim().toLowerCase();
      this.#redraw();
    });
    byId("newest-first").addEventListener("change", () => this.#redraw());
    byId("clear").addEventListener("click", () => {
      this.#kept = [];
      this.#undrawn = [];
      this.#redraw();
    });
    byId("pause").addEventListener("click", () => this.#togglePause());
    this.#showEmpty();
  }

  add(message) {
    this.#undrawn.push(message);
    if (this.#undrawn.length > 2 * KEPT) {
      this.#undrawn = this.#undrawn.slice(-KEPT); // in a hidden tab there are no frames that would empty it
    }
    this.#schedule();
  }

  /** What the empty list says depends on whether there is a connection. */
  setConnected(connected) {
    this.#connected = connected;
    this.#showEmpty();
  }

  #schedule() {
    if (!this.#scheduled && !this.#paused) {
      this.#scheduled = true;
      setTimeout(() => requestAnimationFrame(() => {
        this.#scheduled = false;
        this.#draw();
      }), this.#delay);
    }
  }

  #matches({ channel, data }) {
    return !this.#filter || `${channel}\n${JSON.stringify(data)}`.toLowerCase().includes(this.#filter);
  }

  #draw() {
    if (this.#paused) {
      return;
    }
    const fresh = this.#undrawn.slice(-KEPT);
    const busy = this.#undrawn.length > BUSY;
    this.#delay = busy ? BUSY_DELAY : 0;
    this.#undrawn = [];
    this.#kept = this.#kept.concat(fresh).slice(-KEPT);
    const rows = fresh.filter((message) => this.#matches(message)).map((message) => messageRow(message, !busy));
    this.#place(rows);
  }

  #redraw() {
    this.#list.replaceChildren();
    this.#place(this.#kept.filter((message) => this.#matches(message)).map((message) => messageRow(message, false)));
  }

  /** Adds rows, oldest first, at the end where new ones belong; a reader who has scrolled away is left in peace. */
  #place(rows) {
    const list = this.#list;
    const newestFirst = byId("newest-first").checked;
    list.classList.toggle("newest-last", !newestFirst);
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    if (newestFirst) {
      list.prepend(...rows.reverse());
    } else {
      list.append(...rows);
    }
    while (list.childElementCount > KEPT) {
      (newestFirst ? list.lastElementChild : list.firstElementChild).remove();
    }
    if (!newestFirst && atEnd) {
      list.scrollTop = list.scrollHeight;
    }
    this.#showEmpty();
  }

  #showEmpty() {
    const empty = this.#list.childElementCount === 0;
    const filtered = this.#kept.length > 0;
    byId("empty").hidden = !empty;
    byId("empty-filtered").hidden = !filtered;
    byId("empty-connected").hidden = filtered || !this.#connected;
    byId("empty-first").hidden = filtered || this.#connected;
  }

  #togglePause() {
    this.#paused = !this.#paused;
    const button = byId("pause");
    button.setAttribute("aria-pressed", String(this.#paused));
    button.textContent = this.#paused ? "Resume" : "Pause";
    this.#schedule();
  }
}

/** Each value replaced by the mean of itself and those before it. */
function movingMean(values, width) {
  let sum = 0;
  return values.map((value, index) => {
    sum += value - (values[index - width] ?? 0);
    return sum / width;
  });
}

function rounded(rate) {
  return rate >= 0.05 && rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en");
}

/** Messages per second, as a number and as the picture of the last minute. */
export class Rate {
  #slots = new Array(SLOTS).fill(0);
  #total = 0;
  #moved = Math.floor(Date.now() / SLOT);

  constructor() {
    setInterval(() => this.#draw(), SLOT);
    this.#draw();
  }

  count() {
    this.#total += 1;
    this.#move();
    this.#slots[SLOTS - 1] += 1;
  }

  #move() {
    const now = Math.floor(Date.now() / SLOT);
    const steps = Math.min(now - this.#moved, SLOTS);
    this.#moved = now;
    for (let step = 0; step < steps; step += 1) {
      this.#slots.shift();
      this.#slots.push(0);
    }
  }

  #draw() {
    this.#move();
    if (document.hidden) {
      return;
    }
    const perSecond = this.#slots.slice(0, -1).map((count) => (count * 1_000) / SLOT); // the last slot is not full yet
    const points = MEANS.reduce(movingMean, perSecond);
    const rate = points.at(-1);
    const peak = Math.max(...points);
    const scale = 37 / Math.max(peak * 1.15, 2);
    const line = points.map((value, index) => `${index},${(39 - value * scale).toFixed(1)}`).join("L");
    byId("spark-line").setAttribute("d", `M${line}`);
    byId("spark-area").setAttribute("d", `M${line}L${SLOTS - 2},40L0,40Z`);
    byId("rate").textContent = rounded(rate);
    byId("peak").textContent = rounded(peak);
    byId("total").textContent = this.#total.toLocaleString("en");
  }
}

/** The log of the wire. Lines are made only while it is open. */
export class WireLog {
  #lines = [];
  #details = byId("wire");
  #list = byId("wire-list");
  #scheduled = false;

  constructor() {
    this.#details.addEventListener("toggle", () => this.#schedule());
    byId("wire-connects").addEventListener("change", () => this.#schedule());
    byId("wire-wrap").addEventListener("change", (event) => this.#list.classList.toggle("wrap", event.target.checked));
    byId("wire-clear").addEventListener("click", () => {
      this.#lines = [];
      this.#schedule();
    });
  }

  add(line) {
    this.#lines.push(line);
    if (this.#lines.length > 2 * KEPT) {
      this.#lines = this.#lines.slice(-KEPT);
    }
    this.#schedule();
  }

  #schedule() {
    if (!this.#scheduled && this.#details.open) {
      this.#scheduled = true;
      setTimeout(() => requestAnimationFrame(() => {
        this.#scheduled = false;
        this.#draw();
      }), WIRE_DELAY);
    }
  }

  /** Rows of lines that are drawn already are reused: a line keeps its row. */
  #draw() {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const connects = byId("wire-connects").checked;
    const lines = this.#lines.slice(-KEPT).filter(({ message }) => connects || message.channel !== "/meta/connect");
    const rows = lines.map((line) => (line.row ??= wireRow(line)));
    const wanted = new Set(rows);
    [...list.children].filter((row) => !wanted.has(row)).forEach((row) => row.remove());
    const present = list.childElementCount;
    if (rows.slice(0, present).every((row, index) => list.children[index] === row)) {
      list.append(...rows.slice(present));
    } else {
      list.replaceChildren(...rows);
    }
    if (atEnd) {
      list.scrollTop = list.scrollHeight;
    }
  }
}

function wireRow({ time, direction, transport, message }) {
  const row = element("li", "wire-row");
  row.dataset.direction = direction;
  const text = element("code", "");
  const json = JSON.stringify(message);
  paint(text, json.length <= SHOWN_CHARACTERS ? json : `${json.slice(0, SHOWN_CHARACTERS)} …`);
  const arrow = element("b", "", direction === "sent" ? "↑ sent" : "↓ received");
  row.append(element("time", "", clock(time)), arrow, element("span", "transport", transport), text);
  return row;
}
