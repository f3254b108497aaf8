// The npm client in Node.

import { after, before, describe, it } from "node:test";
import { adapt } from "cometd-nodejs-client";
import { CometD } from "cometd";
import { converse } from "./conversation.js";
import { start } from "./mirant.js";

adapt();

describe("cometd 9.0.0 in Node", () => {
    let server;
    before(async () => (server = await start()));
    after(() => server?.kill());

    for (const transport of ["websocket", "long-polling"]) {
        it(`talks ${transport}`, async (t) => {
            const { received, holds } = await converse(CometD, { url: server.url, transport });
            t.diagnostic(`${transport}: ${received} messages, held for ${holds.join(", ")} ms`);
        });
    }

    it("leaves a server that stops with exit code 0", () => server.stop());
});
