// One step of a conversation, with a limit.

/** How long one step may take before it counts as failed. A step waits for an event, so this is never slept away. */
const STEP_LIMIT_MS = 10_000;

/** Resolves to what `begin` gives its callback, and fails with the name of the step when that takes too long. */
export function step(what, begin) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${what}: nothing within ${STEP_LIMIT_MS} ms`)), STEP_LIMIT_MS);
        begin((result) => {
            clearTimeout(timer);
            resolve(result);
        });
    });
}
