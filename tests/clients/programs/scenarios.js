// The scenarios for clients in JavaScript. A client is handed over as `connect(url, transport)`, which resolves to
// `{ subscribe(channel, take), unsubscribe(subscription), publish(channel, data), batch(run), disconnect(), rejoined() }`;
// `rejoined` resolves once the client has made a new session and is subscribed again.

import assert from "node:assert/strict";

const LIMIT_MS = 15_000;
const COUNT = 1_000;
const TEXT = 'é € 😀 \u2028 " \\ \u0000 \u{10ffff} Ω';

function within(promise, what) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what}: nothing within ${LIMIT_MS} ms`)), LIMIT_MS);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

let control;

async function tell(path, data) {
    const response = await fetch(`${control}/${path}`, { method: "POST", body: JSON.stringify(data) });
    const answer = await response.text();
    assert.ok(response.ok, answer);
    return answer.trim();
}

const publish = (channel, data) => tell(`publish?channel=${encodeURIComponent(channel)}`, data);

/** What a subscription received, with a way to wait for a number of messages. */
class Inbox {
    list = [];
    #wake = () => {};

    take = (data) => {
        this.list.push(data);
        this.#wake();
    };

    async are(...expected) {
        await this.count(expected.length);
        assert.deepEqual(this.list, expected);
    }

    count(number) {
        const reached = new Promise((resolve) => {
            this.#wake = () => this.list.length >= number && resolve();
            this.#wake();
        });
        const there = `${this.list.length}, up to ${JSON.stringify(this.list.at(-1))?.slice(0, 40)}`;
        return within(reached, `${number} messages, of which there were ${there}`);
    }
}

const SCENARIOS = {
    async own(client, channel, inbox) {
        const data = { text: "hello", list: [1, -2.5, 1e21, true, null, {}] };
        await client.publish(channel, data);
        await inbox.are(data);
    },
    async others(client, channel, inbox) {
        await publish(channel, { from: "elsewhere" });
        await publish(channel, [2]);
        await inbox.are({ from: "elsewhere" }, [2]);
    },
    async order(client, channel, inbox) {
        await tell(`publish?channel=${channel}&count=${COUNT}`);
        await inbox.are(...Array(COUNT).keys());
    },
    async batch(client, channel, inbox) {
        const second = new Inbox();
        const all = [];
        client.batch(() => {
            all.push(client.subscribe(`${channel}/second`, second.take));
            all.push(client.publish(channel, 1), client.publish(`${channel}/second`, 2), client.publish(channel, 3));
        });
        await within(Promise.all(all), "the batch's replies");
        await inbox.are(1, 3);
        await second.are(2);
    },
    async unicode(client, channel, inbox) {
        const long = TEXT.repeat(2_000);
        await publish(channel, TEXT);
        await publish(channel, long);
        // What travels in two answers at once may overtake.
        await inbox.are(TEXT, long);
        await client.publish(channel, { [TEXT]: TEXT });
        await inbox.are(TEXT, long, { [TEXT]: TEXT });
    },
    async unsubscribe(client, channel, inbox, subscription) {
        const marker = new Inbox();
        await client.subscribe(`${channel}/marker`, marker.take);
        await publish(channel, 1);
        await inbox.are(1);
        await client.unsubscribe(subscription);
        await publish(channel, 2);
        await publish(`${channel}/marker`, 3);
        await marker.are(3);
        await inbox.are(1);
    },
    async idle(client, channel, inbox) {
        await tell("idle");
        assert.equal(await tell("sessions"), "1");
        await publish(channel, "still there");
        await inbox.are("still there");
    },
    async rehandshake(client, channel, inbox) {
        const again = client.rejoined();
        await tell("forget");
        await within(again, "a new session");
        await publish(channel, "back");
        await inbox.are("back");
        assert.equal(await tell("sessions"), "1");
    },
    async disconnect(client) {
        await client.disconnect();
        assert.equal(await tell("sessions"), "0");
    },
};

/** Runs the scenarios that `args` (the command line) names, each with a client of its own, and ends the process. */
export async function perform([url, at, transport, ...scenarios], connect) {
    control = at;
    for (const name of scenarios) {
        let client;
        try {
            const inbox = new Inbox();
            client = await within(connect(url, transport), "connect");
            const channel = `/matrix/${name}`;
            const subscription = await within(client.subscribe(channel, inbox.take), "subscribe");
            await SCENARIOS[name](client, channel, inbox, subscription);
            if (name !== "disconnect") {
                await within(client.disconnect(), "disconnect");
            }
            console.log(`ok ${name}`);
        } catch (error) {
            console.log(`FAIL ${name} ${error.message.replaceAll("\n", " ").slice(0, 300)}`);
            client?.disconnect().catch(() => {});
        }
    }
    process.exit(0);
}
