// The cut drill: the npm client with its acknowledgement extension receives numbered messages through a relay that cuts
// its connections at random points. Every number must arrive once, in order, in one session. On its own:
//
//     node drill.js [--transport websocket|long-polling|any] [--cuts 1000] [--seed N] [--how reset,close]
//                   [--set section.key=value] [--url http://HOST:PORT/cometd]
//
// starts a Mirant, with these settings, or meets the server at `--url`, and prints how far it is and at the end what arrived.

import { pathToFileURL } from "node:url";
import { adapt } from "cometd-nodejs-client";
import { AckExtension, CometD } from "cometd";
import { Relay, randomFrom, upTo } from "./relay.js";

adapt();

/** Short, so that many cuts meet the end of a hold, and long enough that others meet the middle of one. */
export const SETTINGS = ["bayeux.timeout=150ms"];

/** How long nothing at all may arrive before the drill gives up. */
const STALL_LIMIT_MS = 20_000;

/** How long a client may take to say goodbye; nobody waits for it after a failure. */
const LEAVE_LIMIT_MS = 2_000;

/** What may be under way: many batches, and less than the queues of servers hold. */
const WINDOW_BYTES = 2_000_000;
const WINDOW_MESSAGES = 4_000;

/** The client comes back soon; what nobody answers costs little time. */
const HASTE = { backoffIncrement: 10, maxBackoff: 50, maxNetworkDelay: 400, connectTimeout: 400 };

const KIB = 1_024;

/** More than one, so that messages are queued while others are being sent. Each one's messages have their own numbers. */
const PUBLISHERS = 2;

/** A client with one transport or, with `any`, with both. */
export function makeClient(url, transport, options = {}) {
    const cometd = new CometD();
    cometd.unregisterTransport("callback-polling");
    for (const type of ["websocket", "long-polling"]) {
        if (transport !== "any" && transport !== type) {
            cometd.unregisterTransport(type);
        }
    }
    cometd.configure({ url, logLevel: "warn", maxSendBayeuxMessageSize: 1_048_576, ...options });
    return cometd;
}

/** Resolves when `start`'s callback is called with a successful reply. */
export function done(start) {
    return new Promise((resolve, reject) => {
        start((reply) => (reply.successful ? resolve(reply) : reject(new Error(JSON.stringify(reply)))));
    });
}

/** A relay in front of the server at `url`; its own `url` is the server's through it. */
export async function openRelay(url) {
    const { hostname: host, port, pathname } = new URL(url);
    const relay = await Relay.open({ host, port: Number(port) });
    return Object.assign(relay, { url: `http://127.0.0.1:${relay.port}${pathname}` });
}

/** Ends a client and what it has open: the client itself leaves a WebSocket whose server answers in another order. */
export async function leave(cometd) {
    const transport = cometd.getTransport();
    if (!cometd.isDisconnected()) {
        let timer;
        await new Promise((left) => {
            timer = setTimeout(left, LEAVE_LIMIT_MS);
            cometd.disconnect(left);
        });
        clearTimeout(timer);
    }
    transport?.abort();
}

/** The messages of one publisher: what was published, and what of it has arrived how often. */
export class Ledger {
    sizes = [];
    counts = [];
    bytes = { published: 0, received: 0 };
    highest = -1;
    disordered = 0;
    damaged = 0;
    watchers = new Set();

    constructor(index) {
        this.index = index;
    }

    /** The data of the next message, with a text of `size` bytes. */
    next(size) {
        this.bytes.published += size;
        this.counts.push(0);
        const text = "0123456789abcdef".repeat(size / 16 + 1).slice(0, size);
        return { ledger: this.index, number: this.sizes.push(size) - 1, text };
    }

    receive({ number, text }) {
        this.counts[number] += 1;
        this.damaged += text.length === this.sizes[number] ? 0 : 1;
        if (this.counts[number] === 1) {
            this.disordered += number === this.highest + 1 ? 0 : 1;
        }
        for (; this.highest < number; this.highest += 1) {
            this.bytes.received += this.sizes[this.highest + 1];
        }
        this.look(true);
    }

    /** Makes whoever waits look again; `progress` gives them new patience. */
    look(progress) {
        this.watchers.forEach((watch) => watch(progress));
    }

    /** Makes whoever waits fail. */
    fail(error) {
        this.failure ??= error;
        this.look(false);
    }

