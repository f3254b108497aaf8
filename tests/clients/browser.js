// Chromium, and the files of the test page.

import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Why browser tests cannot run here, or `false`. */
export const missing = existsSync(executablePath) ? false : `no Chromium at ${executablePath} (CHROMIUM names another path)`;

/** Starts Chromium with an empty profile; it makes no connections of its own. */
export function launch() {
    const args = [
        "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ];
    return chromium.launch({ executablePath, headless: true, chromiumSandbox: false, args });
}

const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" };

/** The file of the test page at `path` (below `/test-page/`) as `{ status, contentType, body }`. */
export async function pageFile(path) {
    const found = /^\/test-page\/(?:((?:index|faye)\.html)|((?:faye-)?conversation\.js)|(cometd\/\w+|faye\/faye-browser)\.js)$/.exec(path);
    if (!found) {
        return { status: 404, contentType: "text/plain", body: "no such file" };
    }
    const [, page, script, library] = found;
    const file = page ? `test-page/${page}` : script ?? `node_modules/${library.replace("faye/", "faye/client/")}.js`;
    const body = await readFile(new URL(file, import.meta.url), "utf8");
    return { status: 200, contentType: TYPES[file.split(".").pop()], body };
}

/** Serves the test page from a port of its own: resolves to its `port` and `close()`. */
export async function servePage() {
    const server = createServer(async (request, response) => {
        const { status, contentType, body } = await pageFile(new URL(request.url, "http://page").pathname);
        response.writeHead(status, { "content-type": contentType }).end(body);
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const close = () => {
        server.closeAllConnections();
        server.close();
    };
    return { port: server.address().port, close };
}
