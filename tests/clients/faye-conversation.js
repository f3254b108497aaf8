// The conversation that clients of Faye have with the server, in Node and in a browser alike. It is handed Faye and uses
// nothing else of its surroundings, and of Faye only what its documentation names.

/** How long one step may take before it counts as failed. A step waits for an event, so this is never slept away. */
const STEP_LIMIT_MS = 10_000;

/** Every connection type that Faye knows, but for that within one process. */
const TYPES = ["websocket", "eventsource", "long-polling", "cross-origin-long-polling", "callback-polling"];

/** Longer than 16 KiB, so that it is a large message to Faye and to the server. */
const LONG_TEXT = "é € 😀 ".repeat(3_000);

/** Connects that must have been answered on the transport: one alone might be the one that changed to it. */
const CONNECTS = 3;

function expect(condition, what, seen) {
    if (!condition) {
        throw new Error(seen === undefined ? what : `${what}: ${JSON.stringify(seen)}`);
    }
}

/** One client program with one connection type. What it sends and receives is noted through an extension. */
class Client {
    constructor(Faye, url, types) {
        this.faye = new Faye.Client(url);
        TYPES.filter((type) => !types.includes(type)).forEach((type) => this.faye.disable(type));
        this.log = [];
        this.watchers = new Set();
        this.faye.addExtension({
            outgoing: (message, pass) => this.#note("sent", message, pass),
            incoming: (message, pass) => this.#note("received", message, pass),
        });
    }

    #note(direction, message, pass) {
        this.log.push({ direction, ...message });
        pass(message);
        queueMicrotask(() => this.watchers.forEach((watch) => watch()));
    }

    /** Resolves as soon as `condition` holds; it is tried again after each message that is sent or received. */
    until(condition, what) {
        let watch;
        const reached = new Promise((resolve) => {
            watch = () => condition() && resolve();
            this.watchers.add(watch);
            watch();
        });
        return this.within(reached, what).finally(() => this.watchers.delete(watch));
    }

    /** Waits for `promise`, and fails with the name of the step when it takes too long. */
    within(promise, what) {
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => {
                const seen = this.log.slice(-8).map((entry) => JSON.stringify(entry).slice(0, 300));
                reject(new Error(`${what}: nothing within ${STEP_LIMIT_MS} ms; the last were\n  ${seen.join("\n  ")}`));
            }, STEP_LIMIT_MS);
        });
        return Promise.race([promise, late]).finally(() => clearTimeout(timer));
    }

    async subscribe(channel) {
        const got = [];
        got.handle = this.faye.subscribe(channel, (data) => got.push(data));
        await this.within(got.handle, `subscribe ${channel}`);
        return got;
    }

    publish(channel, data) {
        return this.within(this.faye.publish(channel, data), `publish ${channel}`);
    }

    disconnect() {
        return this.within(this.faye.disconnect(), "disconnect");
    }

    /** Connects of this type that were answered well. */
    connects(type) {
        const ids = this.log.filter((entry) => entry.direction === "sent" && entry.connectionType === type);
        const answered = (id) =>
            this.log.some((entry) => entry.direction === "received" && entry.id === id && entry.successful);
        return ids.filter(({ id }) => answered(id)).length;
    }
}

/**
 * Runs the whole conversation by connection type `type`, with a second client that takes what it likes of `others`.
 * Resolves to `{ received, connects }`: how many messages arrived, and how many connects were answered.
 */
export async function converse(Faye, { url, type, others }) {
    const channel = `/clients/faye/${Math.random().toString(36).slice(2)}`;
    // Where Faye may only use callbacks, it takes them for everything; elsewhere it shakes hands by what it must.
    const client = new Client(Faye, url, [type, ...(type === "callback-polling" ? [] : ["long-polling", "callback-polling"])]);
    const peer = new Client(Faye, url, others);
    const got = await client.subscribe(`${channel}/*`);
    // By then it has left the transport of its handshake.
    await client.until(() => client.connects(type) > 0, `a connect by ${type}`);

    await client.publish(`${channel}/one`, { text: "é € 😀", number: 1.5, nothing: null });
    await Promise.all([1, 2, 3].map((data) => client.publish(`${channel}/one`, data)));
    await client.until(() => got.length === 4, "own messages");
    await peer.publish(`${channel}/one`, LONG_TEXT);
    await peer.publish(`${channel}/one`, "short");
    await client.until(() => got.length === 6, "messages of another session");
    // A query has no room for a long one.
    const back = type === "callback-polling" ? "back" : LONG_TEXT;
    const peerGot = await peer.subscribe(`${channel}/back`);
    await client.publish(`${channel}/back`, back);
    await peer.until(() => peerGot.length === 1, "the way back");
    expect(peerGot[0] === back, "the text is intact on the way back");
    await client.until(() => got.length === 7, "the same at its sender");
    const sent = [{ text: "é € 😀", number: 1.5, nothing: null }, 1, 2, 3, LONG_TEXT, "short", back];
    expect(JSON.stringify(got) === JSON.stringify(sent), "messages arrive once, in order and intact", got.slice(0, 4));

    await client.until(() => client.connects(type) >= CONNECTS, `${CONNECTS} connects by ${type}`);
    const fence = await client.subscribe(`${channel}/fence/for/all`);
    got.handle.cancel();
    await client.until(() => client.log.some(unsubscribed), "unsubscribe");
    await peer.publish(`${channel}/one`, "not wanted");
    await peer.publish(`${channel}/fence/for/all`, "fence");
    await client.until(() => fence.length === 1, "the fence");
    expect(got.length === sent.length, "nothing arrives after the unsubscribe", got.length);

    const connects = client.connects(type);
    for (const each of [client, peer]) {
        await each.disconnect();
        const failed = each.log.filter((entry) => entry.successful === false);
        expect(failed.length === 0, "no message failed", failed);
        const handshakes = each.log.filter((entry) => entry.direction === "sent" && entry.channel === "/meta/handshake");
        expect(handshakes.length === 1, "one handshake was enough", handshakes.length);
    }
    return { received: got.length + fence.length + peerGot.length, connects };
}

function unsubscribed(entry) {
    return entry.direction === "received" && entry.channel === "/meta/unsubscribe" && entry.successful;
}
