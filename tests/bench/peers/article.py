#!/usr/bin/env python3
"""The usual pair in Python: websocket-client for the socket, stomper for the frames."""

import stomper
import websocket

from common import Bench, now

SECONDS = 30


def main():
    bench = Bench()
    socket = websocket.create_connection(bench.url, timeout=SECONDS)
    socket.send(stomper.connect("guest", "guest", "/"))
    socket.recv()
    socket.send(stomper.subscribe(bench.destination, "1"))
    if bench.mode == "burst":
        while bench.read(stomper.unpack_frame(socket.recv())):
            pass
    elif bench.mode == "sink":
        bench.began = now()
        for bench.messages in range(1, bench.count + 1):
            socket.send(stomper.send("/topic/sink", bench.body))
        socket.recv()
    else:
        bench.began = now()
        for _ in range(bench.count):
            sent = now()
            socket.send(stomper.send("/topic/echo", bench.body))
            bench.read(stomper.unpack_frame(socket.recv()))
            bench.times.append(now() - sent)
    bench.report()
    socket.shutdown()


if __name__ == "__main__":
    main()
