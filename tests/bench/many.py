#!/usr/bin/env python3
"""Ten thousand clients on one thread: the cost of an idle client, and its effect on the busy ones.

Runs build/many_clients with 100, 1,000 and 10,000 clients, of which 100 are busy. The cost of a
message must stay the same. gdb shows where the memory of an idle client is.
"""

import json
import re
import subprocess
import sys

from loopback import BUILD
from targets import Targets

PROGRAM = BUILD / "many_clients"
RESULTS = BUILD / "bench" / "many.json"
MANY = (100, 1000, 10_000)
BUSY_MESSAGES = 1_000_000
ROUNDS = 5
IDLE_TARGET = 3 * 1024
BUFFERS = 256 + 256 + 16  # the sizes of rx_buffer, tx_buffer and outbox_bytes in many_clients
FLAT = 1.25  # a factor; larger than for counts, because it compares times
SECONDS = 120


def run(clients):
    """Runs the program. Returns the numbers that it printed."""
    done = subprocess.run([PROGRAM, str(clients), str(BUSY_MESSAGES // clients)],
                          capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        raise ValueError(f"many_clients {clients}: {done.stderr.strip()} (10,000 clients and their "
                         "server need 10,016 descriptors each: ulimit -Hn)")
    connected = re.search(r"connected: (\d+) per second", done.stdout)
    idle = re.search(r"client: (\d+) by stws_size, (-?\d+) resident", done.stdout)
    busy = re.findall(r"idle: (\d+) per second, ([\d.]+) us", done.stdout)
    return {"connected": int(connected[1]), "bytes": int(idle[1]), "resident": int(idle[2]),
            "all_rate": int(busy[0][0]), "all_us": float(busy[0][1]),
            "few_rate": int(busy[1][0]), "few_us": float(busy[1][1])}


def best(runs):
    """Takes the minimum of costs and the maximum of rates: disturbances only slow down."""
    return {key: (max if key in ("connected", "all_rate", "few_rate") else min)(
        one[key] for one in runs) for key in runs[0]}


def members(kind):
    """Returns the size of each member, as gdb prints it."""
    done = subprocess.run(["gdb", "-batch", "-ex", f"ptype /o {kind}", PROGRAM],
                          capture_output=True, text=True, check=True, timeout=SECONDS)
    found = re.findall(r"^/\* +\d+ +\| +(\d+) \*/    (?:.*\W)?(\w+)(?:\[\d+\])*;$", done.stdout,
                       re.MULTILINE)
    return sorted(((int(size), name) for size, name in found), reverse=True)


def where_memory_is(size):
    """Describes the memory of a client: buffers, tables and texts, and the client itself."""
    parts = members("struct stws")
    whole = sum(size for size, _ in parts)
    named = ", ".join(f"{name} {size}" for size, name in parts[:7])
    session = ", ".join(f"{name} {size}" for size, name in members("stws_p_session")[:6])
    return (f"buffers {BUFFERS}; gdb: struct stws {whole} ({named}), of its session s: {session}; "
            f"tables and texts {size - BUFFERS - whole}")


def main():
    targets = Targets("many")
    try:
        found = {clients: best([run(clients) for _ in range(ROUNDS)]) for clients in MANY}
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"FAILED {error}\n0 passed, 1 failed")
        return 1
    for clients, one in found.items():
        print(f"{clients:6} clients: {one['connected']:,} connected per second; "
              f"{one['all_rate']:,} messages per second to all of them ({one['all_us']:.2f} us of "
              f"CPU each), {one['few_rate']:,} to 100 ({one['few_us']:.2f} us); "
              f"{one['bytes']:,} bytes per client, {one['resident']:,} resident")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    least, most = found[MANY[0]], found[MANY[-1]]
    targets.at_most(5, "memory of an idle client with 256-byte buffers", most["bytes"],
                    IDLE_TARGET, "bytes", lambda: where_memory_is(most["bytes"]))
    targets.at_most(5, "CPU time per message with 9,900 idle clients",
                    most["few_us"] / least["few_us"], FLAT, "times that without",
                    lambda: f"{least['few_us']:.2f} and {most['few_us']:.2f} us")
    targets.at_most(5, "resident memory per client with 10,000 clients",
                    most["resident"] / found[1000]["resident"], FLAT, "times that with 1,000",
                    lambda: f"{found[1000]['resident']} and {most['resident']}")
    targets.write()
    print(f"{len(MANY)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
