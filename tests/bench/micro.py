#!/usr/bin/env python3
"""Compares parsing, building, masking and UTF-8 with other libraries, without a socket.

All programs run in rounds, one after the other. Shown is the median over the rounds of each
measurement. Each measurement is itself the best of many repetitions. The project's targets are
printed as met or missed. A missing library (tests/bench/install.sh installs it) is a failure. All
results are written to build/bench/micro.json.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

import callgrind
from loopback import BUILD
from targets import Targets

PEERS = pathlib.Path(__file__).parent / "peers"
OURS = "ours"
PROGRAMS = {
    OURS: [BUILD / "bench_micro"],
    "Rust: stomp-parser, simdutf8": [BUILD / "bench" / "micro"],
    "go-stomp": [BUILD / "bench" / "gorilla", "--mode", "micro"],
    "Spring": ["java", "-XX:+UseSerialGC", "-jar", BUILD / "bench" / "spring.jar",
               "--mode", "micro"],
    "stomp.js": ["node", PEERS / "micro_stompjs.cjs"],
    "stomper": [BUILD / "venv-bench" / "bin" / "python", PEERS / "micro_stomper.py"],
}
ROUNDS = 5
SECONDS = 120
MIB = 1 << 20
RESULTS = BUILD / "bench" / "micro.json"


def run(command):
    """Runs a program. Returns its measurements by their names."""
    environment = {**os.environ, "NODE_PATH": str(BUILD / "npm" / "node_modules")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True,
                          timeout=SECONDS, env=environment)
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


def measure_all():
    """Returns the medians in nanoseconds, by program and name, and the programs that failed."""
    runs, failed = {name: [] for name in PROGRAMS}, {}
    for _ in range(ROUNDS):
        for name, command in PROGRAMS.items():
            if name in failed:
                continue
            try:
                runs[name].append(run(command))
            except (OSError, subprocess.SubprocessError) as error:
                failed[name] = error
    return {name: {what: statistics.median(one[what]["ns"] for one in done) for what in done[0]}
            for name, done in runs.items() if name not in failed}, failed


def print_table(medians):
    for what in medians[OURS]:
        others = [f"{name} {found[what]:,.1f} ({found[what] / medians[OURS][what]:.1f} times)"
                  for name, found in medians.items() if name != OURS and what in found]
        print(f"{what}: ours {medians[OURS][what]:,.1f} ns"
              + "".join(f"; {other}" for other in others))


def look_at_targets(medians):
    ours, rust = medians[OURS], medians["Rust: stomp-parser, simdutf8"]
    targets = Targets("micro")

    def shares():
        return (f"ns: parsing 6 headers without WebSocket {ours['parse 6']:.1f}, 2 headers "
                f"{ours['parse 2']:.1f}, 20 headers {ours['parse 20']:.1f}: "
                f"{(ours['parse 20'] - ours['parse 6']) / 14:.1f} per header. Instructions: "
                + callgrind.profile(lambda n: (BUILD / "bench_count", "parse", 6, n)))

    targets.at_most(4, "decode a MESSAGE of 64 bytes with six headers", ours["decode 6"], 35, "ns",
                    shares)
    targets.at_most(4, "masking 1 KiB, compared with a plain SSE2 loop",
                    ours["mask 1024"] / ours["mask by sse2 1024"], 1, "times its time",
                    lambda: f"{ours['mask 1024']:.1f} ns and {ours['mask by sse2 1024']:.1f} ns; "
                            f"memcpy {ours['mask by memcpy 1024']:.1f} ns")
    for what, share in (("ascii", 0.8), ("mixed", 0.5)):
        mine, other = ours[f"utf8 {what} 1048576"], rust[f"utf8 {what} 1048576"]
        targets.at_least(4, f"validate UTF-8, {what}, 1 MiB, compared with simdutf8", other / mine,
                         share, "times its speed",
                         lambda mine=mine, other=other: (
                             f"{MIB / mine:.1f} GB/s and {MIB / other:.1f} GB/s; instructions for "
                             "1 KiB: " + callgrind.profile(
                                 lambda n: (BUILD / "bench_count", "utf8", 1024, n), 3, 100, 300)))
    targets.write()


def main():
    medians, failed = measure_all()
    for name, error in failed.items():
        print(f"FAILED {name}: {error}\n{getattr(error, 'stderr', '') or ''}")
    RESULTS.write_text(json.dumps(medians, indent=1) + "\n")
    if OURS in medians:
        print_table(medians)
    if not failed:
        look_at_targets(medians)
    print(f"{len(medians)} passed, {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
