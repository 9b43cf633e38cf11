#!/usr/bin/env python3
"""How large is the client? Measures the code size for two processors, the stack, and the time to
compile.

The project's targets are printed as met or missed. A measurement that failed is a failure. If a
target is missed, the parts are printed: the code by the header's sections, the stack by function,
the time by phase. All output goes to build/size.
"""

import bisect
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from targets import Targets

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


def text_size(compiler, *flags, source=HEADER):
    """Code and constants, in bytes."""
    out = OUT / "object.o"
    run(compiler, *flags, "-Os", "-c", "-o", out, *source)
    return int(run("size", out).splitlines()[1].split()[0])


def section_of(line, banners):
    """Returns the name in the last `==== >>name` above a line of the header."""
    place = bisect.bisect_right(banners, (line, chr(0x10FFFF))) - 1
    return banners[place][1] if place >= 0 else "declarations"


def text_by_section(compiler, tool_prefix, *flags):
    """Describes the sizes by sections. A function belongs to the section of its first line. A
    function without a line comes from the compiler."""
    out = OUT / "sections.o"
    run(compiler, *flags, "-Os", "-g", "-c", "-o", out, *HEADER)
    banners = [(number, found[1]) for number, line in enumerate(
        (ROOT / "stomp_ws.h").read_text().splitlines(), 1)
        if (found := re.match(r"/\* ==== >>([\w.]+)", line))]
    sizes = collections.Counter()
    for line in run(f"{tool_prefix}nm", "-S", "-l", out).splitlines():
        found = re.match(r"\w+ (\w+) [tTrR] \S+(?:\s.*:(\d+))?", line)
        if found:
            where = section_of(int(found[2]), banners) if found[2] else "no line"
            sizes[where] += int(found[1], 16)
    named = ", ".join(f"{name} {size:,}" for name, size in sizes.most_common(9))
    rest = sum(size for _, size in sizes.most_common()[9:])
    return (f"size -A: {parts_of(f'{tool_prefix}size', out)}. nm, functions and tables by the "
            f"header's sections: {named}, all others {rest:,}")


def parts_of(tool, file):
    """Describes the parts: code, texts of errors and other constants, tables for unwinding the
    stack."""
    sizes = collections.Counter()
    for line in run(tool, "-A", file).splitlines():
        found = re.match(r"\.(text|rodata|data\.rel\.ro|eh_frame|ARM\.extab|ARM\.exidx)\S* +(\d+)",
                         line)
        if found:
            sizes[found[1]] += int(found[2])
    return ", ".join(f".{name} {size:,}" for name, size in sizes.most_common() if size)


def measure_text(targets, compiler):
    targets.at_most(6, "code and constants, -Os, x86-64", text_size(compiler),
                    TEXT_TARGETS["x86-64"], "bytes", lambda: text_by_section(compiler, ""))
    codecs = text_size(compiler, "-DSTOMP_WS_NO_IO")
    print(f"of which the codecs alone (STOMP_WS_NO_IO): {codecs} bytes")
    measure_program(compiler)


def measure_program(compiler, *flags):
    """Measures the smallest example, built as for a small device."""
    program = ["-DSTOMP_WS_STATIC", "-x", "c", "-std=c11", ROOT / "examples" / "minimal.c"]
    whole = text_size(compiler, *flags, source=program)
    small = text_size(compiler, *flags, *SMALL, source=program)
    print(f"examples/minimal.c with STOMP_WS_STATIC: {whole} bytes; and with {' '.join(SMALL)}:"
          f" {small} bytes")


def measure_thumb(targets):
    if not shutil.which(THUMB):
        raise FileNotFoundError(f"{THUMB}: tests/bench/install.sh installs it")
    targets.at_most(6, "code and constants, -Os, thumb2", text_size(THUMB, "-mthumb"),
                    TEXT_TARGETS["thumb2"], "bytes",
                    lambda: text_by_section(THUMB, THUMB.removesuffix("gcc"), "-mthumb"))
    measure_program(THUMB, "-mthumb")


