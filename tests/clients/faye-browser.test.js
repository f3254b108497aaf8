// Faye in Chromium: what it can only do there, on a page of the server's own origin and on one of another site.

import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { launch, missing, pageFile, servePage } from "./browser.js";
import { foreign, start } from "./mirant.js";

describe("faye 1.4.3 in Chromium", { skip: missing || (foreign && "needs a server that is told to allow the page") }, () => {
    let browser, elsewhere, server;
    before(async () => {
        browser = await launch();
        elsewhere = await servePage();
        server = await start([`server.allowed_origins=http://localhost:${elsewhere.port}`]);
    });
    after(async () => {
        server?.kill();
        elsewhere?.close();
        await browser?.close();
    });

    /** Runs the conversation in a new page; returns the requests that it made, as `METHOD type`. */
    async function converseIn(t, address, options) {
        const context = await browser.newContext({ permissions: ["local-network-access"] });
        try {
            const page = await context.newPage();
            const requests = [];
            const complaints = [];
            page.on("request", (request) => requests.push(`${request.method()} ${request.resourceType()}`));
            page.on("pageerror", (error) => complaints.push(error.message));
            page.on("console", (line) => complaints.push(`${line.text()} (${line.location().url})`));
            await page.route(`${server.origin}/test-page/**`, async (route) => {
                await route.fulfill(await pageFile(new URL(route.request().url()).pathname));
            });
            await page.goto(address);
            await page.waitForFunction(() => window.run);
            const { received, connects } = await page
                .evaluate((given) => window.run(given), { url: server.url, ...options })
                .catch((error) => assert.fail(`${error.message}\nconsole: ${complaints.join("\n")}`));
            assert.deepEqual(complaints, [], "nothing on the browser's console");
            t.diagnostic(`${options.type}: ${received} messages, ${connects} connects`);
            return requests;
        } finally {
            await context.close();
        }
    }

    for (const type of ["websocket", "eventsource", "long-polling"]) {
        it(`talks ${type} on the server's own origin`, async (t) => {
            const options = { type, others: ["websocket", "long-polling"] };
            const requests = await converseIn(t, `${server.origin}/test-page/faye.html`, options);
            assert.equal(requests.includes("GET eventsource"), type === "eventsource", "a stream was opened where it had to be");
        });
    }

    for (const type of ["cross-origin-long-polling", "callback-polling"]) {
        it(`talks ${type} on another site`, async (t) => {
            const options = { type, others: ["cross-origin-long-polling", "callback-polling"] };
            const address = `http://localhost:${elsewhere.port}/test-page/faye.html`;
            const requests = await converseIn(t, address, options);
            assert.ok(requests.filter((request) => request === "GET script").length > 1, "it shook hands by a script");
        });
    }

    it("leaves a server that stops with exit code 0", () => server.stop());
});