    /** Resolves once `condition` holds; fails if before that nothing is received and nothing cut for too long. */
    async until(condition, what) {
        let timer, watch;
        await new Promise((resolve, reject) => {
            const late = () => {
                const seen = `${this.highest + 1} of ${this.sizes.length} messages`;
                reject(new Error(`waited for ${what}: nothing for ${STALL_LIMIT_MS} ms after ${seen}`));
            };
            watch = (progress) => {
                if (progress) {
                    clearTimeout(timer);
                    timer = setTimeout(late, STALL_LIMIT_MS);
                }
                if (this.failure) {
                    reject(this.failure);
                } else if (condition()) {
                    resolve();
                }
            };
            this.watchers.add(watch);
            watch(true);
        }).finally(() => (clearTimeout(timer), this.watchers.delete(watch)));
    }

    get sum() {
        const lost = this.counts.filter((count) => count === 0).length;
        const twice = this.counts.reduce((sum, count) => sum + Math.max(0, count - 1), 0);
        return { published: this.sizes.length, lost, twice, disordered: this.disordered, damaged: this.damaged };
    }
}

/** The client under test, and what becomes of its session. Its messages say which of `ledgers` they belong to. */
export class Subscriber {
    ids = new Set();
    types = new Set();
    /** Connects that were answered without a message: holds that ended by themselves. */
    emptyHolds = 0;
    /** Those with messages, and the most bytes of text that came with one. */
    batches = 0;
    largest = 0;
    /** What the server answered with "no". */
    refused = [];

    constructor(url, transport, channel, ledgers) {
        this.channel = channel;
        this.ledgers = ledgers;
        this.cometd = makeClient(url, transport, HASTE);
        this.cometd.registerExtension("ack", new AckExtension());
        let before = 0;
        this.cometd.addListener("/meta/connect", (reply) => {
            if (reply.successful) {
                const received = ledgers.reduce((sum, ledger) => sum + ledger.bytes.received, 0);
                this.types.add(this.cometd.getTransport().type);
                this.emptyHolds += received === before ? 1 : 0;
                this.batches += received > before ? 1 : 0;
                this.largest = Math.max(this.largest, received - before);
                before = received;
                ledgers.forEach((ledger) => ledger.look(false));
            }
        });
        // A failure with a cause was found out on this side.
        this.cometd.addListener("/meta/unsuccessful", (reply) => reply.failure || this.refused.push(reply));
    }

    /** Resolves when the client is subscribed; it tries as often as it must. */
    subscribe() {
        const { cometd, ledgers } = this;
        let timer;
        return new Promise((resolve, reject) => {
            timer = setTimeout(() => reject(new Error(`not subscribed after ${STALL_LIMIT_MS} ms`)), STALL_LIMIT_MS);
            const subscribe = () => {
                cometd.subscribe(this.channel, ({ data }) => ledgers[data.ledger].receive(data), (reply) => {
                    reply.successful ? resolve() : reply.failure && cometd.getClientId() ? subscribe() : undefined;
                });
            };
            cometd.handshake((reply) => {
                if (reply.successful) {
                    this.ids.add(reply.clientId);
                    const acks = reply.ext?.ack === true || reply.ext?.ack?.enabled === true;
                    acks ? subscribe() : reject(new Error("the server does not acknowledge"));
                }
            });
        }).finally(() => clearTimeout(timer));
    }

    /** Has other requests under way beside the connect, whatever becomes of them. */
    fidget() {
        this.cometd.unsubscribe(this.cometd.subscribe(`${this.channel}/aside`, () => {}));
    }
}

/** Publishes until `enough()`: a steady flow, bursts of several batches, single large messages, silence. */
async function publish(cometd, subscriber, ledger, random, enough) {
    const send = (size) => cometd.publish(subscriber.channel, ledger.next(size));
    const room = () =>
        ledger.bytes.published - ledger.bytes.received < WINDOW_BYTES && ledger.sizes.length - ledger.highest < WINDOW_MESSAGES;
    while (!enough()) {
        const dice = random();
        if (dice < 0.6) {
            for (let left = 30; left > 0 && !enough(); left -= 1) {
                send(upTo(2 * KIB, random));
                await new Promise((go) => setTimeout(go, 3 * random()));
            }
        } else if (dice < 0.75) {
            const size = upTo(8 * KIB, random);
            cometd.batch(() => {
                for (let left = upTo(200, random); left > 0; left -= 1) {
                    send(size);
                }
            });
        } else if (dice < 0.85) {
            send(33 * KIB + upTo(200 * KIB, random));
        } else {
            subscriber.fidget();
            const before = subscriber.emptyHolds;
            await ledger.until(() => subscriber.emptyHolds > before || enough(), "a hold that ends by itself");
        }
        await ledger.until(room, "room for more");
    }
    const last = ledger.next(1);
    cometd.publish(subscriber.channel, last);
    await ledger.until(() => ledger.highest === last.number, "the last message");
}

