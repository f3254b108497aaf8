// Runs the test files named as arguments (`node`, `calls`, `extensions`, `faye`, `matrix`, `relay`, `cuts`, `browser`,
// `faye-browser`, `page`; without arguments all), one after the other, and prints the sum of all as its last line. Ends
// with 1 if a test failed.

import { spec } from "node:test/reporters";
import { run } from "node:test";
import { finished } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { binary, foreign } from "./mirant.js";

const all = ["node", "calls", "extensions", "faye", "matrix", "relay", "cuts", "browser", "faye-browser", "page"];
const names = process.argv.length > 2 ? process.argv.slice(2) : all;
const files = names.map((name) => fileURLToPath(new URL(`${name}.test.js`, import.meta.url)));
if (!foreign) {
    process.env.MIRANT_BIN = binary();
}

const sum = { passed: 0, failed: 0, skipped: 0 };
const isTest = ({ details }) => details.type !== "suite";
const tests = run({ files, concurrency: false });
tests.on("test:fail", (test) => (sum.failed += isTest(test) ? 1 : 0));
tests.on("test:pass", (test) => {
    if (isTest(test)) {
        sum[test.skip === undefined ? "passed" : "skipped"] += 1;
    }
});
const report = tests.compose(new spec());
report.pipe(process.stdout, { end: false });
await finished(report);
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
