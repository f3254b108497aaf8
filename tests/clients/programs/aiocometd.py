"""aiocometd-ng: python aiocometd.py URL CONTROL TRANSPORT SCENARIO...

It subscribes again by itself. A batch it does not have, and a message can be any JSON object but nothing else."""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

from aiocometd_ng import Client, ConnectionType
from aiocometd_ng.exceptions import TransportTimeoutError

LIMIT = 15
COUNT = 1_000
TEXT = 'é € 😀 \u2028 " \\ \u0000 \U0010ffff Ω'

URL, CONTROL, TRANSPORT, *NAMES = sys.argv[1:]


def request(path, body):
    with urllib.request.urlopen(f"{CONTROL}/{path}", data=body) as answer:
        return answer.read().decode().strip()


async def tell(path, data=None):
    body = json.dumps(data).encode()
    return await asyncio.get_running_loop().run_in_executor(None, request, path, body)


async def publish(channel, data):
    await tell(f"publish?channel={urllib.parse.quote(channel)}", data)


def same(seen, expected):
    if seen != expected:
        raise AssertionError(f"not {expected!r} but {seen!r}")


async def take(client, number):
    """The next messages, as (channel, data). That the connection was lost is told here too, and is no end."""
    got = []

    async def fill():
        while len(got) < number:
            try:
                message = await client.receive()
                got.append((message["channel"], message["data"]))
            except TransportTimeoutError:
                pass

    try:
        await asyncio.wait_for(fill(), LIMIT)
    except asyncio.TimeoutError:
        raise AssertionError(f"{len(got)} of {number} messages within {LIMIT} s") from None
    return got


async def own(client, channel):
    data = {"text": "hello", "list": [1, -2.5, 1e21, True, None, {}]}
    reply = await client.publish(channel, data)
    same(reply["successful"], True)
    same(await take(client, 1), [(channel, data)])


async def others(client, channel):
    await publish(channel, {"from": "elsewhere"})
    await publish(channel, [2])
    same(await take(client, 2), [(channel, {"from": "elsewhere"}), (channel, [2])])


async def order(client, channel):
    await tell(f"publish?channel={channel}&count={COUNT}")
    same(await take(client, COUNT), [(channel, number) for number in range(COUNT)])


async def unicode(client, channel):
    long = TEXT * 2_000
    await publish(channel, TEXT)
    await publish(channel, long)
    # What travels in two answers at once may overtake.
    same(await take(client, 2), [(channel, TEXT), (channel, long)])
    await client.publish(channel, {TEXT: TEXT})
    same(await take(client, 1), [(channel, {TEXT: TEXT})])


async def unsubscribe(client, channel):
    marker = f"{channel}/marker"
    await client.subscribe(marker)
    await publish(channel, 1)
    same(await take(client, 1), [(channel, 1)])
    await client.unsubscribe(channel)
    await publish(channel, 2)
    await publish(marker, 3)
    same(await take(client, 1), [(marker, 3)])


async def idle(client, channel):
    await tell("idle")
    same(await tell("sessions"), "1")
    await publish(channel, "still there")
    same(await take(client, 1), [(channel, "still there")])


async def rehandshake(client, channel):
    await tell("forget")
    # Nothing tells when it is back, so what is published before it is subscribed again is lost.
    received = asyncio.create_task(take(client, 1))
    while not received.done():
        await publish(channel, "back")
        await asyncio.wait([received], timeout=0.2)
    same(await received, [(channel, "back")])
    same(await tell("sessions"), "1")


async def disconnect(client, _channel):
    await client.close()
    same(await tell("sessions"), "0")


async def perform(name):
    client = Client(URL, [ConnectionType(TRANSPORT)])
    try:
        await asyncio.wait_for(client.open(), LIMIT)
        same(client.connection_type, ConnectionType(TRANSPORT))
        channel = f"/matrix/{name}"
        await client.subscribe(channel)
        await globals()[name](client, channel)
        return f"ok {name}"
    except Exception as error:  # whatever it is, the next scenario is tried
        return f"FAIL {name} {error!r:.300}"
    finally:
        await client.close()


async def main():
    for name in NAMES:
        print(await perform(name), flush=True)


asyncio.run(main())
