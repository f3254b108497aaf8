// The relay does what its modes say. Times are lower bounds only: nothing here fails because a machine is slow.

import { after, before, describe, it } from "node:test";
import { createServer, connect } from "node:net";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { Relay } from "./relay.js";

/** Everything a socket is sent, and how it ended: "end", or the code of an error. */
function listen(socket) {
    const heard = { text: "", ended: undefined };
    socket.setEncoding("latin1");
    socket.on("data", (text) => (heard.text += text));
    socket.on("end", () => (heard.ended ??= "end"));
    socket.on("error", (error) => (heard.ended ??= error.code));
    heard.closed = new Promise((closed) => socket.once("close", closed));
    return heard;
}

async function until(condition) {
    while (!condition()) {
        await new Promise((go) => setImmediate(go));
    }
}

describe("the relay", () => {
    let target, relay, open;
    const accepted = [];
    before(async () => {
        // Answers what it gets; the sockets it accepted are looked at by the tests.
        target = createServer({ allowHalfOpen: true }, (socket) => {
            accepted.push(Object.assign(listen(socket), { socket }));
            socket.on("data", (text) => socket.writable && socket.write(text, "latin1"));
            socket.on("end", () => socket.end());
        }).listen(0, "127.0.0.1");
        await once(target, "listening");
        relay = await Relay.open({ host: "127.0.0.1", port: target.address().port });
        open = async ({ end = true } = {}) => {
            const number = accepted.length;
            const socket = connect({ port: relay.port, host: "127.0.0.1", allowHalfOpen: true });
            const client = Object.assign(listen(socket), { socket });
            socket.once("end", () => end && socket.end());
            await Promise.race([until(() => accepted.length > number), client.closed]);
            return { client, server: accepted[number] };
        };
    });
    after(async () => {
        await relay.stop();
        target.close();
    });

    /** Talks to the target past the relay: whatever the relay lets through meanwhile has arrived then. */
    async function roundTrip() {
        const direct = connect(target.address().port, "127.0.0.1");
        await once(direct.resume().end("hello"), "close");
    }

    it("passes everything, ends of one side included", async () => {
        relay.set({ mode: "pass" });
        const { client } = await open();
        client.socket.end("hello");
        await client.closed;
        assert.deepEqual([client.text, client.ended], ["hello", "end"]);
    });

    // A socket that still has something to read may be shown an end before it is told of the reset.
    for (const [how, ...ends] of [["reset", "end", "ECONNRESET"], ["close", "end"]]) {
        it(`cuts after a number of bytes with a ${how}, in the middle of a write`, async () => {
            relay.set({ mode: "cut", ms: 1e8, up: 100, down: 100, how: { [how]: 1 } });
            const { client, server } = await open();
            // Each byte is answered with one, so it makes no difference which way is counted.
            client.socket.write("x".repeat(1_000));
            await Promise.all([client.closed, server.closed]);
            assert.ok(client.text.length <= 100, `${client.text.length} bytes came back`);
            assert.ok(ends.includes(client.ended) && ends.includes(server.ended), `${client.ended}, ${server.ended}`);
        });
    }

    it("cuts where the seed says", async () => {
        const lengths = [];
        for (const seed of [11, 11, 12]) {
            relay.set({ mode: "cut", seed, ms: 1e8, up: 4_000, down: 4_000, how: { close: 1 } });
            const { client, server } = await open();
            client.socket.write("x".repeat(5_000));
            await Promise.all([client.closed, server.closed]);
            lengths.push(`${server.text.length} ${client.text.length}`);
        }
        assert.equal(lengths[0], lengths[1]);
        assert.notEqual(lengths[0], lengths[2]);
    });

    it("cuts by time, and counts", async () => {
        const cuts = relay.seen.cuts;
        relay.set({ mode: "cut", count: 3, ms: 5, up: 1e9, down: 1e9 });
        for (let left = 3; left > 0; left -= 1) {
            const { client, server } = await open();
            client.socket.write("x");
            // One of them is told.
            await Promise.race([client.closed, server.closed]);
            client.socket.destroy();
        }
        await until(() => relay.seen.cuts === cuts + 3);
        assert.equal(relay.state.mode, "pass");
    });

    it("cuts the client off and leaves the server in the dark for a while", async () => {
        relay.set({ mode: "cut", ms: 1, up: 1e9, down: 1e9, how: { client: 1 } });
        const { client, server } = await open();
        client.socket.write("x");
        await Promise.all([client.closed, server.closed]);
        assert.equal(server.ended, "end", "the server was not reset");
    });

    it("stalls and goes on without loss", async () => {
        relay.set({ mode: "pass" });
        const { client, server } = await open();
        client.socket.write("one");
        await until(() => client.text === "one");
        relay.set({ mode: "stall" });
        client.socket.write("two");
        await roundTrip();
        assert.equal(server.text, "one");
        relay.set({ mode: "pass" });
        await until(() => client.text === "onetwo");
        client.socket.end();
        await client.closed;
    });

    it("refuses, and drops what is open", async () => {
        relay.set({ mode: "pass" });
        const { client } = await open();
        relay.set({ mode: "refuse" });
        await client.closed;
        const { client: late } = await open();
        await late.closed;
        assert.equal(late.ended, "ECONNRESET");
    });

    it("closes one direction only", async () => {
        relay.set({ mode: "pass" });
        const { client, server } = await open({ end: false });
        relay.set({ mode: "half-open", direction: "down" });
        await until(() => client.ended === "end");
        client.socket.write("still here");
        await until(() => server.text === "still here");
        client.socket.end();
        await client.closed;
        assert.equal(client.text, "");
    });

    it("swallows", async () => {
        relay.set({ mode: "pass" });
        const { client, server } = await open();
        relay.set({ mode: "blackhole" });
        client.socket.end("hello?");
        await roundTrip();
        assert.deepEqual([server.text, client.text], ["", ""]);
        relay.set({ mode: "refuse" });
    });

    it("slows down", async () => {
        relay.set({ mode: "slow", rate: 10_000 });
        const began = performance.now();
        const { client } = await open();
        client.socket.end("x".repeat(3_000));
        await client.closed;
        assert.equal(client.text.length, 3_000);
        assert.ok(performance.now() - began > 250, "3 kB took their time");
    });

    it("refuses WebSocket upgrades and nothing else", async () => {
        const request = (extra) => `GET /cometd HTTP/1.1\r\nHost: here\r\n${extra}\r\n`;
        for (const [status, answer] of [[400, /^HTTP\/1.1 400 /], [0, /^$/]]) {
            relay.set({ mode: "no-upgrade", status });
            const socket = connect(relay.port, "127.0.0.1");
            const heard = listen(socket);
            socket.write(request("Upgrade: websocket\r\n"));
            await heard.closed;
            assert.match(heard.text, answer);
        }
        const { client } = await open();
        client.socket.end(request(""));
        await client.closed;
        assert.equal(client.text, request(""));
    });

    it("is told what to do from outside", async () => {
        const program = fileURLToPath(new URL("relay.js", import.meta.url));
        const command = [program, "--to", `127.0.0.1:${target.address().port}`];
        const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "inherit"] });
        const said = {};
        for await (const line of createInterface({ input: child.stdout })) {
            const [name, value] = line.split(" ");
            said[name] = value ?? true;
            if (said.ready) {
                break;
            }
        }
        const ask = async (mode) => (await fetch(said.control, mode && { method: "POST", body: JSON.stringify(mode) })).json();
        assert.equal((await ask()).mode, "pass");
        assert.match((await ask({ mode: "sleep" })).error, /no mode sleep/);
        assert.match((await ask({ mode: "slow", speed: 1 })).error, /no field speed/);
        assert.equal((await ask({ mode: "refuse" })).mode, "refuse");
        const socket = connect(Number(said.relay.split(":")[1]), "127.0.0.1");
        const heard = listen(socket);
        await heard.closed;
        assert.equal((await ask()).seen.connections, 1);
        child.kill("SIGTERM");
        assert.deepEqual(await once(child, "exit"), [0, null]);
    });
});
