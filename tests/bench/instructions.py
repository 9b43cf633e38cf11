#!/usr/bin/env python3
"""How many instructions does the client need per message?

Times differ from run to run, but instruction counts do not. valgrind's callgrind counts the
instructions of build/bench_count in user space, for two run lengths. The difference is the cost of
the messages. The counts are compared with instructions.json: more than 3 % above the recorded count
is a failure. Growth is measured with three sizes: the cost may grow in proportion to the size, or,
where it must be constant, not at all.

    instructions.py          compare
    instructions.py --write  renew instructions.json
    instructions.py --full   also count other clients (into build/bench/peers.json), and print
                             profiles of what misses the project's targets
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import callgrind
from callgrind import LONG, per_message
from loopback import BUILD, Server
from targets import Targets

HERE = pathlib.Path(__file__).parent
FILE = HERE / "instructions.json"
PEERS_FILE = BUILD / "bench" / "peers.json"
COUNTER = BUILD / "bench_count"
TOLERANCE = 1.03
GROWTH_TOLERANCE = 1.1
# In KiB. A buffer has 64 KiB, but the server may not have filled it when the client reads.
LEAST_AT_A_TIME = 32
KIB, MIB = 1 << 10, 1 << 20

# The project's targets for the instructions per message.
TARGETS = {"receive 64": 700, "receive 1024": 900, "publish 64": 600, "publish 1024": 1000}

# Other clients that are compiled to machine code. valgrind cannot run Go's. In a virtual machine or
# an interpreter, the instructions are not only the client's.
PEERS = {"Beast": "beast", "wslay": "wslay", "libwebsockets": "lws",
         "tungstenite + stomp-parser": "tungstenite"}


class Checks:
    """Counts the checks that passed and failed."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, ok, sentence):
        self.passed += bool(ok)
        self.failed += not ok
        print(sentence if ok else f"FAILED {sentence}", flush=True)


def count(*arguments):
    """Returns the instructions of one run, and the JSON that the program printed (or None)."""
    return callgrind.run((COUNTER, *arguments))


def command(server, name):
    """Returns the arguments of bench_count for a name in TARGETS and a number of messages."""
    mode, size = name.split()
    kind = {"receive": "burst", "publish": "sink"}[mode]

    def of_length(n):
        more = (n, size) if mode == "publish" else ()
        return (COUNTER, mode, server.url(kind, n, size), *more)

    return of_length


def receive(server, mode, size):
    return per_message(lambda n: count(mode, server.url("burst", n, size))[0])


def publish(server, mode, size):
    return per_message(lambda n: count(mode, server.url("sink", n, size), n, size)[0])


def codec(mode, headers):
    return per_message(lambda n: count(mode, headers, n)[0])


def measure_all(server):
    """Yields pairs: a name, and the instructions per message or frame."""
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
        checks.check(False, f"{name}: {now:.0f} instructions; not in {FILE.name}")
        return
    change = (now / before - 1) * 100
    checks.check(now <= before * TOLERANCE,
                 f"{name}: {now:.0f} instructions, {change:+.1f} % from {before:.0f}")


def look_at_targets(targets, server, counts):
    for name, target in TARGETS.items():
        targets.at_most(2, f"instructions per message, {name} bytes", counts[name], target,
                        why=lambda name=name: callgrind.profile(command(server, name)))


def peer_count(server, binary, mode, size):
    kind = {"receive": "burst", "publish": "sink"}[mode]
    return per_message(lambda n: callgrind.run(
        (BUILD / "bench" / binary, "--url", server.url(kind, n, size), "--mode", kind,
         "--count", n, "--size", size))[0])


