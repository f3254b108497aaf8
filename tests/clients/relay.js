// A TCP relay that stands between a client and a server and does to their connections what networks do. It reads no
// protocol, apart from the head of a WebSocket upgrade that it is told to refuse.
//
// In a program: `const relay = await Relay.open({ port: 8080 })`, then `relay.set(MODE)`. On its own:
//
//     node relay.js --to 127.0.0.1:8080 [--listen 127.0.0.1:0] [--control 127.0.0.1:0] [--mode JSON]
//
// which prints `relay ADDR`, `control URL` and `ready`. `POST` of a mode to the control URL sets it, `GET` answers what
// the relay has seen so far; both answer the same JSON. Ends on SIGTERM. A mode is an object (MODES names their fields).

import { createServer as createHttpServer } from "node:http";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { pathToFileURL } from "node:url";

/** Every mode with its defaults. Those that say so hold for open connections too, the others for new ones. */
export const MODES = {
    /** Hands on everything. Open connections that `stall` stopped go on. */
    pass: {},
    /** Open connections are reset, and so is every new one. */
    refuse: {},
    /** Nothing is read any more, in either direction, of open connections either; nothing is lost, and `pass` goes on. */
    stall: {},
    /** Everything is read and thrown away, of open connections too, which never recover. */
    blackhole: {},
    /** Ends one direction of each open connection, `up` (to the server) or `down`, as if its sender had; drops the rest. */
    "half-open": { direction: "down" },
    /** At most so many bytes each second, for each connection and direction, of open connections too. */
    slow: { rate: 10_000 },
    /** A connection that begins with a WebSocket upgrade gets this status, or is closed with 0; all others pass. */
    "no-upgrade": { status: 400 },
    /**
     * Cuts connections, `count` times, then passes. Each cut waits until connections have carried a random number of
     * bytes one way, at most `up` or `down`, or until a random time of at most `ms` after the first byte since the last
     * cut, whichever is first; small numbers are as likely as large ones. It cuts the connection that carried that byte,
     * or, when the time is up, all that have carried something, each in one of the ways of `how` (HOW).
     */
    cut: { count: 1, seed: 1, up: 4_096, down: 1_048_576, ms: 200, how: undefined },
};

/** Ways to cut, with how often each is taken. */
export const HOW = {
    /** Both sides see a reset. */
    reset: 38,
    /** Both sides see a clean end. */
    close: 30,
    /** The client sees a reset; the server learns of it later, and what it writes until then is lost. */
    client: 27,
    /** The server sees a reset; the client learns nothing and has to wait until it gives up. */
    server: 2,
    /** Nothing is read for a while, so that the server's writes stop in the middle; then both sides see a reset. */
    stall: 3,
};

/** How long the side that was told nothing stays connected, at most; a stall takes a quarter of it. */
const LINGER_MS = 500;

/** Room for the head of a request. */
const HEAD_BYTES = 16_384;

/** A pause of a slow connection: short, so that bytes flow evenly. */
const SLOW_STEP_MS = 20;

/** Random numbers from 0 to 1 that a seed determines (mulberry32). */
export function randomFrom(seed) {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
    };
}

/** A whole number from 1 to `most`; each power of two is as likely as the next. */
export function upTo(most, random) {
    return Math.floor(most ** random());
}

function choose(weights, random) {
    let left = random() * Object.values(weights).reduce((sum, weight) => sum + weight, 0);
    return Object.keys(weights).find((key) => (left -= weights[key]) < 0) ?? Object.keys(weights)[0];
}

export class Relay {
    #target;
    #server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    #links = new Set();
    #mode = { mode: "pass" };
    #random;
    #plan;
    #timer;
    /** Called when the mode changes: whoever stands still looks again. */
    #wake = new Set();

    /** What has been seen: connections, bytes each way, cuts, and how many of those tore one read apart. */
    seen = { connections: 0, up: 0, down: 0, cuts: 0, torn: 0, ways: {} };
    /** Called after each cut. */
    onCut = () => {};

