// Faye in Node: `node faye.js URL CONTROL TRANSPORT SCENARIO...`. It subscribes again by itself, and has no batch of its own.

import Faye from "faye";
import { perform } from "./scenarios.js";

const OTHERS = ["eventsource", "cross-origin-long-polling", "callback-polling"];

await perform(process.argv.slice(2), async (url, transport) => {
    const client = new Faye.Client(url, { retry: 1 });
    // The handshake goes by long-polling in any case.
    [...OTHERS, ...(transport === "websocket" ? [] : ["websocket"])].forEach((type) => client.disable(type));
    let moved;
    const settled = new Promise((resolve) => (moved = resolve));
    let rejoin;
    let isNew = false;
    client.addExtension({
        outgoing(message, pass) {
            if (message.connectionType === transport) {
                moved();
            }
            pass(message);
        },
        incoming(message, pass) {
            isNew ||= message.channel === "/meta/handshake" && message.successful;
            if (isNew && message.channel === "/meta/subscribe" && message.successful) {
                rejoin?.();
            }
            pass(message);
        },
    });
    return {
        async subscribe(channel, take) {
            const subscription = client.subscribe(channel, take);
            await subscription;
            // When it moves to another transport it drops what is on its way by the one before.
            await settled;
            isNew = false;
            // Not bare: it is a promise too.
            return { subscription };
        },
        async unsubscribe({ subscription }) {
            subscription.cancel();
            // It does not say when that was answered, but its messages go one after the other.
            await client.publish("/matrix/else", 0);
        },
        publish: (channel, data) => client.publish(channel, data),
        disconnect: () => client.disconnect(),
        rejoined: () => new Promise((resolve) => (rejoin = resolve)),
    };
});