def measure_peers(checks, server, ours):
    """Measures the other clients with the same server, each through its library's usual functions
    (peers/)."""
    found = {"ours": {name: ours[name] for name in TARGETS}}
    for peer, binary in PEERS.items():
        found[peer] = {}
        for name in TARGETS:
            mode, size = name.split()
            try:
                found[peer][name] = round(peer_count(server, binary, mode, int(size)), 1)
                checks.check(True, f"{peer}, {name}: {found[peer][name]:.0f} instructions")
            except (OSError, ValueError) as error:
                checks.check(False, f"{peer}, {name}: {error}")
    PEERS_FILE.write_text(json.dumps(found, indent=1) + "\n")


def look_at_steady_state(checks, targets, server):
    """Checks that nothing is allocated after the login, and that each system call moves about 64
    KiB."""
    size, messages = KIB, 4 * LONG
    _, got = count("receive", server.url("burst", messages, size))
    _, put = count("publish", server.url("sink", messages, size), messages, size)
    # The first few calls move little: handshake, login, the first piece of the burst.
    spare = 8
    for what, numbers, calls, moved in (("receive", got, "reads", "bytes_in"),
                                        ("publish", put, "writes", "bytes_out")):
        allocations, calls, moved = numbers["allocations"], numbers[calls], numbers[moved]
        checks.check(allocations == 0, f"{what}: {allocations} allocations")
        checks.check(calls <= moved / (LEAST_AT_A_TIME * KIB) + spare,
                     f"{what}: {calls} calls for {moved} bytes, "
                     f"{moved / calls / KIB:.1f} KiB each")
        targets.at_most(2, f"allocations in {messages:,} messages, {what}", allocations, 0)
        call = {"receive": "recv", "publish": "send"}[what]
        # The last call, and those of the login, are not full.
        targets.at_least(2, f"bytes per {call} call under load",
                         moved / max(calls - spare, 1) / KIB, 64, "KiB",
                         why=lambda call=call: system_calls(server, call))


def system_calls(server, call):
    """Compares, with strace, how much each call requested and how much it moved."""
    kind, mode = {"recv": ("burst", "receive"), "send": ("sink", "publish")}[call]
    more = (LONG, KIB) if mode == "publish" else ()
    done = subprocess.run(["strace", "-qq", "-e", "trace=recvfrom,sendto", COUNTER, mode,
                           server.url(kind, LONG, KIB), *map(str, more)],
                          capture_output=True, text=True, check=True, timeout=60)
    calls = [tuple(map(int, one)) for one in
             re.findall(rf'^{call}.*"\.*, (\d+), .*\) = (\d+)$', done.stderr, re.MULTILINE)]
    asked = [one[0] for one in calls]
    full = sum(got == wanted for wanted, got in calls)
    return (f"strace: {full} of {len(calls)} calls moved all that they requested. They requested "
            f"{min(asked) / KIB:.1f} to {max(asked) / KIB:.1f} KiB, on average "
            f"{sum(asked) / len(asked) / KIB:.1f}; the rest of the buffer contained a part of a "
            "frame that had arrived before")


def check_growth(checks, targets, what, sizes, run):
    """Checks that the cost grows in proportion to the size, within a small tolerance."""
    costs = [run(size) for size in sizes]
    expected = (sizes[2] - sizes[1]) / (sizes[1] - sizes[0])
    grown = (costs[2] - costs[1]) / (costs[1] - costs[0])
    unit = (costs[2] - costs[1]) / (sizes[2] - sizes[1])
    checks.check(grown <= expected * GROWTH_TOLERANCE,
                 f"growth with {what} {sizes}: {grown:.2f}, linear is {expected:.2f}; "
                 f"{unit:.2f} instructions each")
    targets.at_most(7, f"growth with {what}", grown / expected, GROWTH_TOLERANCE, "times linear")


