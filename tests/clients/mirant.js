// Starts the server under test and stops it again.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";

const START_LIMIT_MS = 10_000;
const STOP_LIMIT_MS = 10_000;

/** Short, so that a test sees full holds; long enough that a hold cannot be taken for an answer at once. */
export const HOLD_MS = 700;

/** Whether the tests talk to a server that somebody else started, named by BAYEUX_URL. */
export const foreign = Boolean(process.env.BAYEUX_URL);

/** Settings of a server that compresses what is worth it. */
export const COMPRESSION = ["bayeux.websocket.permessage_deflate=true"];

/** Builds with cargo what `target` (`--bin mirant`, for example) names, and returns the path of the program. */
function build(...target) {
    const root = fileURLToPath(new URL("../..", import.meta.url));
    // With the features of the Rust tests and one of them: otherwise cargo would build many crates once more.
    const features = ["--no-default-features", "--features", "server"];
    const args = ["build", ...target, "--test", "tidy", ...features, "--message-format=json-render-diagnostics"];
    const lines = execFileSync("cargo", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    const messages = lines.trim().split("\n").map((line) => JSON.parse(line));
    return messages.find((message) => message.executable && message.target.name === target.at(-1)).executable;
}

/** The path of the server's binary: MIRANT_BIN, or what `cargo build` makes. */
export const binary = () => process.env.MIRANT_BIN || build("--bin", "mirant");

/** The path of the example with services: SERVICES_BIN, or what `cargo build` makes. */
const services = () => process.env.SERVICES_BIN || build("--example", "reference_services");

/**
 * Starts a server with `settings` (`section.key=value`, beside a short hold time and free ports) and resolves, once
 * it is ready, to its `url`, its `origin` and `stop()`, which fails unless it ends by itself with exit code 0.
 */
export async function start(settings = []) {
    if (foreign) {
        const url = process.env.BAYEUX_URL;
        return { url, origin: new URL(url).origin, stop: async () => {}, kill: () => {} };
    }
    const sets = ["admin.listen=127.0.0.1:0", `bayeux.timeout=${HOLD_MS}ms`, ...settings].flatMap((set) => ["--set", set]);
    let bayeux;
    return launch(binary(), ["--listen", "127.0.0.1:0", ...sets], (line) => {
        bayeux ??= /^bayeux\s+(http\S+)/.exec(line)?.[1];
        return line.trim() === "ready" && (bayeux ?? assert.fail("the server named no bayeux URL"));
    });
}

/**
 * Starts the example with services (`/service/echo`, `/service/call` …) and `options` of CometD (`name=value`), or takes
 * the foreign server; as `start`.
 */
export async function startServices(options = []) {
    if (foreign) {
        return start();
    }
    const isReady = (line) => {
        const address = /^ready (\S+)/.exec(line)?.[1];
        return address && `http://${address}/cometd`;
    };
    const sets = [`timeout=${HOLD_MS}`, ...options].flatMap((set) => ["--set", set]);
    return launch(services(), ["--port", "0", ...sets], isReady);
}

/** Starts a program and waits for the line of its output of which `isReady` returns the URL to use. */
async function launch(program, args, isReady) {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const exited = once(child, "exit");
    let said = "";
    child.stderr.on("data", (bytes) => (said += bytes));
    const url = await new Promise((resolve, reject) => {
        const fail = (why) => reject(new Error(`the server ${why}\n${said}`));
        const timer = setTimeout(() => fail("was not ready in time"), START_LIMIT_MS);
        createInterface({ input: child.stdout }).on("line", (line) => {
            said += `${line}\n`;
            const url = isReady(line);
            if (url) {
                clearTimeout(timer);
                resolve(url);
            }
        });
        child.once("error", (error) => fail(`did not start: ${error.message}`));
        child.once("close", (code, signal) => fail(`ended with ${code ?? signal}`));
    }).catch((error) => {
        child.kill("SIGKILL");
        throw error;
    });
    const stop = async () => {
        child.kill("SIGTERM");
        const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
        const [code, signal] = await exited;
        clearTimeout(timer);
        assert.equal(code ?? signal, 0, `the server ends with exit code 0 on SIGTERM\n${said}`);
    };
    return { url, origin: new URL(url).origin, stop, kill: () => child.kill("SIGKILL") };
}
