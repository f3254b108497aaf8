// A stage for client programs in any language: a server with services, a relay in front of it, and a control address by
// which a program asks for what only the other side of the wire can do. The server must let go of a session 3 s after it
// was last heard of (`maxInterval`), or `forget` takes too long.
//
//     POST /publish?channel=C[&count=N]   publishes the body (JSON) from another session; with `count`, the numbers below N
//     POST /idle                          answers after three hold times
//     POST /forget                        cuts the clients off until the server has forgotten their sessions
//     GET  /sessions                      how many sessions the server has beside its own
//
// Everything else than 200 is a failure, and its body says which.

import { createServer } from "node:http";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { HOLD_MS, startServices } from "./mirant.js";
import { Relay } from "./relay.js";

/** How long the server may take to forget a session. */
const FORGET_LIMIT_MS = 15_000;

/** How many messages another session publishes at once. */
const BATCH = 100;

/** How often it is asked how many sessions it has. */
const ASK_MS = 50;

/** Publishes each of `list` to `channel`, from a session of its own. */
async function publish(url, channel, list) {
    const headers = { "content-type": "application/json" };
    let clientId;
    const send = async (messages) => {
        const body = JSON.stringify(messages.map((message, id) => ({ id: `${id}`, clientId, ...message })));
        const response = await fetch(url, { method: "POST", headers, body });
        headers.cookie ??= response.headers.get("set-cookie")?.split(";")[0];
        const replies = await response.json();
        const refused = replies.find((reply) => !reply.successful);
        if (refused) {
            throw new Error(`another session was refused: ${JSON.stringify(refused)}`);
        }
        clientId ??= replies[0].clientId;
    };
    await send([{ channel: "/meta/handshake", version: "1.0", supportedConnectionTypes: ["long-polling"] }]);
    for (let at = 0; at < list.length; at += BATCH) {
        await send(list.slice(at, at + BATCH).map((data) => ({ channel, data })));
    }
    await send([{ channel: "/meta/disconnect" }]);
}

/** Opens a stage: resolves to `url(host)` for the clients, the `control` address and `close()`. */
export async function openStage() {
    const server = await startServices(["maxInterval=3000"]);
    const relay = await Relay.open({ host: "127.0.0.1", port: Number(new URL(server.url).port) });
    const ask = async (path, options) => {
        const response = await fetch(`${server.origin}${path}`, options);
        if (!response.ok) {
            throw new Error(`${path}: ${response.status} ${await response.text()}`);
        }
        return response.json();
    };
    const count = async () => (await ask("/stats")).sessions;
    const own = await count();

    const doings = {
        publish(query, body) {
            const channel = query.get("channel");
            const numbers = () => Array.from({ length: Number(query.get("count")) }, (_, number) => number);
            return publish(server.url, channel, query.has("count") ? numbers() : [JSON.parse(body)]);
        },
        idle: () => pause(3 * HOLD_MS),
        async forget() {
            relay.set({ mode: "refuse" });
            const limit = performance.now() + FORGET_LIMIT_MS;
            while ((await count()) > own) {
                if (performance.now() > limit) {
                    throw new Error(`the server still had sessions after ${FORGET_LIMIT_MS} ms`);
                }
                await pause(ASK_MS);
            }
            relay.set({ mode: "pass" });
        },
        sessions: async () => (await count()) - own,
    };

    const control = createServer(async (request, response) => {
        const { pathname, searchParams } = new URL(request.url, "http://control");
        let body = "";
        for await (const part of request.setEncoding("utf8")) {
            body += part;
        }
        try {
            const answer = await doings[pathname.slice(1)](searchParams, body);
            response.end(`${answer ?? "done"}\n`);
        } catch (error) {
            response.writeHead(500).end(`${error.message}\n`);
        }
    }).listen(0, "127.0.0.1");
    await once(control, "listening");

    const path = new URL(server.url).pathname;
    return {
        url: (host) => `http://${host}:${relay.port}${path}`,
        control: `http://127.0.0.1:${control.address().port}`,
        async close() {
            control.closeAllConnections();
            control.close();
            await relay.stop();
            await server.stop();
        },
        kill: () => server.kill(),
    };
}