/**
 * Runs the drill against the server at `url` and resolves to what arrived, and to why it got `stuck` if it did. `how` are
 * the ways to cut (the relay's HOW), `first` is the relay's mode while the client gets its session; with `fromHandshake`
 * the cuts begin before that.
 */
export async function drill({ url, transport, cuts, seed, how, first = { mode: "pass" }, fromHandshake = false, say }) {
    const began = performance.now();
    const ledgers = Array.from({ length: PUBLISHERS }, (_, index) => new Ledger(index));
    const relay = await openRelay(url);
    const subscriber = new Subscriber(relay.url, transport, `/drill/${transport}/${seed}`, ledgers);
    const publishers = ledgers.map((ledger) => {
        const publisher = makeClient(url, "websocket");
        publisher.addListener("/meta/unsuccessful", (reply) => {
            ledger.fail(new Error(`the publisher was told ${JSON.stringify(reply).slice(0, 500)}`));
        });
        return publisher;
    });
    const seconds = () => ((performance.now() - began) / 1_000).toFixed(1);
    const sum = (of) => ledgers.reduce((sum, ledger) => sum + of(ledger), 0);
    relay.onCut = (count) => {
        ledgers.forEach((ledger) => ledger.look(true));
        if (count % 100 === 0) {
            const arrived = sum((ledger) => ledger.highest + 1);
            say?.(`${count} of ${cuts} cuts, ${arrived} of ${sum((ledger) => ledger.sizes.length)} messages, ${seconds()} s`);
        }
    };
    try {
        await Promise.all(publishers.map((publisher) => done((reply) => publisher.handshake(reply))));
        const cut = { mode: "cut", count: cuts, seed, how };
        relay.set(fromHandshake ? cut : first);
        await subscriber.subscribe();
        const [sessionsBefore, refusedBefore] = [subscriber.ids.size, subscriber.refused.length];
        if (!fromHandshake) {
            relay.set(cut);
        }
        const enough = () => relay.seen.cuts >= cuts;
        const streams = publishers.map((publisher, index) =>
            publish(publisher, subscriber, ledgers[index], randomFrom(seed + index), enough));
        const stuck = (await Promise.allSettled(streams)).find(({ reason }) => reason)?.reason.message;
        const totals = ledgers.map((ledger) => ledger.sum).reduce((one, other) =>
            Object.fromEntries(Object.keys(one).map((key) => [key, one[key] + other[key]])));
        const sessions = subscriber.ids.size - sessionsBefore + 1;
        const refused = subscriber.refused.slice(refusedBefore);
        const { emptyHolds, types } = subscriber;
        return { ...totals, ...relay.seen, sessions, refused, types: [...types], emptyHolds, stuck, seconds: seconds() };
    } finally {
        await Promise.all([subscriber.cometd, ...publishers].map(leave));
        await relay.stop();
    }
}

/** One line about what `drill` found. */
export function summary(found) {
    const { cuts, torn, ways, connections, seconds, published, lost, twice, disordered, damaged } = found;
    const kinds = Object.entries(ways).map(([way, count]) => `${count} ${way}`).join(", ");
    return `${found.types.join(", ")}: ${cuts} cuts (${kinds}; ${torn} inside a read) of ${connections} connections in ${seconds} s; `
        + `${published} messages, ${lost} lost, ${twice} too many, ${disordered} out of order, ${damaged} damaged; `
        + `empty holds: ${found.emptyHolds}; sessions: ${found.sessions}${found.stuck ? `; stuck: ${found.stuck}` : ""}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
    const { parseArgs } = await import("node:util");
    const option = (value) => ({ type: "string", default: value });
    const { values } = parseArgs({
        options: {
            transport: option("websocket"),
            cuts: option("1000"),
            seed: option(`${Date.now() % 1_000_000}`),
            how: option(),
            set: { ...option([]), multiple: true },
            url: option(),
        },
    });
    const how = values.how && Object.fromEntries(values.how.split(",").map((way) => [way, 1]));
    const { start } = await import("./mirant.js");
    const server = values.url ? { url: values.url, stop: async () => {} } : await start([...SETTINGS, ...values.set]);
    const [cuts, seed] = [Number(values.cuts), Number(values.seed)];
    console.log(`seed ${seed}`);
    const found = await drill({ url: server.url, transport: values.transport, cuts, seed, how, say: console.log });
    console.log(summary(found));
    found.refused.forEach((reply) => console.log(`refused: ${JSON.stringify(reply)}`));
    await server.stop();
    const faults = found.lost + found.twice + found.disordered + found.damaged + found.refused.length + found.sessions - 1;
    process.exitCode = faults > 0 || found.stuck ? 1 : 0;
}
