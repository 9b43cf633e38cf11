#!/usr/bin/env python3
"""How large is the client? Text for two processors, stack, and the time it takes to compile.

The aims of the project are printed as met or missed; what could not be measured is a failure. All
output goes to build/size.
"""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
OUT = ROOT / "build" / "size"
HEADER = ["-x", "c", "-std=c11", "-DSTOMP_WS_IMPLEMENTATION", ROOT / "stomp_ws.h"]
SMALL = ["-DSTOMP_WS_NO_PROXY", "-DSTOMP_WS_NO_TEXTS", "-DSTOMP_WS_NO_THREADS",
         "-fno-asynchronous-unwind-tables"]
THUMB = "arm-linux-gnueabihf-gcc"
KIB = 1024
ROUNDS = 7

TEXT_TARGETS = {"x86-64": 24 * KIB, "thumb2": 18 * KIB}
STACK_TARGET = 2 * KIB
COMPILE_TARGET_MS = 150


def run(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def report(name, value, target, unit):
    word = "met" if value <= target else "missed"
    print(f"target {word}: {name}: {value:.0f} {unit}, to be at most {target}", flush=True)


def text_size(compiler, *flags, source=HEADER):
    """Code and constants, in octets."""
    out = OUT / "object.o"
    run(compiler, *flags, "-Os", "-c", "-o", out, *source)
    return int(run("size", out).splitlines()[1].split()[0])


def measure_text(compiler):
    report("text of the whole client, -Os, x86-64", text_size(compiler), TEXT_TARGETS["x86-64"],
           "octets")
    codecs = text_size(compiler, "-DSTOMP_WS_NO_IO")
    print(f"of which the codecs alone (STOMP_WS_NO_IO): {codecs} octets")
    measure_program(compiler)


def measure_program(compiler, *flags):
    """What the smallest example takes, as a device would build it."""
    program = ["-DSTOMP_WS_STATIC", "-x", "c", "-std=c11", ROOT / "examples" / "minimal.c"]
    whole = text_size(compiler, *flags, source=program)
    small = text_size(compiler, *flags, *SMALL, source=program)
    print(f"examples/minimal.c with STOMP_WS_STATIC: {whole} octets; and with {' '.join(SMALL)}:"
          f" {small} octets")


def measure_thumb():
    if not shutil.which(THUMB):
        raise FileNotFoundError(f"{THUMB}: tests/bench/install.sh installs it")
    report("text of the whole client, -Os, thumb2", text_size(THUMB, "-mthumb"),
           TEXT_TARGETS["thumb2"], "octets")
    measure_program(THUMB, "-mthumb")


def call_graph(compiler):
    """Each function's own stack, and whom it calls, as gcc writes them down."""
    run(compiler, "-O2", "-fcallgraph-info=su", "-c", "-o", OUT / "stack.o", *HEADER)
    graph = next(OUT.glob("stack*.ci")).read_text()
    own = {name: int(octets) for name, octets in re.findall(
        r'node: { title: "([^"]+)" label: "[^"]*?\\n(\d+) bytes', graph)}
    calls = collections.defaultdict(set)
    for caller, callee in re.findall(r'sourcename: "([^"]+)" targetname: "([^"]+)"', graph):
        calls[caller].add(callee)
    return own, calls


def deepest(own, calls):
    """The path of calls that needs the most stack. A function that is on it already is recursion,
    which the library has only through callbacks."""
    best = {}

    def depth(function, path):
        if function in path:
            raise RecursionError(f"{function} calls itself, by {' > '.join(path)}")
        if function not in best:
            below = [depth(callee, (*path, function)) for callee in calls[function]]
            total, names = max(below, default=(0, ()))
            best[function] = (total + own.get(function, 0), (function, *names))
        return best[function]

    return max(depth(function, ()) for function in list(own))


def measure_stack(compiler):
    octets, path = deepest(*call_graph(compiler))
    report("stack, -O2, without callbacks and the C library", octets, STACK_TARGET, "octets")
    print("  by " + " > ".join(re.sub(r"^.*:", "", name) for name in path))


def fastest_ms(*command):
    def once():
        began = time.perf_counter()
        run(*command)
        return (time.perf_counter() - began) * 1000

    return min(once() for _ in range(ROUNDS))


def measure_compilation(compiler):
    empty = OUT / "empty.c"
    empty.write_text("int stomp_ws_empty;\n")
    ours = fastest_ms(compiler, "-O0", "-c", "-o", OUT / "object.o", *HEADER)
    nothing = fastest_ms(compiler, "-O0", "-c", "-o", OUT / "object.o", empty)
    report(f"compile time at -O0 over an empty file, best of {ROUNDS}", ours - nothing,
           COMPILE_TARGET_MS, "ms")


def main():
    compiler = os.environ.get("CC", "cc")
    OUT.mkdir(parents=True, exist_ok=True)
    passed = failed = 0
    for measure, arguments in ((measure_text, [compiler]), (measure_thumb, []),
                               (measure_stack, ["gcc"]), (measure_compilation, [compiler])):
        try:
            measure(*arguments)
            passed += 1
        except (OSError, RecursionError, subprocess.CalledProcessError) as error:
            failed += 1
            print(f"FAILED {measure.__name__}: {error}\n{getattr(error, 'stderr', '')}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
