// The conversation that every run has with the server, in Node and in a browser alike: it is handed the CometD class
// and uses nothing else of its surroundings. It throws at the first thing that is not as it should be.

/** How long one step may take before it counts as failed. A step waits for an event, so this is never slept away. */
const STEP_LIMIT_MS = 10_000;

/** A hold may end early by the rounding of two clocks, and late by a busy machine, but not by more than these. */
const HOLD_EARLY_MS = 50;
const HOLD_LATE_MS = 5_000;

const HOLDS = 3;

/** A hold shorter than this could not be told from an answer at once. */
const HOLD_MIN_MS = 500;

/** Longer than 16 KiB and not ASCII only: what breaks where a server's answer is cut in the middle of a character. */
const LONG_TEXT = "é € 😀 ".repeat(3_000);

function expect(condition, what, seen) {
    if (!condition) {
        throw new Error(seen === undefined ? what : `${what}: ${JSON.stringify(seen)}`);
    }
}

/** JSON with the fields of each object in one order: servers may hand on the same object in another. */
function canonical(value) {
    const sorted = (_, part) =>
        part?.constructor === Object ? Object.fromEntries(Object.entries(part).sort()) : part;
    return JSON.stringify(value, sorted);
}

/** Waits for `promise`, and fails with the name of the step and with what the client saw last when it takes too long. */
function within(promise, what, client, limit = STEP_LIMIT_MS) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => {
            const seen = client.log.slice(-8).map((entry) => JSON.stringify(entry).slice(0, 300));
            reject(new Error(`${what}: nothing within ${limit} ms; the last messages were\n  ${seen.join("\n  ")}`));
        }, limit);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One client program with one transport. What it sends and receives is noted through a client extension. */
class Client {
    constructor(CometD, url, transport) {
        this.cometd = new CometD();
        for (const type of this.cometd.getTransportTypes()) {
            if (type !== transport) {
                this.cometd.unregisterTransport(type);
            }
        }
        this.transport = transport;
        this.log = [];
        this.connects = new Map();
        this.unsuccessful = [];
        this.watchers = new Set();
        this.cometd.configure({ url, logLevel: "warn", maxSendBayeuxMessageSize: 65_536 });
        this.cometd.registerExtension("note", {
            outgoing: (message) => this.#note("sent", message),
            incoming: (message) => this.#note("received", message),
        });
        this.cometd.addListener("/meta/unsuccessful", (message) => this.unsuccessful.push(message));
    }

    #note(direction, message) {
        this.log.push({ direction, ...message });
        if (message.channel === "/meta/connect") {
            if (direction === "sent") {
                this.connects.set(message.id, { sent: performance.now(), type: message.connectionType });
            } else if (this.connects.has(message.id)) {
                const connect = this.connects.get(message.id);
                connect.held = Math.round(performance.now() - connect.sent);
                connect.reply = message;
            }
        }
        // After the client itself has worked on the message.
        queueMicrotask(() => this.watchers.forEach((watch) => watch()));
        return message;
    }

    /** Resolves as soon as `condition` holds; it is tried again after each message that is sent or received. */
    until(condition, what, limit) {
        let watch;
        const reached = new Promise((resolve) => {
            watch = () => condition() && resolve();
            this.watchers.add(watch);
            watch();
        });
        return within(reached, what, this, limit).finally(() => this.watchers.delete(watch));
    }

    handshake() {
        return this.#call("handshake", (done) => this.cometd.handshake(done));
    }

    /** Subscribes and returns the list that the data of each message is put into. */
    async subscribe(channel) {
        const got = [];
        got.reply = await this.#call(`subscribe ${channel}`, (done) => {
            got.handle = this.cometd.subscribe(channel, (message) => got.push(message.data), done);
        });
        return got;
    }

    unsubscribe(got) {
        return this.#call("unsubscribe", (done) => this.cometd.unsubscribe(got.handle, done));
    }

    publish(channel, data) {
        return this.#call(`publish ${channel}`, (done) => this.cometd.publish(channel, data, done));
    }

    disconnect() {
        return this.#call("disconnect", (done) => this.cometd.disconnect(done));
    }

    /** Publishes all of `list` in one batch, so in one request or one frame. */
    async publishBatch(channel, list) {
        const replies = [];
        this.cometd.batch(() => list.forEach((data) => replies.push(this.publish(channel, data))));
        await Promise.all(replies);
    }

    async #call(what, start) {
        const reply = await within(new Promise(start), what, this);
        expect(reply.successful === true, `${what} was refused`, reply);
        return reply;
    }
}

