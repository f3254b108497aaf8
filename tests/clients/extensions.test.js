// The npm client's extensions in Node: clocks, timestamps, binary data, pages that are reloaded.

import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { adapt } from "cometd-nodejs-client";
import { BinaryExtension, CometD, ReloadExtension, TimeStampExtension, TimeSyncExtension } from "cometd";
import { start } from "./mirant.js";
import { step } from "./step.js";

adapt();

/** Server and client share a clock; what is measured between them is rounding and a busy machine. */
const CLOCK_TOLERANCE_MS = 1_000;

/** Resolves to the next message on a channel that `condition` takes. */
function next(cometd, channel, what, condition = () => true) {
    return step(what, (resolve) => {
        const listener = cometd.addListener(channel, (message) => {
            if (condition(message)) {
                cometd.removeListener(listener);
                resolve(message);
            }
        });
    });
}

/** A client of one transport with these extensions, which has shaken hands. */
async function client(url, transport, extensions) {
    const cometd = new CometD();
    for (const type of cometd.getTransportTypes().filter((type) => type !== transport)) {
        cometd.unregisterTransport(type);
    }
    for (const [name, extension] of Object.entries(extensions)) {
        assert.ok(cometd.registerExtension(name, extension), name);
    }
    cometd.configure({ url, logLevel: "warn" });
    const reply = await step("handshake", (resolve) => cometd.handshake(resolve));
    assert.ok(reply.successful, JSON.stringify(reply));
    return cometd;
}

const subscribe = (cometd, channel, listener) =>
    step(`subscribe ${channel}`, (resolve) => cometd.subscribe(channel, listener, resolve));

const disconnect = (cometd) => step("disconnect", (resolve) => cometd.disconnect(resolve));

for (const transport of ["websocket", "long-polling"]) {
    describe(`extensions over ${transport}`, () => {
        let server;
        before(async () => (server = await start(["bayeux.extensions=timesync,timestamp,binary"])));
        after(() => server?.kill());

        it("tells the time", async (t) => {
            const timesync = new TimeSyncExtension();
            const replies = [];
            const watch = {
                incoming: (message) => {
                    replies.push(message);
                    return message;
                },
            };
            // Extensions see what comes in the reverse order of their registration.
            const cometd = await client(server.url, transport, { timesync, watch });
            await next(cometd, "/meta/connect", "a hold", (reply) => !reply.advice);
            const told = replies.filter(({ ext }) => ext?.timesync);
            assert.ok(told.length > 0, "the handshake asks, for it knows no lag");
            assert.deepEqual(Object.keys(told[0].ext.timesync).sort(), ["a", "p", "tc", "ts"]);
            const off = timesync.getTimeOffset();
            assert.ok(Math.abs(off) < CLOCK_TOLERANCE_MS, `the clocks are ${off} ms apart`);
            t.diagnostic(`lag ${timesync.getNetworkLag()} ms, offset ${off} ms, told ${told.length} times`);
            await disconnect(cometd);
        });

        it("stamps what leaves", async () => {
            const cometd = await client(server.url, transport, { timestamp: new TimeStampExtension() });
            const reply = await subscribe(cometd, "/stamped", () => {});
            const event = next(cometd, "/stamped", "the event");
            cometd.publish("/stamped", { n: 1 });
            for (const message of [reply, await event]) {
                const off = Date.now() - Date.parse(message.timestamp);
                // The default form has whole seconds.
                assert.ok(Math.abs(off) < 1_000 + CLOCK_TOLERANCE_MS, `${message.timestamp} is ${off} ms ago`);
            }
            await disconnect(cometd);
        });

        it("carries bytes", async () => {
            const cometd = await client(server.url, transport, { binary: new BinaryExtension() });
            await subscribe(cometd, "/bytes", () => {});
            const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
            for (let length = 0; length <= 9; length += 1) {
                // A copy: of a view the client would send the whole buffer.
                const sent = all.slice(250 - length * 7, 250 - length * 6);
                const event = next(cometd, "/bytes", `${length} bytes`);
                cometd.publishBinary("/bytes", sent, length % 2 === 0, { length });
                const { data, ext } = await event;
                assert.deepEqual([...new Uint8Array(data.data)], [...sent]);
                assert.deepEqual([data.last, data.meta, ext], [length % 2 === 0, { length }, { binary: {} }]);
            }
            await disconnect(cometd);
        });

        it("goes on when a page is reloaded", async () => {
            const stored = new Map();
            window.sessionStorage = {
                getItem: (name) => stored.get(name) ?? null,
                setItem: (name, text) => stored.set(name, text),
                removeItem: (name) => stored.delete(name),
            };
            const old = await client(server.url, transport, { reload: new ReloadExtension() });
            await subscribe(old, "/news", () => {});
            await next(old, "/meta/connect", "a hold");
            const id = old.getClientId();
            old.reload();

            const reloaded = await client(server.url, transport, { reload: new ReloadExtension() });
            const first = await next(reloaded, "/meta/connect", "the first connect of the new page");
            assert.ok(first.successful && first.advice, JSON.stringify(first));
            assert.equal(reloaded.getClientId(), id);
            const event = next(reloaded, "/news", "an event of the old subscription");
            const other = await client(server.url, transport, {});
            other.publish("/news", "still here");
            assert.equal((await event).data, "still here");
            await disconnect(reloaded);
            await disconnect(other);
        });
    });
}
