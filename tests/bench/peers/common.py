"""Arguments and report of the Python clients, as bench.h provides them for C programs."""

import argparse
import json
import time

now = time.perf_counter


class Bench:
    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--url", required=True)
        parser.add_argument("--mode", choices=("burst", "pingpong", "sink"), default="burst")
        parser.add_argument("--count", type=int, default=1000)
        parser.add_argument("--size", type=int, default=64)
        arguments = parser.parse_args()
        self.url, self.mode, self.count = arguments.url, arguments.mode, arguments.count
        self.body = "x" * arguments.size
        self.messages = 0
        self.checksum = 0
        self.times = []
        self.began = self.ended = 0.0

    @property
    def destination(self):
        """Returns the destination to subscribe to."""
        return {"burst": "/topic/bench", "pingpong": "/topic/echo", "sink": "/topic/end"}[self.mode]

    def read(self, frame):
        """Reads a frame in stomper's form. Returns whether more messages of the burst follow."""
        if self.began == 0:
            self.began = now()
        if frame["headers"]["destination"] == "/topic/end":
            return False
        self.messages += 1
        self.checksum += len(frame["body"]) + ord(frame["headers"]["message-id"][0])
        return True

    def report(self):
        self.ended = now()
        self.times.sort()
        percentiles = [self.times[self.count * share // 1000] * 1e6 if self.times else 0
                       for share in (500, 990, 999)]
        print(json.dumps({"msgs": self.messages, "secs": self.ended - self.began,
                          **dict(zip(("p50_us", "p99_us", "p999_us"), percentiles, strict=True))}))
