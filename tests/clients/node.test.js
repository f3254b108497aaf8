// The npm client in Node.

import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { adapt } from "cometd-nodejs-client";
import { CometD } from "cometd";
import { converse } from "./conversation.js";
import { COMPRESSION, foreign, start } from "./mirant.js";
import { countFrames } from "./frames.js";

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

    const skip = foreign && "needs a server that is told to compress";
    it("talks websocket compressed in both directions", { skip }, async (t) => {
        const { url, stop, kill } = await start(COMPRESSION);
        const between = await countFrames(url);
        try {
            await converse(CometD, { url: between.url, transport: "websocket" });
            const { sent, received, agreed } = between;
            t.diagnostic(`agreed: ${agreed}; sent ${JSON.stringify(sent)}, received ${JSON.stringify(received)}`);
            assert.match(agreed[0], /^permessage-deflate;/);
            assert.ok(sent.compressed > 0, "the client compressed");
            assert.ok(received.compressed > 0, "the server compressed");
            assert.ok(received.plain > 0, "the server left short messages plain");
            await stop();
        } finally {
            between.close();
            kill();
        }
    });
});
