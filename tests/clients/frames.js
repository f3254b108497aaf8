// A relay in front of the server that looks into WebSockets: how many text frames went each way, compressed and plain.

import { connect, createServer } from "node:net";

const TEXT = 1;
const COMPRESSED = 0x40;

/** Counts the text frames of one direction. */
class Frames {
    compressed = 0;
    plain = 0;

    /** Returns a function that takes the bytes of one connection. */
    reader() {
        let bytes = Buffer.alloc(0);
        return (more) => {
            bytes = Buffer.concat([bytes, more]);
            for (let size; (size = sizeOf(bytes)) <= bytes.length; bytes = bytes.subarray(size)) {
                if ((bytes[0] & 0x0f) === TEXT) {
                    this[bytes[0] & COMPRESSED ? "compressed" : "plain"] += 1;
                }
            }
        };
    }
}

/** The bytes of the frame that begins here, with its header; endless while that is incomplete. */
function sizeOf(bytes) {
    const short = bytes[1] & 0x7f;
    const [header, length] =
        short === 127 ? [10, () => Number(bytes.readBigUInt64BE(2))] : short === 126 ? [4, () => bytes.readUInt16BE(2)] : [2, () => short];
    return bytes.length < header ? Infinity : header + (bytes[1] & 0x80 ? 4 : 0) + length();
}

/**
 * Relays connections to `url` from a port of its own. Resolves to the `url` to use instead, its `origin`, the frames
 * `sent` and `received` by clients, the `agreed` extensions of each WebSocket, and `close()`.
 */
export async function countFrames(url) {
    const [sent, received, agreed, sockets] = [new Frames(), new Frames(), [], new Set()];
    const { hostname, port, pathname } = new URL(url);
    const server = createServer((client) => {
        const upstream = connect(Number(port), hostname);
        const [fromClient, fromServer] = [sent.reader(), received.reader()];
        let head = "";
        let state = "head";
        client.on("data", (bytes) => state === "frames" && fromClient(bytes));
        upstream.on("data", (bytes) => {
            if (state === "head") {
                head += bytes.toString("latin1");
                const end = head.indexOf("\r\n\r\n");
                if (end < 0) {
                    return;
                }
                state = head.startsWith("HTTP/1.1 101 ") ? "frames" : "other";
                if (state === "frames") {
                    agreed.push(/^sec-websocket-extensions: *(.*)$/im.exec(head.slice(0, end))?.[1] ?? "");
                    bytes = Buffer.from(head.slice(end + 4), "latin1");
                }
            }
            if (state === "frames") {
                fromServer(bytes);
            }
        });
        for (const [from, to] of [[client, upstream], [upstream, client]]) {
            sockets.add(from);
            from.on("error", () => to.destroy());
            from.on("close", () => sockets.delete(from));
            from.pipe(to);
        }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${server.address().port}`;
    const close = () => {
        sockets.forEach((socket) => socket.destroy());
        server.close();
    };
    return { url: origin + pathname, origin, sent, received, agreed, close };
}
