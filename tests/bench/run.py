#!/usr/bin/env python3
"""How fast is the client, compared with the kernel alone and with other clients?

Every client runs against the same server on the loopback interface, through its normal API. In each
round all clients run one time, one after the other. Only runs of the same round are compared, so
other work on the machine affects all of them. `ours` runs twice per round. The difference between
these two runs shows how exact the other ratios are.

    run.py             5 rounds, bodies of 64 bytes to 1 MiB; a missing client is a failure
    run.py --rounds N  more of them
    run.py --quick     3 short rounds with the clients that are there, bodies to 16 KiB
    run.py --only NAME,NAME

The results are a table and build/bench/results.json, from which chart.py draws the charts. If a
target is missed, the CPU time in user space and in the kernel, the system calls (by strace) and the
page faults are printed, together with those of raw.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from loopback import BUILD, Server
from targets import Targets, short

PEERS = pathlib.Path(__file__).parent / "peers"
RESULTS = BUILD / "bench" / "results.json"
PYTHON = BUILD / "venv-bench" / "bin" / "python"
NODE_MODULES = BUILD / "npm" / "node_modules"

KIB, MIB = 1 << 10, 1 << 20
MODES = ("burst", "sink", "pingpong")
TITLES = {"burst": "receive", "sink": "publish", "pingpong": "round trip"}
RUN_SECONDS = 60
MOST_MESSAGES = 2_000_000
STRACED = 2000  # messages in one run


@dataclasses.dataclass(frozen=True)
class Client:
    """A program with the arguments of bench.h, and the file that exists if it is installed."""

    name: str
    command: tuple
    needs: pathlib.Path


def program(name, path):
    return Client(name, (path,), path)


RAW, OURS, AGAIN = "raw", "ours", "ours, again"
CLIENTS = (
    program(RAW, BUILD / "bench_raw"),
    program(OURS, BUILD / "bench_client"),
    program(AGAIN, BUILD / "bench_client"),
    program("Beast", BUILD / "bench" / "beast"),
    program("wslay", BUILD / "bench" / "wslay"),
    program("libwebsockets", BUILD / "bench" / "lws"),
    program("tungstenite + stomp-parser", BUILD / "bench" / "tungstenite"),
    program("gorilla + go-stomp", BUILD / "bench" / "gorilla"),
    Client("Spring", ("java", "-XX:+UseSerialGC", "-jar", BUILD / "bench" / "spring.jar"),
           BUILD / "bench" / "spring.jar"),
    Client("stomp.js", ("node", PEERS / "stompjs.cjs"), NODE_MODULES / "@stomp" / "stompjs"),
    Client("picows + stomper", (PYTHON, PEERS / "picows_stomper.py"), PYTHON),
    Client("websocket-client + stomper", (PYTHON, PEERS / "article.py"), PYTHON),
)


class RunError(Exception):
    """A client ended with an error."""


@dataclasses.dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: float  # the approximate duration of each run
    sizes: tuple
    profiles: bool  # makes profiles for missed targets; short runs make them useless


FULL = Plan(5, 0.3, (64, KIB, 16 * KIB, MIB), True)
QUICK = Plan(3, 0.04, (64, KIB, 16 * KIB), False)


class Cell:
    """One mode with bodies of one size: all clients, in rounds."""

    def __init__(self, server, prefix, mode, size):
        self._server, self._prefix = server, prefix
        self.mode, self.size = mode, size
        self.runs = {}     # lists of results, by client
        self._counts = {}  # number of messages in a run, by client
        self._startup = {}  # results of a run with one message, by client

    def run_once(self, client, count, observer=()):
        arguments = ("--url", self._server.url(self.mode, count, self.size), "--mode", self.mode,
                     "--count", count, "--size", self.size)
        command = (*self._prefix, BUILD / "bench_time", RUN_SECONDS, *observer, *client.command,
                   *arguments)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                              env={**os.environ, "NODE_PATH": str(NODE_MODULES)})
        lines = done.stdout.splitlines()
        if done.returncode != 0 or len(lines) != 2:
            raise RunError(f"{client.name}, {TITLES[self.mode]} of {self.size}: status "
                           f"{done.returncode}: {done.stderr.strip()[-300:]}")
        result = {**json.loads(lines[0]), **json.loads(lines[1])}
        if result["msgs"] != count:
            raise RunError(f"{client.name}: {result['msgs']} messages instead of {count}")
        return result

    def calibrate(self, client, seconds):
        """Finds the number of messages that takes about this many seconds."""
        self._startup[client.name] = self.run_once(client, 1)
        count = max(1, min(64, MIB // self.size))
        while True:
            taken = self.run_once(client, count)["secs"]
            if taken >= seconds / 5 or count >= MOST_MESSAGES:
                break
            count = min(MOST_MESSAGES, count * 16)
        self._counts[client.name] = max(8, min(MOST_MESSAGES, int(count * seconds / taken)))
        self.runs[client.name] = []

    def measure(self, client):
        result = self.run_once(client, self._counts[client.name])
        result["rate"] = result["msgs"] / result["secs"]
        for share in ("user", "kernel", "cpu"):
            result[f"{share}_us"] = self._cost(client, result, share)
        self.runs[client.name].append(result)

    def _cost(self, client, result, share):
        """The CPU time per message, or None if the program's start takes nearly all of its time."""
        def seconds(run):
            both = ("user", "kernel") if share == "cpu" else (share,)
            return sum(run[f"{one}_secs"] for one in both)

        startup = self._startup[client.name]
        all_of_it = result["user_secs"] + result["kernel_secs"]
        before = startup["user_secs"] + startup["kernel_secs"]
        if all_of_it - before <= before / 4:
            return None
        return max(0, seconds(result) - seconds(startup)) / result["msgs"] * 1e6

    # ---- profiles: where a client differs from raw ----

    def where_it_goes(self, names):
        """Describes the costs of these clients per message: CPU time, system calls, page faults."""
        return "; ".join(f"{name}: {self._cpu_text(name)}, {self._calls_text(name)}, "
                         f"{self._faults(name):.2g} page faults"
                         for name in names) + " (per message)"

    def _cpu_text(self, name):
        user, kernel = self.median(name, "user_us"), self.median(name, "kernel_us")
        if user is None or kernel is None:
            return "too little CPU time compared with that of its start"
        return f"{short(user)} us in user space and {short(kernel)} in the kernel"

    def _faults(self, name):
        more = statistics.median(run["faults"] for run in self.runs[name])
        return max(0, more - self._startup[name]["faults"]) / self._counts[name]

    def _calls_text(self, name):
        client = next(one for one in CLIENTS if one.name == name)
        few, many = 1, min(self._counts[name], STRACED)
        before, after = self._system_calls(client, few), self._system_calls(client, many)
        each = {call: (after[call] - before[call]) / max(1, many - few) for call in after}
        frequent = sorted((call for call in each if each[call] >= 0.001), key=lambda c: -each[c])
        return ", ".join(f"{short(each[call])} {call}" for call in frequent) or "no system call"

    def _system_calls(self, client, count):
        with tempfile.NamedTemporaryFile("r", suffix=".strace") as file:
            self.run_once(client, count, ("strace", "-f", "-qq", "-c", "-o", file.name))
            rows = [line.split() for line in file]
        return collections.Counter({row[-1]: int(row[3]) for row in rows
                                    if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"})

    def speed(self, run):
        """The speed of each run. Larger is faster."""
        return 1 / run["p50_us"] if self.mode == "pingpong" else run["rate"]

    def ratios(self, name, to):
        """How many times as fast as another client, for each round."""
        return [self.speed(a) / self.speed(b)
                for a, b in zip(self.runs[name], self.runs[to], strict=True)]

    def median(self, name, figure):
        """The median over the rounds, or None if no round has this value."""
        values = [run[figure] for run in self.runs[name] if run[figure] is not None]
        return statistics.median(values) if values else None

    def has(self, *names):
        return all(self.runs.get(name) for name in names)

    def summary(self):
        """The data of this cell for the results file."""
        return {"mode": self.mode, "size": self.size, "runs": self.runs}


class Benchmark:
    def __init__(self, clients, plan):
        self._clients, self._plan = clients, plan
        self.cells = []
        self.passed = self.failed = 0

    def fail(self, sentence):
        self.failed += 1
        print(f"FAILED {sentence}", flush=True)

    def run(self):
        # Round trips are steady only if both ends share a core.
        core = str(max(os.sched_getaffinity(0)))
        pin = ("taskset", "-c", core)
        with Server() as server, Server(pin) as pinned:
            for mode in MODES:
                for size in self._plan.sizes:
                    one_core = mode == "pingpong"
                    cell = Cell(pinned if one_core else server, pin if one_core else (), mode, size)
                    self._run_cell(cell)
                    print_cell(cell)
                    self.cells.append(cell)
            look_at_targets(self.cells, self._plan.profiles)

    def _run_cell(self, cell):
        def attempt(action, client, *arguments):
            try:
                action(client, *arguments)
                return True
            except (RunError, ValueError) as error:
                self.fail(str(error))
                return False

        clients = [client for client in self._clients
                   if attempt(cell.calibrate, client, self._plan.seconds)]
        for round_number in range(self._plan.rounds):
            turn = round_number % len(clients)
            for client in clients[turn:] + clients[:turn]:
                if client.name in cell.runs and not attempt(cell.measure, client):
                    del cell.runs[client.name]
        self.passed += len(cell.runs)


# ---- output ----

def size_text(size):
    if size >= KIB:
        return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
    return f"{size} B"


def spread(values):
    return f"{short(statistics.median(values))} ({short(min(values))} to {short(max(values))})"


ROW = "  {:27}{:>25}  {:>24}{:>24}{:>10}{:>10}"


def print_cell(cell):
    print(f"\n{TITLES[cell.mode]}, bodies of {size_text(cell.size)}")
    if cell.has(OURS, AGAIN):
        print(f"  the same program twice differs by {spread(cell.ratios(AGAIN, OURS))}")
    speed = "p50/p99/p99.9 us" if cell.mode == "pingpong" else "messages/s"
    print(ROW.format("client", speed, "times raw", "ours is faster by", "CPU us", "peak MiB"))
    for name in sorted(cell.runs, key=lambda name: -statistics.median(map(cell.speed,
                                                                          cell.runs[name]))):
        print_row(cell, name)


def print_row(cell, name):
    figure = f"{cell.median(name, 'rate'):,.0f}"
    if cell.mode == "pingpong":
        figure = "/".join(f"{cell.median(name, key):.1f}"
                          for key in ("p50_us", "p99_us", "p999_us"))
    cpu_us = cell.median(name, "cpu_us")
    print(ROW.format(name, figure, spread(cell.ratios(name, RAW)) if cell.has(RAW) else "",
                     spread(cell.ratios(OURS, name)) if cell.has(OURS) else "",
                     "-" if cpu_us is None else f"{cpu_us:.2f}",
                     f"{cell.median(name, 'peak_kib') / KIB:.1f}"), flush=True)


# The project's targets: our speed relative to raw, by body size. For a round trip: the longest
# time, relative to raw's.
AT_LEAST_RAW = {
    "burst": {64: 0.42, KIB: 0.73, 16 * KIB: 0.72, MIB: 0.94},
    "sink": {64: 0.42, KIB: 0.39, 16 * KIB: 0.41, MIB: 0.84},
}
ROUND_TRIP_AT_MOST = {64: 1.03, KIB: 1.03, 16 * KIB: 1.07, MIB: 1.2}
# Receiving small bodies, ours must be faster than these clients by this factor.
FASTER_THAN = {"Beast": 2.5, "websocket-client + stomper": 300}
PEAK_KIB = 2 * KIB


def look_at_cell(targets, cell):
    what = f"{TITLES[cell.mode]}, {size_text(cell.size)}"
    ratio = statistics.median(cell.ratios(OURS, RAW))

    def beside_raw():
        return cell.where_it_goes((OURS, RAW))

    if cell.mode == "pingpong":
        targets.at_most(2, f"{what}, median", 1 / ratio, ROUND_TRIP_AT_MOST[cell.size], "times raw",
                        beside_raw)
        return
    targets.at_least(2, what, ratio, AT_LEAST_RAW[cell.mode][cell.size], "of raw's speed",
                     beside_raw)
    for peer, times in FASTER_THAN.items():
        if cell.mode == "burst" and cell.size <= KIB and cell.has(peer):
            targets.at_least(2, f"{what}, compared with {peer}",
                             statistics.median(cell.ratios(OURS, peer)), times, "times as fast",
                             lambda peer=peer: cell.where_it_goes((OURS, peer, RAW)))


def look_at_memory(targets, cells):
    """Checks the peak memory. The kernel counts pages in batches, so the median of all runs of a
    kind is used."""
    small = [cell for cell in cells if cell.size <= 16 * KIB]

    def peak(mode, name):
        return statistics.median(run["peak_kib"] for cell in small if cell.mode == mode
                                 for run in cell.runs[name])

    most = max(MODES, key=lambda mode: peak(mode, OURS))
    targets.at_most(2, "peak memory, bodies to 16 KiB", peak(most, OURS), PEAK_KIB, "KiB",
                    lambda: f"the largest peak is in {TITLES[most]}; raw's peak there is "
                            f"{peak(most, RAW):.0f} KiB, which is the C library and bench.h; ours "
                            "by smaps, in KiB: " + resident(
                                next(cell for cell in small if cell.mode == most)))


def resident(cell):
    """Names the parts of a client's memory in the middle of a long run."""
    ours = next(one for one in CLIENTS if one.name == OURS)
    with Server() as server, subprocess.Popen(
            list(map(str, (*ours.command, "--url", server.url(cell.mode, MOST_MESSAGES * 10,
                                                              cell.size),
                           "--mode", cell.mode, "--count", MOST_MESSAGES * 10,
                           "--size", cell.size))),
            stdout=subprocess.DEVNULL) as process:
        time.sleep(1)
        lines = pathlib.Path(f"/proc/{process.pid}/smaps").read_text().splitlines()
        process.kill()
    kib, name = collections.Counter(), ""
    for line in lines:
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            name = pathlib.Path(words[5]).name if len(words) > 5 else "anonymous"
        elif words[0] == "Rss:":
            kib[name] += int(words[1])
    return ", ".join(f"{name} {size}" for name, size in kib.most_common() if size)


def look_at_targets(cells, profiles):
    print()
    targets = Targets("run", profiles)
    cells = [cell for cell in cells if cell.has(RAW, OURS)]
    for cell in cells:
        look_at_cell(targets, cell)
    if cells:
        look_at_memory(targets, cells)
    targets.write()


def print_doubt(cells):
    """Prints how much two runs of the same program differ, over all cells."""
    both = [cell for cell in cells if cell.has(OURS, AGAIN)]
    for mode in MODES:
        ratios = [statistics.median(cell.ratios(AGAIN, OURS)) for cell in both if cell.mode == mode]
        if ratios:
            print(f"A/A, {TITLES[mode]}: the medians of two runs of the same program differ by "
                  f"a factor of {short(min(ratios))} to {short(max(ratios))}")


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def write(cells, plan):
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": processor(), "cores": os.cpu_count(), "system": platform.release(),
        "rounds": plan.rounds, "seconds": plan.seconds,
        "cells": [cell.summary() for cell in cells]}, indent=1) + "\n")


