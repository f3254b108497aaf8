// The npm client in Chromium, on a page of the server's own origin and on one of another site.

import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { launch, missing, pageFile, servePage } from "./browser.js";
import { COMPRESSION, foreign, start } from "./mirant.js";
import { countFrames } from "./frames.js";

/** Runs the conversation in a new page at `address`, and checks by the browser's own events what it travelled over. */
async function converseIn(t, browser, address, options, prepare = async () => {}) {
    // A page whose document came from the test itself has no address; without this Chromium takes it for one of the
    // internet and keeps it from talking to a server on this machine.
    const context = await browser.newContext({ permissions: ["local-network-access"] });
    try {
        const page = await context.newPage();
        const seen = { posts: 0, scripts: 0, sockets: 0, complaints: [] };
        page.on("request", (request) => (seen.posts += request.method() === "POST" ? 1 : 0));
        page.on("request", (request) => (seen.scripts += request.url().includes("jsonp=") ? 1 : 0));
        page.on("websocket", () => (seen.sockets += 1));
        page.on("pageerror", (error) => seen.complaints.push(error.message));
        page.on("console", (line) => seen.complaints.push(`${line.text()} (${line.location().url})`));
        await prepare(page);
        await page.goto(address);
        await page.waitForFunction(() => window.run);
        const { received, holds } = await page
            .evaluate((given) => window.run(given), options)
            .catch((error) => assert.fail(`${error.message}\nconsole: ${seen.complaints.join("\n")}`));
        // One client uses the transport under test and its peer the other one, so both kinds must be seen.
        assert.ok(seen.sockets > 0, "a WebSocket was opened");
        const isCallbacks = options.transport === "callback-polling";
        assert.ok(isCallbacks ? seen.scripts > 0 : seen.posts > 0, "messages went by requests");
        assert.deepEqual(seen.complaints, [], "nothing on the browser's console");
        t.diagnostic(`${options.transport}: ${received} messages, held for ${holds.join(", ")} ms`);
    } finally {
        await context.close();
    }
}

describe("cometd 9.0.0 in Chromium", { skip: missing }, () => {
    let browser, elsewhere;
    const servers = [];
    const serve = async (...settings) => {
        servers.push(await start(settings));
        return servers.at(-1);
    };
    // Cookies of 127.0.0.1 are not sent from a page of localhost: another site, not only another port.
    const otherSite = () => `http://localhost:${elsewhere.port}`;

    before(async () => {
        browser = await launch();
        elsewhere = await servePage();
    });
    after(async () => {
        servers.forEach((server) => server.kill());
        elsewhere?.close();
        await browser?.close();
    });

    const skip = foreign && "needs a server that is told so by its settings";
    const intercept = (origin) => (page) =>
        page.route(`${origin}/test-page/**`, async (route) => {
            await route.fulfill(await pageFile(new URL(route.request().url()).pathname));
        });

    it("talks callback-polling on another site", { skip }, async (t) => {
        const { url, stop } = await serve(`server.allowed_origins=${otherSite()}`);
        await converseIn(t, browser, `${otherSite()}/test-page/index.html`, { url, transport: "callback-polling" });
        await stop();
    });

    for (const transport of ["websocket", "long-polling"]) {
        it(`talks ${transport} on the server's own origin`, async (t) => {
            const { url, origin, stop } = await serve();
            await converseIn(t, browser, `${origin}/test-page/index.html`, { url, transport }, intercept(origin));
            await stop();
        });

        for (const [what, allowed] of [["any origin", () => "*"], ["its origin", otherSite]]) {
            it(`talks ${transport} on another site, with ${what} allowed`, { skip }, async (t) => {
                const { url, stop } = await serve(`server.allowed_origins=${allowed()}`);
                await converseIn(t, browser, `${otherSite()}/test-page/index.html`, { url, transport });
                await stop();
            });
        }
    }

    it("talks websocket compressed in both directions", { skip }, async (t) => {
        const { url, stop } = await serve(...COMPRESSION);
        const between = await countFrames(url);
        try {
            const { origin, sent, received, agreed } = between;
            const options = { url: between.url, transport: "websocket" };
            await converseIn(t, browser, `${origin}/test-page/index.html`, options, intercept(origin));
            t.diagnostic(`agreed: ${agreed}; sent ${JSON.stringify(sent)}, received ${JSON.stringify(received)}`);
            assert.match(agreed[0], /^permessage-deflate;/);
            assert.ok(sent.compressed > 0, "the browser compressed");
            assert.ok(received.compressed > 0, "the server compressed");
            await stop();
        } finally {
            between.close();
        }
    });
});