def call_graph(compiler):
    """Returns each function's stack size and the functions that it calls, as gcc prints them."""
    run(compiler, "-O2", "-fcallgraph-info=su", "-c", "-o", OUT / "stack.o", *HEADER)
    graph = next(OUT.glob("stack*.ci")).read_text()
    own = {name: int(size) for name, size in re.findall(
        r'node: { title: "([^"]+)" label: "[^"]*?\\n(\d+) bytes', graph)}
    calls = collections.defaultdict(set)
    for caller, callee in re.findall(r'sourcename: "([^"]+)" targetname: "([^"]+)"', graph):
        calls[caller].add(callee)
    return own, calls


def deepest(own, calls):
    """Returns the path of calls that needs the most stack. A function that is already on the path
    is recursion, which the library has only through callbacks."""
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


def measure_stack(targets, compiler):
    own, calls = call_graph(compiler)
    size, path = deepest(own, calls)
    chain = " > ".join(f"{re.sub('^.*:', '', name)} {own.get(name, 0)}" for name in path)
    print(f"deepest, with the bytes of each: {chain}")
    targets.at_most(6, "stack, -O2, without callbacks and C library", size, STACK_TARGET,
                    "bytes", lambda: "the deepest chain of calls, as gcc writes it down: " + chain)


def fastest_ms(*command):
    def once():
        began = time.perf_counter()
        run(*command)
        return (time.perf_counter() - began) * 1000

    return min(once() for _ in range(ROUNDS))


def compile_ms(compiler, text):
    """The time to compile a file with this text, minus the time for an empty file."""
    source = OUT / "compiled.c"
    source.write_text(f"{text}\nint stomp_ws_empty;\n")
    return fastest_ms(compiler, "-O0", "-I", ROOT, "-c", "-o", OUT / "object.o", source)


def measure_compilation(targets, compiler):
    header = (ROOT / "stomp_ws.h").read_text()
    system = re.findall(r"^#include <(?!bearssl|emmintrin|arm_neon)[^>]+>", header, re.MULTILINE)
    empty = compile_ms(compiler, "")
    ours = compile_ms(compiler, '#define STOMP_WS_IMPLEMENTATION\n#include "stomp_ws.h"') - empty

    def parts():
        includes = compile_ms(compiler, "\n".join(system)) - empty
        vectors = compile_ms(compiler, "#ifdef __SSE2__\n#include <emmintrin.h>\n#endif") - empty
        declared = compile_ms(compiler, '#include "stomp_ws.h"') - empty
        own = ours - includes - vectors
        return (f"the system's headers {includes:.0f} ms, emmintrin.h {vectors:.0f} ms, our public "
                f"declarations {declared:.0f} ms; the rest of the implementation {own:.0f} ms, "
                f"{own / len(header.splitlines()) * 1000:.0f} us per line of the header. "
                + compiler_says(compiler))

    targets.at_most(6, f"compile time, -O0, beyond that of an empty file (best of {ROUNDS})", ours,
                    COMPILE_TARGET_MS, "ms", parts)


def compiler_says(compiler):
    """Names the phases of the compilation, as gcc's -ftime-report prints them."""
    done = subprocess.run([compiler, "-O0", "-ftime-report", "-c", "-o", OUT / "object.o", *HEADER],
                          check=True, capture_output=True, text=True)
    phases = re.findall(r"^ phase ([\w ]+?) *:.*?\( *\d+%\).*?\( *\d+%\) +[\d.]+ \( *(\d+)%\)",
                        done.stderr, re.MULTILINE)
    return "-ftime-report: " + ", ".join(f"{name} {share} %" for name, share in phases
                                         if int(share) > 1)


def main():
    compiler = os.environ.get("CC", "cc")
    OUT.mkdir(parents=True, exist_ok=True)
    targets = Targets("size")
    passed = failed = 0
    for measure, *arguments in ((measure_text, compiler), (measure_thumb,),
                                (measure_stack, "gcc"), (measure_compilation, compiler)):
        try:
            measure(targets, *arguments)
            passed += 1
        except (OSError, RecursionError, subprocess.CalledProcessError) as error:
            failed += 1
            print(f"FAILED {measure.__name__}: {error}\n{getattr(error, 'stderr', '')}")
    targets.write()
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