def choose(benchmark_only, quick):
    """Returns the clients that can run, and a sentence for each client that cannot."""
    wanted = [client for client in CLIENTS
              if not benchmark_only or client.name in (RAW, OURS, AGAIN, *benchmark_only)]
    present = [client for client in wanted if client.needs.exists()]
    missing = [f"{client.name}: not installed; tests/bench/install.sh installs it or prints why not"
               for client in wanted if client not in present]
    if quick:
        # A virtual machine that takes a second to start does not fit into a minute.
        present = [client for client in present if client.command[0] != "java"]
    return present, missing


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true",
                        help="less than a minute: fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help="the number of rounds")
    parser.add_argument("--only", type=lambda names: names.split(","), default=[],
                        help="only these clients, raw and ours")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    plan = dataclasses.replace(plan, rounds=arguments.rounds or plan.rounds)
    clients, missing = choose(arguments.only, arguments.quick)
    benchmark = Benchmark(clients, plan)
    for sentence in missing:
        if arguments.quick:
            print(f"left out: {sentence}")
        else:
            benchmark.fail(sentence)
    benchmark.run()
    write(benchmark.cells, plan)
    print()
    print_doubt(benchmark.cells)
    print(f"{benchmark.passed} passed, {benchmark.failed} failed")
    return benchmark.failed > 0


if __name__ == "__main__":
    sys.exit(main())
