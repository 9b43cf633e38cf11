#!/usr/bin/env python3
"""How much of BearSSL's throughput is left inside the client?

    tests/tls/bench.py BENCH

The same bytes move from and to the same server, in turn through the client, through BearSSL's
engine alone, and through the client without TLS and network. The CPU times per byte of consecutive
runs are compared, so neither the server's speed nor other work on the machine matters:

    raw/wss             BearSSL alone / the client. The part missing to 1 is the cost of STOMP,
                        WebSocket and our TLS code: masking, checking UTF-8, parsing, callbacks. raw
                        does none of this, and does not even look at what it receives.
    (raw+without)/wss   (BearSSL alone + the client without) / the client. The part missing to 1 is
                        the cost of our TLS code: the price of combining the two. ("without" also
                        copies each byte one time, into the receive buffer. So this ratio leaves
                        that copy out.)

Both ratios have a target, and are printed as met or missed. A run that fails is a failure.
"""

import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

from certificates import Folder
from server import Listener, Session, context

AIM = 0.9
ROUNDS = 5
STREAM_BYTES = 100 << 20
SIZES = (256, 1024, 16384, 262144)
RUN_SECONDS = 120


def message(size):
    """Returns a MESSAGE in the form in which it is sent."""
    sent = []
    session = Session(None, 1 << 30, None)
    session.write = sent.append
    frame = (f"MESSAGE\nsubscription:1\nmessage-id:1\ndestination:/topic/flood\n"
             f"content-length:{size}\n\n").encode() + size * b"x" + b"\0"
    session.send(1, frame)
    return b"".join(sent)


class Flood(Listener):
    """Floods clients that request /raw, or subscribe at /client. Ignores what it receives."""

    def __init__(self, tls):
        self._tls = tls
        self.size = self.count = 0
        self.sending = False
        super().__init__()

    def serve(self, connection):
        connection.settimeout(RUN_SECONDS)
        stream = self._tls.wrap_socket(connection, server_side=True)
        head = stream.recv(4096)
        if head.startswith(b"GET /raw"):
            self._flood(stream)
        else:
            session = Session(stream, 1 << 30, self._flood if self.sending else None, head)
            session.on_subscribe = lambda: self._flood(stream)
            session.run()
        stream.unwrap()

    def _flood(self, stream):
        if self.sending:
            while stream.recv(1 << 20):
                pass
            return
        one = message(self.size)
        together = max(1, (1 << 20) // len(one))
        for _ in range(self.count // together):
            stream.sendall(one * together)
        stream.sendall(one * (self.count % together))


def run(program, *words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False,
                          timeout=RUN_SECONDS)
    if done.returncode:
        sys.exit(f"bench {' '.join(map(str, words))}: {done.stderr}\n0 passed, 1 failed")
    size, seconds = done.stdout.split()
    return float(seconds) / int(size)


def compare(program, server, direction, size):
    server.size, server.count = size, max(1, STREAM_BYTES // size)
    server.sending = direction == "send"
    words = (server.port, size, server.count)
    rounds = []
    for _ in range(ROUNDS):
        raw, ours, without = (run(program, direction, how, *words) * 1e9
                              for how in ("raw", "client", "without"))
        rounds.append((raw, ours, without, raw / ours, (raw + without) / ours))
    raw, ours, without, whole, joined = (statistics.median(column) for column in zip(*rounds))
    print(f"{direction:8} {size:7}  {raw:8.3f}  {without:8.3f}  {ours:8.3f}"
          f"  {verdict(whole)}    {verdict(joined)}", flush=True)


def verdict(ratio):
    return f"{ratio:8.2f} {'met' if ratio >= AIM else 'missed':6}"


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    sizes = tuple(map(int, sys.argv[2:])) or SIZES
    with tempfile.TemporaryDirectory() as folder:
        made = Folder(pathlib.Path(folder))
        chain = made.self_signed("server")
        print(f"CPU time per byte in nanoseconds; the target is a ratio of {AIM}\n"
              f"            size   BearSSL   without       wss   raw/wss       (raw+without)/wss")
        with Flood(context(chain)) as server:
            for direction in ("receive", "send"):
                for size in sizes:
                    compare(program, server, direction, size)


if __name__ == "__main__":
    main()