async function connected(client) {
    const reply = await client.handshake();
    expect(typeof reply.clientId === "string" && reply.clientId.length > 0, "the handshake names a clientId", reply);
    expect(reply.supportedConnectionTypes.includes(client.transport), `the server offers ${client.transport}`, reply);
    await client.until(() => [...client.connects.values()].some((connect) => connect.reply?.successful), "first connect");
    return reply;
}

/** Waits for full holds of `/meta/connect`, told by the client's own messages, and returns how long each was. */
async function fullHolds(client, timeout) {
    expect(timeout >= HOLD_MIN_MS, `the server advises a timeout of at least ${HOLD_MIN_MS} ms`, timeout);
    const before = client.connects.size;
    const ended = () => [...client.connects.values()].slice(before).filter((connect) => connect.reply);
    await client.until(() => ended().length >= HOLDS, `${HOLDS} full holds`, (HOLDS + 1) * timeout + STEP_LIMIT_MS);
    const holds = ended().slice(0, HOLDS);
    for (const { held, reply, type } of holds) {
        expect(reply.successful === true, "a held connect ends successfully", reply);
        expect(type === client.transport, "the connect names its transport", type);
        expect(held >= timeout - HOLD_EARLY_MS && held <= timeout + HOLD_LATE_MS, `held for ${timeout} ms`, held);
    }
    return holds.map((connect) => connect.held);
}

/**
 * Runs the whole conversation on `transport`, with a second client on the other transport, and returns
 * `{ received, holds }`: how many messages arrived and how long, in ms, the held connects took.
 */
export async function converse(CometD, { url, transport }) {
    const other = transport === "websocket" ? "long-polling" : "websocket";
    const channel = `/clients/${transport}/${Math.random().toString(36).slice(2)}`;
    const client = new Client(CometD, url, transport);
    const peer = new Client(CometD, url, other);
    try {
        return await talk(client, peer, channel);
    } finally {
        // A failed run must not leave a client behind that reconnects for ever.
        client.cometd.disconnect();
        peer.cometd.disconnect();
    }
}

async function talk(client, peer, channel) {
    const { advice } = await connected(client);
    const got = await client.subscribe(`${channel}/one`);
    const deep = await client.subscribe(`${channel}/**`);

    // Its own messages: one alone, then three in one batch.
    await client.publish(`${channel}/one`, { text: "é € 😀", number: 1.5, nothing: null });
    await client.publishBatch(`${channel}/one`, [1, 2, 3]);
    await client.until(() => got.length === 4, "own messages");

    // Messages of another session, on the other transport; the long one in both directions.
    await connected(peer);
    await peer.publishBatch(`${channel}/one`, ["from", "another", "session"]);
    await peer.publish(`${channel}/one`, LONG_TEXT);
    await client.until(() => got.length === 8, "messages of another session");
    const peerGot = await peer.subscribe(`${channel}/back`);
    // A query has no room for the long one.
    const back = client.transport === "callback-polling" ? "é € 😀" : LONG_TEXT;
    await client.publish(`${channel}/back`, back);
    await peer.until(() => peerGot.length === 1, "the way back");
    expect(peerGot[0] === back, "the text is intact on the way back");
    await peer.disconnect();

    const one = [{ text: "é € 😀", number: 1.5, nothing: null }, 1, 2, 3, "from", "another", "session", LONG_TEXT];
    await client.until(() => deep.length === one.length + 1, "the wildcard's messages");
    expect(canonical(got) === canonical(one), "the messages arrive once, in order and intact", got.slice(0, 7));

    const holds = await fullHolds(client, advice.timeout);

    // After the unsubscribe nothing may come. The message on another channel, published later, is the proof that it
    // is not merely late.
    await client.unsubscribe(deep);
    await client.unsubscribe(got);
    const fence = await client.subscribe(`${channel}/fence`);
    await client.publish(`${channel}/one`, "not wanted");
    await client.publish(`${channel}/fence`, "fence");
    await client.until(() => fence.length === 1, "the fence");
    expect(got.length === one.length, "nothing arrives after the unsubscribe", got.slice(one.length));

    await client.disconnect();
    expect(client.cometd.isDisconnected(), "the client is disconnected", client.cometd.getStatus());
    for (const each of [client, peer]) {
        expect(each.unsuccessful.length === 0, "no message failed", each.unsuccessful);
        const handshakes = each.log.filter((entry) => entry.direction === "sent" && entry.channel === "/meta/handshake");
        expect(handshakes.length === 1, "one handshake was enough", handshakes.length);
    }
    return { received: got.length + deep.length + fence.length + peerGot.length, holds };
}
