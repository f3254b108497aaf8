// Faye in Node: case_197 with the client itself.

import { after, before, describe, it } from "node:test";
import Faye from "faye";
import { converse } from "./faye-conversation.js";
import { start } from "./mirant.js";

describe("faye 1.4.3 in Node", () => {
    let server;
    before(async () => (server = await start()));
    after(() => server?.kill());

    for (const [type, other] of [["websocket", "long-polling"], ["long-polling", "websocket"]]) {
        it(`talks ${type}`, async (t) => {
            const { received, connects } = await converse(Faye, { url: server.url, type, others: [other, "long-polling"] });
            t.diagnostic(`${type}: ${received} messages, ${connects} connects`);
        });
    }

    it("leaves a server that stops with exit code 0", () => server.stop());
});
