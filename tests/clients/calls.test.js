// The npm client in Node against a server with services: every callback of its API fires, remote calls among them.

import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { adapt } from "cometd-nodejs-client";
import { CometD } from "cometd";
import { startServices } from "./mirant.js";
import { step } from "./step.js";

adapt();

describe("cometd 9.0.0 in Node, with services", () => {
    let server;
    before(async () => (server = await startServices()));
    after(() => server?.kill());

    for (const transport of ["websocket", "long-polling"]) {
        it(`case_199: every callback fires over ${transport}`, async () => {
            const cometd = new CometD();
            for (const other of cometd.getTransportTypes().filter((type) => type !== transport)) {
                cometd.unregisterTransport(other);
            }
            cometd.configure({ url: server.url, logLevel: "warn" });
            const channel = `/calls/${transport}`;
            const replies = {};
            replies.handshake = await step("handshake", (done) => cometd.handshake(done));
            assert.equal(cometd.getTransport().type, transport);

            let receive;
            const received = step("a message", (done) => (receive = done));
            let subscription;
            replies.subscribe = await step("subscribe", (done) => {
                subscription = cometd.subscribe(channel, (message) => receive(message), done);
            });
            replies.publish = await step("publish", (done) => cometd.publish(channel, { greeting: "salut \u{1f600}" }, done));
            assert.deepEqual((await received).data, { greeting: "salut \u{1f600}" });

            const question = { list: [1, 2.5, null, true], text: "é" };
            replies.call = await step("remote call", (done) => cometd.remoteCall("call", question, done));
            assert.deepEqual(replies.call.data, question);

            let hear;
            const heard = step("an echo", (done) => (hear = done));
            cometd.addListener("/service/echo", (message) => hear(message));
            replies.service = await step("service", (done) => cometd.publish("/service/echo", "again", done));
            assert.equal((await heard).data, "again");

            replies.unsubscribe = await step("unsubscribe", (done) => cometd.unsubscribe(subscription, done));
            replies.disconnect = await step("disconnect", (done) => cometd.disconnect(done));
            for (const [what, reply] of Object.entries(replies)) {
                assert.equal(reply.successful, true, `${what}: ${JSON.stringify(reply)}`);
            }
        });
    }

    it("leaves a server that stops with exit code 0", () => server.stop());
});
