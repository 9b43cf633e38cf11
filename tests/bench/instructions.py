#!/usr/bin/env python3
"""How many instructions does the client need for a message?

Times differ from run to run, instruction counts do not: valgrind's callgrind counts those in user
space of build/bench_count, for two run lengths, and the difference is what the messages cost. They
are compared with instructions.json: over 3 % more is a failure. What grows is measured for three
sizes: cost has to grow as the size does.

    instructions.py          compare
    instructions.py --write  renew instructions.json
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

from loopback import BUILD, Server

HERE = pathlib.Path(__file__).parent
FILE = HERE / "instructions.json"
COUNTER = BUILD / "bench_count"
SHORT, LONG = 5000, 15000
TOLERANCE = 1.03
GROWTH_TOLERANCE = 1.1
# Of 64; the server may not have filled them all when a client asks.
LEAST_AT_A_TIME = 32
SECONDS = 300
KIB, MIB = 1 << 10, 1 << 20

# What a message may cost, by the project's own aims.
TARGETS = {"receive 64": 700, "receive 1024": 900, "publish 64": 600, "publish 1024": 1000}


class Checks:
    """Counts what passed and failed."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, ok, sentence):
        self.passed += bool(ok)
        self.failed += not ok
        print(sentence if ok else f"FAILED {sentence}", flush=True)


def count(*arguments):
    """Instructions of one run of the program, and what it printed as JSON (or None)."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", COUNTER,
               *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not collected:
        sys.exit(f"bench_count {' '.join(map(str, arguments))}:\n{done.stderr}")
    return int(collected[1]), json.loads(done.stdout) if done.stdout else None


def per_message(run):
    """What one more message costs: run(COUNT) gives the instructions for so many."""
    return (run(LONG) - run(SHORT)) / (LONG - SHORT)


def receive(server, mode, size):
    return per_message(lambda n: count(mode, server.url("burst", n, size))[0])


def publish(server, mode, size):
    return per_message(lambda n: count(mode, server.url("sink", n, size), n, size)[0])


def codec(mode, headers):
    return per_message(lambda n: count(mode, headers, n)[0])


def measure_all(server):
    """Pairs of a name and the instructions for one message or frame."""
    for size in (64, 1024):
        yield f"receive {size}", receive(server, "receive", size)
        yield f"receive {size}, by stws_next", receive(server, "receive-next", size)
        yield f"receive {size}, with locks", receive(server, "receive-locked", size)
    for size in (64, 1024):
        yield f"publish {size}", publish(server, "publish", size)
        yield f"publish {size}, with locks", publish(server, "publish-locked", size)
        yield f"publish {size}, to two places in turn", publish(server, "publish-in-turn", size)
    for mode in ("parse", "build"):
        for headers in (2, 6, 20):
            yield f"{mode} {headers} headers", codec(mode, headers)


def compare(checks, name, now, before):
    if before is None:
        checks.check(False, f"{name}: {now:.0f} instructions, none in {FILE.name} to compare with")
        return
    change = (now / before - 1) * 100
    checks.check(now <= before * TOLERANCE,
                 f"{name}: {now:.0f} instructions, {change:+.1f} % from {before:.0f}")


def print_targets(counts):
    for name, target in TARGETS.items():
        word = "met" if counts[name] <= target else "missed"
        print(f"target {word}: {name}: {counts[name]:.0f}, to be at most {target}")


def check_steady_state(checks, server):
    """Nothing is allocated after the login, and the system is called for 64 KiB at a time."""
    size, messages = 1024, LONG
    _, got = count("receive", server.url("burst", messages, size))
    _, put = count("publish", server.url("sink", messages, size), messages, size)
    checks.check(got["allocations"] == 0, f"receiving: {got['allocations']} allocations")
    checks.check(put["allocations"] == 0, f"publishing: {put['allocations']} allocations")
    # The first few carry little: handshake, login, the first piece of the burst.
    spare = 8
    for what, calls, octets in (("recv", got["reads"], got["bytes_in"]),
                                ("send", put["writes"], put["bytes_out"])):
        checks.check(calls <= octets / (LEAST_AT_A_TIME * KIB) + spare,
                     f"{what}: {calls} calls for {octets} octets, "
                     f"{octets / calls / KIB:.1f} KiB each")


def check_growth(checks, what, sizes, run):
    """From size to size the cost may grow as much as the size does, and hardly more."""
    costs = [run(size) for size in sizes]
    expected = (sizes[2] - sizes[1]) / (sizes[1] - sizes[0])
    grown = (costs[2] - costs[1]) / (costs[1] - costs[0])
    unit = (costs[2] - costs[1]) / (sizes[2] - sizes[1])
    checks.check(grown <= expected * GROWTH_TOLERANCE,
                 f"linear in {what} {sizes}: grows by {grown:.2f}, linear is {expected:.2f}; "
                 f"{unit:.2f} instructions each")


def check_all_growth(checks):
    check_growth(checks, "octets of a frame in pieces of 64 KiB", (4 * MIB, 8 * MIB, 16 * MIB),
                 lambda size: count("pieces", size, 64 * KIB)[0])
    check_growth(checks, "octets of a frame in pieces of one octet (the client)",
                 (64 * KIB, 128 * KIB, 256 * KIB),
                 lambda size: count("pieces", size, 1)[0])
    check_growth(checks, "octets of a frame of which one comes at a time (the parsers)",
                 (4 * MIB, 8 * MIB, 16 * MIB), lambda size: count("parse-pieces", size, 1)[0])
    check_growth(checks, "the pieces of a frame of 1 MiB", (4096, 16384, 65536),
                 lambda pieces: count("pieces", MIB, MIB // pieces)[0])
    # Not more headers: from some 4 KiB on memcpy copies by one instruction that is counted for
    # each octet.
    for mode in ("parse", "build"):
        check_growth(checks, f"the headers of a frame ({mode})", (8, 32, 128),
                     lambda headers, mode=mode: codec(mode, headers))


def compiler():
    """The first line of the compiler's version: other compilers give other counts."""
    comment = subprocess.run(["readelf", "-p", ".comment", COUNTER], capture_output=True,
                             text=True, check=True).stdout
    return " ".join(re.findall(r"\]\s+(.*)", comment))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"renew {FILE.name}")
    write = parser.parse_args().write
    recorded = {} if write else json.loads(FILE.read_text())
    if not write and recorded["compiler"] != compiler():
        print(f"note: {FILE.name} is of {recorded['compiler']}, this is {compiler()}")
    checks = Checks()
    counts = {}
    with Server() as server:
        for name, now in measure_all(server):
            counts[name] = round(now, 1)
            compare(checks, name, now, now if write else recorded["counts"].get(name))
        check_steady_state(checks, server)
    check_all_growth(checks)
    print_targets(counts)
    if write:
        FILE.write_text(json.dumps({"compiler": compiler(), "counts": counts}, indent=2) + "\n")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return checks.failed > 0


if __name__ == "__main__":
    sys.exit(main())
