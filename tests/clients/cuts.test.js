// The cut drill, and what a client gets that was away for long and takes small frames only.

import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { SETTINGS, Ledger, Subscriber, done, drill, leave, makeClient, openRelay, summary } from "./drill.js";
import { randomFrom, upTo } from "./relay.js";
import { foreign, start } from "./mirant.js";

/** All cuts together; DRILL_CUTS asks for more. A run that fails is repeated with its DRILL_SEED. */
const CUTS = Number(process.env.DRILL_CUTS ?? 1_000);
const SEED = Number(process.env.DRILL_SEED ?? Math.floor(Math.random() * 1_000_000));

/** What the Java client takes as one WebSocket message unless it is told otherwise. */
const FRAME_LIMIT = 65_536;
const BACKLOG_BYTES = 5_000_000;

describe("cometd 9.0.0 with acknowledgement, through cuts", () => {
    let server;
    after(() => server?.kill());

    const compressed = ["bayeux.websocket.permessage_deflate=true"];
    const runs = [
        { name: "over WebSocket", transport: "websocket", share: 0.4 },
        { name: "over compressed WebSocket", transport: "websocket", share: 0.1, settings: compressed },
        { name: "over long-polling", transport: "long-polling", share: 0.4 },
        { name: "with either, cut from the handshake on", transport: "any", share: 0.05, fromHandshake: true },
        { name: "with either, WebSocket refused", transport: "any", share: 0.05, first: { mode: "no-upgrade" } },
    ];
    for (const { name, share, settings = [], ...run } of runs) {
        const skip = foreign && settings.length > 0 && "needs a server of its own";
        it(`receives everything once and in order ${name}`, { skip }, async (t) => {
            server = await start([...SETTINGS, ...settings]);
            const cuts = Math.max(1, Math.round(CUTS * share));
            console.log(`${name}: ${cuts} cuts, DRILL_SEED=${SEED}`);
            const found = await drill({ url: server.url, cuts, seed: SEED, say: console.log, ...run });
            t.diagnostic(`seed ${SEED}; ${summary(found)}`);
            const { stuck, lost, disordered, damaged, sessions, refused } = found;
            assert.deepEqual({ stuck, lost, disordered, damaged, sessions },
                { stuck: undefined, lost: 0, disordered: 0, damaged: 0, sessions: 1 });
            assert.deepEqual(refused, [], "nothing was refused");
            // CometD's own server delivers twice if a cut falls between the frames of one batch.
            assert.ok(found.twice === 0 || foreign, `${found.twice} messages came once more`);
            assert.equal(found.cuts, cuts);
            await server.stop();
        });
    }
});

/** Makes the client's WebSockets fail on messages longer than `maxPayload`: returns those errors, and how to undo it. */
function narrowWebSockets(maxPayload) {
    const wide = window.WebSocket;
    const tooLong = [];
    window.WebSocket = class extends wide {
        constructor(url, protocols) {
            super(url, protocols, { maxPayload });
            this.on("error", (error) => error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH" && tooLong.push(error));
        }
    };
    return [tooLong, () => (window.WebSocket = wide)];
}

describe("cometd 9.0.0 with acknowledgement, back after 5 MB were published", () => {
    let server;
    before(async () => (server = await start([...SETTINGS, "bayeux.max_interval=60s"])));
    after(() => server?.kill());

    for (const transport of ["websocket", "long-polling"]) {
        it(`receives them in pieces over ${transport}`, async (t) => {
            const relay = await openRelay(server.url);
            const ledger = new Ledger(0);
            const [tooLong, undo] = narrowWebSockets(FRAME_LIMIT);
            const subscriber = new Subscriber(relay.url, transport, `/backlog/${transport}/${SEED}`, [ledger]);
            const publisher = makeClient(server.url, "websocket");
            try {
                await done((reply) => publisher.handshake(reply));
                await subscriber.subscribe();
                await ledger.until(() => subscriber.emptyHolds > 0, "a first hold");

                relay.set({ mode: "refuse" });
                const random = randomFrom(SEED);
                const sizes = [60_000];
                while (ledger.bytes.published < BACKLOG_BYTES) {
                    const data = ledger.next(sizes.pop() ?? upTo(30_000, random));
                    await done((reply) => publisher.publish(subscriber.channel, data, reply));
                }
                assert.equal(ledger.highest, -1, "the client was away");

                const before = subscriber.emptyHolds;
                relay.set({ mode: "pass" });
                await ledger.until(() => ledger.highest === ledger.sizes.length - 1, "the last message");
                await ledger.until(() => subscriber.emptyHolds > before, "a hold with nothing left to say");

                const { batches, largest } = subscriber;
                t.diagnostic(`${ledger.sizes.length} messages in ${batches} batches, the largest of ${largest} bytes`);
                const { lost, twice, disordered, damaged } = ledger.sum;
                assert.deepEqual({ lost, twice, disordered, damaged }, { lost: 0, twice: 0, disordered: 0, damaged: 0 });
                assert.equal(subscriber.ids.size, 1, "the session lived on");
                assert.deepEqual(subscriber.refused, [], "nothing was refused");
                assert.deepEqual(tooLong, [], "no frame was too long for the client");
            } finally {
                undo();
                await Promise.all([leave(subscriber.cometd), leave(publisher)]);
                await relay.stop();
            }
        });
    }

    it("leaves a server that stops with exit code 0", () => server.stop());
});
