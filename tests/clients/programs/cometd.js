// CometD's JavaScript client in Node: `node cometd.js PACKAGE ADAPTER URL CONTROL TRANSPORT SCENARIO...`.

import { createRequire } from "node:module";
import { perform } from "./scenarios.js";

const require = createRequire(import.meta.url);

/** Up to 7 the packages are CommonJS, which the older ones are only for `require`. */
const load = (name) => import(name).then((module) => (module.CometD || module.adapt ? module : require(name)));
const [name, adapter, ...args] = process.argv.slice(2);
const library = await load(name);
const { adapt } = await load(adapter);

adapt();

function asked(start) {
    return new Promise((resolve, reject) => {
        start((reply) => (reply.successful ? resolve(reply) : reject(new Error(`refused: ${JSON.stringify(reply)}`))));
    });
}

await perform(args, async (url, transport) => {
    const cometd = new library.CometD();
    cometd.getTransportTypes().filter((type) => type !== transport).forEach((type) => cometd.unregisterTransport(type));
    cometd.configure({ url, logLevel: "error", maxSendBayeuxMessageSize: 65_536 });
    const wanted = [];
    let rejoin;
    const subscribe = (channel, take) => {
        let handle;
        return asked((done) => (handle = cometd.subscribe(channel, (message) => take(message.data), done))).then(() => handle);
    };
    await asked((done) => cometd.handshake(done));
    // What was subscribed before is the application's to subscribe again.
    cometd.addListener("/meta/handshake", async (reply) => {
        if (reply.successful) {
            await Promise.all(wanted.map((each) => subscribe(...each)));
            rejoin?.();
        }
    });
    return {
        async subscribe(...each) {
            wanted.push(each);
            return subscribe(...each);
        },
        unsubscribe: (handle) => asked((done) => cometd.unsubscribe(handle, done)),
        publish: (channel, data) => asked((done) => cometd.publish(channel, data, done)),
        batch: (run) => cometd.batch(run),
        disconnect: () => asked((done) => cometd.disconnect(done)),
        rejoined: () => new Promise((resolve) => (rejoin = resolve)),
    };
});
