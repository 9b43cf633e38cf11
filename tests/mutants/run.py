#!/usr/bin/env python3
"""Puts the defects of defects.py into copies of stomp_ws.h, one at a time. A test must fail for
each.

    run.py [SECTION | NAME]...      all defects, or those of a section, or those with this name

tests/sim/mutants.py contains defects of a session, for the simulator. These defects are for the
other tests: unit, conformance and fault, and tests/tls for the sections "tls" and "bearssl". The
tests first run without sanitizers, which are faster to build. If all pass, they run with ASan and
UBSan. A defect is found if a test fails, crashes or hangs. If a defect cannot be applied or
compiled, that is a failure: the code has changed, and the defect must be changed, too.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

from defects import DEFECTS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "sim"))
from mutants import edit, replace_once  # pylint: disable=wrong-import-position

OUT = ROOT / "build" / "mutants" / "tests"
SECONDS = 100  # time limit for one test program
FLAGS = ["-O0", "-g", "-w"]
STAGES = ([], ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"])
TLS_SECTIONS = ("tls", "bearssl")
TLS = ["build/bearssl/examples/stomp_cat", "build/bearssl_tsan/tests/tls/threads"]
HAS_IMPLEMENTATION = re.compile("(?m)^#define STOMP_WS_IMPLEMENTATION")

# The test programs for a section run first, and slow ones last.
FIRST = {"url": "codecs_url", "handshake": "codecs_http", "websocket": "codecs_ws|codecs_mask|ws_header",
         "frame": "codecs_frame|codecs_diff", "utf8": "utf8", "sha1": "hash", "base64": "hash",
         "dedup": "details|guarantees", "proxy": "proxy", "diagnosis": "diagnosis",
         "attempt": "staying|attempts|resume|details|sockets", "dispatch": "staying", "answer": "staying", "timers": "staying|details", "transport": "sockets|threads",
         "queue": "resume|threads|guarantees", "copy": "memory", "options": "session|names|sizes|manners"}
OTHERS = {"test_stomp_cat", "test_stomp_cat_memory", "test_broker"}  # they test other programs than the header
LAST = "calls|notifications|manners|diagnosis|vectors|utf8|differential"


def compile_c(source, program, *words):
    """Compiles a program. Returns None, or the compiler's errors."""
    made = subprocess.run(["cc", *FLAGS, "-o", program, source, *words, "-pthread"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    return made.stderr if made.returncode else None


def sources(section):
    """Returns the tests in the order in which they run."""
    found = [at for folder in ("unit/test_*", "fault/test_*", "conformance/run_vectors")
             for at in sorted(ROOT.glob(f"tests/{folder}.c")) if at.stem not in OTHERS]
    first = re.compile(FIRST.get(section, "$."))
    last = re.compile(LAST)
    return sorted(found, key=lambda at: 0 if first.search(at.stem) else 2 if last.search(at.stem) else 1)


def implements(source):
    return HAS_IMPLEMENTATION.search(source.read_text())


def prepare():
    """Compiles, one time, everything that does not depend on the implementation. Returns an error
    text for each failure."""
    OUT.mkdir(parents=True, exist_ok=True)
    linked = [source for source in sources("") if not implements(source)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = pool.map(lambda source: compile_c(source, OUT / f"{source.stem}.o", "-I.", "-c"), linked)
    made = subprocess.run(["make", "-s", "build/mini_broker", *TLS], cwd=ROOT, check=False)
    return [text for text in wrong if text] + ["make"] * bool(made.returncode)


def run(command):
    """Runs a test program. Returns None if it passes, or how it fails."""
    environment = os.environ | {"MINI_BROKER": str(ROOT / "build/mini_broker")}
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace",
                             timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return f"did not end within {SECONDS} s"
    if ran.returncode == 0:
        return None
    said = re.search("(?m)^FAILED .*|ERROR: AddressSanitizer: [a-z-]*|runtime error: .*|^HANGS",
                     ran.stdout + ran.stderr)
    return said.group(0)[:100] if said else f"status {ran.returncode}"


class Unusable(Exception):
    """The header with the defect cannot be tested."""


def test_programs(section, place, stage):
    """Yields (name, command) for each test program. Builds it against the header in `place` only
    when it is needed."""
    def build(*words):
        said = compile_c(*words, *stage)
        if said:
            raise Unusable(f"does not compile\n{said[:500]}")

    include = [f"-I{place}", "-I."]
    if section in TLS_SECTIONS:
        build("tests/fault/test_tls.c", place / "test_tls", *include)
        yield "test_tls", [place / "test_tls"]
        build("tests/tls/test_der.c", place / "test_der", *include, "-DSTOMP_WS_BEARSSL", "-lbearssl")
        yield "test_der", [place / "test_der"]
        build("tests/tls/probe.c", place / "probe", *include, "-lbearssl")
        yield "tests/tls", [sys.executable, "tests/tls/run.py", "bearssl", place / "probe", *TLS]
        return
    build("tests/implementation.c", place / "implementation.o", *include, "-c")
    for source in sources(section):
        program = place / source.stem
        if implements(source):
            build(source, program, *include)
        else:
            build(OUT / f"{source.stem}.o", program, place / "implementation.o")
        yield source.stem, [program, *["tests/conformance"] * (source.stem == "run_vectors")]
        program.unlink()


def first_failure(section, header, place):
    """Returns "test_x: FAILED test_y", or None if all tests pass."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "stomp_ws.h").write_text(header)
    for stage in STAGES:
        for name, command in test_programs(section, place, stage):
            failure = run(command)
            if failure:
                return f"{name}: {failure}"
    return None


def plant(header, function, old, new):
    """Returns the header with the defect, or None if the defect cannot be applied."""
    if function:
        return edit(header, function, old, new)
    return replace_once(header, old, new)


def is_found(section, name, edits):
    """Returns whether a test fails."""
    header = (ROOT / "stomp_ws.h").read_text()
    for function, old, new in edits if isinstance(edits, list) else [edits]:
        header = header and plant(header, function, old, new)
    where = f"{section}: {name}"
    try:
        if not header:
            raise Unusable("cannot be applied: the code to replace was not found")
        failure = first_failure(section, header, OUT / re.sub(r"\W+", "_", where))
    except Unusable as error:
        print(f"FAILED {where}: {error}", flush=True)
        return False
    print(f"{where}: {failure}" if failure else f"FAILED {where}: no test fails", flush=True)
    return bool(failure)


def main():
    everything = [(section, name, edits) for section, defects in DEFECTS.items()
                  for name, edits in defects.items()]
    wanted = sys.argv[1:]
    chosen = [each for each in everything if not wanted or each[0] in wanted or each[1] in wanted]
    wrong = prepare()
    header = (ROOT / "stomp_ws.h").read_text()
    for section in ("tls", ""):  # first without a defect
        if not wrong and (section != "tls" or any(each[0] in TLS_SECTIONS for each in chosen)):
            failure = first_failure(section, header, OUT / f"none{section}")
            wrong += [f"without a defect: {failure}"] * bool(failure)
    if wrong or not chosen:
        print("\n".join(["FAILED before any defect was applied", *wrong]), "\n0 passed, 1 failed", sep="")
        return 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda each: is_found(*each), chosen))
    print(f"{found.count(True)} passed, {found.count(False)} failed")
    return 1 if False in found else 0


if __name__ == "__main__":
    sys.exit(main())