    /** Opens a relay to `target` (`{ host, port }`) on `listen`, by default a free port of this machine. */
    static async open(target, listen = { host: "127.0.0.1", port: 0 }) {
        const relay = new Relay();
        relay.#target = target;
        relay.#server.listen(listen);
        await once(relay.#server, "listening");
        return relay;
    }

    get port() {
        return this.#server.address().port;
    }

    /** The mode, as it was set, and what has been seen. */
    get state() {
        return { ...this.#mode, open: this.#links.size, seen: this.seen };
    }

    /** Sets the mode: an object with its name as `mode` and the fields that differ from its defaults. */
    set({ mode, ...fields }) {
        const unknown = Object.keys(fields).find((field) => !(field in (MODES[mode] ?? {})));
        if (!(mode in MODES) || unknown) {
            throw new Error(unknown ? `mode ${mode} has no field ${unknown}` : `no mode ${mode}`);
        }
        this.#mode = { mode, ...MODES[mode], ...fields };
        clearTimeout(this.#timer);
        this.#plan = undefined;
        if (mode === "cut") {
            this.#random = randomFrom(this.#mode.seed);
            this.#mode.how ??= HOW;
            this.#mode.left = this.#mode.count;
            this.#planCut();
        } else if (mode === "refuse") {
            this.#links.forEach((link) => this.#break(link, { how: "reset" }));
        } else if (mode === "half-open") {
            this.#links.forEach((link) => this.#halfOpen(link, this.#mode.direction));
        } else if (mode === "blackhole") {
            this.#links.forEach((link) => (link.lost = { up: true, down: true }));
        }
        this.#wake.forEach((go) => go());
    }

    /** Waits until the mode changes, or at most `ms`. */
    async #pause(ms) {
        let timer, go;
        await new Promise((resolve) => {
            this.#wake.add((go = resolve));
            timer = ms === undefined ? undefined : setTimeout(resolve, ms);
        });
        clearTimeout(timer);
        this.#wake.delete(go);
    }

    /** Cuts everything and stops listening. */
    async stop() {
        this.set({ mode: "refuse" });
        this.#links.forEach((link) => this.#drop(link));
        this.#server.close();
        await once(this.#server, "close");
    }

    #accept(client) {
        this.seen.connections += 1;
        if (this.#mode.mode === "refuse") {
            client.resetAndDestroy();
            return;
        }
        const server = connect({ ...this.#target, allowHalfOpen: true });
        const lost = this.#mode.mode === "blackhole";
        const link = { up: client, down: server, lost: { up: lost, down: lost }, carried: 0 };
        this.#links.add(link);
        for (const socket of [client, server]) {
            socket.setNoDelay();
            socket.on("error", () => {});
        }
        if (this.#mode.mode === "no-upgrade") {
            this.#refuseUpgrade(link, this.#mode.status);
        } else {
            this.#join(link);
        }
    }

    #join(link) {
        const both = [this.#pump(link, "up", link.up, link.down), this.#pump(link, "down", link.down, link.up)];
        Promise.all(both).then(() => this.#drop(link));
    }

    /** Carries one direction until its sender ends it or the connection breaks. */
    async #pump(link, direction, from, to) {
        try {
            for await (let chunk of from.iterator({ destroyOnReturn: false })) {
                while ((this.#mode.mode === "stall" || link.stalled) && !to.destroyed) {
                    await this.#pause();
                }
                if (this.#mode.mode === "slow") {
                    chunk = await this.#trickle(chunk, link, direction, to);
                }
                await this.#carry(chunk, link, direction, to);
            }
            if (!link.lost[direction]) {
                to.end();
            }
        } catch {
            // The sender broke off: so the receiver sees a break too, unless it is to learn nothing.
            if (!link.lost[direction]) {
                to.resetAndDestroy();
            }
        }
    }

    async #carry(chunk, link, direction, to) {
        if (link.lost[direction] || to.destroyed) {
            return;
        }
        this.seen[direction] += chunk.length;
        link.carried += chunk.length;
        const cut = this.#count(chunk.length, direction);
        if (cut === undefined) {
            to.write(chunk) || (await Promise.race([once(to, "drain"), once(to, "close")]));
            return;
        }
        this.seen.torn += cut < chunk.length ? 1 : 0;
        // Waits until the system has the bytes, because a reset throws away what it does not have.
        await new Promise((written) => to.write(chunk.subarray(0, cut), written));
        this.#cut([link]);
    }

    /** How much of the next `length` bytes still passes before the cut, if it falls among them. */
    #count(length, direction) {
        const plan = this.#plan;
        if (!plan || plan.due) {
            return undefined;
        }
        this.#timer ??= setTimeout(() => this.#cutByTime(), plan.ms);
        if (plan.direction !== direction || (plan.bytes -= length) > 0) {
            return undefined;
        }
        plan.due = true;
        return plan.bytes + length;
    }

    #planCut() {
        const { up, down, ms, how } = this.#mode;
        const random = this.#random;
        const direction = random() < 0.25 ? "up" : "down";
        const bytes = upTo(direction === "up" ? up : down, random);
        const linger = random() * LINGER_MS;
        this.#plan = { direction, bytes, ms: upTo(ms, random), how: choose(how, random), linger };
        this.#timer = undefined;
    }

    #cutByTime() {
        const links = [...this.#links].filter((link) => link.carried > 0 && !link.cut);
        this.#timer = undefined;
        if (!this.#plan.due && links.length > 0) {
            this.#plan.due = true;
            this.#cut(links);
        }
    }

    #cut(links) {
        const plan = this.#plan;
        if (!plan) {
            return;
        }
        clearTimeout(this.#timer);
        links.forEach((link) => this.#break(link, plan));
        this.seen.cuts += 1;
        this.seen.ways[plan.how] = (this.seen.ways[plan.how] ?? 0) + 1;
        this.#mode.left -= 1;
        if (this.#mode.left > 0) {
            this.#planCut();
        } else {
            this.set({ mode: "pass" });
        }
        this.onCut(this.seen.cuts);
    }

    #break(link, { how, linger }) {
        link.cut = true;
        if (how === "stall") {
            link.stalled = true;
            setTimeout(() => this.#break(link, { how: "reset" }), linger / 4);
            return;
        }
        link.lost = { up: true, down: true };
        const ends = { reset: ["up", "down"], close: ["up", "down"], client: ["up"], server: ["down"] }[how];
        ends.forEach((end) => (how === "close" ? link[end].destroySoon() : link[end].resetAndDestroy()));
        this.#wake.forEach((go) => go());
        if (ends.length === 2) {
            this.#links.delete(link);
            return;
        }
        // Who was not told stays connected, for a while or until it hangs up by itself.
        const other = how === "client" ? link.down : link.up;
        const timer = how === "client" ? setTimeout(() => this.#drop(link), linger) : undefined;
        other.once("end", () => this.#drop(link));
        other.once("close", () => (clearTimeout(timer), this.#drop(link)));
    }

    #drop(link) {
        this.#links.delete(link);
        [link.up, link.down].forEach((socket) => socket.destroy());
    }

    #halfOpen(link, direction) {
        link.lost[direction] = true;
        (direction === "up" ? link.down : link.up).end();
    }

    /** Hands on `chunk` in small pieces at the set rate; returns what is left when the mode changes. */
    async #trickle(chunk, link, direction, to) {
        while (chunk.length > 0 && this.#mode.mode === "slow" && !to.destroyed) {
            const piece = Math.max(1, Math.round((this.#mode.rate * SLOW_STEP_MS) / 1_000));
            await this.#carry(chunk.subarray(0, piece), link, direction, to);
            chunk = chunk.subarray(piece);
            await this.#pause((1_000 * piece) / this.#mode.rate);
        }
        return chunk;
    }

    #refuseUpgrade(link, status) {
        const client = link.up;
        let head = Buffer.alloc(0);
        const read = (chunk) => {
            head = Buffer.concat([head, chunk]);
            if (!head.includes("\r\n\r\n") && head.length < HEAD_BYTES) {
                return;
            }
            client.off("data", read).off("end", gone).pause();
            if (/^upgrade:\s*websocket/im.test(head.toString("latin1"))) {
                client.end(status ? `HTTP/1.1 ${status} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n` : "");
                client.once("finish", () => this.#drop(link));
            } else {
                client.unshift(head);
                this.#join(link);
            }
        };
        const gone = () => this.#drop(link);
        client.on("data", read).on("end", gone);
    }
}

/** Answers the control requests of `relay` on `listen`; resolves to the URL. */
async function control(relay, listen) {
    const server = createHttpServer(async (request, response) => {
        let body = "";
        for await (const chunk of request.setEncoding("utf8")) {
            body += chunk;
        }
        let [status, answer] = [200, undefined];
        try {
            request.method === "POST" && relay.set(JSON.parse(body));
            answer = relay.state;
        } catch (error) {
            [status, answer] = [400, { error: error.message }];
        }
        response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(answer)}\n`);
    });
    server.listen(listen);
    await once(server, "listening");
    return `http://${listen.host}:${server.address().port}/`;
}

function address(text) {
    const at = text.lastIndexOf(":");
    return { host: text.slice(0, at), port: Number(text.slice(at + 1)) };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
    const { parseArgs } = await import("node:util");
    const option = (value) => ({ type: "string", default: value });
    const { values } = parseArgs({
        options: { to: option(), listen: option("127.0.0.1:0"), control: option("127.0.0.1:0"), mode: option('{"mode":"pass"}') },
    });
    const relay = await Relay.open(address(values.to), address(values.listen));
    relay.set(JSON.parse(values.mode));
    console.log(`relay ${address(values.listen).host}:${relay.port}`);
    console.log(`control ${await control(relay, address(values.control))}`);
    console.log("ready");
    process.once("SIGTERM", () => process.exit(0));
}
