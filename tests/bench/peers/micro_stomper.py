"""The measurement of bench_micro.c for parsing, with stomper."""

import json
import time

import stomper

ROUNDS, TIMES = 20, 64
USUAL = [("destination", "/topic/bench"), ("message-id", "session-1234-0000001"),
         ("subscription", "sub-1"), ("content-type", "text/plain;charset=utf-8"),
         ("timestamp", "1700000000000"), ("priority", "4")]


def make_frame(header_count):
    headers = USUAL + [(f"x-application-{i}", "some value of 24 bytes..")
                       for i in range(header_count - len(USUAL))]
    lines = [f"{name}:{value}" for name, value in headers[:header_count]]
    return "\n".join(["MESSAGE", *lines, "content-length:64", "", "x" * 64 + "\0"])


def measure(header_count):
    frame = make_frame(header_count)
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(TIMES):
            parsed = stomper.unpack_frame(frame)
        best = min(best, (time.perf_counter_ns() - began) / TIMES)
    if parsed["headers"]["destination"] != "/topic/bench":
        raise ValueError("a frame was not parsed")
    print(json.dumps({"name": f"parse {header_count}", "ns": best}))


for number in (2, 6, 20):
    measure(number)
