// Every client program of matrix.js goes through its scenarios, each program with a stage of its own. A program is started
// as `COMMAND URL CONTROL TRANSPORT SCENARIO...` and prints for each scenario, in that order, `ok NAME` or
// `FAIL NAME why`; what else it prints is shown where a scenario fails.
//
// MATRIX_CLIENTS='cometd,faye 1.4' runs only those whose "client version transport" begins so. MATRIX_RESULTS names a
// file that gets one JSON line for each result.

import { after, before, describe, it } from "node:test";
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { spawn } from "node:child_process";
import assert from "node:assert/strict";
import { MATRIX } from "./matrix.js";
import { foreign } from "./mirant.js";
import { openStage } from "./stage.js";

/** How long one scenario may take; the programs themselves wait for events, at most 15 s for each. */
const SCENARIO_LIMIT_MS = 60_000;

const chosen = process.env.MATRIX_CLIENTS?.split(",") ?? [""];
const title = ({ client, version, transport }) => `${client} ${version} ${transport}`;
const rows = MATRIX.filter((row) => chosen.some((start) => title(row).startsWith(start)));

/** Starts the program of `row`; `results` has a promise of `[verdict, why]` for each scenario. */
function perform(row, stage) {
    const [command, ...args] = row.command;
    const given = [...args, stage.url(row.host), stage.control, row.transport, ...row.scenarios];
    const child = spawn(command, given, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...row.env } });
    const said = [];
    const settle = {};
    const results = {};
    for (const name of row.scenarios) {
        results[name] = new Promise((resolve) => (settle[name] = resolve));
    }
    createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
    createInterface({ input: child.stdout }).on("line", (line) => {
        const [, verdict, name, why] = /^(ok|FAIL) (\S+)\s*(.*)$/.exec(line) ?? [];
        if (settle[name]) {
            settle[name]([verdict, why]);
        } else {
            said.push(line);
        }
    });
    const ended = (how) => row.scenarios.forEach((name) => settle[name](["FAIL", `the program ended with ${how}`]));
    child.once("error", (error) => ended(error.message));
    child.once("close", (code, signal) => ended(code ?? signal));
    return { results, said, child, closed: once(child, "close") };
}

// A server that somebody else started has the sessions of all of them, so there they take turns.
describe("the client matrix", { concurrency: foreign ? 1 : 3 }, () => {
    for (const row of rows) {
        const skip = row.tool && !process.env[row.tool] && `${row.tool} is not set; tests/run brings what it names`;
        describe(title(row), { concurrency: 1, skip }, () => {
            let stage, run;
            before(async () => {
                stage = await openStage();
                run = perform(row, stage);
            });
            after(() => {
                run?.child.kill("SIGKILL");
                stage?.kill();
            });

            for (const scenario of row.scenarios) {
                it(scenario, { timeout: SCENARIO_LIMIT_MS }, async () => {
                    const [verdict, why] = await run.results[scenario];
                    if (process.env.MATRIX_RESULTS) {
                        const { client, version, transport } = row;
                        const result = { client, version, transport, scenario, verdict, why };
                        appendFileSync(process.env.MATRIX_RESULTS, `${JSON.stringify(result)}\n`);
                    }
                    assert.equal(verdict, "ok", `${why}\n${run.said.slice(-20).join("\n")}`);
                });
            }

            it("ends, and leaves a server that stops with exit code 0", { timeout: SCENARIO_LIMIT_MS }, async () => {
                const [code, signal] = await run.closed;
                assert.equal(code ?? signal, 0, `the program's exit code\n${run.said.slice(-20).join("\n")}`);
                await stage.close();
            });
        });
    }
});
