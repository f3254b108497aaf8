// The client programs and what each of them does: one row for each client, version and transport.

import { fileURLToPath } from "node:url";

/** What a client can be asked to do, in this order. README.md says what each means. */
export const SCENARIOS = ["own", "others", "order", "batch", "unicode", "unsubscribe", "idle", "rehandshake", "disconnect"];

const program = (name) => fileURLToPath(new URL(`programs/${name}`, import.meta.url));
const without = (...names) => SCENARIOS.filter((name) => !names.includes(name));

/**
 * Both transports of a client. `fields.tool` is the environment variable in which `tests/run` names what it brought to run
 * this client; without it the row is skipped.
 */
function both(client, version, command, fields = {}) {
    return ["websocket", "long-polling"].map((transport) => ({
        client, version, transport, command, host: "127.0.0.1", scenarios: SCENARIOS, ...fields,
    }));
}

const node = (file, ...args) => [process.execPath, program(file), ...args];
const { MATRIX_JAVA, MATRIX_PYTHON, MATRIX_RUBY } = process.env;
const java = (version) => ["java", "-cp", `${MATRIX_JAVA}/${version}/*:${MATRIX_JAVA}/${version}`, "JavaClient"];

export const MATRIX = [
    ...both("cometd", "3.1.14", node("cometd.js", "cometd-3.1", "cometd-nodejs-client-1")),
    ...both("cometd", "5.0.23", node("cometd.js", "cometd-5.0", "cometd-nodejs-client-1")),
    ...both("cometd", "8.0.11", node("cometd.js", "cometd-8.0", "cometd-nodejs-client")),
    ...both("cometd", "9.0.0", node("cometd.js", "cometd", "cometd-nodejs-client")),
    ...both("faye", "1.4.3", node("faye.js"), { scenarios: without("batch") }),
    ...both("cometd-java", "8.0.10", java("8.0.10"), { tool: "MATRIX_JAVA" }),
    ...both("cometd-java", "9.0.0", java("9.0.0"), { tool: "MATRIX_JAVA" }),
    // It leaves out the cookies of a server whose host is an address.
    ...both("aiocometd-ng", "0.5.6", [MATRIX_PYTHON, program("aiocometd.py")], {
        host: "localhost", scenarios: without("batch"), tool: "MATRIX_PYTHON",
    }),
    ...both("faye-ruby", "1.4.0", [MATRIX_RUBY, program("faye.rb")], { scenarios: without("batch"), tool: "MATRIX_RUBY" }),
];