def check_all_growth(checks, targets):
    check_growth(checks, targets, "input size, in pieces of 64 KiB", (4 * MIB, 8 * MIB, 16 * MIB),
                 lambda size: count("pieces", size, 64 * KIB)[0])
    check_growth(checks, targets, "input size, one byte at a time (client)",
                 (64 * KIB, 128 * KIB, 256 * KIB),
                 lambda size: count("pieces", size, 1)[0])
    check_growth(checks, targets, "input size, one byte at a time (parsers, to 16 MiB)",
                 (4 * MIB, 8 * MIB, 16 * MIB), lambda size: count("parse-pieces", size, 1)[0])
    check_growth(checks, targets, "the number of pieces of a frame of 1 MiB", (4096, 16384, 65536),
                 lambda pieces: count("pieces", MIB, MIB // pieces)[0])
    # Not fewer headers: the parser remembers the positions of the first 24, which makes them
    # cheaper. Not more headers: above about 4 KiB memcpy copies with one instruction that is
    # counted one time per byte.
    for mode in ("parse", "build"):
        check_growth(checks, targets, f"the number of headers ({mode})", (32, 64, 128),
                     lambda headers, mode=mode: codec(mode, headers))


def check_subscriptions(checks, targets):
    """Checks that a message costs as much with 100,000 subscriptions as with one. With ids that the
    user chose, checks that it costs as much with 1,000 subscriptions as with 100."""
    def dispatch(mode, subscriptions, short, long):
        return per_message(lambda n: count(mode, subscriptions, n)[0], short, long)

    one, *more = (dispatch("subscriptions", n, 2000, 6000) for n in (1, 1000, 100_000))
    for n, cost in zip((1000, 100_000), more, strict=True):
        checks.check(cost <= one * GROWTH_TOLERANCE,
                     f"a message to one of {n:,} subscriptions: {cost:.0f} instructions, to the "
                     f"only one {one:.0f}")
        targets.at_most(5, f"cost of one message with {n:,} subscriptions", cost / one,
                        GROWTH_TOLERANCE, "times that with one")
    few, many = (dispatch("subscriptions-named", n, 100, 300) for n in (100, 1000))
    checks.check(many <= few * GROWTH_TOLERANCE,
                 f"a message to one of 1,000 user-chosen ids: {many:.0f} instructions, of 100: "
                 f"{few:.0f}")
    targets.at_most(5, "cost of one message with 1,000 ids of the program's choice", many / few,
                    GROWTH_TOLERANCE, "times that with 100", why=lambda: (
                        f"{few:.0f} and {many:.0f} instructions, {(many - few) / 900:.1f} for each "
                        "subscription with such an id. " + callgrind.profile(
                            lambda n: (COUNTER, "subscriptions-named", 1000, n), 2, 100, 300)))


def compiler():
    """The first line of the compiler's version. Other compilers produce other counts."""
    comment = subprocess.run(["readelf", "-p", ".comment", COUNTER], capture_output=True,
                             text=True, check=True).stdout
    return " ".join(re.findall(r"\]\s+(.*)", comment))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"renew {FILE.name}")
    parser.add_argument("--full", action="store_true", help="other clients, and profiles")
    arguments = parser.parse_args()
    write = arguments.write
    recorded = {} if write else json.loads(FILE.read_text())
    if not write and recorded["compiler"] != compiler():
        print(f"note: {FILE.name} was recorded with {recorded['compiler']}, "
              f"but this is {compiler()}")
    checks, targets = Checks(), Targets("instructions", profiles=arguments.full)
    counts = {}
    with Server() as server:
        for name, now in measure_all(server):
            counts[name] = round(now, 1)
            compare(checks, name, now, now if write else recorded["counts"].get(name))
        if arguments.full:
            measure_peers(checks, server, counts)
        look_at_targets(targets, server, counts)
        look_at_steady_state(checks, targets, server)
    check_subscriptions(checks, targets)
    check_all_growth(checks, targets)
    if write:
        FILE.write_text(json.dumps({"compiler": compiler(), "counts": counts}, indent=2) + "\n")
    targets.write()
    print(f"{checks.passed} passed, {checks.failed} failed")
    return checks.failed > 0


if __name__ == "__main__":
    sys.exit(main())
