"""Instructions in user space, counted by valgrind's callgrind: of a whole run, or per function."""

import collections
import json
import re
import subprocess

from loopback import BUILD

SECONDS = 300
SHORT, LONG = 5000, 15000
OUT = BUILD / "bench" / "callgrind.out"


def run(command, out="/dev/null"):
    """Returns the number of instructions of a run, and the JSON that it printed (or None)."""
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
                           *map(str, command)],
                          capture_output=True, text=True, timeout=SECONDS, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not collected:
        raise ValueError(f"{' '.join(map(str, command))}:\n{done.stderr}")
    return int(collected[1]), json.loads(done.stdout) if done.stdout else None


def functions(command):
    """Returns the instructions of each function itself, including the functions that the compiler
    inlined into it."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    run(command, OUT)
    text = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100", OUT],
                          capture_output=True, text=True, check=True).stdout
    taken = collections.Counter()
    for line in text.splitlines():
        found = re.match(r"\s*([\d,]+) \([ \d.]+%\)  \S+?:([^\s\[]+)", line)
        if found:
            taken[found[2].removeprefix("__")] += int(found[1].replace(",", ""))
    return taken


def per_message(cost, short=SHORT, long=LONG):
    """Returns the cost of one additional message. cost(COUNT) returns the instructions for COUNT
    messages."""
    return (cost(long) - cost(short)) / (long - short)


def profile(command, most=7, short=SHORT, long=LONG):
    """Names the most expensive functions, with their instructions per message. command(COUNT) is a
    run with COUNT messages."""
    few, many = functions(command(short)), functions(command(long))
    costs = {name: (many[name] - few[name]) / (long - short) for name in many}
    dearest = sorted(costs.items(), key=lambda one: -one[1])
    named = [f"{name} {cost:.0f}" for name, cost in dearest[:most] if cost >= 1]
    rest = sum(cost for _, cost in dearest[most:])
    return "callgrind: " + ", ".join(named) + (f", others {rest:.0f}" if rest >= 1 else "")
