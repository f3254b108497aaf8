// The server's own page, used as a person would: choose a transport, connect, subscribe, publish, see the message.

import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import assert from "node:assert/strict";
import { launch, missing } from "./browser.js";
import { foreign, start } from "./mirant.js";

const skip = missing || (foreign && "only Mirant has this page");

describe("the server's own page", { skip }, () => {
    let browser, folder, server;
    before(async () => {
        browser = await launch();
        folder = await mkdtemp(join(tmpdir(), "mirant-page-"));
        server = await start();
    });
    after(async () => {
        server?.kill();
        await browser?.close();
    });

    for (const transport of ["websocket", "long-polling"]) {
        it(`shows a message that flows over ${transport}`, async (t) => {
            const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
            try {
                const page = await context.newPage();
                page.setDefaultTimeout(10_000);
                const seen = { sockets: 0, complaints: [] };
                page.on("websocket", () => (seen.sockets += 1));
                page.on("pageerror", (error) => seen.complaints.push(error.message));
                page.on("console", (line) => {
                    if (line.type() === "error") {
                        seen.complaints.push(`${line.text()} (${line.location().url})`);
                    }
                });
                const state = (wanted) => page.locator("#state", { hasText: new RegExp(`^${wanted}$`) }).waitFor();

                await page.goto(`${server.origin}/`);
                await page.selectOption("#transport", transport);
                await page.click("#connect");
                await state("connected");
                await page.fill("#subscribe-channel", "/test/page");
                await page.click("#subscribe");
                await page.fill("#publish-channel", "/test/page");
                const text = `over ${transport}, ${Math.random().toString(36).slice(2)}`;
                await page.fill("#publish-data", JSON.stringify({ text }));
                await page.click("#publish");
                await page.locator("#messages", { hasText: text }).waitFor();

                const file = join(folder, `${transport}.png`);
                await page.screenshot({ path: file, fullPage: true });
                t.diagnostic(`screenshot: ${file}`);

                const shown = await page.locator("#messages > *", { hasText: text }).count();
                assert.equal(shown, 1, "the message is shown once");
                await page.click("#connect");
                await state("offline");
                assert.equal(seen.sockets > 0, transport === "websocket", "the chosen transport was used");
                assert.deepEqual(seen.complaints, [], "no error on the browser's console");
            } finally {
                await context.close();
            }
        });
    }

    it("leaves a server that stops with exit code 0", () => server.stop());
});
