#!/usr/bin/env python3
"""picows for the socket, stomper for the frames, on asyncio's default event loop."""

import asyncio

import picows
import stomper

from common import Bench, now

SECONDS = 30


class Listener(picows.WSListener):
    """Receives each message. A burst is read in the callback, where it is fastest."""

    def __init__(self, bench):
        self._bench = bench
        self.next_frame = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.writable.set()
        self._in_burst = False

    def on_ws_frame(self, transport, frame):
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        unpacked = stomper.unpack_frame(frame.get_payload_as_utf8_text())
        if self._in_burst and self._bench.read(unpacked):
            return
        self.next_frame.set_result(unpacked)

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    async def receive(self):
        frame = await self.next_frame
        self.next_frame = asyncio.get_running_loop().create_future()
        return frame

    async def burst(self):
        self._in_burst = True
        await self.receive()


async def run(bench):
    transport, listener = await picows.ws_connect(lambda: Listener(bench), bench.url)

    def send(text):
        transport.send(picows.WSMsgType.TEXT, text.encode())

    send(stomper.connect("guest", "guest", "/"))
    await listener.receive()
    burst = asyncio.ensure_future(listener.burst()) if bench.mode == "burst" else None
    await asyncio.sleep(0)
    send(stomper.subscribe(bench.destination, "1"))
    if burst:
        await burst
    elif bench.mode == "sink":
        bench.began = now()
        for bench.messages in range(1, bench.count + 1):
            send(stomper.send("/topic/sink", bench.body))
            await listener.writable.wait()
        await listener.receive()
    else:
        bench.began = now()
        for _ in range(bench.count):
            sent = now()
            send(stomper.send("/topic/echo", bench.body))
            bench.read(await listener.receive())
            bench.times.append(now() - sent)
    bench.report()
    transport.disconnect()


def main():
    asyncio.run(asyncio.wait_for(run(Bench()), SECONDS * 4))


if __name__ == "__main__":
    main()
